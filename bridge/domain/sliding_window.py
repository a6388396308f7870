"""Sliding-window rate limits over timestamps that are kept in a row."""

from datetime import datetime, timedelta

from bridge.domain.time import from_millis, to_millis

#: In the year 2286. A later time comes from a broken clock.
_LAST_MILLIS = 10**13


def check_times(recent: tuple[int, ...]) -> None:
    """Refuse implausible times. Raises ValueError."""
    if not all(0 <= each < _LAST_MILLIS for each in recent):
        raise ValueError("a time out of range")


def take(recent: tuple[int, ...], now: datetime, *, most: int, within: timedelta) -> tuple[int, ...] | timedelta:
    """Add an event at `now` to the window, or return how long to wait until one more is allowed.

    At most `most` events fall into any period of length `within`. Times are milliseconds since 1970, oldest first.
    Times of a clock that is ahead count as `now`, so that no wait is longer than `within`.
    """
    counted = [at for at in (min(from_millis(each), now) for each in recent) if now - at < within]
    if len(counted) >= most:
        return counted[-most] + within - now
    return tuple(to_millis(at) for at in (*counted, now))
