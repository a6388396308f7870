"""How far an installation has come: one line that changes on a terminal, a few lines in a pipe.

Uses the standard library alone: `local/environment.py` runs before anything is installed.
"""

import os
import re
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

#: In a pipe, lines come after each of this many parts.
_PARTS = 4
_CLEAR = "\r\x1b[2K"
_LAST_WORDS = 5
#: Seconds that a command has to remove its temporary files after Ctrl-C.
_STOP_TIMEOUT = 10.0


class Progress:
    """Counts things of a known number."""

    def __init__(self, what: str, total: int, out: TextIO) -> None:
        self._what = what
        self._total = total
        self._out = out
        self._count = 0
        self._shown = 0
        self._is_open = False

    def skip(self) -> None:
        """Expect one thing less."""
        self._total -= 1

    def advance(self) -> None:
        """Count one more thing, and show the count."""
        self._count = min(self._count + 1, self._total)
        if self._out.isatty():
            self._write(f"{_CLEAR}{self._line}")
            self._is_open = True
        elif (part := self._count * _PARTS // self._total) > self._shown:
            self._shown = part
            self._write(f"{self._line}\n")

    def say(self, text: str) -> None:
        """Show a line beside the count."""
        self.close()
        self._write(f"{text}\n")

    def close(self) -> None:
        """End the line of the count, if there is one."""
        if self._is_open:
            self._write("\n")
        self._is_open = False

    @property
    def _line(self) -> str:
        return f"    {self._count} of {self._total} {self._what}"

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


def run(
    command: Sequence[str],
    on_line: Callable[[str], None],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> tuple[int, list[str]]:
    """Run a command, and return its exit code and its last lines. `on_line` gets each line of its output.

    Ctrl-C, which raises KeyboardInterrupt here, ends the command first. The command is out of reach of the terminal's
    Ctrl-C: it would print a traceback of its own.
    """
    last: deque[str] = deque(maxlen=_LAST_WORDS)
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            for line in process.stdout or ():
                if text := line.strip():
                    last.append(text)
                    on_line(text)
        except BaseException:
            _end(process)
            raise
    return process.returncode, list(last)


def _end(process: "subprocess.Popen[str]") -> None:
    """Interrupt the command and its children, and kill them after a timeout or a second Ctrl-C."""
    try:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(_STOP_TIMEOUT)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def install_with_pip(python: Path, packages: Sequence[str], names: int, out: TextIO = sys.stdout) -> list[str]:
    """Run `pip install` with the arguments `packages`, and show the count of fetched packages out of `names`.

    Returns pip's last lines if it failed, otherwise nothing.
    """
    progress = Progress("packages fetched", names, out)

    def show(line: str) -> None:
        if line.startswith("Ignoring "):  # a marker leaves the package out on this Python
            progress.skip()
        elif line.startswith(("Collecting ", "Processing ")):  # from an index, from a folder
            progress.advance()
        elif line.startswith("Installing collected packages"):
            progress.say("    installing them …")

    options = ["--disable-pip-version-check", "--no-input", "--progress-bar=off"]
    code, last = run([str(python), "-m", "pip", "install", *options, *packages], show)
    progress.close()
    return [line for line in last if not line.startswith("Ignoring ")] if code else []


def pinned(lock: str) -> int:
    """Count the packages of a lock of pip."""
    return len(re.findall(r"^[\w.-]+(?:\[[\w,]+\])?==", lock, re.MULTILINE))
