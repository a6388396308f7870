"""The command that forwards copies of messages to a local receiver."""

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

import requests
import typer

from bridge.cli import reading
from bridge.cli.client import parse_date
from bridge.cli.errors import UsageError
from bridge.cli.listening import Forwarded, Listener
from bridge.cli.output import Output, Tone
from bridge.cli.shared import AsJson, Group, Host, begin, conditions
from bridge.domain.callback_url import without_query
from bridge.domain.outcome import is_success


@dataclass(frozen=True, slots=True)
class _Lines:
    """Writes one line per copy, and problems to standard error."""

    output: Output

    def forwarded(self, copy: Forwarded) -> None:
        """Write the line of a copy."""
        if self.output.as_json:
            self.output.json(copy.shown(), compact=True)
            return
        if copy.status is None:
            tone, result = Tone.BAD, f"no answer ({copy.error}): check that the receiver runs"
        else:
            tone, result = Tone.GOOD if is_success(copy.status) else Tone.BAD, f"HTTP {copy.status}"
        self.output.say(f"{copy.message_id}  {copy.message_type}  {copy.registration}  {result}", tone)

    def interrupted(self, why: str) -> None:
        """Write why the bridge cannot be read."""
        self.output.note(f"the bridge cannot be read for now, and is tried again: {why}")

    def skipped(self, registration: str, why: str) -> None:
        """Write that a message cannot be read."""
        self.output.note(f"{registration} is not forwarded: {why}")


def listen(
    context: typer.Context,
    forward: Annotated[str, typer.Option(help="The URL of the local receiver, like http://localhost:8000/hook.")],
    since: Annotated[
        str | None, typer.Option(help="Begin with the messages since a time or an age, like 10m. Default: now.")
    ] = None,
    host: Host = None,
    group: Group = None,
    as_json: AsJson = False,
) -> None:
    """Forward copies of messages to a local receiver, until Ctrl-C.

    Registrations that come to be pending, delivered or dead are forwarded: each message once, with the exact body and
    a valid signature. The bridge is only read, and the callbacks go to their registered URLs as always. The receiver
    verifies with the secret of the registered URL: see `secret`.
    """
    found, output, api = begin(context, as_json=as_json)
    _validate(forward)
    wanted = conditions(found, host=host, since=None, until=None, outcome=None, group=group)
    begins = parse_date(api.answer("GET", "health").headers.get("Date")) or found.clock()
    if since is not None:
        begins = reading.instant(since, begins)
    output.note(f"forwarding to {without_query(forward)}; Ctrl-C ends")
    Listener(api=api, around=found, receiver=forward, start=begins, conditions=wanted, log=_Lines(output)).run()


def _validate(url: str) -> None:
    """Check that requests can go to a URL. Raises UsageError."""
    try:
        parts = urlsplit(url)
        requests.Request("POST", url).prepare()
        str(parts.hostname).encode("idna")
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except (ValueError, requests.RequestException):  # ValueError: also a wrong port, or a name that DNS cannot express
        is_valid = False
    if not is_valid:
        raise UsageError("--forward is not a URL of a receiver: write http://localhost:8000/hook")
    if "@" in parts.netloc:
        raise UsageError("--forward contains a password, which process lists would show")
