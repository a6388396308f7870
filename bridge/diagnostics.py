"""Problems and advice, for each way in which an attempt, a request to Speech or an operation can fail.

One table for all interfaces for people. It depends only on fields that the API shows: the status or the kind of
failure of an attempt, the kind of an operation's `lastError`, the reason of an end.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType

from bridge.domain.operation import ExpiredReason, PollErrorKind
from bridge.domain.outcome import Failure


@dataclass(frozen=True, slots=True)
class Hint:
    """One sentence about the problem, and one about the remedy."""

    what: str
    do: str


#: By the kind of failure of an attempt.
FAILURES: Mapping[str, Hint] = MappingProxyType(
    {
        Failure.REFUSED_BY_RULES: Hint(
            "the rules do not let callbacks go to this URL, or to an address behind its name",
            "use a public https URL on port 443, or open the rules: BRIDGE_CALLBACK_ALLOWED_NETWORKS, _PORTS, _HOSTS, "
            "BRIDGE_CALLBACK_ALLOW_HTTP",
        ),
        Failure.DNS: Hint(
            "the receiver's name leads to no address", "check the host's spelling in the callback URL, and its DNS"
        ),
        Failure.CONNECT: Hint(
            "the receiver does not accept connections",
            "start the receiver, and check its port and firewall; then redeliver what is dead",
        ),
        Failure.TLS: Hint(
            "the receiver's certificate or TLS handshake is invalid",
            "correct what the attempt's detail names: the certificate with its whole chain, the receiver's TLS, or the "
            "scheme, host or port of the callback URL",
        ),
        Failure.TIMEOUT: Hint(
            "the receiver did not send a whole answer within 15 s", "let it answer 2xx at once and do its work later"
        ),
        Failure.CLOSED: Hint(
            "the receiver closed the connection before its answer", "read the log of the receiver or its proxy"
        ),
        Failure.HEAD_TOO_LARGE: Hint(
            "the receiver's answer has too many or too large headers", "let it answer with less than 16 KiB of headers"
        ),
        Failure.PROTOCOL: Hint("the receiver's answer is not HTTP/1.x", "check scheme and port of the callback URL"),
        Failure.HEADERS: Hint(
            "nothing was sent: the registration's own headers cannot be decrypted",
            "restore the removed key at the end of BRIDGE_SIGNING_KEYS, or cancel and register again",
        ),
        Failure.CALLBACK_URL: Hint(
            "nothing was sent: the query of the callback URL cannot be decrypted",
            "restore the removed key at the end of BRIDGE_SIGNING_KEYS, or cancel and register again",
        ),
        Failure.LOST: Hint(
            "the bridge died before it could record the attempt, which may have arrived",
            "nothing, if the next attempt goes well; the receiver drops duplicates by webhook-id",
        ),
    }
)

#: By the status of an attempt's answer. Other statuses use the hint of their class.
STATUSES: Mapping[int, Hint] = MappingProxyType(
    {
        401: Hint(
            "the receiver requires credentials that the callback did not have, or other ones",
            "register with the required header, Authorization for instance, or let it verify the signature",
        ),
        403: Hint(
            "the receiver refuses the bridge, or the header that it was sent",
            "check its firewall's rules, and the headers of the registration",
        ),
        404: Hint("the receiver has nothing at this path", "check the path of the callback URL"),
        405: Hint("the receiver does not accept POST at this path", "accept POST there, or correct the callback URL"),
        410: Hint(
            "the receiver wants no more callbacks there",
            "register the right callback URL; redeliver if the answer was a mistake",
        ),
        413: Hint("the callback is too large for the receiver", "raise its limit to 64 KiB"),
        415: Hint("the receiver does not accept this content type", "choose another format, or accept this one"),
        429: Hint("the receiver gets too many requests", "nothing, if it recovers: its Retry-After is honoured"),
    }
)

_REDIRECT = Hint("the receiver redirects, and callbacks follow no redirect", "register the URL that it redirects to")
_REFUSAL = Hint("the receiver refuses the callback", "read its log; the start of the answer is shown with the attempt")
_SERVER_FAULT = Hint("the receiver failed", "read its log; the schedule continues")

#: By the reason of an operation that the bridge gave up on.
REASONS: Mapping[str, Hint] = MappingProxyType(
    {
        ExpiredReason.DEADLINE: Hint(
            "the operation did not end within the deadline",
            "look it up at Speech; raise BRIDGE_OPERATION_DEADLINE if such operations take longer",
        ),
        ExpiredReason.NOT_FOUND: Hint(
            "for 10 minutes Speech knew no such operation",
            "check the operation id, and that the source is the resource where the work was submitted",
        ),
        ExpiredReason.REFUSED: Hint(
            "for 10 minutes Speech refused the request",
            "check SPEECH_PATH and SPEECH_API_VERSION, and that a regional endpoint has a key",
        ),
    }
)

#: The advice for a storage account that refuses the app.
STORAGE_ADVICE = (
    "check the app's roles on the storage account (Storage Table and Queue Data Contributor), its firewall, and "
    "AzureWebJobsStorage"
)

#: By whether the queue refuses its caller, or fails in another way.
QUEUE: Mapping[bool, Hint] = MappingProxyType(
    {
        True: Hint("the queue refuses the bridge, so no callback is sent", STORAGE_ADVICE),
        False: Hint(
            "messages cannot be sent to the queue, so callbacks wait",
            "nothing, if it passes: they are sent within a minute of its return; else look at the storage account",
        ),
    }
)

#: The advice for a credential that the source refuses.
CREDENTIAL_ADVICE = "check SPEECH_KEY, or the identity's role Cognitive Services Speech User and the custom subdomain"

_DENIED = Hint("Speech refuses the bridge's credential", CREDENTIAL_ADVICE)
_UNREACHABLE = Hint("Speech cannot be reached", "check SPEECH_ENDPOINT, its name and the network's way to it")
_FAULT = Hint(
    "Speech has a fault", "nothing: the bridge polls again with growing waits; see its status page if it lasts"
)

#: By the kind of a poll error. Kinds without an own hint are about the connection to Speech.
POLLS: Mapping[str, Hint] = MappingProxyType(
    {
        **dict.fromkeys(PollErrorKind, _UNREACHABLE),
        PollErrorKind.UNAUTHORIZED: _DENIED,
        PollErrorKind.PERMISSION_DENIED: _DENIED,
        PollErrorKind.CREDENTIAL_UNAVAILABLE: _DENIED,
        PollErrorKind.QUOTA_EXCEEDED: Hint(
            "the quota of the Speech resource is used up",
            "wait until it is replenished, or raise the quota or the pricing tier of the resource",
        ),
        PollErrorKind.FORBIDDEN: Hint(
            "the Speech resource refuses the bridge, for the reason in brackets",
            "if that is the network, allow the app's subnet or outbound addresses in the resource's networking, or "
            "reach it by its private endpoint; if it is the quota, wait or raise it; else " + CREDENTIAL_ADVICE,
        ),
        PollErrorKind.NOT_FOUND: Hint(
            "Speech knows no such operation, or not yet",
            "check the operation id and the source; the bridge gives up after 10 minutes of this",
        ),
        PollErrorKind.BAD_REQUEST: Hint("Speech refuses the request", REASONS["refused"].do),
        PollErrorKind.RATE_LIMITED: Hint(
            "Speech gets too many requests, from the bridge and other clients together",
            "nothing, if it passes; else lower SPEECH_REQUESTS_PER_SECOND or raise the resource's quota",
        ),
        PollErrorKind.GATEWAY_ERROR: Hint(
            "a gateway before Speech, or Speech for the moment, does not answer the request",
            "nothing, if it passes: the bridge polls again with growing waits; else check the proxies and gateways",
        ),
        PollErrorKind.SERVICE_UNAVAILABLE: _FAULT,
        PollErrorKind.SERVER_ERROR: _FAULT,
        PollErrorKind.INVALID_RESPONSE: Hint(
            "the answer is not the Speech API's", "check SPEECH_ENDPOINT: a proxy or a gateway may be before it"
        ),
        PollErrorKind.UNKNOWN_SOURCE: Hint(
            "the settings do not have the operation's source any more", "put it back into BRIDGE_SOURCES"
        ),
        PollErrorKind.INTERNAL_ERROR: Hint(
            "the bridge has a fault in its own code",
            "read its log for app.failed; the bridge polls again with growing waits",
        ),
        PollErrorKind.UNKNOWN: Hint(
            "the last poll failed", "nothing, if it passes; else use the command line of the bridge's version"
        ),
    }
)

#: By the class of the status.
_CLASSES = ((range(300, 400), _REDIRECT), (range(400, 500), _REFUSAL), (range(500, 600), _SERVER_FAULT))


def of_attempt(status: int | None, error: str | None) -> Hint | None:
    """Explain an attempt by its fields in the API. Returns None for a success, or before the outcome."""
    if error is not None:
        return FAILURES.get(error)
    if status is None:
        return None
    return STATUSES.get(status) or next((hint for codes, hint in _CLASSES if status in codes), None)


def of_poll(kind: str) -> Hint:
    """Explain the kind of a poll error. A kind of another version of the bridge is an unknown one."""
    return POLLS[PollErrorKind(kind)]


def of_end(reason: str | None) -> Hint | None:
    """Explain why the bridge gave up on an operation. Returns None if it did not."""
    return None if reason is None else REASONS.get(reason)


def table() -> Mapping[str, object]:
    """Return all hints as JSON values, for a page."""
    return {
        "failures": {str(error): asdict(hint) for error, hint in FAILURES.items()},
        "statuses": {status: asdict(hint) for status, hint in STATUSES.items()},
        "classes": {codes.start // 100: asdict(hint) for codes, hint in _CLASSES},
        "polls": {str(kind): asdict(hint) for kind, hint in POLLS.items()},
        "reasons": {str(reason): asdict(hint) for reason, hint in REASONS.items()},
    }
