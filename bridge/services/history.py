"""The last day by the hour: what was delivered, what died, and how long news took to arrive."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bridge.domain.registration import State
from bridge.storage.index import IndexEntry

HOURS = 24

#: How registrations end that somebody has waited for.
ENDS = (State.DELIVERED, State.DEAD)

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    """What ended in one hour."""

    begins: datetime
    delivered: int
    dead: int
    #: From the beginning of its run to delivered, in seconds, shortest first. Rows of former versions have none.
    delays: Sequence[float]

    def within(self, share: float) -> float:
        """Tell within how many seconds this share was delivered (nearest rank). There has to be a delay."""
        return self.delays[max(math.ceil(share * len(self.delays)), 1) - 1]


def day_before(now: datetime) -> datetime:
    """Tell where the day begins: at a full hour, so that the hour that runs is the last of 24."""
    return now.replace(minute=0, second=0, microsecond=0) - (HOURS - 1) * _HOUR


def by_hour(entries: Iterable[IndexEntry], now: datetime) -> Sequence[Hour]:
    """Sort what ended into the hours of the day, oldest first."""
    begin = day_before(now)
    ended: list[list[IndexEntry]] = [[] for _ in range(HOURS)]
    for entry in entries:
        place = (entry.since - begin) // _HOUR
        if place >= 0:
            ended[min(place, HOURS - 1)].append(entry)  # the clock that wrote it may be ahead of this one
    return [_hour(begin + number * _HOUR, those) for number, those in enumerate(ended)]


def _hour(begins: datetime, ended: Sequence[IndexEntry]) -> Hour:
    delivered = [each for each in ended if each.state is State.DELIVERED]
    return Hour(
        begins=begins,
        delivered=len(delivered),
        dead=len(ended) - len(delivered),
        delays=sorted(_seconds(each.since - each.run_began_at) for each in delivered if each.run_began_at is not None),
    )


def _seconds(delay: timedelta) -> float:
    return max(delay.total_seconds(), 0.0)
