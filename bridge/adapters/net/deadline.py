"""One wall-clock deadline for all network activity of an attempt, and one thread for all deadlines.

The timeouts of `requests` restart with every byte, so a receiver that drips could hold an attempt forever. Here a timer
shuts the connection down, whatever the attempt is waiting for. A body without a length then looks complete, but `cut`
shows that the deadline ended the body. A head cannot look complete, since an empty line must end it.
"""

import contextlib
import itertools
import math
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self


class DeadlineTimer:
    """Calls callbacks at given times of the monotonic clock `now` (in seconds), all from one thread.

    The thread starts with the first timer and serves all: one thread per attempt would cost as much as the attempt.
    Nearly every timer is canceled long before its time, so setting and canceling only change a dictionary. The thread
    sleeps until the earliest time known when it fell asleep, and is woken only for an earlier one. Then it checks all
    set timers, one for each attempt under way.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._changed = threading.Condition()
        self._set: dict[int, tuple[float, Callable[[], None]]] = {}
        self._numbers = itertools.count()
        self._wakes_at = math.inf
        self._runs = False

    def set(self, at: float, callback: Callable[[], None]) -> int:
        """Call `callback` at `at`. Returns the number for `cancel`. `callback` must not block, since others wait."""
        with self._changed:
            number = next(self._numbers)
            self._set[number] = at, callback
            if not self._runs:
                threading.Thread(target=self._run, name="deadlines", daemon=True).start()
                self._runs = True
            if at < self._wakes_at:
                self._changed.notify()
            return number

    def cancel(self, number: int) -> None:
        """Cancel a timer. A callback that is already running continues."""
        with self._changed:
            self._set.pop(number, None)

    def _run(self) -> None:
        while True:
            for callback in self._wait():
                with suppress(Exception):  # other deadlines must still hold
                    callback()

    def _wait(self) -> list[Callable[[], None]]:
        """Sleep until a timer may be due, and take the due callbacks."""
        with self._changed:
            self._wakes_at = min((at for at, _ in self._set.values()), default=math.inf)
            left = self._wakes_at - self._now()
            if left > 0:
                self._changed.wait(min(left, threading.TIMEOUT_MAX))
            now = self._now()
            due = [number for number, (at, _) in self._set.items() if at <= now]
            return [self._set.pop(number)[1] for number in due]


#: The deadlines of this process.
DEADLINES = DeadlineTimer()


class AbortHandle:
    """A second handle on a connection, by which another thread can shut the connection down.

    The first handle changes owners (TLS, a response), this one does not. The second handle is closed at the
    end of both the connection and the attempt.
    """

    def __init__(self, connection: socket.socket, address: str) -> None:
        self._handle = connection.dup()
        self._lock = threading.Lock()
        self._holder: object | None = None
        self._orphan = False
        #: The address of the receiver.
        self.address = address

    def hold(self, holder: object) -> None:
        """Begin an attempt on the connection. A previous holder, which has read the answer, loses the right."""
        with self._lock:
            self._holder = holder

    def release(self, holder: object) -> None:
        """End an attempt on the connection. The next attempt may already use the connection."""
        with self._lock:
            if self._holder is holder:
                self._holder = None
            self._close_if_done()

    def orphan(self) -> None:
        """Note that the library has closed the connection. Its last answer may still be being read."""
        with self._lock:
            self._orphan = True
            self._close_if_done()

    def cut(self, holder: object) -> None:
        """Shut the connection down now, if `holder` still holds it."""
        with self._lock, contextlib.suppress(OSError):  # the connection has already ended
            if self._holder is holder:
                self._handle.shutdown(socket.SHUT_RDWR)

    def _close_if_done(self) -> None:
        if self._orphan and self._holder is None:
            self._handle.close()


class AttemptDeadline:
    """The deadline of one attempt. Leaving the context manager cancels its timer."""

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds
        self._timer: int | None = None
        self._lock = threading.Lock()
        self._abort_handle: AbortHandle | None = None
        #: Whether the deadline ended the attempt.
        self.cut = False
        #: The address of the connection, or None before there is one.
        self.address: str | None = None

    def remaining(self, at_most: float) -> float:
        """Return the time limit in seconds of a part of the attempt.

        Raises TimeoutError if no time is left.
        """
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("the attempt's time is over")
        return min(left, at_most)

    def shorten(self, seconds: float) -> None:
        """Move the deadline to `seconds` from now, if that is earlier: the rest of the attempt decides nothing."""
        ends = time.monotonic() + seconds
        if self._timer is not None and ends < self._ends:
            DEADLINES.cancel(self._timer)
            self._ends, self._timer = ends, DEADLINES.set(ends, self._cut)

    def hold(self, handle: AbortHandle) -> None:
        """Put a connection under the deadline."""
        handle.hold(self)
        with self._lock:
            former, self._abort_handle = self._abort_handle, handle
            self.address = handle.address
            if self.cut:
                handle.cut(self)
        if former is not None and former is not handle:
            former.release(self)

    def _cut(self) -> None:
        with self._lock:
            self.cut = True
            if self._abort_handle is not None:
                self._abort_handle.cut(self)

    def __enter__(self) -> Self:
        self._timer = DEADLINES.set(self._ends, self._cut)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            DEADLINES.cancel(self._timer)
        with self._lock:
            handle, self._abort_handle = self._abort_handle, None
        if handle is not None:
            handle.release(self)
