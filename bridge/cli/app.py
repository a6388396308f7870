"""The command line: `speech-webhooks` if its wheel is installed, `python -m bridge.cli` in a clone."""

from collections.abc import Callable, Mapping
from typing import Annotated

import typer

from bridge import __version__
from bridge.cli.commands import callbacks, operating, registrations
from bridge.cli.commands import listen as listening
from bridge.cli.context import PROGRAM, epilog
from bridge.cli.shared import ENVIRONMENT, EXIT_CODES, AsJson, Commands, around

app = typer.Typer(
    cls=Commands,
    name=PROGRAM,
    help=f"Webhooks for Azure AI Speech operations.\n\n{ENVIRONMENT}",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
keys = typer.Typer(help="Signing keys.", no_args_is_help=True, rich_markup_mode=None)


def summary(command: Callable[..., None]) -> str:
    """Return the first sentence of a command's help. Given so, the list of commands wraps it instead of cutting it."""
    return (command.__doc__ or "").splitlines()[0].partition(". ")[0].removesuffix(".") + "."


COMMANDS: Mapping[str, Callable[..., None]] = {
    "register": registrations.register,
    "show": registrations.show,
    "message": registrations.message,
    "list": registrations.list_registrations,
    "watch": registrations.watch,
    "redeliver": registrations.redeliver,
    "cancel": registrations.cancel,
    "erase": registrations.erase,
    "listen": listening.listen,
    "ping": callbacks.ping,
    "verify": callbacks.verify,
    "secret": callbacks.secret,
    "status": operating.status,
    "doctor": operating.doctor,
    "open": operating.open_page,
    "keys list": operating.list_keys,
    "keys new": operating.new_key,
}

for name, command in COMMANDS.items():
    group, last_word = (keys, name.removeprefix("keys ")) if name.startswith("keys ") else (app, name)
    group.command(last_word, short_help=summary(command), epilog=epilog(name))(command)
app.add_typer(keys, name="keys")


def _tell_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Show the version.")]


@app.callback()
def root(context: typer.Context, as_json: AsJson = False, _version: Version = False) -> None:
    """Read the options before the command."""
    around(context, as_json=as_json)


def run() -> int:
    """Run the command line. Ends the process with the exit code of the command."""
    app(prog_name=PROGRAM)
    return 0
