"""Reads the due rows: deliveries in one range of each partition, polls and purges in another.

A row that cannot be processed hides other rows for at most one sweep. Deliveries have a separate range. Polls and
purges share one, in which the budget of a source sets the number of processed rows: if a page is full, rows
beyond that number are postponed to their turn, and the next page is read.

    read       a crash costs nothing
    postpone   after a crash a row is at the old or the new time
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from typing import TypeVar

from bridge.domain.errors import StorageUnavailable
from bridge.domain.time import Clock
from bridge.log import Event, log
from bridge.pool import imap_unordered
from bridge.services.sweep.rescheduler import Rescheduler
from bridge.storage.due import Due, DueDelivery, DuePoll, DuePurge, read_due
from bridge.storage.keys import (
    DueKind,
    due_at,
    due_deliveries,
    due_operations,
    due_parts,
    operation_of,
    operation_partitions,
)
from bridge.storage.repository import readable
from bridge.storage.table import Row, Table
from bridge.storage.writes import poll

#: The most rows of a partition per read, earliest due first.
ROWS_PER_PARTITION = 2_500

#: The most further pages of a partition in one sweep.
_PAGES = 20

#: The least number of due rows of a source and partition that are processed, however small its budget is.
_LEAST_ROOM = 500

#: The longest postponement of a row. Earlier rows have moved on by then.
_LONGEST_POSTPONEMENT = timedelta(minutes=15)

#: Stands for purges in place of a source: their rows share the range of polls.
PURGES = ""

#: About how many purges a sweep performs per second.
PURGES_PER_SECOND = 20.0


#: The lowest assumed rate of a source, in polls per second.
_SLOWEST = 1e-3

#: A postponed row is not read in the next sweep.
_SWEEP = timedelta(seconds=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How many due rows of one source can be processed in a sweep."""

    #: The polls that are allowed now, over all partitions.
    polls: int
    #: The rate of later polls, per second.
    rate: float
    #: When the source may be polled again, if not now.
    free_at: datetime | None = None

    @property
    def rows(self) -> int:
        """The rows of one partition to process: twice as many as may be polled, so that there is a choice."""
        return 0 if self.free_at is not None else min(max(2 * self.polls, _LEAST_ROOM), ROWS_PER_PARTITION)

    def turn(self, place: int, now: datetime) -> datetime:
        """Return when the row at `place` beyond the room has its turn, if one other partition has as many rows."""
        wait = timedelta(seconds=2 * place / max(self.rate, _SLOWEST))
        return (self.free_at or now + _SWEEP) + min(wait, _LONGEST_POSTPONEMENT)


@dataclass(frozen=True, slots=True)
class DueRows:
    """The due rows of a sweep, each kind ordered by time."""

    deliveries: Sequence[DueDelivery] = ()
    polls: Sequence[DuePoll] = ()
    purges: Sequence[DuePurge] = ()
    #: The number of postponed rows, for which their source has no room.
    postponed: int = 0

    @property
    def oldest(self) -> datetime | None:
        """The due time of the most overdue row, or None if no row is due."""
        firsts = [first_due(rows) for rows in (self.deliveries, self.polls, self.purges)]
        return min((at for at in firsts if at is not None), default=None)


def first_due(rows: Sequence[Due]) -> datetime | None:
    """Return the due time of the first of some rows, which are ordered by time."""
    return due_at(rows[0].handle.key) if rows else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads due rows in parallel. The next sweep reads a partition again that storage does not return."""

    table: Table
    executor: Executor
    clock: Clock
    rescheduler: Rescheduler

    def deliveries(self, now: datetime) -> Sequence[DueDelivery]:
        """Read the due deliveries of all partitions."""
        found = imap_unordered(self.executor, partial(self.deliveries_of, now), operation_partitions())
        return _sorted(due for partition in found for due in partition)

    def deliveries_of(self, now: datetime, partition: str) -> Sequence[DueDelivery]:
        """Read all due deliveries of one partition, so that those of one host do not hide the others."""
        (start, stop), found = due_deliveries(now), list[DueDelivery]()
        for _ in range(_PAGES):
            page = self._read(partition, start, stop)
            found += [due for due in readable(page, read_due) if isinstance(due, DueDelivery)]
            if len(page) < ROWS_PER_PARTITION:
                break
            start = f"{page[-1].key}!"
        return found

    def operations(self, now: datetime, room: Callable[[str], Room], *, until: datetime) -> DueRows:
        """Read the due polls and purges of all partitions, and postpone rows for which their source has no room.

        Includes deliveries that an older version has written there. No page begins after `until`.
        """
        read = partial(self._operations_of, now, cache(room), until)
        found = list(imap_unordered(self.executor, read, operation_partitions()))
        rows = [due for kept, _ in found for due in kept]
        return DueRows(
            deliveries=_sorted(due for due in rows if isinstance(due, DueDelivery)),
            polls=_sorted(due for due in rows if isinstance(due, DuePoll)),
            purges=_sorted(due for due in rows if isinstance(due, DuePurge)),
            postponed=sum(postponed for _, postponed in found),
        )

    def _operations_of(
        self, now: datetime, room: Callable[[str], Room], until: datetime, partition: str
    ) -> tuple[list[Due], int]:
        start, stop = due_operations(now)
        kept, places, postponed = list[Due](), Counter[str](), 0
        for _ in range(_PAGES):
            page = self._read(partition, start, stop)
            if len(page) < ROWS_PER_PARTITION:
                return [*kept, *readable(page, read_due)], postponed
            staying, beyond = _divided(page, places, room)
            kept += readable(staying, read_due)
            postponed += self._postpone(beyond, room, now)
            start = f"{page[-1].key}!"
            if self.clock() >= until:
                break
        return kept, postponed

    def _postpone(self, rows: Sequence[tuple[Row, str, int]], room: Callable[[str], Room], now: datetime) -> int:
        reschedules = [poll.postpone(row, room(source).turn(place, now)) for row, source, place in rows]
        size = poll.RESCHEDULES_PER_TRANSACTION
        return sum(
            len(self.rescheduler.commit(reschedules[start : start + size]))
            for start in range(0, len(reschedules), size)
        )

    def _read(self, partition: str, start: str, stop: str) -> Sequence[Row]:
        try:
            return self.table.range(partition, start, stop, limit=ROWS_PER_PARTITION)
        except StorageUnavailable as error:
            log(Event.STORAGE, step="read due rows", partition=partition, error=str(error))
            return []


def _divided(
    page: Sequence[Row], places: Counter[str], room: Callable[[str], Room]
) -> tuple[list[Row], list[tuple[Row, str, int]]]:
    """Divide a full page into the rows to process and those beyond the room, with source and place.

    `places` counts the rows of each source over all pages. Rows that are not the bridge's stay unchanged.
    """
    staying, beyond = list[Row](), list[tuple[Row, str, int]]()
    for row in page:
        kind, reference = due_parts(row.key)
        ref = operation_of(reference)
        if ref is None or kind not in (DueKind.POLL, DueKind.PURGE) or due_at(row.key) is None:
            staying.append(row)
            continue
        source = PURGES if kind == DueKind.PURGE else ref.source
        places[source] += 1
        past = places[source] - room(source).rows
        if past > 0:
            beyond.append((row, source, past))
        else:
            staying.append(row)
    return staying, beyond


_D = TypeVar("_D", DueDelivery, DuePoll, DuePurge)


def _sorted(due: Iterable[_D]) -> list[_D]:
    return sorted(due, key=lambda each: each.handle.key)
