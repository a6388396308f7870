"""Instants as the bridge writes them: aware UTC datetimes of whole milliseconds."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

#: Tells the time, in aware UTC. Passed in everywhere; only the composition root has a real one.
Clock = Callable[[], datetime]

#: Instances' clocks are taken to agree within this.
CLOCK_SKEW = timedelta(seconds=30)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def to_millis(instant: datetime) -> int:
    """Milliseconds since 1970, rounded down."""
    return (instant - _EPOCH) // _MILLISECOND


def from_millis(millis: int) -> datetime:
    """Undo `to_millis`."""
    return _EPOCH + millis * _MILLISECOND


def whole_millis(instant: datetime) -> datetime:
    """Drop what is finer than a millisecond, since row keys and clients' clocks don't have it."""
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def iso(instant: datetime) -> str:
    """Write an instant as ISO 8601 in UTC with milliseconds: `2026-11-23T15:09:41.004Z`."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_or_none(instant: datetime | None) -> str | None:
    """Write an instant that may not have come yet."""
    return None if instant is None else iso(instant)
