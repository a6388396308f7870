"""What a call can answer: its successes with where they lead, and the problems by their codes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

Json = dict[str, Any]

#: What each code of a problem means.
CODES: Mapping[str, str] = MappingProxyType(
    {
        "InvalidRequest": "fields or parameters are wrong, and `details` names every one",
        "InvalidJson": "the body is no JSON object",
        "Unauthorized": "there is no token, or one that is not believed",
        "Forbidden": "the token lacks the role that this call needs",
        "NotFound": "there is no such thing, or it is another owner's",
        "RegistrationDiffers": "the callback is registered for this operation with other content",
        "HeadersUnreadable": "it is registered with headers whose key is missing, so they cannot be compared",
        "CallbackUrlUnreadable": "one is registered with a query whose key is missing, so the URLs cannot be compared",
        "OperationTaken": "another owner has registered for the operation: `BRIDGE_SHARED_OPERATIONS` is false",
        "TooManyRegistrations": "the operation has as many registrations as one can have, or as one owner can",
        "NoMessageYet": "there is no message to deliver again",
        "LengthRequired": "the body came in chunks, which the platform loses: send a `Content-Length`",
        "PayloadTooLarge": "the body is too large",
        "UnsupportedMediaType": "the body is not `application/json` in UTF-8, or has a `Content-Encoding`",
        "TooManyPings": "the minute has no ping left",
        "TooManyRuns": "the hour has no further run of this registration left",
        "TooManyWaiting": "as many of the caller's registrations wait as may: `BRIDGE_MAX_WAITING_PER_OWNER`",
        "InternalError": "the bridge failed",
        "StorageUnavailable": "storage does not answer; nothing is lost, send the same again",
        "StorageRefused": "storage refuses the bridge, which an operator has to mend; nothing is lost",
        "TooBusy": "as many lists and overviews are read as an instance reads at once; send the same again",
        "Contended": "others changed the same rows again and again; nothing is lost, send the same again",
        "UnreadableRow": "a row is of another version of the bridge, and is left to it",
        "KeysUnavailable": "the keys that tokens are verified with are not to be had",
        "Misconfigured": "settings are missing or wrong",
    }
)

#: The headers of answers.
HEADERS: Mapping[str, Json] = MappingProxyType(
    {
        "Location": {
            "description": "Where the registration is.",
            "schema": {"type": "string", "format": "uri-reference"},
        },
        "Cache-Control": {"description": "Who may keep the answer, and for how long.", "schema": {"type": "string"}},
        "ETag": {"description": "Names this very answer, for `If-None-Match`.", "schema": {"type": "string"}},
        "Accept-Encoding": {"description": "The codings of a body that are taken.", "schema": {"const": "identity"}},
        "Vary": {"description": "The answer may be compressed.", "schema": {"const": "Accept-Encoding"}},
        "Content-Security-Policy": {
            "description": "What may run in the page: its own style and script.",
            "schema": {"type": "string"},
        },
        "X-Content-Type-Options": {"description": "It is what it says.", "schema": {"const": "nosniff"}},
        "Referrer-Policy": {"description": "No link tells where it was.", "schema": {"const": "no-referrer"}},
        "Cross-Origin-Opener-Policy": {"description": "No other page holds it.", "schema": {"const": "same-origin"}},
        "WWW-Authenticate": {"description": "What the token lacks (RFC 6750).", "schema": {"type": "string"}},
        "Retry-After": {
            "description": "Seconds after which it may be tried again.",
            "schema": {"type": "integer", "minimum": 1},
        },
    }
)


@dataclass(frozen=True, slots=True)
class Link:
    """Where an answer leads: which call it gives the parameters of."""

    call: str
    parameters: Mapping[str, str]
    what: str

    @classmethod
    def of_registration(cls) -> "Mapping[str, Link]":
        """Lead from a registration to its operation, to the secret of its receiver, and to what can be done with it."""
        return {
            **cls.of_first(""),
            "secret": cls("signing_secret", {"callbackUrl": "$response.body#/callbackUrl"}, "What its receiver needs."),
            "operation": cls(
                "read_operation",
                {"path.id": "$response.body#/operation/id", "query.source": "$response.body#/operation/source"},
                "Its operation.",
            ),
        }

    @classmethod
    def of_first(cls, place: str) -> "Mapping[str, Link]":
        """Lead from a registration at a place of the answer to what can be done with it."""
        parameters = {"path.id": f"$response.body#{place}/id"}
        return {
            "read": cls("read_registration", parameters, "The registration."),
            "cancel": cls("cancel_registration", parameters, "Cancel it."),
            "redeliver": cls("redeliver", parameters, "Deliver it again."),
        }


@dataclass(frozen=True, slots=True)
class DescribedResponse:
    """One success of a call."""

    what: str
    #: What its body is; None where it has none.
    body: Any = None
    headers: tuple[str, ...] = ("Cache-Control",)
    media: str = "application/json"
    links: Mapping[str, Link] = field(default_factory=dict)

    @classmethod
    def kept(cls, what: str, body: object, call: str) -> "Mapping[int, DescribedResponse]":
        """Make the answers of a call whose body others may keep: with its ETag the call is 304."""
        headers = ("Cache-Control", "ETag", "Vary")
        again = Link(call, {"header.If-None-Match": "$response.header.ETag"}, "Whether it has changed.")
        return {200: cls(what, body, headers, links={"again": again}), 304: cls("It has not changed.", None, headers)}
