"""Watches every line of the log, at any level: which thread writes the line, and how long the line is."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from bridge.log import MAX_LINE

#: Says whether this thread runs the work of an executor of a test, which stands for the work of a pool thread.
_here = threading.local()

#: How the threads of the app's pools are named (`bridge/dependencies.py`).
POOL_THREADS = ("sweep", "read")


@contextmanager
def in_pool() -> Iterator[None]:
    """Let this block stand for the work of a pool thread, whatever its context variables are."""
    before = getattr(_here, "is_pool", False)
    _here.is_pool = True
    try:
        yield
    finally:
        _here.is_pool = before


class GuardedLogger:
    """The bridge's logger, with a list of the lines that no invocation would own."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        #: Lines that were written in a pool.
        self.of_pools: list[str] = []
        #: Lines that Application Insights or the host would not keep whole.
        self.too_long: list[str] = []

    def isEnabledFor(self, level: int) -> bool:
        """Return True, so that the lines below the level of a test are watched too."""
        return True

    def log(self, level: int, line: str) -> None:
        """Watch a line, and write it as ever."""
        if getattr(_here, "is_pool", False) or threading.current_thread().name.startswith(POOL_THREADS):
            self.of_pools.append(line)
        if len(line.encode()) > MAX_LINE:
            self.too_long.append(line)
        self._logger.log(level, line)
