"""Exit codes, and the exceptions that end a command early.

    CommandFailed
    ├── UsageError         2: the arguments or the environment are wrong
    ├── BridgeUnreachable  3: the bridge does not answer
    ├── Refused            3: the bridge refused the request, or failed; 2 if the request was invalid
    ├── WaitTimeout        4: a registration did not end in time
    └── Bug               70: the command line has a bug

Each message is one line with the remedy.
"""

import traceback
from enum import IntEnum
from http import HTTPStatus
from pathlib import Path

from bridge import __version__


class Exit(IntEnum):
    """The exit codes, which docs/cli.md and `--help` list."""

    OK = 0
    FAILED = 1  #: the command itself worked, but the registration, callback or bridge that it checked has failed
    MISUSED = 2
    REFUSED = 3
    UNENDED = 4
    BUG = 70  #: EX_SOFTWARE of sysexits.h
    CUT = 141  #: the reader of the output ended first: 128 and SIGPIPE, like other programs


class CommandFailed(Exception):
    """The root of the tree above."""

    exit = Exit.FAILED

    def __init__(self, what: str, do: str | None = None) -> None:
        super().__init__(what if do is None else f"{what}: {do}")
        #: The problem.
        self.what = what
        #: The remedy, unless `what` includes one.
        self.do = do


class UsageError(CommandFailed):
    """The arguments or the environment are wrong."""

    exit = Exit.MISUSED


class BridgeUnreachable(CommandFailed):
    """The bridge does not answer."""

    exit = Exit.REFUSED
    #: Whether the same request can succeed later.
    may_pass = True


class Refused(CommandFailed):
    """The bridge refused the request, or failed."""

    def __init__(
        self, what: str, do: str, *, status: int, code: str, details: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(what, do)
        self.exit = Exit.MISUSED if status == HTTPStatus.BAD_REQUEST else Exit.REFUSED
        self.status = status
        #: The error code of the answer, or `HTTP 404` for an answer without one.
        self.code = code
        #: The problems, as pairs of a field or setting and a message.
        self.details = details

    @property
    def may_pass(self) -> bool:
        """Whether the same request can succeed later."""
        return self.status >= HTTPStatus.INTERNAL_SERVER_ERROR or self.status == HTTPStatus.TOO_MANY_REQUESTS


class WaitTimeout(CommandFailed):
    """A registration did not end in time. The bridge still works on it."""

    exit = Exit.UNENDED


class Bug(CommandFailed):
    """The command line has a bug: a lookup or a call failed that should never fail."""

    exit = Exit.BUG

    def __init__(self, cause: Exception) -> None:
        where = traceback.extract_tb(cause.__traceback__)[-1]
        super().__init__(
            f"this is a bug of the command line {__version__}: please report the command, and "
            f"{type(cause).__name__}: {cause} at {Path(where.filename).name}:{where.lineno}"
        )
