"""Checks every log line, at any level: the writing thread, and the length."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from bridge.log import MAX_LINE

#: Whether this thread runs work of a test's executor, in place of a pool thread.
_here = threading.local()

#: Name prefixes of the app's pool threads (`bridge/dependencies.py`).
POOL_THREADS = ("sweep", "read")


@contextmanager
def in_pool() -> Iterator[None]:
    """Treat this block as work of a pool thread, independent of context variables."""
    before = getattr(_here, "is_pool", False)
    _here.is_pool = True
    try:
        yield
    finally:
        _here.is_pool = before


class GuardedLogger:
    """The bridge's logger, with a list of lines without an invocation."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        #: Lines written in a pool.
        self.of_pools: list[str] = []
        #: Lines that Application Insights or the host would truncate.
        self.too_long: list[str] = []

    def isEnabledFor(self, level: int) -> bool:
        """Return True, so lines below the test's level are checked too."""
        return True

    def log(self, level: int, line: str) -> None:
        """Check a line, then write the line."""
        if getattr(_here, "is_pool", False) or threading.current_thread().name.startswith(POOL_THREADS):
            self.of_pools.append(line)
        if len(line.encode()) > MAX_LINE:
            self.too_long.append(line)
        self._logger.log(level, line)
