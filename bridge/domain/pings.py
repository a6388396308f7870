"""How many pings the whole app sends: they reach strangers' servers, so nobody gets to send many."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bridge.domain import sliding_window
from bridge.domain.sliding_window import check_times

#: So many in any minute, from all instances together.
PINGS_A_MINUTE = 10

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pings:
    """One row: when the last pings were sent."""

    #: Milliseconds since 1970, oldest first.
    recent: tuple[int, ...] = ()
    #: Stamped by the transaction that wrote the row last.
    tx: str = ""

    def __post_init__(self) -> None:
        """Refuse times that no clock has told; raises ValueError."""
        check_times(self.recent)


def take(pings: Pings, now: datetime, *, tx: str) -> Pings | timedelta:
    """Take the right to one ping at `now`; or hear after how long there will be one."""
    taken = sliding_window.take(pings.recent, now, most=PINGS_A_MINUTE, within=_MINUTE)
    return taken if isinstance(taken, timedelta) else replace(pings, recent=taken, tx=tx)
