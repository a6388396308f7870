"""Instants in the bridge's form, aware UTC datetimes of whole milliseconds, and the parsers of times and durations."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

#: Returns the current time in aware UTC. Always an argument: only the composition root has a real clock.
Clock = Callable[[], datetime]

#: The largest assumed difference between the clocks of instances.
CLOCK_SKEW = timedelta(seconds=30)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_DURATION = re.compile(r"(\d{1,6})([smhd])", re.ASCII)
_UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}


def to_millis(instant: datetime) -> int:
    """Convert to milliseconds since 1970, rounded down."""
    return (instant - _EPOCH) // _MILLISECOND


def from_millis(millis: int) -> datetime:
    """Convert from milliseconds since 1970."""
    return _EPOCH + millis * _MILLISECOND


def whole_millis(instant: datetime) -> datetime:
    """Cut an instant to whole milliseconds, the precision of row keys and of clients' clocks."""
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def iso(instant: datetime) -> str:
    """Write an instant as ISO 8601 in UTC with milliseconds: `2026-11-23T15:09:41.004Z`."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_instant(text: object) -> datetime | None:
    """Parse a time in ISO 8601 with a zone. Returns None for everything else."""
    try:
        instant = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return None if instant is None or instant.tzinfo is None else instant


def parse_duration(text: str) -> timedelta | None:
    """Parse a whole number of at most six digits with a unit: `45s`, `15m`, `24h` or `30d`. Returns None otherwise."""
    found = _DURATION.fullmatch(text.strip())
    return None if found is None else int(found[1]) * _UNITS[found[2]]


def iso_or_none(instant: datetime | None) -> str | None:
    """Write an optional instant."""
    return None if instant is None else iso(instant)
