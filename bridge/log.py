"""Structured log lines: one line per event, with fixed fields, written in one place.

Secrets are excluded by construction: a line contains references, states, numbers and the host and port of a callback,
never a URL, a header, a body or a setting's value.
"""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import accumulate, takewhile
from types import MappingProxyType

from bridge.domain.time import iso

_logger = logging.getLogger("bridge")
_as_json = json.JSONEncoder(ensure_ascii=False).encode
#: The most bytes of a line. Application Insights cuts lines over 32,768 characters, and a cut line is not valid JSON
#: for the queries.
MAX_LINE = 8_192

#: A list that is cut has at least this many items, however long each is.
_SHORTEST_LIST = 8

Field = str | int | float | bool | datetime | list[str] | None


class Event(StrEnum):
    """The events of the log."""

    MISCONFIGURED = "app.misconfigured"
    FAILED = "app.failed"
    REGISTERED = "registration.created"
    CANCELED = "registration.cancelled"
    REDELIVERY = "registration.redelivered"
    REGISTRATION_PURGED = "registration.purged"
    PINGED = "callback.pinged"
    SECRET_SHOWN = "secret.shown"
    POLLED = "operation.polled"
    SOURCE_POLLED = "source.polled"
    THROTTLED = "source.throttled"
    DENIED = "source.denied"
    UNREACHABLE = "source.unreachable"
    UNKNOWN_STATUS = "source.unknown-status"
    CLOCK_AHEAD = "clock.ahead"
    FINISHED = "operation.finished"
    PURGED = "operation.purged"
    SWEPT = "sweep.finished"
    IDLE = "sweep.idle"
    ATTEMPTED = "delivery.attempted"
    UNRECORDED = "delivery.unrecorded"
    UNDECRYPTED = "delivery.secrets-unreadable"
    HELD_BACK = "delivery.held-back"
    DEAD = "delivery.dead"
    DROPPED = "delivery.dropped"
    RESTORED = "due.restored"
    DELETED = "due.deleted"
    QUEUE = "queue.unavailable"
    STORAGE = "storage.unavailable"
    STORAGE_REFUSED = "storage.refused"
    CONTENDED = "storage.contended"
    ROW_UNREADABLE = "row.unreadable"
    REFUSED = "caller.refused"
    NO_KEYS = "keys.unavailable"


_LEVELS = {
    Event.MISCONFIGURED: logging.ERROR,
    Event.FAILED: logging.ERROR,
    Event.UNRECORDED: logging.ERROR,
    Event.UNDECRYPTED: logging.ERROR,
    Event.THROTTLED: logging.WARNING,
    Event.DENIED: logging.ERROR,
    Event.UNREACHABLE: logging.WARNING,
    Event.UNKNOWN_STATUS: logging.WARNING,
    Event.CLOCK_AHEAD: logging.WARNING,
    Event.DEAD: logging.WARNING,
    Event.RESTORED: logging.WARNING,
    Event.DELETED: logging.WARNING,
    Event.QUEUE: logging.WARNING,
    Event.STORAGE: logging.WARNING,
    Event.STORAGE_REFUSED: logging.ERROR,
    Event.ROW_UNREADABLE: logging.WARNING,
    Event.NO_KEYS: logging.WARNING,
    Event.IDLE: logging.DEBUG,
    Event.POLLED: logging.DEBUG,
    Event.DROPPED: logging.DEBUG,
}


_caller: ContextVar[Mapping[str, str]] = ContextVar("caller", default=MappingProxyType({}))


@contextmanager
def called_by(caller: str, owner: str | None = None) -> Iterator[None]:
    """Add the caller and, if known, the owner to each line of this block."""
    handle = _caller.set({"caller": caller} | ({} if owner is None else {"owner": owner}))
    try:
        yield
    finally:
        _caller.reset(handle)


_request: ContextVar[Mapping[str, str]] = ContextVar("request", default=MappingProxyType({}))


@contextmanager
def about_request(ids: Mapping[str, str]) -> Iterator[None]:
    """Add the ids of a request to each line of this block."""
    handle = _request.set(ids)
    try:
        yield
    finally:
        _request.reset(handle)


def request_fields() -> Mapping[str, str]:
    """Return the ids of the request of this context, for a line in another form."""
    return _request.get()


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is not written yet."""

    event: Event
    fields: Mapping[str, Field]


_relay: ContextVar[Callable[[Line], None] | None] = ContextVar("relay", default=None)


@contextmanager
def lines_to(relay: Callable[[Line], None]) -> Iterator[None]:
    """Pass each line of this block to `relay`, which has a thread that may write, instead of writing the line."""
    handle = _relay.set(relay)
    try:
        yield
    finally:
        _relay.reset(handle)


def log(event: Event, **fields: Field) -> None:
    """Write one line: the event and its fields as JSON. In a thread of a pool, `bridge.pool` writes the line later."""
    level = _LEVELS.get(event, logging.INFO)
    if not _logger.isEnabledFor(level):
        return
    relay = _relay.get()
    if relay is not None:
        relay(Line(event, fields))
        return
    written = {name: iso(value) if isinstance(value, datetime) else value for name, value in fields.items()}
    _logger.log(level, _short({"event": event.value, **written, **_caller.get(), **_request.get()}))


def _short(line: Mapping[str, object]) -> str:
    """Write a line as JSON of at most MAX_LINE bytes: the longest values are cut until the line fits."""
    share = MAX_LINE
    text = _encoded(line)
    while len(text) > MAX_LINE:
        text = _encoded({name: _cut(value, share) for name, value in line.items()})
        share -= share // 4
    return text.decode()


def _cut(value: object, size: int) -> object:
    """Shorten a text or a list to about `size` bytes of JSON, and mark the cut."""
    if isinstance(value, str):
        fits = _fitting((_size(each) - len('""') for each in value[:size]), size)
        return value if fits == len(value) else f"{value[:fits]}…"
    if isinstance(value, list):
        items = [_cut(each, size // _SHORTEST_LIST) for each in value]
        kept = _fitting(map(_size, items), size)
        return items if kept == len(items) else [*items[:kept], f"and {len(items) - kept} more"]
    return value


def _fitting(sizes: Iterable[int], size: int) -> int:
    """Return how many of the first sizes fit together."""
    return sum(1 for _ in takewhile(lambda total: total <= size, accumulate(sizes)))


def _size(value: object) -> int:
    return len(_encoded(value))


def _encoded(value: object) -> bytes:
    """Encode JSON in UTF-8. A lone surrogate becomes a question mark, since the host drops invalid UTF-8."""
    return _as_json(value).encode("utf-8", "replace")
