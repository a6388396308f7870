"""How a command ends, and everything that ends one early.

    CommandFailed
    ├── UsageError         2: what was typed, or what the environment says, cannot be followed
    ├── BridgeUnreachable  3: the bridge does not answer
    ├── Refused            3: the bridge answered that it will not, or cannot; 2 where it cannot read what was typed
    ├── WaitTimeout        4: what was waited for did not end in time
    └── Bug               70: the command line itself is wrong

Each message is one line that says what to do.
"""

import traceback
from enum import IntEnum
from pathlib import Path

from bridge import __version__

_BAD_REQUEST, _TOO_MANY, _SERVER_FAULT = 400, 429, 500


class Exit(IntEnum):
    """The exit codes, which docs/cli.md and `--help` list."""

    OK = 0
    FAILED = 1  #: the command did its work, and what it followed or examined has failed
    MISUSED = 2
    REFUSED = 3
    UNENDED = 4
    BUG = 70  #: EX_SOFTWARE of sysexits.h


class CommandFailed(Exception):
    """The root of the tree above."""

    exit = Exit.FAILED


class UsageError(CommandFailed):
    """What was typed, or what the environment says, cannot be followed."""

    exit = Exit.MISUSED


class BridgeUnreachable(CommandFailed):
    """The bridge does not answer."""

    exit = Exit.REFUSED


class Refused(CommandFailed):
    """The bridge answered that it will not, or cannot."""

    def __init__(self, message: str, *, status: int, code: str, details: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.exit = Exit.MISUSED if status == _BAD_REQUEST else Exit.REFUSED
        self.status = status
        #: The code of Azure's shape, or `HTTP 404` where the answer had none.
        self.code = code
        #: What is wrong, as pairs of a field or setting and a message.
        self.details = details

    @property
    def may_pass(self) -> bool:
        """Whether the same request can be answered otherwise in a while."""
        return self.status >= _SERVER_FAULT or self.status == _TOO_MANY


class WaitTimeout(CommandFailed):
    """What was waited for did not end in time; it goes on without us."""

    exit = Exit.UNENDED


class Bug(CommandFailed):
    """The command line itself is wrong: a lookup or a call failed that cannot fail."""

    exit = Exit.BUG

    def __init__(self, cause: Exception) -> None:
        where = traceback.extract_tb(cause.__traceback__)[-1]
        super().__init__(
            f"this is a bug of the command line {__version__}: please report what you typed, and "
            f"{type(cause).__name__}: {cause} at {Path(where.filename).name}:{where.lineno}"
        )
