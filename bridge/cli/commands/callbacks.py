"""The commands about callbacks: ping a receiver, show its secret, verify a received callback."""

from typing import Annotated

import typer

from bridge import diagnostics
from bridge.cli import reading, showing
from bridge.cli.client import URL, Api, Json
from bridge.cli.context import CliContext
from bridge.cli.errors import Exit, UsageError
from bridge.cli.output import Output, OutputLine, Tone
from bridge.cli.shared import AsJson, MessageFormat, around, begin
from bridge.cli.verifying import Check, CheckResult, Known, ReceivedCallback, from_files, from_record, is_genuine
from bridge.cli.verifying import verify as checks_of
from bridge.domain.callback_url import EVERYWHERE, CallbackRefused, CallbackRules, normalise, origin_of
from bridge.domain.outcome import is_success

#: The variable with the secret for `verify`, if neither a file nor a bridge provides one.
VARIABLE = "WEBHOOK_SECRET"

_TONES = {CheckResult.GOOD: Tone.GOOD, CheckResult.BAD: Tone.BAD, CheckResult.SKIPPED: Tone.QUIET}
_ANYWHERE = CallbackRules(allow_http=True, allowed_networks=EVERYWHERE, allowed_ports=None)


def ping(
    context: typer.Context,
    callback_url: Annotated[str, typer.Argument(help="The URL to ping. @FILE reads a secret one from a file.")],
    message_format: MessageFormat = None,
    as_json: AsJson = False,
) -> None:
    """Send a signed bridge.ping now, and show the answer. Exit code 0 for a 2xx, else 1."""
    _, output, api = begin(context, as_json=as_json)
    came = api.post("callbacks/ping", {"callbackUrl": reading.callback_url(callback_url), "format": message_format})
    is_taken = came["status"] is not None and is_success(came["status"])
    if output.as_json:
        output.json(came)
    else:
        output.say(showing.pinged(came), Tone.GOOD if is_taken else Tone.BAD)
        hint = diagnostics.of_attempt(came["status"], came["error"])
        if hint is not None:
            output.lines([OutputLine("broken", hint.what, Tone.BAD), OutputLine("do", hint.do, Tone.ADVICE)])
    raise typer.Exit(Exit.OK if is_taken else Exit.FAILED)


def secret(
    context: typer.Context,
    callback_url: Annotated[str, typer.Argument(help="A URL of the receiver.")],
    as_json: AsJson = False,
) -> None:
    """Show the secret with which a receiver verifies callbacks."""
    _, output, api = begin(context, as_json=as_json)
    answer = _secret_of(api, callback_url)
    if output.as_json:
        output.json(answer)
    else:
        output.say(answer["signingSecret"])


def verify(
    context: typer.Context,
    callback: Annotated[
        str | None, typer.Argument(help="A callback as JSON, headers and body: a file, -, or a URL of this machine.")
    ] = None,
    headers: Annotated[str | None, typer.Option(help="Or a file with the headers.")] = None,
    body: Annotated[str | None, typer.Option(help="And a file with the raw body.")] = None,
    message_id: Annotated[
        str | None, typer.Option("--id", help="The webhook-id of one of many. Default: last.")
    ] = None,
    secret_file: Annotated[str | None, typer.Option(help=f"A file with the secret. Default: {VARIABLE}.")] = None,
    public_key: Annotated[list[str] | None, typer.Option(help="A public key, whpk_…. Can be repeated.")] = None,
    callback_url: Annotated[str | None, typer.Option(help="The receiver's URL, to compare with the audience.")] = None,
    subscriber: Annotated[str | None, typer.Option(help="The owner of the registration, sub_….")] = None,
    at: Annotated[str | None, typer.Option(help="The time of receipt. Default: now.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check whether a received callback is genuine, and show every problem.

    Missing keys come from the bridge: the public keys, and with --callback-url also the secret.
    """
    found = around(context, as_json=as_json)
    output = Output(found)
    received = _received(callback, headers, body, message_id)
    audience = None if callback_url is None else _origin(callback_url)
    secrets = _secrets(found, secret_file)
    asked = _signing_secret(found, callback_url) if secret_file is None and not secrets else None
    known = Known(
        secrets=secrets if asked is None else [asked["signingSecret"]],
        public_keys=public_key or _published(found),
        audience=audience,
        subscriber=asked["subscriber"] if subscriber is None and asked is not None else subscriber,
    )
    if not known.secrets and not known.public_keys:
        raise UsageError(f"nothing to verify with: set {VARIABLE}, name --secret-file or --public-key, or set {URL}")
    checks = checks_of(received, known, found.clock() if at is None else reading.moment(at))
    _show(output, checks)
    raise typer.Exit(Exit.OK if is_genuine(checks) else Exit.FAILED)


def _show(output: Output, checks: list[Check]) -> None:
    genuine = is_genuine(checks)
    if output.as_json:
        shown = [{"name": each.name, "result": each.result.value, "text": each.text} for each in checks]
        output.json({"genuine": genuine, "checks": shown})
        return
    output.lines(OutputLine(f"{each.result.value:<7}  {each.name}", each.text, _TONES[each.result]) for each in checks)
    output.say("genuine" if genuine else "NOT genuine", Tone.GOOD if genuine else Tone.BAD)


def _received(callback: str | None, headers: str | None, body: str | None, message_id: str | None) -> ReceivedCallback:
    if callback is not None and headers is None and body is None:
        return from_record(callback, message_id)
    if callback is None and headers is not None and body is not None:
        return from_files(headers, body)
    raise UsageError("name one received callback, or both --headers and --body")


def _origin(url: str) -> str:
    """Return the normalised origin of a URL. Only the bridge decides whether the destination is allowed."""
    try:
        return origin_of(normalise(url, _ANYWHERE))
    except CallbackRefused as error:
        raise UsageError(f"--callback-url {error}") from error


def _secrets(found: CliContext, file: str | None) -> list[str]:
    return (found.environment.get(VARIABLE, "") if file is None else reading.read_text(file)).split()


def _signing_secret(found: CliContext, callback_url: str | None) -> Json | None:
    """Read the receiver's secret from the bridge, or return None without a receiver or a bridge."""
    if callback_url is None or not found.environment.get(URL):
        return None
    return _secret_of(Api.of(found.environment), callback_url)


def _secret_of(api: Api, callback_url: str) -> Json:
    """Read the secret of a receiver. The query is not sent: proxies and platforms log the URL of a request."""
    return api.get("signing-secret", callbackUrl=callback_url.partition("?")[0])


def _published(found: CliContext) -> list[str]:
    if not found.environment.get(URL):
        return []
    return [each["publicKey"] for each in Api.of(found.environment).get("signing-keys")["value"]]
