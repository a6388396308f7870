"""Error answers in Azure's shape: `{"error": {"code", "message", "target", "details"}}`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from http import HTTPStatus
from typing import Self

import azure.functions as func

from bridge.api.responses import Error, ErrorAnswer, ErrorDetail
from bridge.diagnostics import STORAGE_ADVICE
from bridge.domain.errors import Misconfigured, StorageRefused
from bridge.domain.header_cipher import DecryptionFailed
from bridge.domain.outcome import Failure
from bridge.domain.principal import Role, TokenError
from bridge.domain.rate_limit import PINGS_A_MINUTE
from bridge.domain.registration import RUNS_AN_HOUR

#: The default `Retry-After`, in seconds.
RETRY_AFTER = 5


class ErrorCode(StrEnum):
    """The code of an error, with the HTTP status and the meaning in the description of the API."""

    status: HTTPStatus
    meaning: str

    def __new__(cls, code: str, status: int, meaning: str) -> Self:
        """Create a code. Its text is only the code."""
        made = str.__new__(cls, code)
        made._value_, made.status, made.meaning = code, HTTPStatus(status), meaning
        return made

    INVALID_REQUEST = "InvalidRequest", 400, "fields or parameters are invalid, and `details` names all of them"
    INVALID_JSON = "InvalidJson", 400, "the body is not a JSON object"
    UNAUTHORIZED = "Unauthorized", 401, "the token is missing or not accepted"
    FORBIDDEN = "Forbidden", 403, "the token lacks the role that this call needs"
    NOT_FOUND = "NotFound", 404, "it does not exist, or belongs to another owner"
    REGISTRATION_DIFFERS = "RegistrationDiffers", 409, "the same callback is registered with other content"
    HEADERS_UNREADABLE = "HeadersUnreadable", 409, "it is registered, with headers that need a missing key"
    CALLBACK_URL_UNREADABLE = (
        "CallbackUrlUnreadable",
        409,
        "it may be registered, with a query that needs a missing key",
    )
    OPERATION_TAKEN = "OperationTaken", 409, "another owner has the operation, and owners do not share operations"
    TOO_MANY_REGISTRATIONS = (
        "TooManyRegistrations",
        409,
        "the operation, or the caller, has as many registrations as possible",
    )
    NO_MESSAGE_YET = "NoMessageYet", 409, "there is no message: the operation has not ended, or its end was filtered"
    NOT_ENDED = "NotEnded", 409, "the registration is waiting or pending: cancel it first, then purge it"
    LENGTH_REQUIRED = "LengthRequired", 411, "the platform loses chunked bodies: send a `Content-Length`"
    PAYLOAD_TOO_LARGE = "PayloadTooLarge", 413, "the body is too large"
    UNSUPPORTED_MEDIA_TYPE = "UnsupportedMediaType", 415, "the type is not JSON in UTF-8, or the body is encoded"
    TOO_MANY_PINGS = "TooManyPings", 429, "the minute has no ping left"
    TOO_MANY_RUNS = "TooManyRuns", 429, "the hour has no further run or retry of this registration left"
    TOO_MANY_WAITING = (
        "TooManyWaiting",
        429,
        "the caller has as many waiting registrations as allowed: `BRIDGE_MAX_WAITING_PER_OWNER`",
    )
    INTERNAL_ERROR = "InternalError", 500, "the bridge failed"
    STORAGE_UNAVAILABLE = "StorageUnavailable", 503, "storage does not answer; nothing is lost, send the same again"
    STORAGE_REFUSED = "StorageRefused", 503, "storage refuses the bridge: an operator has to act; nothing is lost"
    CONTENDED = "Contended", 503, "others changed the same rows again and again; nothing is lost, send the same again"
    UNREADABLE_ROW = "UnreadableRow", 503, "another version of the bridge wrote the row"
    TOO_BUSY = "TooBusy", 503, "the instance already reads as many lists and overviews as possible; send the same again"
    MISCONFIGURED = "Misconfigured", 503, "settings are missing or wrong"
    KEYS_UNAVAILABLE = "KeysUnavailable", 503, "the keys for the verification of tokens are unavailable"


@dataclass(frozen=True, slots=True)
class Detail:
    """One problem."""

    code: str
    message: str
    #: The field, header or setting with the problem.
    target: str


@dataclass(slots=True)
class Problem(Exception):
    """The answer to a request that was refused or failed."""

    code: ErrorCode
    message: str
    target: str | None = None
    details: Sequence[Detail] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Seconds after which the client may send the request again.
    retry_after: int | None = None

    def response(self) -> func.HttpResponse:
        """Return the HTTP response."""
        details = [ErrorDetail.of(each) for each in self.details]
        later = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return func.HttpResponse(
            ErrorAnswer(error=Error.of(self, details=details)).text(),
            status_code=self.code.status,
            mimetype="application/json",
            headers={"x-ms-error-code": self.code, "Cache-Control": "no-store", **self.headers, **later},
        )


def invalid(details: Sequence[Detail]) -> Problem:
    """Refuse a request with invalid fields, naming all of them."""
    return Problem(ErrorCode.INVALID_REQUEST, _first_of(details), details=details)


def _first_of(details: Sequence[Detail]) -> str:
    """Return the first problem, and the number of further ones."""
    first, more = details[0], len(details) - 1
    others = "" if not more else f" (and {more} more {'problem' if more == 1 else 'problems'}, see details)"
    return f"{first.target} {first.message.removesuffix('.')}{others}."


def registration_differs(public_id: str, location: str, fields: Sequence[str]) -> Problem:
    """Name the existing registration of the same callback, and the fields with other content."""
    details = [Detail("Differs", f"differs from that of the registration {public_id}", name) for name in fields]
    message = (
        f"This callback is registered for this operation as {public_id}, with another value of {', '.join(fields)}. "
        "Cancel that registration first."
    )
    code = ErrorCode.REGISTRATION_DIFFERS
    return Problem(code, message, target=fields[0], details=details, headers={"Location": location})


def not_found(what: str) -> Problem:
    """Answer that a resource does not exist, at least not for this caller."""
    return Problem(ErrorCode.NOT_FOUND, f"There is no such {what}.", target="id")


def no_message_yet() -> Problem:
    """Answer that a registration has no message."""
    message = "There is no message: the operation has not ended, or its end was filtered."
    return Problem(ErrorCode.NO_MESSAGE_YET, message, target="id")


def operation_taken(target: str) -> Problem:
    """Answer that the operation belongs to another owner, without naming the owner."""
    message = (
        "Another client has registered for this operation, and its outcome goes to that client alone. If the id is "
        "yours, ask an admin of the bridge to cancel the other registration."
    )
    return Problem(ErrorCode.OPERATION_TAKEN, message, target=target)


def too_many_registrations(limit: int, *, of_owner: bool) -> Problem:
    """Request that the client cancels a registration first. Ended registrations keep their state and their place."""
    most = f"at most {limit} registrations"
    has = f"One client has {most} for an operation" if of_owner else f"An operation has {most}"
    message = f"{has}. Cancel one that has not ended to make room."
    return Problem(ErrorCode.TOO_MANY_REGISTRATIONS, message, target="operationId")


def unavailable() -> Problem:
    """Request a retry, since storage does not answer."""
    message = "Storage does not answer. Nothing is lost: send the same request again."
    return Problem(ErrorCode.STORAGE_UNAVAILABLE, message, retry_after=RETRY_AFTER)


def refused_by_storage(error: StorageRefused) -> Problem:
    """Answer that storage refuses the bridge, so that a retry does not help."""
    message = f"Storage refuses the bridge ({error.code}). Nothing is lost. An operator has to act: {STORAGE_ADVICE}."
    return Problem(ErrorCode.STORAGE_REFUSED, message, retry_after=60)


def too_busy() -> Problem:
    """Request a retry, since the instance already reads as many lists and overviews as it can."""
    message = "Too many lists and overviews are read at this moment. Send the same request again."
    return Problem(ErrorCode.TOO_BUSY, message, retry_after=RETRY_AFTER)


def contended() -> Problem:
    """Request a retry, since other requests changed the same rows in every round."""
    message = "Other requests changed the same operation again and again. Nothing is lost: send the same request again."
    return Problem(ErrorCode.CONTENDED, message, retry_after=1)


def unreadable() -> Problem:
    """Request a retry when a version runs that can read the rows."""
    message = "Another version of the bridge wrote this row. Nothing is lost."
    return Problem(ErrorCode.UNREADABLE_ROW, message, retry_after=RETRY_AFTER)


def secrets_unreadable(public_id: str, location: str, undecrypted: DecryptionFailed) -> Problem:
    """Report a registration of the same callback with headers or a URL that need a missing signing key."""
    if undecrypted.error is Failure.CALLBACK_URL:
        code, target = ErrorCode.CALLBACK_URL_UNREADABLE, "callbackUrl"
        message = (
            f"The callback may be registered for this operation as {public_id}, with a URL whose query cannot be read: "
            f"{undecrypted.why}."
        )
    else:
        code, target = ErrorCode.HEADERS_UNREADABLE, "headers"
        message = (
            f"This callback is registered for this operation as {public_id}, with headers that cannot be read: "
            f"{undecrypted.why}."
        )
    details = [Detail("Unreadable", f"of the registration {public_id} cannot be read: {undecrypted.why}", target)]
    return Problem(code, message, target=target, details=details, headers={"Location": location})


def too_many_pings(wait: timedelta) -> Problem:
    """Request a retry when the rate limit allows another ping."""
    seconds = max(1, math.ceil(wait.total_seconds()))
    message = f"The bridge sends at most {PINGS_A_MINUTE} pings a minute, for all its clients together."
    return Problem(ErrorCode.TOO_MANY_PINGS, message, retry_after=seconds)


def too_many_runs(wait: timedelta) -> Problem:
    """Request a retry when the registration may have another run."""
    seconds = max(1, math.ceil(wait.total_seconds()))
    message = f"A registration has at most {RUNS_AN_HOUR} further runs and retries in an hour."
    return Problem(ErrorCode.TOO_MANY_RUNS, message, target="id", retry_after=seconds)


def too_many_waiting(limit: int) -> Problem:
    """Request a retry when some of the client's operations have ended."""
    message = f"{limit} of your registrations wait for their operations, which is the limit."
    return Problem(ErrorCode.TOO_MANY_WAITING, message, retry_after=60)


