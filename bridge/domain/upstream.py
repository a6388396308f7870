"""The upstream: its sources, which run operations, and the meaning of their answers.

Sources: the REST reference of `Operations - Get` (api-version 2024-08-01) and observed answers of its siblings. The
HTTP status decides. Codes and messages in the body are for people only.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from types import MappingProxyType
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from bridge.domain.callback_url import DEFAULT_PORTS
from bridge.domain.ids import OPERATION_ID, OperationRef
from bridge.domain.operation import Explanation, FinalStatus
from bridge.domain.retry import parse_retry_after
from bridge.domain.text import printable, size_in_utf8


class Meaning(Enum):
    """The subject of a client error (400 to 499), which decides its effect."""

    REQUEST = auto()  #: the request itself is wrong: ends the operation if it lasts
    ABSENCE = auto()  #: the operation does not exist: ends the operation if it lasts
    CREDENTIAL = auto()  #: the whole source refuses the bridge: the source pauses
    RATE = auto()  #: the source gets too many requests: the source stops for a while
    MOMENT = auto()  #: a gateway, a proxy or the moment: polled again with growing waits, and never an end


_UNASSIGNED = "unassigned: not about the request"

#: Each client error with its subject and the reason. The bridge sends a GET without a body, a condition, a range, an
#: expectation or an upgrade, so an answer that complains about one of those is not about the request. Sources: RFC
#: 9110, 15.5, the IANA registry of status codes, and the documentation of IIS, nginx and load balancers of AWS.
CLIENT_ERRORS: Mapping[int, tuple[Meaning, str]] = MappingProxyType(
    {
        **dict.fromkeys(range(400, 500), (Meaning.MOMENT, _UNASSIGNED)),
        400: (Meaning.REQUEST, "the id, the path or the api-version is wrong"),
        401: (Meaning.CREDENTIAL, "the key or the token is not accepted"),
        402: (Meaning.MOMENT, "the subscription's payment, which its owner can mend"),
        403: (Meaning.CREDENTIAL, "the role, the quota or the network rules of the whole resource"),
        404: (Meaning.ABSENCE, "no such operation, or not yet"),
        405: (Meaning.REQUEST, "the path takes no GET: it is not the path of operations"),
        406: (Meaning.MOMENT, "a gateway's choice of content: the bridge accepts JSON, as the API returns"),
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


#: The limit of the upstream's body that is kept and passed on.
MAX_BODY_BYTES = 4096

#: The longest stop of a source, whatever time it names.
LONGEST_NAMED_STOP = timedelta(hours=1)

_OK, _NO_CONTENT, _UNAVAILABLE = 200, 204, 503
_FINAL_STATUSES = {
    "succeeded": FinalStatus.SUCCEEDED,
    "failed": FinalStatus.FAILED,
    "canceled": FinalStatus.CANCELED,
    "cancelled": FinalStatus.CANCELED,
}

#: How much of the upstream's explanation is read, in characters.
_LONGEST_SAID = 2000

#: A URL in an explanation can contain a secret in query, user or fragment, in any notation.
_URL = re.compile(r"[a-z][a-z0-9+.-]{0,15}://\S+", re.IGNORECASE)
_SIGNATURE = re.compile(r"sig(=|%3d)\S+", re.IGNORECASE)
_KNOWN = frozenset({"notstarted", "running", *_FINAL_STATUSES})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The answer to one GET."""

    status: int
    body: bytes = b""
    #: The header `Retry-After`, unchanged.
    retry_after: str | None = None


@dataclass(frozen=True, slots=True)
class NoReply:
    """There was no usable answer: a timeout, or a fault of the connection."""

    #: The class of the fault for people, never a URL or a secret.
    what: str


@dataclass(frozen=True, slots=True)
class NoToken:
    """No request was sent, since the identity got no token."""

    what: str


@dataclass(frozen=True, slots=True)
class Pending:
    """The operation is still running, or has an undocumented status, which is no end either."""

    status: str

    @property
    def is_documented(self) -> bool:
        """Whether the reference documents the status."""
        return self.status.lower() in _KNOWN


@dataclass(frozen=True, slots=True)
class Terminal:
    """The operation has ended."""

    final_status: FinalStatus
    #: The upstream's body as JSON text, or None if it was too large to keep.
    body: str | None


@dataclass(frozen=True, slots=True)
class TransientError:
    """The answer was not about the operation."""

    what: str
    #: How long the next poll of the operation should wait, if the answer named a time. At most LONGEST_NAMED_STOP.
    wait: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Throttled:
    """The source requests a stop."""

    what: str
    #: The length of the stop, if the source named one. At most LONGEST_NAMED_STOP.
    wait: timedelta | None


@dataclass(frozen=True, slots=True)
class NotFound:
    """The source knows no such operation: not yet, not any more, or not at this source."""

    what: str


@dataclass(frozen=True, slots=True)
class BadRequest:
    """The source rejected the request as invalid."""

    what: str
    #: The code and message of the answer, if any.
    why: Explanation | None = None


@dataclass(frozen=True, slots=True)
class Unauthorized:
    """The source refuses the credential, which affects the whole source."""

    what: str
    #: False if no request was sent, since the identity got no token. That is never about one operation.
    asked: bool = True


PollResult = Pending | Terminal | TransientError | Throttled | NotFound | BadRequest | Unauthorized


