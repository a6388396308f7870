"""A child program with a life cycle: started, stopped, killed, started again."""

import threading
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from local.child import Child
from local.errors import LocalError
from local.record import Record
from local.stoppable import Stoppable

_LAST_WORDS = 5


class Service(Stoppable):
    """A child process that reports when ready. The end of a `with` block stops the process.

    The child also ends when this process ends for any reason.
    """

    #: The name in messages.
    name: str
    #: Seconds until the process must be ready.
    start_timeout = 30.0
    #: Seconds for an orderly end.
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
        #: The output, over all restarts.
        self.lines: Record[str] = Record()

    @abstractmethod
    def command(self) -> Sequence[str]:
        """Return the command to run."""

    @abstractmethod
    def hear(self, line: str) -> bool:
        """Process a line of output. Returns True if the program is ready now."""

    def reason(self) -> str:
        """Return why the program did not start, from the output."""
        return " | ".join(self.lines.entries[-_LAST_WORDS:])

    @property
    def pid(self) -> int:
        """The process id, for tests that observe the process."""
        return self._running().pid

    @property
    def exit_code(self) -> int | None:
        """The exit code of a process that has ended, or None while the process runs."""
        return self._running().exit_code

    def launch(self) -> None:
        """Start the program and return when ready. Raises LocalError with the last output after a failure."""
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
        """Stop the program in order. Does nothing without a running program."""
        child, self._child = self._child, None
        if child:
            child.stop(self.stop_timeout)

    def kill(self) -> None:
        """Kill the program like a crash. Does nothing without a running program."""
        child, self._child = self._child, None
        if child:
            child.kill()

    def restart(self) -> None:
        """Start the program again with the same settings. Stops a running one first."""
        self.stop()
        self.launch()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the program ends. Returns False after `timeout` seconds."""
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
