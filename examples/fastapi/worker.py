"""One thread that works on what is in the inbox, beside the web server."""

import json
import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from inbox import Inbox

#: Seconds until work that failed is tried again.
_PAUSE = 60.0

_logger = logging.getLogger("receiver")


class Worker:
    """Does the work until it is stopped; a context manager. What was left over from the last time comes first."""

    def __init__(self, inbox: Inbox, work: Callable[[dict[str, Any]], None]) -> None:
        self._inbox = inbox
        self._work = work
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def wake(self) -> None:
        """Say that something came."""
        self._wake.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the piece of work that is under way; the rest stays in the inbox."""
        self._stopping.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()  # before looking, so that nothing that comes meanwhile is overlooked
            try:
                self._work_off()
            except Exception:  # a full disk, for instance: the thread has to live on
                _logger.exception("the inbox cannot be read or written; trying again in %s s", _PAUSE)
            self._wake.wait(_PAUSE)

    def _work_off(self) -> None:
        for message_id, body in self._inbox.unfinished():
            if self._stopping.is_set():
                return
            try:
                self._work(json.loads(body))
            except Exception:  # anything that your code raises
                _logger.exception("work on %s failed; trying again in %s s", message_id, _PAUSE)
            else:
                self._inbox.finish(message_id)
                _logger.info("worked on %s", message_id)
        self._inbox.forget_old()
