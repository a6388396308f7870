"""Limits how many requests that read many rows an instance answers at once.

Lists, status, overview and bulk redeliveries take dozens of reads each, through threads that they share. Without a
limit, two hundred of them held every thread of the host, and a registration waited for 17 s. With the limit a few run,
a few more wait briefly, and the rest gets 503 `TooBusy`, so that registrations, deliveries and sweeps find a thread.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from bridge.api.errors import too_busy

#: How many run at once, how many more may wait, and how many seconds each waits at most.
RUNNING, WAITING, MAX_WAIT = 2, 8, 2.0


class ConcurrencyLimit:
    """The limit of one instance. Thread-safe."""

    def __init__(self, running: int = RUNNING, waiting: int = WAITING, max_wait: float = MAX_WAIT) -> None:
        """Let `running` blocks run, and `waiting` more wait for `max_wait` seconds each."""
        self._running = threading.BoundedSemaphore(running)
        self._all = threading.BoundedSemaphore(running + waiting)
        self._max_wait = max_wait

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold a slot during this block. Raises Problem if none becomes free within `max_wait`."""
        if not self._all.acquire(blocking=False):
            raise too_busy()
        try:
            if not self._running.acquire(timeout=self._max_wait):
                raise too_busy()
            try:
                yield
            finally:
                self._running.release()
        finally:
            self._all.release()