def misconfigured(error: Misconfigured | None) -> Problem:
    """Name all invalid settings. For a public route, `error` is None and no setting is named."""
    problems = {} if error is None else error.problems
    details = [Detail("InvalidSetting", message, name) for name, message in problems.items()]
    named = _first_of(details) if details else "The log of the app names them."
    message = f"The app's settings are missing or wrong. {named}"
    return Problem(ErrorCode.MISCONFIGURED, message, details=details, retry_after=60)


def invalid_token(why: TokenError) -> Problem:
    """Request a token, or another one (RFC 6750, 3)."""
    if why is TokenError.MISSING:
        return _challenge(ErrorCode.UNAUTHORIZED, "Send a token: Authorization: Bearer ….", "Bearer")
    message = f"The token is not accepted: {why}."
    return _challenge(ErrorCode.UNAUTHORIZED, message, 'Bearer error="invalid_token"')


def insufficient_scope() -> Problem:
    """Answer that the token is valid, but grants no access."""
    message = f"The token has neither the role {Role.USE} nor {Role.ADMIN}."
    return _challenge(ErrorCode.FORBIDDEN, message, 'Bearer error="insufficient_scope"')


def for_admins() -> Problem:
    """Answer that the call needs the admin role."""
    message = f"This call needs the role {Role.ADMIN}."
    return _challenge(ErrorCode.FORBIDDEN, message, 'Bearer error="insufficient_scope"')


def keys_unavailable() -> Problem:
    """Request a retry, since no token can be verified now."""
    message = "The keys for the verification of tokens are unavailable. Send the same request again."
    return Problem(ErrorCode.KEYS_UNAVAILABLE, message, retry_after=RETRY_AFTER)


def internal() -> Problem:
    """Answer that the bridge failed, without details, which are in the log."""
    return Problem(ErrorCode.INTERNAL_ERROR, "The bridge failed. Its log has the reason.")


def _challenge(code: ErrorCode, message: str, challenge: str) -> Problem:
    return Problem(code, message, target="Authorization", headers={"WWW-Authenticate": challenge})
