"""The command that forwards copies of messages to a local receiver. Callbacks go to their registered URLs as always.

The bridge is only read. Each message is requested at most once, just before its copy is forwarded, since a receiver
refuses a signature that is older than five minutes.

Cost: a list every `SHORTEST_WAIT` seconds after news, and less and less often down to one every `LONGEST_WAIT`, that is
four calls a minute. Each forwarded message costs one more call.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Protocol
from urllib.parse import urlsplit

import requests
import typer

from bridge.cli import reading
from bridge.cli.client import Api, Json, SignedMessage, parse_date, past_proxies, read_message
from bridge.cli.context import CliContext
from bridge.cli.errors import BridgeUnreachable, Refused, UsageError
from bridge.cli.output import Output, Tone, instant
from bridge.cli.shared import AsJson, Group, Host, begin, conditions
from bridge.domain.callback_url import without_query
from bridge.domain.outcome import is_success
from bridge.domain.time import CLOCK_SKEW, iso

#: The time between two lists, in seconds. The wait doubles while nothing new comes.
SHORTEST_WAIT, LONGEST_WAIT = 2.0, 15.0

#: Each list begins so much before the newest entry: an entry can appear late, since the clocks of instances differ and
#: a transaction takes some seconds.
OVERLAP = CLOCK_SKEW + timedelta(minutes=1)

#: The states of registrations with a message that was or will be sent.
_STATES = "pending,delivered,dead"

#: Limits of connecting and of each read, in seconds, like those of a callback.
_TIMEOUTS = (5, 15)
#: The request gets its own framing.
_FRAMING = frozenset({"connection", "content-length", "host", "transfer-encoding"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarded:
    """One copy that was sent to the local receiver."""

    registration: str
    message_id: str
    message_type: str
    #: The status of the answer. None if there was no answer.
    status: int | None
    #: Why there was no answer.
    error: str | None

    def shown(self) -> Json:
        """Convert to JSON."""
        return {
            "registration": self.registration,
            "message": {"id": self.message_id, "type": self.message_type},
            "status": self.status,
            "error": self.error,
        }


class Log(Protocol):
    """Shows the progress."""

    def forwarded(self, copy: Forwarded) -> None:
        """Show a copy."""

    def interrupted(self, why: str) -> None:
        """Show why the bridge cannot be read for now. Called once until the bridge answers again."""

    def skipped(self, registration: str, why: str) -> None:
        """Show that a message cannot be read."""


#: Identifies a stay of a registration in a state.
_Stay = tuple[str, str, str]


@dataclass(slots=True, kw_only=True)
class Listener:
    """Follows the list of registrations, and forwards each message once."""

    api: Api
    around: CliContext
    #: The URL of the local receiver.
    receiver: str
    #: Entries that the first list has from before this time are left out.
    start: datetime
    #: The conditions of the list, in the API's format.
    conditions: Mapping[str, str | None]
    log: Log
    #: The ids of the messages that were forwarded.
    _done: set[str] = field(default_factory=set)
    #: The entries of the last list that need nothing more. None before the first list.
    _known: set[_Stay] | None = None

    def run(self) -> None:
        """Forward until Ctrl-C. Raises BridgeUnreachable and Refused, unless a later request can succeed.

        The first list must succeed, so that a wrong address or key shows at once.
        """
        floor, wait, is_interrupted = self.start - OVERLAP, SHORTEST_WAIT, False
        while True:
            try:
                newest, is_news = self._round(floor)
            except (BridgeUnreachable, Refused) as error:
                if self._known is None or not error.may_pass:
                    raise
                if not is_interrupted:
                    self.log.interrupted(str(error))
                is_news, is_interrupted = False, True
            else:
                floor, is_interrupted = max(floor, newest - OVERLAP), False
            wait = SHORTEST_WAIT if is_news else min(LONGEST_WAIT, 2 * wait)
            self.around.sleep(wait)

    def _round(self, floor: datetime) -> tuple[datetime, bool]:
        """Forward the new messages, oldest first. Returns the time of the newest entry, and whether any was new."""
        pages = self.api.pages(limit=None, **{**self.conditions, "state": _STATES, "since": iso(floor)})
        entries = [entry for page in pages for entry in page["value"]]
        if self._known is None:
            self._known = {_stay(each) for each in entries if instant(each["since"]) < self.start}
        known, is_news = self._known.intersection(map(_stay, entries)), False
        for entry in reversed(entries):
            if _stay(entry) not in known:
                is_news |= self._forward(entry)
            known.add(_stay(entry))  # only now: after a failure, the next round reads the same message
            self._known = known
        return max((instant(each["since"]) for each in entries), default=floor), is_news

    def _forward(self, entry: Json) -> bool:
        """Forward the message of an entry, unless a copy was forwarded before. Returns whether there was one."""
        named = entry["message"]
        if named is None or named["id"] in self._done:
            return False
        try:
            message = read_message(self.api, entry["id"])
        except Refused as error:
            if error.status not in (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
                raise
            self._done.add(named["id"])
            self.log.skipped(entry["id"], str(error))
            return True
        message_id = message.headers.get("webhook-id", named["id"])  # a registration can have got another one
        is_new = message_id not in self._done
        self._done |= {named["id"], message_id}
        if "webhook-signature" not in message.headers:
            self.log.skipped(entry["id"], "another client registered it, and the bridge signs for that one only")
        elif is_new:
            status, problem = post(self.receiver, message)
            copy = Forwarded(
                registration=entry["id"],
                message_id=message_id,
                message_type=named["type"],
                status=status,
                error=problem,
            )
            self.log.forwarded(copy)
        return True


def post(url: str, message: SignedMessage) -> tuple[int | None, str | None]:
    """Send a copy of a message. Returns the status, or why there is none.

    Redirects are not followed, and nothing of an earlier answer is sent: neither a cookie nor a credential of `.netrc`.
    """
    headers = {name: value for name, value in message.headers.items() if name.lower() not in _FRAMING}
    try:
        with requests.Session() as session:
            session.auth = _unchanged
            session.headers.clear()
            answer = session.post(
                url,
                data=message.body,
                headers=headers,
                timeout=_TIMEOUTS,
                allow_redirects=False,
                stream=True,  # the body is not read: it can be endless
                proxies=past_proxies(urlsplit(url).hostname or ""),
            )
            return answer.status_code, None
    except (requests.RequestException, UnicodeError) as error:  # UnicodeError: a name that DNS cannot express
        return None, type(error).__name__


def _unchanged(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Authorise nothing. A session without `auth` would read `.netrc`."""
    return request


def _stay(entry: Json) -> _Stay:
    return entry["id"], entry["state"], entry["since"]


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
