"""Child processes with line-by-line output, none of which outlives this process."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class Child:
    """A process in a separate group, so that the terminal's Ctrl-C does not reach it.

    Its standard input is a pipe that stays open while this process lives. A child that ends at the end of its input
    therefore ends with this process, even after a kill. `on_line` is called, from another thread, with each line of
    output.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        on_line: Callable[[str], None],
        on_end: Callable[[], None] = lambda: None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        self._on_line = on_line
        self._on_end = on_end
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The id of the process and of the group."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, or None while the process runs."""
        return self._process.poll()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end of the process and its output. Returns False after `timeout` seconds."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        self._reader.join()
        return True

    def stop(self, timeout: float) -> int | None:
        """Send SIGTERM, kill the whole group after `timeout` seconds, and return the exit code.

        Only the process itself gets SIGTERM, and ends its own children after their work. Ctrl-C shortens the wait.
        """
        self._process.terminate()
        with contextlib.suppress(KeyboardInterrupt):
            self.wait(timeout)
        self.kill()
        return self.exit_code

    def kill(self) -> None:
        """Kill the whole group at once, like a crash. Does nothing to an ended process."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self.wait()
        self._close()

    def _close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()

    def _read(self) -> None:
        """Read to the end, so that the child never blocks on a full pipe."""
        for line in self._process.stdout or ():
            self._on_line(line.rstrip("\n"))
        self._on_end()


def wait_for_end_of_input(ended: threading.Event) -> None:
    """Set `ended` at the end of standard input, which is the end of the process that started this one."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    ended.set()
