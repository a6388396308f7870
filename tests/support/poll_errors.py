"""Errors of polls, and requests without a response, for tests."""

from http import HTTPStatus

from bridge.domain.operation import PollError, PollErrorKind
from bridge.domain.upstream import CLIENT_ERRORS, NoReply


def http_error(status: int) -> PollError:
    """Return the error of a status without a body."""
    other = PollErrorKind.SERVER_ERROR if status >= HTTPStatus.INTERNAL_SERVER_ERROR else PollErrorKind.INVALID_RESPONSE
    return PollError(CLIENT_ERRORS.get(status, (other, ""))[0], f"HTTP {status}")


def no_reply(kind: PollErrorKind, detail: str) -> NoReply:
    """Return a request without a response."""
    return NoReply(PollError(kind, detail))


TIMED_OUT = no_reply(PollErrorKind.TIMEOUT, "no whole answer in time")
TIMEOUT = TIMED_OUT.error
UNRESOLVED = no_reply(PollErrorKind.DNS_FAILED, "the name has no address")
UNCONNECTED = no_reply(PollErrorKind.CONNECTION_FAILED, "no connection")
NO_TOKEN = no_reply(PollErrorKind.CREDENTIAL_UNAVAILABLE, "no token: X")
NO_SOURCE = no_reply(PollErrorKind.UNKNOWN_SOURCE, "no source is named second")
