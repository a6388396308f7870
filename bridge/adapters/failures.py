"""Which class of failure an exception of the HTTP libraries belongs to."""

import ssl
from collections.abc import Iterator
from http.client import HTTPException, LineTooLong

import requests

from bridge.adapters.egress import ConnectFailed, RefusedByRules
from bridge.adapters.resolver import NameNotResolved
from bridge.adapters.strict_response import HeadIncomplete, HeadTooLarge
from bridge.core.callback import CallbackRefused
from bridge.core.outcome import Failure

#: The class of a failure, by the first of these that is found among its causes.
_FAILURES: tuple[tuple[tuple[type[BaseException], ...], Failure], ...] = (
    ((RefusedByRules, CallbackRefused), Failure.REFUSED_BY_RULES),
    ((NameNotResolved,), Failure.DNS),
    ((ConnectFailed,), Failure.CONNECT),
    ((HeadTooLarge, LineTooLong), Failure.HEAD_TOO_LARGE),
    ((ssl.SSLError, requests.exceptions.SSLError), Failure.TLS),
    ((TimeoutError, requests.Timeout), Failure.TIMEOUT),
    ((ConnectionError, HeadIncomplete), Failure.CLOSED),
)


def failure_of(error: BaseException) -> Failure:
    """Name the class of a failure; its text could show the URL."""
    causes = list(_causes(error))
    for kinds, failure in _FAILURES:
        if any(isinstance(cause, kinds) for cause in causes):
            return failure
    too_many_headers = any("got more than" in str(cause) for cause in causes if type(cause) is HTTPException)
    return Failure.HEAD_TOO_LARGE if too_many_headers else Failure.PROTOCOL


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Walk through what the libraries have wrapped, each in its own way."""
    left, seen = [error], set[int]()
    while left:
        cause = left.pop(0)
        if id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            wrapped = (cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args)
            left += [each for each in wrapped if isinstance(each, BaseException)]