def read(reply: Reply | NoReply | NoToken, operation_id: str, now: datetime) -> PollResult:
    """Return the meaning of `reply` for the operation that was polled."""
    match reply:
        case NoReply(what=what):
            return TransientError(what)
        case NoToken(what=what):
            return Unauthorized(what, asked=False)
        case Reply(status=status) if status == _OK:
            return _read_body(reply.body, operation_id)
        case Reply():
            return _read_status(reply, now)


def _read_status(reply: Reply, now: datetime) -> PollResult:
    why = _explanation(_json_object(reply.body) or {})
    what, wait = f"HTTP {reply.status}{_in_brackets(why)}", _wait(reply, now)
    if reply.status == _NO_CONTENT:
        return NotFound(what)
    if reply.status == _UNAVAILABLE and reply.retry_after is not None:
        return Throttled(what, wait)
    meaning, _ = CLIENT_ERRORS.get(reply.status, (Meaning.MOMENT, ""))
    results: dict[Meaning, PollResult] = {
        Meaning.REQUEST: BadRequest(what, why),
        Meaning.ABSENCE: NotFound(what),
        Meaning.CREDENTIAL: Unauthorized(what),
        Meaning.RATE: Throttled(what, wait),
        Meaning.MOMENT: TransientError(what, wait),
    }
    return results[meaning]


def _wait(reply: Reply, now: datetime) -> timedelta | None:
    wait = parse_retry_after(reply.retry_after, now)
    return None if wait is None else min(wait, LONGEST_NAMED_STOP)


def _read_body(raw: bytes, operation_id: str) -> Pending | Terminal | TransientError:
    body = _json_object(raw)
    if body is None:
        return TransientError("HTTP 200 without a JSON object")
    if not _names(body, operation_id):
        return TransientError("HTTP 200 about another operation")
    status = body.get("status")
    if not isinstance(status, str) or not status.strip():
        return TransientError("HTTP 200 without a status")
    final_status = _FINAL_STATUSES.get(status.strip().lower())
    return Pending(printable(status, 64)) if final_status is None else Terminal(final_status, _kept(body))


def _names(body: dict[str, Any], operation_id: str) -> bool:
    """Return whether a body is about the operation. The reference promises neither `id` nor its letter case."""
    named = body.get("id")
    return named is None or (isinstance(named, str) and named.lower() == operation_id.lower())


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def _kept(body: dict[str, Any]) -> str | None:
    try:
        is_too_large = size_in_utf8(body) > MAX_BODY_BYTES
    except ValueError:
        return None
    return None if is_too_large else json.dumps(body, separators=(",", ":"))


def read_failure(reply: Reply | NoReply | NoToken, operation_id: str) -> Explanation | None:
    """Return the reason of a failure from an operation's job. None if it contains none, or is another operation's.

    The shape is that of `GET …/batchsyntheses/{id}`. Only `properties.error` is read, since the outputs of the job are
    secrets.
    """
    body = _json_object(reply.body) if isinstance(reply, Reply) and reply.status == _OK else None
    properties = body.get("properties") if body is not None and _names(body, operation_id) else None
    return _explanation({"error": properties.get("error")}) if isinstance(properties, dict) else None


def _explanation(body: dict[str, Any]) -> Explanation | None:
    """Return code and message of an error body, nested or flat."""
    error = body.get("error")
    fields = error if isinstance(error, dict) else body
    code, message = _text(fields.get("code"), 64), _text(fields.get("message"), 300)
    return Explanation(code, message) if code or message else None


def _text(value: object, limit: int) -> str:
    """Sanitise untrusted text. URLs in it can contain secrets, and are left out."""
    if not isinstance(value, str):
        return ""
    return printable(_SIGNATURE.sub("sig=…", _URL.sub("…", value[:_LONGEST_SAID])), limit)


def _in_brackets(why: Explanation | None) -> str:
    return "" if why is None else f" ({': '.join(part for part in (why.code, why.message) if part)})"


#: The source of the `SPEECH_*` settings.
DEFAULT_SOURCE = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A Speech endpoint, path prefix and api-version, which a client's `Operation-Location` can name.

    The adapter has the credential.
    """

    #: Lower-case letters, digits and dashes.
    name: str
    #: `https://host`, without a slash at the end.
    endpoint: str
    #: The path before `/operations`. Event types begin with it.
    path: str
    api_version: str
    #: The highest rate of polls.
    requests_per_second: float = 1.0
    #: Further endpoints of the same resource: Speech may return the regional one for a request to another.
    other_endpoints: tuple[str, ...] = ()
    #: Whether to read the reason of a failure from the operation's job.
    explains_failures: bool = False

    @property
    def endpoints(self) -> tuple[str, ...]:
        """All endpoints of this resource, the one for polls first."""
        return (self.endpoint, *self.other_endpoints)

    def locate(self, location: str) -> OperationRef | None:
        """Parse a whole `Operation-Location`. Returns None if it is not about an operation of this source.

        The api-version is ignored, since the source has one. A slash at the end is ignored, too.
        """
        try:
            said = urlsplit(location)
            place = _place(said)
        except ValueError:
            return None
        for endpoint in map(urlsplit, self.endpoints):
            prefix = f"{endpoint.path}/{self.path}/operations/"
            operation_id = unquote(said.path.removeprefix(prefix).removesuffix("/"))
            if place == _place(endpoint) and said.path.startswith(prefix) and OPERATION_ID.fullmatch(operation_id):
                return OperationRef(self.name, operation_id)
        return None


def _place(parts: SplitResult) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port, with the default port of the scheme."""
    return parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS.get(parts.scheme)
