"""How many calls that read many rows an instance answers at once.

Lists, status and overview take dozens of reads each, through threads that they share. Without a limit two hundred of
them held every thread of the host, and a registration waited for 17 s. Here a few run, a few more wait for a moment,
and the rest is told to come back: registering, deliveries and sweeps find a thread whatever is listed.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from bridge.api.errors import too_busy

#: So many run at once, and so many more may wait for a place, each for this many seconds.
RUNNING, WAITING, MAX_WAIT = 2, 8, 2.0


class Places:
    """The places of one instance. Threads share it."""

    def __init__(self, running: int = RUNNING, waiting: int = WAITING, max_wait: float = MAX_WAIT) -> None:
        """Make them; `max_wait` is in seconds."""
        self._running = threading.BoundedSemaphore(running)
        self._all = threading.BoundedSemaphore(running + waiting)
        self._max_wait = max_wait

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold a place during this block. Raises Problem if there is none within `max_wait`."""
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
