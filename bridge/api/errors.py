"""Answers that are no success, in Azure's shape: `{"error": {"code", "message", "target", "details"}}`."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import azure.functions as func

from bridge.api.responses import ErrorAnswer
from bridge.diagnostics import STORAGE_ADVICE
from bridge.domain.errors import Misconfigured, StorageRefused
from bridge.domain.header_cipher import DecryptionFailed
from bridge.domain.outcome import Failure
from bridge.domain.principal import Role, TokenError
from bridge.domain.rate_limit import PINGS_A_MINUTE
from bridge.domain.registration import RUNS_AN_HOUR

#: Seconds after which a client may try again.
RETRY_AFTER = 5


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

    status: int
    code: str
    message: str
    target: str | None = None
    details: Sequence[Detail] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> func.HttpResponse:
        """Write it."""
        body: ErrorAnswer = {
            "error": {
                "code": self.code,
                "message": self.message,
                "target": self.target,
                "details": [
                    {"code": each.code, "message": each.message, "target": each.target} for each in self.details
                ],
            }
        }
        return func.HttpResponse(
            json.dumps(body),
            status_code=self.status,
            mimetype="application/json",
            headers={"x-ms-error-code": self.code, "Cache-Control": "no-store", **self.headers},
        )


def invalid(details: Sequence[Detail]) -> Problem:
    """Refuse a request whose fields are wrong, naming every one of them."""
    names = ", ".join(dict.fromkeys(each.target for each in details))
    return Problem(400, "InvalidRequest", f"These are not right, see details: {names}", details=details)


def not_found(what: str) -> Problem:
    """Say that there is no such thing, or not for this caller."""
    return Problem(404, "NotFound", f"There is no such {what}.", target="id")


def operation_taken(target: str) -> Problem:
    """Say that the operation is another owner's. The answer does not name the owner."""
    message = (
        "Another client has registered for this operation, and its outcome goes to that client alone. If the id is "
        "yours, ask an admin of the bridge to cancel the other registration."
    )
    return Problem(409, "OperationTaken", message, target=target)


def too_many_registrations(limit: int, *, of_owner: bool) -> Problem:
    """Ask the client to cancel a registration first. What has ended stays in its state, and so in its place."""
    has = (
        f"One client has at most {limit} registrations for an operation"
        if of_owner
        else (f"An operation has at most {limit} registrations")
    )
    message = f"{has}. Cancel one that has not ended to make room."
    return Problem(409, "TooManyRegistrations", message, target="operationId")


def unavailable() -> Problem:
    """Ask the client to come back: storage does not answer."""
    return Problem(
        503,
        "StorageUnavailable",
        "Storage does not answer. Nothing is lost: send the same request again.",
        headers={"Retry-After": str(RETRY_AFTER)},
    )


def refused_by_storage(error: StorageRefused) -> Problem:
    """Say that storage refuses the bridge, which sending again does not mend."""
    return Problem(
        503,
        "StorageRefused",
        f"Storage refuses the bridge ({error.code}). Nothing is lost. An operator has to mend this: {STORAGE_ADVICE}.",
        headers={"Retry-After": "60"},
    )


def too_busy() -> Problem:
    """Ask the client to come back: as many lists and overviews are being read as an instance reads at once."""
    return Problem(
        503,
        "TooBusy",
        "Too many lists and overviews are read at this moment. Send the same request again.",
        headers={"Retry-After": str(RETRY_AFTER)},
    )


def contended() -> Problem:
    """Ask the client to come back: others changed the same rows in every round."""
    return Problem(
        503,
        "Contended",
        "Other requests changed the same operation again and again. Nothing is lost: send the same request again.",
        headers={"Retry-After": "1"},
    )


def unreadable() -> Problem:
    """Ask the client to come back when a version that can read the rows is running."""
    return Problem(
        503,
        "UnreadableRow",
        "This was written by another version of the bridge, and is left to it. Nothing is lost.",
        headers={"Retry-After": str(RETRY_AFTER)},
    )


def secrets_unreadable(undecrypted: DecryptionFailed) -> Problem:
    """Report a registration with the same callback whose headers or URL need a signing key that is missing."""
    if undecrypted.error is Failure.CALLBACK_URL:
        message = (
            f"A callback is registered for this operation with a URL whose query cannot be read: {undecrypted.why}."
        )
        return Problem(409, "CallbackUrlUnreadable", message, target="callbackUrl")
    message = f"This callback is registered for this operation with headers that cannot be read: {undecrypted.why}."
    return Problem(409, "HeadersUnreadable", message, target="headers")


def too_many_pings(wait: timedelta) -> Problem:
    """Ask the client to come back when the minute has a ping left."""
    seconds = max(1, math.ceil(wait.total_seconds()))
    message = f"The bridge sends {PINGS_A_MINUTE} pings a minute at the most, for all its clients together."
    return Problem(429, "TooManyPings", message, headers={"Retry-After": str(seconds)})


def too_many_runs(wait: timedelta) -> Problem:
    """Ask the client to come back when the hour has a run of the registration left."""
    seconds = max(1, math.ceil(wait.total_seconds()))
    message = f"A registration has at most {RUNS_AN_HOUR} further runs of attempts in an hour."
    return Problem(429, "TooManyRuns", message, target="id", headers={"Retry-After": str(seconds)})


def too_many_waiting(limit: int) -> Problem:
    """Ask the client to come back when some of its operations have ended."""
    message = f"{limit} of your registrations wait for their operations, and no more may at a time."
    return Problem(429, "TooManyWaiting", message, headers={"Retry-After": "60"})


def misconfigured(error: Misconfigured | None) -> Problem:
    """Name every setting that is wrong; none of them to somebody who has no key."""
    problems = {} if error is None else error.problems
    details = [Detail("InvalidSetting", message, name) for name, message in problems.items()]
    message = f"The app's settings are missing or wrong; {'see details' if details else 'its log says which'}."
    return Problem(503, "Misconfigured", message, details=details, headers={"Retry-After": "60"})


def invalid_token(why: TokenError) -> Problem:
    """Ask for a token, or for another one (RFC 6750, 3)."""
    if why is TokenError.MISSING:
        return _challenge(401, "Unauthorized", "Send a token: Authorization: Bearer ….", "Bearer")
    message = f"The token is not believed: {why}."
    return _challenge(401, "Unauthorized", message, 'Bearer error="invalid_token"')


def insufficient_scope() -> Problem:
    """Say that the token is right, and lets its holder do nothing here."""
    message = f"The token has neither the role {Role.USE} nor {Role.ADMIN}."
    return _challenge(403, "Forbidden", message, 'Bearer error="insufficient_scope"')


def for_admins() -> Problem:
    """Say that another role is needed."""
    message = f"This call needs the role {Role.ADMIN}."
    return _challenge(403, "Forbidden", message, 'Bearer error="insufficient_scope"')


def keys_unavailable() -> Problem:
    """Ask the client to come back: nobody can say now what its token is worth."""
    message = "The keys that tokens are verified with are not to be had. Send the same request again."
    return Problem(503, "KeysUnavailable", message, headers={"Retry-After": str(RETRY_AFTER)})


def internal() -> Problem:
    """Say that it is our fault, and nothing more: the log has the rest."""
    return Problem(500, "InternalError", "The bridge failed; its log says why.")


def _challenge(status: int, code: str, message: str, challenge: str) -> Problem:
    return Problem(status, code, message, target="Authorization", headers={"WWW-Authenticate": challenge})
