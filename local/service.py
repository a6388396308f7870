"""A program that runs beside this one: started until it is ready, stopped, killed, started again."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from local.child import Child
from local.errors import LocalError
from local.record import Record

_LAST_WORDS = 5


class Service(ABC):
    """A child process that says when it is ready; a context manager that stops it.

    It ends when this process ends, whatever ends it.
    """

    #: What it is called in messages.
    name: str
    #: Seconds until it must be ready.
    start_timeout = 30.0
    #: Seconds that it has to end in order.
    stop_timeout: float

    def __init__(
        self,
        *,
        folder: Path | None,
        environ: Mapping[str, str] | None,
        on_end: Callable[[], None],
    ) -> None:
        self._folder = folder
        self._environ = environ
        self._on_end = on_end
        self._child: Child | None = None
        self._ready = False
        #: What it printed, over all its restarts.
        self.lines: Record[str] = Record()

    @abstractmethod
    def command(self) -> Sequence[str]:
        """Return the command that runs it."""

    @abstractmethod
    def hear(self, line: str) -> bool:
        """Take note of a line that it printed; True when it is ready now."""

    def reason(self) -> str:
        """Say why it did not start, from what it printed."""
        return " | ".join(self.lines.entries[-_LAST_WORDS:])

    @property
    def pid(self) -> int:
        """Its process, for tests that watch it."""
        return self._running().pid

    @property
    def exit_code(self) -> int | None:
        """What it ended with by itself, or None while it runs."""
        return self._running().exit_code

    def launch(self) -> None:
        """Start it and return when it is ready; raises LocalError, with what it said, when that does not come."""
        self._ready = False
        ready_or_ended = threading.Event()
        self._child = Child(
            self.command(),
            cwd=self._folder,
            env=self._environ,
            on_line=lambda line: self._heard(line, ready_or_ended),
            on_end=lambda: self._ended(ready_or_ended),
        )
        ready_or_ended.wait(self.start_timeout)
        if not self._ready:
            self.kill()
            raise LocalError(f"{self.name} does not start: {self.reason()}")

    def stop(self) -> None:
        """End it in order; does nothing if it is not running."""
        child, self._child = self._child, None
        if child:
            child.stop(self.stop_timeout)

    def kill(self) -> None:
        """End it at once, as a crash would; does nothing if it is not running."""
        child, self._child = self._child, None
        if child:
            child.kill()

    def restart(self) -> None:
        """Start it again as it was, ending it first if it runs."""
        self.stop()
        self.launch()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has ended by itself; False when it still runs after `timeout` seconds."""
        return self._running().wait(timeout)

    def _running(self) -> Child:
        if self._child is None:
            raise LocalError(f"{self.name} is not running: call launch() or restart() first.")
        return self._child

    def _heard(self, line: str, ready_or_ended: threading.Event) -> None:
        self.lines.add(line)
        if self.hear(line):
            self._ready = True
            ready_or_ended.set()

    def _ended(self, ready_or_ended: threading.Event) -> None:
        ready_or_ended.set()
        if self._ready and self._child:
            self._on_end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
