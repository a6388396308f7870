"""What all commands share: the options that they take alike, and how an error ends any of them."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from bridge.cli.client import Api
from bridge.cli.context import CliContext
from bridge.cli.errors import Bug, CommandFailed, Refused
from bridge.cli.output import Output
from bridge.domain.events import Format

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]

MessageFormat = Annotated[
    Format | None, typer.Option("--format", case_sensitive=False, help="How the event is written; standard by default.")
]

EXIT_CODES = """Exit codes: 0 it went well; 1 what was followed or examined has failed (a delivery that is dead, an
operation that is Failed, a callback that is not genuine, something that is BAD); 2 what was typed or set cannot be
followed; 3 the bridge cannot be reached, or refused; 4 what was waited for did not end in time; 70 the
command line itself is wrong; 130 Ctrl-C."""

ENVIRONMENT = """The environment says where the bridge is: BRIDGE_URL; with BRIDGE_KEY, a function key, or
BRIDGE_TOKEN, a bearer token. None of them is ever an argument, which a list of processes would show."""


class Commands(TyperGroup):
    """A group of commands whose errors are one line and an exit code."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - the library's own type is private
        """Run the command that was asked for."""
        try:
            try:
                return super().invoke(ctx)
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                raise Bug(error) from error
        except CommandFailed as error:
            code = error.code if isinstance(error, Refused) else type(error).__name__
            Output(ctx.ensure_object(CliContext)).error(str(error), code=code)
            raise typer.Exit(int(error.exit)) from error


def around(context: typer.Context, *, as_json: bool = False) -> CliContext:
    """Take what surrounds the command, and note whether JSON is wanted."""
    found = context.ensure_object(CliContext)
    found.as_json = found.as_json or as_json
    return found


def begin(context: typer.Context, *, as_json: bool) -> tuple[CliContext, Output, Api]:
    """Take what most commands need.

    Raises UsageError where the environment does not say where the bridge is.
    """
    found = around(context, as_json=as_json)
    return found, Output(found), Api.of(found.environment)
