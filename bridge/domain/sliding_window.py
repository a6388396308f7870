"""Limits of how often something is done: the times of the last ones, kept in a row."""

from datetime import datetime, timedelta

from bridge.domain.time import from_millis, to_millis

#: The year 2286; a clock that tells more is broken.
_LAST_MILLIS = 10**13


def check_times(recent: tuple[int, ...]) -> None:
    """Refuse times that no clock has told; raises ValueError."""
    if not all(0 <= each < _LAST_MILLIS for each in recent):
        raise ValueError("a time out of range")


def take(recent: tuple[int, ...], now: datetime, *, most: int, within: timedelta) -> tuple[int, ...] | timedelta:
    """Take the right to do it once more at `now`, or say how long to wait for that.

    At most `most` fall into any time of the length `within`. Times are milliseconds since 1970, oldest first. Those
    of a clock that is ahead count as of now, so that no wait is longer than `within`.
    """
    counted = [at for at in (min(from_millis(each), now) for each in recent) if now - at < within]
    if len(counted) >= most:
        return counted[-most] + within - now
    return tuple(to_millis(at) for at in (*counted, now))
