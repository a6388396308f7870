"""Answers that are no success, in Azure's shape: `{"error": {"code", "message", "target", "details"}}`."""

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

#: Seconds after which a client may try again.
RETRY_AFTER = 5


class ErrorCode(StrEnum):
    """The code of an error, with its HTTP status and its meaning in the description of the API."""

    status: HTTPStatus
    meaning: str

    def __new__(cls, code: str, status: int, meaning: str) -> Self:
        """Make one; its text is the code alone."""
        made = str.__new__(cls, code)
        made._value_, made.status, made.meaning = code, HTTPStatus(status), meaning
        return made

    INVALID_REQUEST = "InvalidRequest", 400, "fields or parameters are wrong, and `details` names every one"
    INVALID_JSON = "InvalidJson", 400, "the body is no JSON object"
    UNAUTHORIZED = "Unauthorized", 401, "there is no token, or one that is not believed"
    FORBIDDEN = "Forbidden", 403, "the token lacks the role that this call needs"
    NOT_FOUND = "NotFound", 404, "there is no such thing, or it is another owner's"
    REGISTRATION_DIFFERS = "RegistrationDiffers", 409, "it is registered with other content"
    HEADERS_UNREADABLE = "HeadersUnreadable", 409, "it is registered, with headers whose key is missing"
    CALLBACK_URL_UNREADABLE = "CallbackUrlUnreadable", 409, "it may be registered, with a query whose key is missing"
    OPERATION_TAKEN = "OperationTaken", 409, "another owner has the operation, and owners do not share operations"
    TOO_MANY_REGISTRATIONS = "TooManyRegistrations", 409, "the operation, or the caller, has as many as it can"
    NO_MESSAGE_YET = "NoMessageYet", 409, "there is no message to deliver again"
    LENGTH_REQUIRED = "LengthRequired", 411, "the platform loses chunked bodies: send a `Content-Length`"
    PAYLOAD_TOO_LARGE = "PayloadTooLarge", 413, "the body is too large"
    UNSUPPORTED_MEDIA_TYPE = "UnsupportedMediaType", 415, "the type is not JSON in UTF-8, or the body is encoded"
    TOO_MANY_PINGS = "TooManyPings", 429, "the minute has no ping left"
    TOO_MANY_RUNS = "TooManyRuns", 429, "the hour has no further run of this registration left"
    TOO_MANY_WAITING = "TooManyWaiting", 429, "as many wait as may: `BRIDGE_MAX_WAITING_PER_OWNER`"
    INTERNAL_ERROR = "InternalError", 500, "the bridge failed"
    STORAGE_UNAVAILABLE = "StorageUnavailable", 503, "storage does not answer; nothing is lost, send the same again"
    STORAGE_REFUSED = "StorageRefused", 503, "storage refuses the bridge: an operator has to mend this; nothing is lost"
    CONTENDED = "Contended", 503, "others changed the same rows again and again; nothing is lost, send the same again"
    UNREADABLE_ROW = "UnreadableRow", 503, "a row is of another version of the bridge, and is left to it"
    TOO_BUSY = "TooBusy", 503, "as many lists and overviews are read as an instance reads at once; send the same again"
    MISCONFIGURED = "Misconfigured", 503, "settings are missing or wrong"
    KEYS_UNAVAILABLE = "KeysUnavailable", 503, "the keys that tokens are verified with are not to be had"


@dataclass(frozen=True, slots=True)
class Detail:
    """One thing that is wrong."""

    code: str
    message: str
    #: The field, header or setting that it is about.
    target: str


@dataclass(slots=True)
class Problem(Exception):
    """An answer to a request that was not, or could not be, followed."""

    code: ErrorCode
    message: str
    target: str | None = None
    details: Sequence[Detail] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> func.HttpResponse:
        """Write it."""
        details = [ErrorDetail.of(each) for each in self.details]
        return func.HttpResponse(
            ErrorAnswer(error=Error.of(self, details=details)).text(),
            status_code=self.code.status,
            mimetype="application/json",
            headers={"x-ms-error-code": self.code, "Cache-Control": "no-store", **self.headers},
        )


def invalid(details: Sequence[Detail]) -> Problem:
    """Refuse a request whose fields are wrong, naming every one of them."""
    names = ", ".join(dict.fromkeys(each.target for each in details))
    return Problem(ErrorCode.INVALID_REQUEST, f"These are not right, see details: {names}", details=details)


def not_found(what: str) -> Problem:
    """Say that there is no such thing, or not for this caller."""
    return Problem(ErrorCode.NOT_FOUND, f"There is no such {what}.", target="id")


def operation_taken(target: str) -> Problem:
    """Say that the operation is another owner's. The answer does not name the owner."""
    message = (
        "Another client has registered for this operation, and its outcome goes to that client alone. If the id is "
        "yours, ask an admin of the bridge to cancel the other registration."
    )
    return Problem(ErrorCode.OPERATION_TAKEN, message, target=target)


def too_many_registrations(limit: int, *, of_owner: bool) -> Problem:
    """Ask the client to cancel a registration first. What has ended stays in its state, and so in its place."""
    has = (
        f"One client has at most {limit} registrations for an operation"
        if of_owner
        else (f"An operation has at most {limit} registrations")
    )
    message = f"{has}. Cancel one that has not ended to make room."
    return Problem(ErrorCode.TOO_MANY_REGISTRATIONS, message, target="operationId")


