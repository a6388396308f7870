"""One structured line per thing that happened: fixed fields, written in one place.

Secrets are excluded by construction: a line takes references, states, numbers and the host and port of a callback,
never a URL, a header, a body or a setting's value.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from bridge.core.times import iso

_logger = logging.getLogger("bridge")
_as_json = json.JSONEncoder(ensure_ascii=False).encode

Field = str | int | float | bool | datetime | list[str] | None


class Event(StrEnum):
    """What can have happened."""

    MISCONFIGURED = "app.misconfigured"
    FAILED = "app.failed"
    REGISTERED = "registration.created"
    CANCELLED = "registration.cancelled"
    REDELIVERY = "registration.redelivered"
    PINGED = "callback.pinged"
    SECRET_SHOWN = "secret.shown"  # noqa: S105 - a name, no secret
    POLLED = "operation.polled"
    ASKED = "source.asked"
    THROTTLED = "source.throttled"
    DENIED = "source.denied"
    UNKNOWN_STATUS = "source.unknown-status"
    FINISHED = "operation.finished"
    PURGED = "operation.purged"
    SWEPT = "sweep.finished"
    IDLE = "sweep.idle"
    ATTEMPTED = "delivery.attempted"
    UNRECORDED = "delivery.unrecorded"
    UNOPENED = "delivery.headers-unreadable"
    HELD_BACK = "delivery.held-back"
    BURIED = "delivery.buried"
    DROPPED = "delivery.dropped"
    RESTORED = "due.restored"
    DELETED = "due.deleted"
    QUEUE = "queue.unavailable"
    STORAGE = "storage.unavailable"
    STORAGE_REFUSED = "storage.refused"
    SET_ASIDE = "row.set-aside"
    REFUSED = "caller.refused"
    NO_KEYS = "keys.unavailable"


_LEVELS = {
    Event.MISCONFIGURED: logging.ERROR,
    Event.FAILED: logging.ERROR,
    Event.UNRECORDED: logging.ERROR,
    Event.UNOPENED: logging.ERROR,
    Event.THROTTLED: logging.WARNING,
    Event.DENIED: logging.ERROR,
    Event.UNKNOWN_STATUS: logging.WARNING,
    Event.BURIED: logging.WARNING,
    Event.RESTORED: logging.WARNING,
    Event.DELETED: logging.WARNING,
    Event.QUEUE: logging.WARNING,
    Event.STORAGE: logging.WARNING,
    Event.STORAGE_REFUSED: logging.ERROR,
    Event.SET_ASIDE: logging.WARNING,
    Event.NO_KEYS: logging.WARNING,
    Event.IDLE: logging.DEBUG,
    Event.POLLED: logging.DEBUG,
    Event.DROPPED: logging.DEBUG,
}


_caller: ContextVar[Mapping[str, str]] = ContextVar("caller", default=MappingProxyType({}))


@contextmanager
def called_by(caller: str, owner: str | None = None) -> Iterator[None]:
    """Name the caller in each line that is written in this block: who did what, and as whom, where that is known."""
    token = _caller.set({"caller": caller} | ({} if owner is None else {"owner": owner}))
    try:
        yield
    finally:
        _caller.reset(token)


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is not written yet."""

    event: Event
    fields: Mapping[str, Field]


_relay: ContextVar[Callable[[Line], None] | None] = ContextVar("relay", default=None)


@contextmanager
def lines_to(relay: Callable[[Line], None]) -> Iterator[None]:
    """Hand each line of this block to `relay` instead of writing the line: `relay` has a thread that may write."""
    token = _relay.set(relay)
    try:
        yield
    finally:
        _relay.reset(token)


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
    _logger.log(level, _as_json({"event": event.value, **written, **_caller.get()}))
