"""Reads the due rows: deliveries in one range of each partition, polls and purges in another.

A row that cannot be worked on stands before no other one for longer than a sweep. Deliveries have a range of their
own. Of polls and purges, which share one, a source has room for a number of rows that its budget sets: if a page is
full, what is beyond that room is moved to the time when its turn can come, and the next page is read.

    read       a crash costs nothing
    postpone   a crash leaves a row where it was, or later
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from typing import TypeVar

from bridge.domain.errors import StorageUnavailable, UnreadableRow
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
from bridge.storage.table import Table
from bridge.storage.transaction import Row
from bridge.storage.writes import poll

#: At most this many rows of a partition are read at once, earliest due first.
ROWS_PER_PARTITION = 2_500

#: At most this many times a full page of a partition is followed by another one in the same sweep.
_PAGES = 20

#: Due rows of one source in one partition are all looked at up to this number, however small its budget is.
_LEAST_ROOM = 500

#: A row that waits for its turn is postponed by at most this; the others have moved on by then.
_LONGEST_POSTPONEMENT = timedelta(minutes=15)

#: Stands for purges where a source is named: their rows share the range of the polls.
PURGES = ""

#: Purges that a sweep can do in a second, roughly.
PURGES_PER_SECOND = 20.0


#: A source is not taken to be slower than this, in polls a second.
_SLOWEST = 1e-3

#: A row that is postponed is not looked at in the next sweep.
_SWEEP = timedelta(seconds=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How many due rows of one source can be worked on in a sweep."""

    #: Polls that may be made now, over all partitions.
    polls: int
    #: Polls a second, later on.
    rate: float
    #: When the source may be asked again, if it may not now.
    free_at: datetime | None = None

    @property
    def rows(self) -> int:
        """Rows of one partition that are worth a look: twice as many as may be polled, so that there is a choice."""
        return 0 if self.free_at is not None else min(max(2 * self.polls, _LEAST_ROOM), ROWS_PER_PARTITION)

    def turn(self, place: int, now: datetime) -> datetime:
        """Say when the row at `place` beyond the room has its turn, if one other partition has as many."""
        wait = timedelta(seconds=2 * place / max(self.rate, _SLOWEST))
        return (self.free_at or now + _SWEEP) + min(wait, _LONGEST_POSTPONEMENT)


@dataclass(frozen=True, slots=True)
class DueRows:
    """The due rows that a sweep works on, each kind in the order of its times."""

    deliveries: Sequence[DueDelivery] = ()
    polls: Sequence[DuePoll] = ()
    purges: Sequence[DuePurge] = ()
    #: Rows that were moved to a later time, since more were due than their source has room for.
    postponed: int = 0

    @property
    def oldest(self) -> datetime | None:
        """When the row was due that has waited longest, or None if none is due."""
        firsts = [first_due(rows) for rows in (self.deliveries, self.polls, self.purges)]
        return min((at for at in firsts if at is not None), default=None)


def first_due(rows: Sequence[Due]) -> datetime | None:
    """Say when the first of some rows was due; they are in the order of their times."""
    return due_at(rows[0].handle.key) if rows else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads due rows in parallel. A partition that storage does not give is due again at the next sweep."""

    table: Table
    executor: Executor
    clock: Clock
    rescheduler: Rescheduler

    def deliveries(self, now: datetime) -> Sequence[DueDelivery]:
        """Read the due deliveries of all partitions."""
        found = imap_unordered(self.executor, partial(self.deliveries_of, now), operation_partitions())
        return _sorted(due for partition in found for due in partition)

    def deliveries_of(self, now: datetime, partition: str) -> Sequence[DueDelivery]:
        """Read the due deliveries of one partition, all of them: those of one host are not to hide the others."""
        (start, stop), found = due_deliveries(now), list[DueDelivery]()
        for _ in range(_PAGES):
            page = self._read(partition, start, stop)
            found += [due for due in _readable(page) if isinstance(due, DueDelivery)]
            if len(page) < ROWS_PER_PARTITION:
                break
            start = f"{page[-1].key}!"
        return found

    def operations(self, now: datetime, room: Callable[[str], Room], *, until: datetime) -> DueRows:
        """Read the due polls and purges of all partitions, and postpone what its source has no room for.

        Deliveries that an older version has put there are among them. No page is begun after `until`.
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
                return [*kept, *_readable(page)], postponed
            staying, beyond = _divided(page, places, room)
            kept += _readable(staying)
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
    """Divide a full page into the rows that a sweep works on and those beyond the room, with source and place.

    `places` counts the rows of each source over all pages. Rows that are not the bridge's stay as they are.
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


def _readable(rows: Sequence[Row]) -> Iterator[Due]:
    for row in rows:
        try:
            yield read_due(row)
        except UnreadableRow as error:
            log(Event.ROW_UNREADABLE, partition=row.partition, key=row.key[:200], why=str(error))


_D = TypeVar("_D", DueDelivery, DuePoll, DuePurge)


def _sorted(due: Iterable[_D]) -> list[_D]:
    return sorted(due, key=lambda each: each.handle.key)
