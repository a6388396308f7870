"""Calls to a storage service: one wall-clock deadline per call, and a circuit breaker for a silent service.

The timeouts of the libraries restart with every byte and with every retry, so an answer that drips could hold a thread
forever. Here one deadline covers everything that a call does on the network: the name lookup, the token of an identity,
retries and further pages. A request to the API has a separate deadline, which also limits every call within the
request.
"""

import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any

from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.transport import RequestsTransport
from typing_extensions import override

from bridge.adapters.azure.session import guarded_session
from bridge.adapters.net.guard import ANYWHERE, Guard, Limits
from bridge.domain.errors import StorageRefused, StorageUnavailable

#: The time limit of a call in seconds, including retries and pages.
CALL = 10.0

#: The time limits of the connection and of the name lookup, in seconds each.
_CONNECT = 3.0

#: The number of kept connections: one for each thread that may share a client.
_POOL = 64

#: Timeouts in a row before a service counts as silent, and seconds until one call may probe the service.
_SILENT_AFTER, _RETRY_AFTER = 4, 2.0

#: Answers that prove that nothing has changed. 408 does not: the service itself timed out.
REFUSALS = frozenset(range(400, 500)) - {HTTPStatus.REQUEST_TIMEOUT}

#: The service refuses the caller, known or unknown.
_UNAUTHORIZED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})

_CODE = re.compile(r"[A-Za-z]{1,64}")
_CODE_IN_BODY = re.compile(r"\"code\"\s*:\s*\"([A-Za-z]{1,64})\"|<(?:\w+:)?[Cc]ode>([A-Za-z]{1,64})<")

_request_ends: ContextVar[float] = ContextVar("request_ends", default=math.inf)


@contextmanager
def request_deadline(seconds: float) -> Iterator[None]:
    """Limit the total time of the storage calls in this block, in seconds of the wall clock."""
    token = _request_ends.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _request_ends.reset(token)


def storage_guard(seconds: float = CALL) -> Guard:
    """Create the guard that all clients of storage share. One deadline covers all that a call does in its thread."""
    return Guard(ANYWHERE, Limits(attempt=seconds, lookup=_CONNECT, connect=_CONNECT))


class DeadlineTransport(RequestsTransport):  # type: ignore[misc] # the library has no types here
    """The transport of Azure's clients. Ignores the environment."""

    def __init__(self, guard: Guard) -> None:
        # The libraries' own timeouts are never reached: the guard's deadline comes first.
        timeouts = {"connection_timeout": _CONNECT, "read_timeout": guard.limits.attempt}
        session = guarded_session(guard, per_host=_POOL)
        super().__init__(session=session, session_owner=True, **timeouts)
        self._guard = guard

    @override
    def send(self, request: Any, **options: Any) -> Any:
        """Send a request under the deadline of the thread's current call, or else under a deadline for this request."""
        if self._guard.is_held:
            return super().send(request, **options)
        with self._guard.attempt():
            return super().send(request, **options)


class Breaker:
    """Refuses calls to a silent service. One call at a time probes whether the service answers again."""

    def __init__(
        self,
        silent_after: int = _SILENT_AFTER,
        retry_after: float = _RETRY_AFTER,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._silent_after = silent_after
        self._retry_after = retry_after
        self._now = now
        self._lock = threading.Lock()
        self._silences = 0
        self._closed_until = -math.inf

    def allows(self) -> bool:
        """Return whether a call may be made now. While a probe is under way, other calls are refused."""
        with self._lock:
            if self._silences < self._silent_after:
                return True
            if self._now() < self._closed_until:
                return False
            self._closed_until = self._now() + self._retry_after + CALL
            return True

    def answered(self) -> None:
        """Note an answer of any kind."""
        with self._lock:
            self._silences = 0

    def silent(self) -> None:
        """Note a call that timed out."""
        with self._lock:
            self._silences += 1
            self._closed_until = self._now() + self._retry_after


class StorageCalls:
    """The calls to one storage service. Threads may share it."""

    def __init__(
        self, service: str, guard: Guard | None = None, *, seconds: float | None = None, breaker: Breaker | None = None
    ) -> None:
        """Create the calls of a service. `service` is a name for people. `seconds` can shorten the guard's deadline."""
        self._service = service
        self._guard = guard or storage_guard()
        self._seconds = min(seconds or math.inf, self._guard.limits.attempt)
        self._breaker = breaker or Breaker()

    @contextmanager
    def call(self, silence: type[StorageUnavailable] = StorageUnavailable) -> Iterator[None]:
        """Make a call in this block, within its deadline and the request's.

        Raises `silence` if the outcome is unknown, StorageRefused if the service refuses the caller, and
        StorageUnavailable if no request was sent or the service refused the request.
        """
        begun = time.monotonic()
        seconds = min(self._seconds, _request_ends.get() - begun)
        if seconds <= 0:
            raise StorageUnavailable(f"{self._service}: the time of the request is over")
        if not self._breaker.allows():
            raise StorageUnavailable(f"{self._service}: silent a moment ago, and not called again yet")
        with self._guard.attempt(seconds) as deadline:
            try:
                yield
            except Exception as error:  # a reply that breaks off fails in many ways
                if isinstance(error, HttpResponseError):
                    self._breaker.answered()
                elif time.monotonic() - begun >= min(_CONNECT, self._seconds):
                    self._breaker.silent()
                raise self._failure(error, silence) from error
        if deadline.cut:  # the bytes read until then can look like a whole answer
            self._breaker.silent()
            raise silence(f"{self._service}: no whole answer in {seconds:.1f} s")
        self._breaker.answered()

    def remaining(self) -> float:
        """Return the time limit in seconds of a call that begins now."""
        return min(self._seconds, _request_ends.get() - time.monotonic())

    def _failure(self, error: Exception, silence: type[StorageUnavailable]) -> StorageUnavailable:
        status = error.status_code if isinstance(error, HttpResponseError) else None
        code = code_of(error)
        what = f"{self._service}: {code or type(error).__name__}, HTTP status {status}"
        if status in _UNAUTHORIZED:
            return StorageRefused(what, code or f"HTTP {status}")
        return StorageUnavailable(what, code) if status in REFUSALS else silence(what, code)


def code_of(error: Exception) -> str:
    """Return the service's error code, like `AuthorizationFailure`. Empty if the answer has none."""
    response = getattr(error, "response", None)
    named = getattr(error, "error_code", None) or getattr(response, "headers", {}).get("x-ms-error-code")
    text = str(getattr(named, "value", named) or "")
    if _CODE.fullmatch(text):
        return text
    try:
        found = _CODE_IN_BODY.search(response.text()) if response is not None else None
    except Exception:  # noqa: BLE001 - the body was not read, or is not text
        return ""
    return (found[1] or found[2]) if found else ""
