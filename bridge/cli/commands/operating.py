"""The commands of an operator: status, doctor, open, keys list, keys new."""

import base64
import secrets
from collections.abc import Iterable

import typer

from bridge.cli import showing
from bridge.cli.client import URL, Api
from bridge.cli.context import PROGRAM, CliContext
from bridge.cli.errors import CommandFailed, Exit, UsageError
from bridge.cli.examining import Examined, Health, over_the_bridge
from bridge.cli.output import Output, OutputLine, Tone
from bridge.cli.shared import AsJson, around, begin
from bridge.cli.showing import troubles
from bridge.domain.keyring import MIN_KEY_BYTES, Keyring

#: Any of these variables shows that the environment has the app's settings.
_SIGNS = ("AzureWebJobsStorage", "AzureWebJobsStorage__accountName", "SPEECH_ENDPOINT", "BRIDGE_SIGNING_KEYS")

#: The result of the direct checks of `doctor` without the app's libraries.
WITHOUT_SERVER = Examined(
    "own settings",
    Health.SKIPPED,
    "the app's settings and storage are read with the extra `server`, which is not installed",
    f"Install it: pip install '{PROGRAM}[server]'",
)

_MARKS = {
    Health.GOOD: ("ok", Tone.GOOD),
    Health.BAD: ("BAD", Tone.BAD),
    Health.SKIPPED: ("skipped", Tone.QUIET),
}


def status(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the state of the bridge, and the problems of its newest registrations."""
    _, output, api = begin(context, as_json=as_json)
    seen, troubled = api.get("status"), troubles(api)
    if output.as_json:
        output.json({**seen, "troubles": [each.shown() for each in troubled]})
        return
    output.lines(showing.status(seen, troubled, output.times(with_exact=True)), indent="")


def doctor(context: typer.Context, as_json: AsJson = False) -> None:
    """Check a running bridge, and the settings in the environment. Exit code 1 if a check is BAD.

    With the app's settings in the environment, each source gets one request for an operation that does not exist.
    This part needs the extra `server` of the command line.
    """
    found = around(context, as_json=as_json)
    output = Output(found)
    examined: list[Examined] = []
    own = any(found.environment.get(name) for name in _SIGNS)
    if not own and not found.environment.get(URL):
        raise UsageError(f"nothing to examine: set {URL}, or the app's settings")
    if found.environment.get(URL):
        examined += over_the_bridge(Api.of(found.environment), found.clock)
    if own:
        examined += _own_half(found)
        if examined == [WITHOUT_SERVER]:
            raise UsageError(f"nothing to examine: {WITHOUT_SERVER.text}. {WITHOUT_SERVER.do}, or set {URL}")
    well = all(each.health is not Health.BAD for each in examined)
    if output.as_json:
        output.json({"healthy": well, "examined": [each.shown() for each in examined]})
    else:
        output.lines([line for each in examined for line in _lines(each)], indent="")
    raise typer.Exit(Exit.OK if well else Exit.FAILED)


def _own_half(found: CliContext) -> Iterable[Examined]:
    """Check the app's settings in the environment, if the libraries of the extra `server` are installed."""
    try:
        from bridge.cli.probing import directly  # Azure's libraries slow every other command down
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "bridge":
            raise
        return [WITHOUT_SERVER]
    return directly(found.environment, found.clock)


def open_page(context: typer.Context) -> None:
    """Open the bridge's page in the browser."""
    found, output, api = begin(context, as_json=False)
    page = f"{api.url}/api/dashboard"
    output.say(page)
    if not found.browse(page):
        raise CommandFailed("no browser can be opened here: open the address above in one")


def list_keys(context: typer.Context, as_json: AsJson = False) -> None:
    """List the public keys that verify callbacks, newest first."""
    _, output, api = begin(context, as_json=as_json)
    keys = api.get("signing-keys")
    if output.as_json:
        output.json(keys)
    else:
        output.table(("id", "public key"), [(each["id"], each["publicKey"]) for each in keys["value"]])


def new_key(context: typer.Context, as_json: AsJson = False) -> None:
    """Create a signing key for BRIDGE_SIGNING_KEYS, and print only the key."""
    output = Output(around(context, as_json=as_json))
    key = secrets.token_bytes(MIN_KEY_BYTES)
    text = base64.b64encode(key).decode()
    if output.as_json:
        [public] = Keyring((key,)).public_keys()
        output.json({"key": text, "id": public.id, "publicKey": public.text})
    else:
        output.say(text)


def _lines(each: Examined) -> list[OutputLine]:
    mark, tone = _MARKS[each.health]
    line = OutputLine(f"{mark:<7}  {each.name}", each.text, tone)
    return [line] if each.do is None else [line, OutputLine("", each.do, Tone.ADVICE)]
