"""Options and error handling that all commands share."""

import os
import sys
from typing import Annotated, Any, TypeAlias

import typer
from typer.core import TyperGroup

from bridge.cli import reading
from bridge.cli.client import Api, Json
from bridge.cli.context import CliContext
from bridge.cli.errors import Bug, CommandFailed, Exit, Refused
from bridge.cli.output import Output
from bridge.domain.events import Format
from bridge.domain.outcome import Failure

#: Typer's own copy of click's context; that type is private.
_ClickContext: TypeAlias = Any

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]

MessageFormat = Annotated[
    Format | None, typer.Option("--format", case_sensitive=False, help="The format of the event. Default: standard.")
]

# The conditions of `list` and of `redeliver` for many. They are combined.
Host = Annotated[str | None, typer.Option(help="Only callbacks to this host, or host:port.")]
Since = Annotated[
    str | None, typer.Option(help="Only those that entered their state then or later: a time, or an age like 2h.")
]
Until = Annotated[
    str | None, typer.Option(help="Only those that entered their state before a time, or before an age ago.")
]
Outcome = Annotated[
    str | None,
    typer.Option(
        metavar="[401|4xx|timeout|...]",
        help=f"Only those whose last attempt had this status, class of statuses, or failure: {', '.join(Failure)}.",
        autocompletion=lambda: ["4xx", "5xx", *Failure],
    ),
]
Group = Annotated[str | None, typer.Option(help="Only this group.")]


def conditions(
    found: CliContext, *, host: str | None, since: str | None, until: str | None, outcome: str | None, group: str | None
) -> Json:
    """Return the conditions in the API's format, None for each that is not given. Raises UsageError."""
    now = found.clock()
    return {
        "host": host,
        "since": None if since is None else reading.since(since, now),
        "until": None if until is None else reading.since(until, now),
        "outcome": None if outcome is None else reading.outcome(outcome),
        "group": None if group is None else reading.group(group),
    }


EXIT_CODES = """Exit codes: 0 success; 1 the checked thing has failed (a dead delivery, an operation that is Failed, a
callback that is not genuine, a check that is BAD); 2 the arguments or the environment are wrong; 3 the bridge cannot
be reached, or refused; 4 the time of --timeout is over; 70 the command line has a bug; 130 Ctrl-C; 141 the reader of
the output has ended before a command that does more than show."""

ENVIRONMENT = """Environment: BRIDGE_URL is the address of the bridge. BRIDGE_KEY is a function key, or BRIDGE_TOKEN a
bearer token. They are never arguments, since process lists show arguments."""


#: Commands without an effect and without a verdict: an output that is cut short is a success, like `list | head -1`.
_ONLY_SHOW = frozenset({"keys", "list", "message", "secret", "show", "status"})


class Commands(TyperGroup):
    """A group of commands that converts exceptions to one line and an exit code."""

    def parse_args(self, ctx: _ClickContext, args: list[str]) -> list[str]:
        """Read `help register` like `register --help`."""
        return super().parse_args(ctx, [*args[1:], "--help"] if args[:1] == ["help"] else args)

    def invoke(self, ctx: _ClickContext) -> object:
        """Run the requested command."""
        try:
            try:
                return super().invoke(ctx)
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                raise Bug(error) from error
        except CommandFailed as error:
            code = error.code if isinstance(error, Refused) else type(error).__name__
            Output(ctx.ensure_object(CliContext)).error(str(error), code=code)
            raise typer.Exit(int(error.exit)) from error
        except BrokenPipeError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes it once more
            raise typer.Exit(int(Exit.OK if ctx.invoked_subcommand in _ONLY_SHOW else Exit.CUT)) from error


def around(context: typer.Context, *, as_json: bool = False) -> CliContext:
    """Return the context of the command, and note whether JSON is requested."""
    found = context.ensure_object(CliContext)
    found.as_json = found.as_json or as_json
    return found


def begin(context: typer.Context, *, as_json: bool) -> tuple[CliContext, Output, Api]:
    """Return the objects that most commands need.

    Raises UsageError if the environment lacks the address of the bridge.
    """
    found = around(context, as_json=as_json)
    return found, Output(found), Api.of(found.environment)
