"""How many pings the whole app sends: they reach strangers' servers, so nobody gets to send many."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bridge.core.times import from_millis, to_millis

#: So many in any minute, from all instances together.
PINGS_A_MINUTE = 10

_MINUTE = timedelta(minutes=1)

#: The year 2286; a clock that tells more is broken.
_LAST_MILLIS = 10**13


@dataclass(frozen=True, slots=True, kw_only=True)
class Pings:
    """One row: when the last pings were sent."""

    #: Milliseconds since 1970, oldest first.
    recent: tuple[int, ...] = ()
    #: Stamped by the transaction that wrote the row last.
    tx: str = ""

    def __post_init__(self) -> None:
        """Refuse times that no clock has told; raises ValueError."""
        if not all(0 <= each < _LAST_MILLIS for each in self.recent):
            raise ValueError("a time out of range")


def take(pings: Pings, now: datetime, *, tx: str) -> Pings | timedelta:
    """Take the right to one ping at `now`; or hear after how long there will be one.

    Times from a clock that is ahead count as of now, so that nobody waits longer than a minute.
    """
    recent = [at for at in (min(from_millis(each), now) for each in pings.recent) if now - at < _MINUTE]
    if len(recent) >= PINGS_A_MINUTE:
        return recent[-PINGS_A_MINUTE] + _MINUTE - now
    return replace(pings, recent=tuple(to_millis(at) for at in (*recent, now)), tx=tx)
