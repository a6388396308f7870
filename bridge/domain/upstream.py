"""The upstream: its sources, which run operations, and the meaning of their answers.

Sources: the REST reference of `Operations - Get` (api-version 2024-08-01), of `Batch Syntheses - Get`, and observed
answers of their siblings. The HTTP status decides. Messages in the body are for people only.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from types import MappingProxyType
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from bridge.domain.callback_url import DEFAULT_PORTS
from bridge.domain.ids import OPERATION_ID, Kind, OperationRef
from bridge.domain.operation import Explanation, FinalStatus, PollError, PollErrorKind
from bridge.domain.retry import parse_retry_after
from bridge.domain.text import printable, size_in_utf8
from bridge.domain.time import parse_instant, whole_millis

_UNASSIGNED = "unassigned: not about the request"

#: Each client error with its kind and the reason. BAD_REQUEST and NOT_FOUND end an operation if they last.
#: UNAUTHORIZED and FORBIDDEN pause the source, RATE_LIMITED stops the source for a while. GATEWAY_ERROR delays the
#: operation and never ends it. The bridge sends a GET without a body, a condition, a range, an expectation or an
#: upgrade, so an answer that complains about one of those is not about the request. Sources: RFC 9110, 15.5, the IANA
#: registry of status codes, and the documentation of IIS, nginx and load balancers of AWS.
CLIENT_ERRORS: Mapping[int, tuple[PollErrorKind, str]] = MappingProxyType(
    {
        **dict.fromkeys(range(400, 500), (PollErrorKind.GATEWAY_ERROR, _UNASSIGNED)),
        400: (PollErrorKind.BAD_REQUEST, "the id, the path or the api-version is wrong"),
        401: (PollErrorKind.UNAUTHORIZED, "the key or the token is not accepted"),
        402: (PollErrorKind.GATEWAY_ERROR, "the subscription's payment, which its owner can mend"),
        403: (PollErrorKind.FORBIDDEN, "the role, the quota or the network rules of the whole resource"),
        404: (PollErrorKind.NOT_FOUND, "no such operation, or not yet"),
        405: (PollErrorKind.BAD_REQUEST, "the path takes no GET: it is not the path of operations"),
        406: (
            PollErrorKind.GATEWAY_ERROR,
            "a gateway's choice of content: the bridge accepts JSON, as the API returns",
        ),
        407: (PollErrorKind.GATEWAY_ERROR, "a proxy on the way wants credentials"),
        408: (PollErrorKind.GATEWAY_ERROR, "a gateway waited too long for the request, which may be repeated"),
        409: (PollErrorKind.GATEWAY_ERROR, "the resource is being changed at this moment"),
        410: (PollErrorKind.NOT_FOUND, "the operation was there and has been removed"),
        411: (PollErrorKind.GATEWAY_ERROR, "a length, which a GET does not have"),
        412: (PollErrorKind.GATEWAY_ERROR, "a condition, and none was sent"),
        413: (PollErrorKind.BAD_REQUEST, "the request is too large, and will be no smaller"),
        414: (PollErrorKind.BAD_REQUEST, "the address is too long, and will be no shorter"),
        415: (PollErrorKind.BAD_REQUEST, "the content type is not taken"),
        416: (PollErrorKind.BAD_REQUEST, "the range cannot be answered"),
        417: (PollErrorKind.GATEWAY_ERROR, "an expectation, and none was sent"),
        418: (PollErrorKind.GATEWAY_ERROR, "reserved, and used by filters in front of a service"),
        421: (PollErrorKind.GATEWAY_ERROR, "the connection leads to a server that is not the source's"),
        422: (PollErrorKind.BAD_REQUEST, "the values of the request cannot be processed"),
        423: (PollErrorKind.GATEWAY_ERROR, "the resource is locked for now"),
        424: (PollErrorKind.GATEWAY_ERROR, "another request failed, on which this one depends"),
        425: (PollErrorKind.GATEWAY_ERROR, "too early data of TLS, which may be repeated"),
        426: (PollErrorKind.GATEWAY_ERROR, "a gateway wants another protocol"),
        428: (PollErrorKind.GATEWAY_ERROR, "a gateway wants a condition, which only a write needs"),
        429: (PollErrorKind.RATE_LIMITED, "too many requests, of the bridge and other clients together"),
        431: (PollErrorKind.BAD_REQUEST, "the headers are too large, and will be no smaller"),
        440: (PollErrorKind.GATEWAY_ERROR, "IIS: the session has ended"),
        444: (PollErrorKind.GATEWAY_ERROR, "nginx: the connection was closed without an answer"),
        449: (PollErrorKind.GATEWAY_ERROR, "IIS: the request may be repeated"),
        450: (PollErrorKind.GATEWAY_ERROR, "a filter in front of the service"),
        451: (PollErrorKind.GATEWAY_ERROR, "a filter for legal reasons in front of the service"),
        460: (PollErrorKind.GATEWAY_ERROR, "AWS: the client of a load balancer went away"),
        463: (PollErrorKind.GATEWAY_ERROR, "AWS: a load balancer met too many forwarding addresses"),
        464: (PollErrorKind.GATEWAY_ERROR, "AWS: a load balancer met another protocol"),
        494: (PollErrorKind.GATEWAY_ERROR, "nginx: the head of the request was too large for a proxy"),
        495: (PollErrorKind.GATEWAY_ERROR, "nginx: a client certificate, and none was sent"),
        496: (PollErrorKind.GATEWAY_ERROR, "nginx: a client certificate, and none was sent"),
        497: (PollErrorKind.GATEWAY_ERROR, "nginx: a request without TLS at a port for TLS"),
        498: (PollErrorKind.GATEWAY_ERROR, "a gateway's own token has ended"),
        499: (PollErrorKind.GATEWAY_ERROR, "nginx: the client of a proxy went away"),
    }
)


#: The limit of the upstream's body that is kept and passed on.
MAX_BODY_BYTES = 4096

#: The longest stop of a source, whatever time it names.
LONGEST_NAMED_STOP = timedelta(hours=1)

#: The error code of a 403 about the identity's role (Azure's RBAC).
_NO_ROLE = "PermissionDenied"

#: Statuses that mean something else if they name a time to wait.
_WITH_WAIT = {403: PollErrorKind.QUOTA_EXCEEDED, 503: PollErrorKind.SERVICE_UNAVAILABLE}

_FINAL_STATUSES = {
    "succeeded": FinalStatus.SUCCEEDED,
    "failed": FinalStatus.FAILED,
    "canceled": FinalStatus.CANCELED,
    "cancelled": FinalStatus.CANCELED,
}

#: The statuses in which a job has ended. The reference of jobs names no other ones.
_JOB_STATUSES = {"succeeded": FinalStatus.SUCCEEDED, "failed": FinalStatus.FAILED}

#: The times of a job that count, relative to the bridge's clock. A job lives for 31 days at most. Other times are
#: placeholders, like the year 1, or of a wrong clock. They would distort ages, and Table storage stores no year 1. The
#: age of a job is zero until its creation, so with a clock ahead it is polled at the shortest gap for five minutes at
#: most.
_OLDEST_TIME, _LATEST_TIME = timedelta(days=366), timedelta(minutes=5)

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
    """There was no usable answer: a timeout, or a fault of the connection. Or the identity got no token to send."""

    error: PollError


@dataclass(frozen=True, slots=True)
class Pending:
    """The operation is still running, or has an undocumented status, which is no end either."""

    status: str
    #: When the job was created. None for an operation.
    created_at: datetime | None = None

    @property
    def is_documented(self) -> bool:
        """Whether the reference documents the status."""
        return self.status.lower() in _KNOWN


@dataclass(frozen=True, slots=True)
class Terminal:
    """The operation has ended."""

    final_status: FinalStatus
    #: The upstream's body as JSON text. None if it was too large to keep, and for a job, whose body has secrets.
    body: str | None
    #: The explanation of a job's failure.
    why: Explanation | None = None
    #: When the job was created, and when it ended. None for an operation.
    created_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class TransientError:
    """The answer was not about the operation."""

    error: PollError
    #: How long the next poll of the operation should wait, if the answer named a time. At most LONGEST_NAMED_STOP.
    wait: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Throttled:
    """The source requests a stop."""

    error: PollError
    #: The length of the stop, if the source named one. At most LONGEST_NAMED_STOP.
    wait: timedelta | None


@dataclass(frozen=True, slots=True)
class NotFound:
    """The source knows no such operation: not yet, not any more, or not at this source."""

    error: PollError


@dataclass(frozen=True, slots=True)
class BadRequest:
    """The source rejected the request as invalid."""

    error: PollError
    #: The code and message of the answer, if any.
    why: Explanation | None = None


@dataclass(frozen=True, slots=True)
class Unauthorized:
    """The source refuses the credential, or there is none. Affects the whole source."""

    error: PollError


PollResult = Pending | Terminal | TransientError | Throttled | NotFound | BadRequest | Unauthorized


def read(reply: Reply | NoReply, ref: OperationRef, now: datetime) -> PollResult:
    """Return the meaning of `reply` for the operation or job that was polled."""
    if isinstance(reply, NoReply):
        return _failed(reply.error)
    if reply.status == HTTPStatus.OK:
        return _read_body(reply.body, ref, now)
    why = _explanation(_json_object(reply.body) or {})
    return _failed(PollError(_kind(reply, why), f"HTTP {reply.status}{_in_brackets(why)}"), _wait(reply, now), why)


def _failed(error: PollError, wait: timedelta | None = None, why: Explanation | None = None) -> PollResult:
    match error.kind:
        case PollErrorKind.BAD_REQUEST:
            return BadRequest(error, why)
        case PollErrorKind.NOT_FOUND:
            return NotFound(error)
        case PollErrorKind.RATE_LIMITED | PollErrorKind.SERVICE_UNAVAILABLE:
            return Throttled(error, wait)
        case (
            PollErrorKind.UNAUTHORIZED
            | PollErrorKind.PERMISSION_DENIED
            | PollErrorKind.QUOTA_EXCEEDED
            | PollErrorKind.FORBIDDEN
            | PollErrorKind.CREDENTIAL_UNAVAILABLE
        ):
            return Unauthorized(error)
        case _:
            return TransientError(error, wait)


def _kind(reply: Reply, why: Explanation | None) -> PollErrorKind:
    """Classify a status other than 200. Azure sends `Retry-After` with a 403 if a quota is used up (API Management)."""
    if reply.retry_after is not None and reply.status in _WITH_WAIT:
        return _WITH_WAIT[reply.status]
    if reply.status == HTTPStatus.FORBIDDEN and why is not None and why.code == _NO_ROLE:
        return PollErrorKind.PERMISSION_DENIED
    if reply.status == HTTPStatus.NO_CONTENT:
        return PollErrorKind.NOT_FOUND
    is_fault = reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    other = PollErrorKind.SERVER_ERROR if is_fault else PollErrorKind.INVALID_RESPONSE
    return CLIENT_ERRORS.get(reply.status, (other, ""))[0]


def _wait(reply: Reply, now: datetime) -> timedelta | None:
    wait = parse_retry_after(reply.retry_after, now)
    return None if wait is None else min(wait, LONGEST_NAMED_STOP)


def _read_body(raw: bytes, ref: OperationRef, now: datetime) -> Pending | Terminal | TransientError:
    body = _json_object(raw)
    if body is None:
        return _invalid("HTTP 200 without a JSON object")
    if not _names(body, ref.id):
        return _invalid(f"HTTP 200 about another {ref.kind}")
    status = _status(body)
    if status is None:
        return _invalid("HTTP 200 without a status")
    if ref.is_job:
        return _job_result(status, body, now)
    final_status = _FINAL_STATUSES.get(status.strip().lower())
    return Pending(_text(status, 64)) if final_status is None else Terminal(final_status, _kept(body))


def _status(body: dict[str, Any]) -> str | None:
    status = body.get("status")
    return status if isinstance(status, str) and status.strip() else None


def _job_result(status: str, body: dict[str, Any], now: datetime) -> Pending | Terminal:
    """Return the result about a job. Only status, times and error are read: its outputs and properties have secrets."""
    created_at = _instant(body.get("createdDateTime"), now)
    final_status = _JOB_STATUSES.get(status.strip().lower())
    if final_status is None:
        return Pending(_text(status, 64), created_at)
    properties = body.get("properties")
    why = _explanation({"error": properties.get("error")}) if isinstance(properties, dict) else None
    ended_at = _instant(body.get("lastActionDateTime"), now)
    return Terminal(final_status, None, why=why, created_at=created_at, ended_at=ended_at)


def _instant(value: object, now: datetime) -> datetime | None:
    """Parse a time of the upstream in UTC, which some answers write without a zone. None for an implausible time."""
    read = parse_instant(value) or (parse_instant(f"{value}Z") if isinstance(value, str) else None)
    if read is None or not now - _OLDEST_TIME <= read <= now + _LATEST_TIME:
        return None
    return whole_millis(read.astimezone(UTC))


def _invalid(detail: str) -> TransientError:
    return TransientError(PollError(PollErrorKind.INVALID_RESPONSE, detail))


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


def read_failure(reply: Reply | NoReply, operation_id: str) -> Explanation | None:
    """Return the reason of a failure from an operation's job. None if it contains none, or is another operation's.

    The shape is that of `GET …/batchsyntheses/{id}`. Only `properties.error` is read, since the outputs of the job are
    secrets.
    """
    body = _json_object(reply.body) if isinstance(reply, Reply) and reply.status == HTTPStatus.OK else None
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


#: The path segment of each kind, after the path of the source.
RESOURCES: Mapping[Kind, str] = MappingProxyType({Kind.OPERATION: "operations", Kind.JOB: "batchsyntheses"})

#: The paths of the APIs with jobs: batch avatar and batch text to speech.
JOB_PATHS = frozenset({"avatar", "texttospeech"})

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

    @property
    def has_jobs(self) -> bool:
        """Whether the API of this source has jobs."""
        return self.path in JOB_PATHS

    def locate(self, location: str, kind: Kind = Kind.OPERATION) -> OperationRef | None:
        """Parse the whole URL of an operation (`Operation-Location`) or a job. Returns None if it is not this source's.

        The api-version is ignored, since the source has one. A slash at the end is ignored, too.
        """
        if kind is Kind.JOB and not self.has_jobs:
            return None
        try:
            said = urlsplit(location)
            place = _place(said)
        except ValueError:
            return None
        for endpoint in map(urlsplit, self.endpoints):
            prefix = f"{endpoint.path}/{self.path}/{RESOURCES[kind]}/"
            operation_id = unquote(said.path.removeprefix(prefix).removesuffix("/"))
            if place == _place(endpoint) and said.path.startswith(prefix) and OPERATION_ID.fullmatch(operation_id):
                return OperationRef(self.name, operation_id, kind)
        return None


def _place(parts: SplitResult) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port, with the default port of the scheme."""
    return parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS.get(parts.scheme)
