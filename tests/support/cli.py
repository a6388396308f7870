"""Run the command line in a test: output and exit code."""

import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from typer.testing import CliRunner

from bridge.cli.app import app
from bridge.cli.context import CliContext
from bridge.dependencies import real_clock
from tests.support.json_value import Json


@dataclass(frozen=True, slots=True)
class Said:
    """The result of a command."""

    exit: int
    out: str
    err: str

    @property
    def plain(self) -> str:
        """Return standard output without the colours of a terminal."""
        return plain(self.out)

    @property
    def json(self) -> Json:
        """Parse standard output as JSON."""
        return json.loads(self.out)


def plain(text: str) -> str:
    """Return a text without the control sequences of a terminal."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


class Terminal(io.StringIO):
    """A terminal that keeps the output."""

    def isatty(self) -> bool:
        """Return True."""
        return True


def unmoved(_seconds: float) -> None:
    """Return at once: the tests' waits are not on a clock."""


def type_in(
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    clock: Callable[[], datetime] = real_clock,
    stopwatch: Callable[[], float] = lambda: 0.0,
    sleep: Callable[[float], None] = unmoved,
    browse: Callable[[str], bool] = lambda _url: True,
    out: io.StringIO | None = None,
    stdin: str = "",
) -> Said:
    """Run a command in this process. All access to the real world is an argument."""
    told, complained = out or io.StringIO(), io.StringIO()
    around = CliContext(
        environment=environment or {},
        clock=clock,
        stopwatch=stopwatch,
        sleep=sleep,
        browse=browse,
        out=told,
        err=complained,
    )
    done = CliRunner().invoke(app, list(arguments), obj=around, input=stdin, catch_exceptions=False)
    return Said(done.exit_code, told.getvalue() + done.stdout, complained.getvalue() + done.stderr)
