"""The output of `make start`: sentences for the events of the app's log, and the log itself in a file.

The events and their fields are those of `docs/log.md`.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.domain.outcome import Failure
from bridge.log import Event
from local.stoppable import Stoppable

_LINE = re.compile(r"\d\d:\d\d:\d\d (?P<level>[A-Z]+) (?P<logger>\S+): (?P<message>.*)", re.DOTALL)

#: The first line of a running host, which lists all functions.
_READY = "the function host listens on "

#: Above this size the log of earlier starts is moved away at the next start, in bytes.
MOST_LOG = 16 * 1024 * 1024

#: Why an attempt failed, in a few words.
FAILURES: Mapping[str, str] = {
    Failure.REFUSED_BY_RULES: "refused by the rules for callbacks",
    Failure.DNS: "name not found",
    Failure.CONNECT: "connection refused",
    Failure.TLS: "TLS failed",
    Failure.TIMEOUT: "no answer in time",
    Failure.CLOSED: "connection closed before an answer",
    Failure.HEAD_TOO_LARGE: "answer with too many headers",
    Failure.PROTOCOL: "answer is not HTTP",
    Failure.HEADERS: "own headers cannot be decrypted",
    Failure.CALLBACK_URL: "query of the callback URL cannot be decrypted",
    Failure.LOST: "the app ended before it recorded the attempt",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """One thing that happened."""

    #: The operation, the source or the part of the app.
    name: str
    text: str
    good: bool = False
    bad: bool = False


def failure(error: str | None, status: int | None) -> str:
    """Return the result of a failed attempt in a few words."""
    return f"HTTP {status}" if status else FAILURES.get(str(error), str(error))


class Narrator:
    """Turns the app's log into sentences. Repeated statuses of an operation are left out."""

    def __init__(self, script: Callable[[Sentence], None]) -> None:
        self._tell = script
        self._statuses: dict[str, str] = {}

    def take(self, event: str, level: str, fields: Mapping[str, Any]) -> None:
        """Show an event, unless it is housekeeping."""
        if event == Event.POLLED and not self._is_new(fields):
            return
        if event == Event.FINISHED:
            self._statuses.pop(fields["operation"], None)
        if event in _SENTENCES:
            self._tell(_SENTENCES[Event(event)](_name(fields), fields))
        elif level in {"WARNING", "ERROR"}:
            named = (f"{name}: {value}" for name, value in fields.items() if value is not None and name != "event")
            self._tell(Sentence(name="app", text=f"{event}: {', '.join(named)}", bad=True))

    def _is_new(self, fields: Mapping[str, Any]) -> bool:
        output = fields["status"] or fields["error"]
        before, self._statuses[fields["operation"]] = self._statuses.get(fields["operation"]), output
        return bool(output != before)


def _name(fields: Mapping[str, Any]) -> str:
    """Return the operation id that a line is about."""
    if registration := fields.get("registration"):
        return str(registration).split("~")[1]
    return str(fields.get("operation") or "app").rpartition(":")[2]


def _pinged(_: str, fields: Mapping[str, Any]) -> Sentence:
    good = str(fields["status"]).startswith("2")
    text = f"HTTP {fields['status']}" if good else failure(fields["error"], fields["status"])
    return Sentence(name="ping", text=f"{fields['to']}: {text}", good=good, bad=not good)


def _polled(name: str, fields: Mapping[str, Any]) -> Sentence:
    if fields["status"]:
        return Sentence(name=name, text=f"Speech returned {fields['status']}")
    return Sentence(name=name, text=f"Speech returned no status: {fields['error']}", bad=True)


def _finished(name: str, fields: Mapping[str, Any]) -> Sentence:
    if fields["reason"]:
        return Sentence(name=name, text=f"given up: {fields['final_status']} ({fields['reason']})", bad=True)
    return Sentence(name=name, text=f"Speech returned {fields['final_status']}")


def _attempted(name: str, fields: Mapping[str, Any]) -> Sentence:
    if fields["then"] == "delivered":
        text = f"delivered: attempt {fields['attempt']}, HTTP {fields['status']}"
        return Sentence(name=name, text=text, good=True)
    then = f"next attempt at {fields['next'][11:19]} UTC" if fields["next"] else f"is {fields['then']}"
    why = failure(fields["error"], fields["status"])
    return Sentence(name=name, text=f"attempt {fields['attempt']} failed: {why}; {then}", bad=True)


def _of_a_source(_: str, fields: Mapping[str, Any]) -> Sentence:
    output = [str(fields[each]) for each in ("what", "advice") if fields.get(each)]
    return Sentence(name="Speech", text=". ".join(output), bad=True)


#: The sentence for each event, from the operation id and the fields of the line.
_SENTENCES: Mapping[Event, Callable[[str, Mapping[str, Any]], Sentence]] = {
    Event.REGISTERED: lambda name, fields: Sentence(name=name, text=f"registered: call back {fields['to']}"),
    Event.CANCELED: lambda name, _: Sentence(name=name, text="canceled"),
    Event.REDELIVERY: lambda name, _: Sentence(name=name, text="its callback is to be delivered again"),
    Event.PINGED: _pinged,
    Event.POLLED: _polled,
    Event.FINISHED: _finished,
    Event.ATTEMPTED: _attempted,
    Event.UNRECORDED: _attempted,
    Event.HELD_BACK: lambda name, fields: Sentence(
        name=name, text=f"its callback waits: {fields['to']} is busy or silent", bad=True
    ),
    Event.DEAD: lambda name, fields: Sentence(name=name, text=f"is dead after attempt {fields['attempt']}", bad=True),
    Event.THROTTLED: _of_a_source,
    Event.DENIED: _of_a_source,
    Event.UNREACHABLE: _of_a_source,
}


class LogFile(Stoppable):
    """Splits the output of the function host: the app's log into a file, other lines to the terminal.

    A context manager that closes the file. Each line of the file is a JSON object with `time` and `level` before the
    fields of the event. A line that is no event, a traceback for instance, is in `line`.
    """

    def __init__(self, path: Path, narrator: Narrator | None, say: Callable[[str], None]) -> None:
        if path.exists() and path.stat().st_size > MOST_LOG:
            path.replace(path.with_suffix(".old.jsonl"))
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()
        self._narrator = narrator
        self._say = say

    def take(self, printed: str) -> None:
        """Take a line that the host printed."""
        found = _LINE.fullmatch(printed)
        event = _event(found["message"]) if found else None
        level = found["level"] if found else "INFO"
        entry = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "level": level, **(event or {"line": printed})}
        text = json.dumps(entry, ensure_ascii=False)
        with self._lock:
            if not self._file.closed:
                self._file.write(f"{text}\n")
                self._file.flush()
        if event is None:
            if self._narrator is None or not printed.startswith(_READY):
                self._say(printed)
        elif self._narrator is None:
            self._say(text)
        else:
            self._narrator.take(str(event["event"]), level, event)

    def stop(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()


def _event(message: str) -> dict[str, Any] | None:
    """Read an event of the app's log; None for any other line."""
    if not message.startswith('{"event": '):
        return None
    try:
        event: dict[str, Any] = json.loads(message)
    except ValueError:
        return None
    return event
