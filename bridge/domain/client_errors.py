"""What each client error of Speech (400 to 499) is about. Codes and messages in the body decide nothing."""

from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType


class Meaning(Enum):
    """What an answer with a client error (400 to 499) is about, and so what it can do."""

    REQUEST = auto()  #: the request itself is wrong: it ends the operation if it lasts
    ABSENCE = auto()  #: there is no such operation: it ends the operation if it lasts
    CREDENTIAL = auto()  #: the whole source does not let the bridge in: the source pauses
    RATE = auto()  #: the source is asked too often: the source stops for a while
    MOMENT = auto()  #: a gateway, a proxy or the moment: asked again, ever more slowly, and never an end


_UNASSIGNED = "unassigned: says nothing of the request"

#: Each client error with its meaning and why. The bridge sends a GET without a body, a condition, a range, an
#: expectation or an upgrade, so an answer that complains of one of those is not about what was sent. Sources: RFC
#: 9110, 15.5; the IANA registry of status codes; what IIS, nginx and load balancers of AWS document beyond it.
CLIENT_ERRORS: Mapping[int, tuple[Meaning, str]] = MappingProxyType(
    {
        **dict.fromkeys(range(400, 500), (Meaning.MOMENT, _UNASSIGNED)),
        400: (Meaning.REQUEST, "the id, the path or the api-version is wrong"),
        401: (Meaning.CREDENTIAL, "the key or the token is not accepted"),
        402: (Meaning.MOMENT, "the subscription's payment, which its owner can mend"),
        403: (Meaning.CREDENTIAL, "the role, the quota or the network rules of the whole resource"),
        404: (Meaning.ABSENCE, "no such operation, or not yet"),
        405: (Meaning.REQUEST, "the path takes no GET: it is not the path of operations"),
        406: (Meaning.MOMENT, "a gateway's choice of content: the API has JSON alone, which is asked for"),
        407: (Meaning.MOMENT, "a proxy on the way wants credentials"),
        408: (Meaning.MOMENT, "a gateway waited too long for the request, which may be repeated"),
        409: (Meaning.MOMENT, "the resource is being changed at this moment"),
        410: (Meaning.ABSENCE, "the operation was there and has been removed"),
        411: (Meaning.MOMENT, "a length, which a GET does not have"),
        412: (Meaning.MOMENT, "a condition, and none was sent"),
        413: (Meaning.REQUEST, "the request is too large, and will be no smaller"),
        414: (Meaning.REQUEST, "the address is too long, and will be no shorter"),
        415: (Meaning.REQUEST, "the content type is not taken"),
        416: (Meaning.REQUEST, "the range cannot be answered"),
        417: (Meaning.MOMENT, "an expectation, and none was sent"),
        418: (Meaning.MOMENT, "reserved, and used by filters in front of a service"),
        421: (Meaning.MOMENT, "the connection leads to a server that is not the source's"),
        422: (Meaning.REQUEST, "the values of the request cannot be processed"),
        423: (Meaning.MOMENT, "the resource is locked for now"),
        424: (Meaning.MOMENT, "another request failed, on which this one depends"),
        425: (Meaning.MOMENT, "too early data of TLS, which may be repeated"),
        426: (Meaning.MOMENT, "a gateway wants another protocol"),
        428: (Meaning.MOMENT, "a gateway wants a condition, which only a write needs"),
        429: (Meaning.RATE, "too many requests, of the bridge and other clients together"),
        431: (Meaning.REQUEST, "the headers are too large, and will be no smaller"),
        440: (Meaning.MOMENT, "IIS: the session has ended"),
        444: (Meaning.MOMENT, "nginx: the connection was closed without an answer"),
        449: (Meaning.MOMENT, "IIS: the request may be repeated"),
        450: (Meaning.MOMENT, "a filter in front of the service"),
        451: (Meaning.MOMENT, "a filter for legal reasons in front of the service"),
        460: (Meaning.MOMENT, "AWS: the client of a load balancer went away"),
        463: (Meaning.MOMENT, "AWS: a load balancer met too many forwarding addresses"),
        464: (Meaning.MOMENT, "AWS: a load balancer met another protocol"),
        494: (Meaning.MOMENT, "nginx: the head of the request was too large for a proxy"),
        495: (Meaning.MOMENT, "nginx: a client certificate, and none was sent"),
        496: (Meaning.MOMENT, "nginx: a client certificate, and none was sent"),
        497: (Meaning.MOMENT, "nginx: a request without TLS at a port for TLS"),
        498: (Meaning.MOMENT, "a gateway's own token has ended"),
        499: (Meaning.MOMENT, "nginx: the client of a proxy went away"),
    }
)
