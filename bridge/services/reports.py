"""The data of the dashboard's pictures: the last day by the hour, and the learnt schedule.

This module only reads, and bounds the number of rows.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product

from bridge.domain.poll_schedule import Forecast
from bridge.domain.registration import State
from bridge.domain.time import Clock
from bridge.pool import map_in_order
from bridge.ports import StoredSchedule
from bridge.services.queries import budgets, entries, prices_of
from bridge.storage.index import IndexEntry
from bridge.storage.keys import index_from, operation_partitions
from bridge.storage.repository import Repository

HOURS = 24

#: The final states of registrations that were notified.
ENDS = (State.DELIVERED, State.DEAD)

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    """The results of one hour: delivered and dead registrations, and the delays of the callbacks."""

    begins: datetime
    delivered: int
    dead: int
    #: To the delivery, in seconds, shortest first: from the end of a job, which is exact, or from the start of the run.
    #: Rows of former versions have none.
    delays: Sequence[float]

    def within(self, share: float) -> float:
        """Return within how many seconds this share was delivered (nearest rank). There must be a delay."""
        return self.delays[max(math.ceil(share * len(self.delays)), 1) - 1]


def day_before(now: datetime) -> datetime:
    """Return the start of the day, a full hour, so that the current hour is the last of 24."""
    return now.replace(minute=0, second=0, microsecond=0) - (HOURS - 1) * _HOUR


def by_hour(entries: Iterable[IndexEntry], now: datetime) -> Sequence[Hour]:
    """Group ended registrations by the hours of the day, oldest first."""
    begin = day_before(now)
    ended: list[list[IndexEntry]] = [[] for _ in range(HOURS)]
    for entry in entries:
        place = (entry.since - begin) // _HOUR
        if place >= 0:
            ended[min(place, HOURS - 1)].append(entry)  # the clock that wrote it may be ahead of this one
    return [_hour(begin + number * _HOUR, those) for number, those in enumerate(ended)]


def _hour(begins: datetime, ended: Sequence[IndexEntry]) -> Hour:
    delivered = [each for each in ended if each.state is State.DELIVERED]
    begins_and_ends = [(each.delay_from or each.run_began_at, each.since) for each in delivered]
    return Hour(
        begins=begins,
        delivered=len(delivered),
        dead=len(ended) - len(delivered),
        delays=sorted(_seconds(end - begin) for begin, end in begins_and_ends if begin is not None),
    )


def _seconds(delay: timedelta) -> float:
    return max(delay.total_seconds(), 0.0)


#: How many of the newest rows are read per partition and state: as many as one call to Table storage returns.
NEWEST = 1_000

#: How many polls of a new operation are predicted.
_POLLS = 40


@dataclass(frozen=True, slots=True)
class Day:
    """The last 24 hours."""

    begins: datetime
    #: From when on the data are complete: later than `begins` if more registrations have ended than are read.
    whole_from: datetime
    hours: Sequence[Hour]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Reads the last day and the learnt schedule."""

    repository: Repository
    clock: Clock
    executor: Executor
    #: The names of the sources.
    sources: Sequence[str]
    schedule: StoredSchedule

    def day(self, owner: str | None = None) -> Day:
        """Read the results of the last day, of all owners or of one: one call for each partition and state."""
        now = self.clock()
        begin = day_before(now)

        def read(place: tuple[str, State]) -> tuple[Sequence[IndexEntry], bool]:
            partition, state = place
            stop = index_from(state, begin)
            rows = self.repository.table.range(partition, f"idx:{state}:", stop, limit=NEWEST)
            return list(entries(rows, state)), len(rows) == NEWEST

        parts = map_in_order(self.executor, read, product(operation_partitions(), ENDS))
        cut = [found[-1].since for found, is_full in parts if is_full and found]
        seen = (entry for found, _ in parts for entry in found if owner in (None, entry.owner))
        return Day(begin, max(cut, default=begin), by_hour(seen, now))

    def forecasts(self) -> Iterator[Forecast]:
        """Return what the schedule expects of each source and its groups: one call."""
        rows = self.repository.sources(self.schedule.plan)
        prices = dict.fromkeys(self.sources, 1.0) | prices_of(budgets(rows))
        return self.schedule.forecasts(rows, {name: prices[name] for name in self.sources}, polls=_POLLS)