def unavailable() -> Problem:
    """Ask the client to come back: storage does not answer."""
    return Problem(
        ErrorCode.STORAGE_UNAVAILABLE,
        "Storage does not answer. Nothing is lost: send the same request again.",
        headers={"Retry-After": str(RETRY_AFTER)},
    )


def refused_by_storage(error: StorageRefused) -> Problem:
    """Say that storage refuses the bridge, which sending again does not mend."""
    return Problem(
        ErrorCode.STORAGE_REFUSED,
        f"Storage refuses the bridge ({error.code}). Nothing is lost. An operator has to mend this: {STORAGE_ADVICE}.",
        headers={"Retry-After": "60"},
    )


def too_busy() -> Problem:
    """Ask the client to come back: as many lists and overviews are being read as an instance reads at once."""
    return Problem(
        ErrorCode.TOO_BUSY,
        "Too many lists and overviews are read at this moment. Send the same request again.",
        headers={"Retry-After": str(RETRY_AFTER)},
    )


def contended() -> Problem:
    """Ask the client to come back: others changed the same rows in every round."""
    return Problem(
        ErrorCode.CONTENDED,
        "Other requests changed the same operation again and again. Nothing is lost: send the same request again.",
        headers={"Retry-After": "1"},
    )


def unreadable() -> Problem:
    """Ask the client to come back when a version that can read the rows is running."""
    return Problem(
        ErrorCode.UNREADABLE_ROW,
        "This was written by another version of the bridge, and is left to it. Nothing is lost.",
        headers={"Retry-After": str(RETRY_AFTER)},
    )


def secrets_unreadable(undecrypted: DecryptionFailed) -> Problem:
    """Report a registration with the same callback whose headers or URL need a signing key that is missing."""
    if undecrypted.error is Failure.CALLBACK_URL:
        message = (
            f"A callback is registered for this operation with a URL whose query cannot be read: {undecrypted.why}."
        )
        return Problem(ErrorCode.CALLBACK_URL_UNREADABLE, message, target="callbackUrl")
    message = f"This callback is registered for this operation with headers that cannot be read: {undecrypted.why}."
    return Problem(ErrorCode.HEADERS_UNREADABLE, message, target="headers")


def too_many_pings(wait: timedelta) -> Problem:
    """Ask the client to come back when the minute has a ping left."""
    seconds = max(1, math.ceil(wait.total_seconds()))
    message = f"The bridge sends {PINGS_A_MINUTE} pings a minute at the most, for all its clients together."
    return Problem(ErrorCode.TOO_MANY_PINGS, message, headers={"Retry-After": str(seconds)})


def too_many_runs(wait: timedelta) -> Problem:
    """Ask the client to come back when the hour has a run of the registration left."""
    seconds = max(1, math.ceil(wait.total_seconds()))
    message = f"A registration has at most {RUNS_AN_HOUR} further runs of attempts in an hour."
    return Problem(ErrorCode.TOO_MANY_RUNS, message, target="id", headers={"Retry-After": str(seconds)})


def too_many_waiting(limit: int) -> Problem:
    """Ask the client to come back when some of its operations have ended."""
    message = f"{limit} of your registrations wait for their operations, and no more may at a time."
    return Problem(ErrorCode.TOO_MANY_WAITING, message, headers={"Retry-After": "60"})


def misconfigured(error: Misconfigured | None) -> Problem:
    """Name every setting that is wrong; none of them to somebody who has no key."""
    problems = {} if error is None else error.problems
    details = [Detail("InvalidSetting", message, name) for name, message in problems.items()]
    message = f"The app's settings are missing or wrong; {'see details' if details else 'its log says which'}."
    return Problem(ErrorCode.MISCONFIGURED, message, details=details, headers={"Retry-After": "60"})


def invalid_token(why: TokenError) -> Problem:
    """Ask for a token, or for another one (RFC 6750, 3)."""
    if why is TokenError.MISSING:
        return _challenge(ErrorCode.UNAUTHORIZED, "Send a token: Authorization: Bearer ….", "Bearer")
    message = f"The token is not believed: {why}."
    return _challenge(ErrorCode.UNAUTHORIZED, message, 'Bearer error="invalid_token"')


def insufficient_scope() -> Problem:
    """Say that the token is right, and lets its holder do nothing here."""
    message = f"The token has neither the role {Role.USE} nor {Role.ADMIN}."
    return _challenge(ErrorCode.FORBIDDEN, message, 'Bearer error="insufficient_scope"')


def for_admins() -> Problem:
    """Say that another role is needed."""
    message = f"This call needs the role {Role.ADMIN}."
    return _challenge(ErrorCode.FORBIDDEN, message, 'Bearer error="insufficient_scope"')


def keys_unavailable() -> Problem:
    """Ask the client to come back: nobody can say now what its token is worth."""
    message = "The keys that tokens are verified with are not to be had. Send the same request again."
    return Problem(ErrorCode.KEYS_UNAVAILABLE, message, headers={"Retry-After": str(RETRY_AFTER)})


def internal() -> Problem:
    """Say that it is our fault, and nothing more: the log has the rest."""
    return Problem(ErrorCode.INTERNAL_ERROR, "The bridge failed; its log says why.")


def _challenge(code: ErrorCode, message: str, challenge: str) -> Problem:
    return Problem(code, message, target="Authorization", headers={"WWW-Authenticate": challenge})
