"""Reads for clients and operators: registrations, operations, lists, the status, and the counts of each state.

This module only reads, and no sweep or delivery depends on it.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from bridge.domain.attempt import AttemptRecord
from bridge.domain.errors import UnreadableRow
from bridge.domain.ids import Kind, OperationRef, RegistrationRef
from bridge.domain.operation import ExpiredReason, Operation, PollErrorKind
from bridge.domain.poll_schedule import Forecast
from bridge.domain.rate_limit import Budget, clamped
from bridge.domain.registration import Registration, State
from bridge.domain.time import CLOCK_SKEW, Clock
from bridge.pool import map_in_order
from bridge.ports import StoredSchedule
from bridge.services.dispatch import QueueProblem
from bridge.services.sweep.heartbeat import last_heartbeat_at, queue_problem
from bridge.storage.aggregate import OperationAggregate
from bridge.storage.index import NO_CONDITIONS, Cursor, EntryFilter, IndexEntry
from bridge.storage.keys import (
    HEARTBEAT_KEY,
    SOURCE_PREFIX,
    after,
    due_at,
    due_deliveries,
    due_operations,
    index_from,
    index_until,
    operation_partitions,
    partitions_of_message,
    registration_of,
    source_key,
)
from bridge.storage.records import decode
from bridge.storage.repository import Repository, readable
from bridge.storage.table import Row, Table

#: The most counted registrations per state, over all partitions. Above that the answer is 'more'.
COUNTED = 1_000

#: How long counts are cached, from the start of counting.
KEPT_FOR = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class _Kept:
    """Cached counts, and the start of counting."""

    at: datetime
    counts: Mapping[State, int]


@dataclass(slots=True)
class Counts:
    """Counts the registrations in each state by the rows of the index. Threads may share it.

    An instance counts at most once in KEPT_FOR and caches the counts: each tab with the dashboard reads them every five
    seconds, and counting is the largest read of a status.
    """

    table: Table
    clock: Clock
    executor: Executor
    _kept: _Kept | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def by_state(self) -> Mapping[State, int]:
        """Return the counts of all states, up to one more than COUNTED each, at most KEPT_FOR old.

        One thread counts at a time. Others wait for its counts, which are no older than their own would be. Raises
        StorageUnavailable, after which nothing is cached and the next call counts again.
        """
        with self._lock:
            now = self.clock()
            if self._kept is None or abs(now - self._kept.at) >= KEPT_FOR:
                self._kept = None
                found = map_in_order(self.executor, self.of, State)
                self._kept = _Kept(now, dict(zip(State, found, strict=True)))
            return self._kept.counts

    def of(self, state: State) -> int:
        """Count one state now, up to one more than COUNTED, partition by partition, without reading further rows.

        Raises StorageUnavailable.
        """
        prefix, found = f"idx:{state}:", 0
        for partition in operation_partitions():
            limit = COUNTED + 1 - found
            if limit <= 0:
                break
            found += len(self.table.range(partition, prefix, after(prefix), limit=limit, columns=["v"]))
        return found

    def waiting(self) -> int:
        """Count the waiting registrations now, up to one more than COUNTED. Raises StorageUnavailable."""
        return self.of(State.WAITING)


#: How many due rows of a partition are read to find the first one: rows of other programs may precede it.
_FIRST_DUE = 10

#: How many index rows are read at once for the list of one owner, over all queries, one per state and partition.
_STRETCH = 2_000

#: A page is read on until it has made this many queries, and at most _STRETCHES times: 48 queries for all states.
_QUERIES, _STRETCHES = 32, 4


#: Indexes up to this size are read in one call for all states. A larger one counts as large for this long.
_SMALL, _LARGE_FOR = 100, timedelta(minutes=10)


class JobHint(StrEnum):
    """Why the upstream may not know the id of an operation, in a text for people."""

    MAY_BE_JOB = "The id may be that of a job: register it as jobId."
    IS_JOB = "The id is that of a job, which is registered here: register it as jobId."


@dataclass(frozen=True, slots=True)
class RegistrationView:
    """A registration with operation and attempts."""

    registration: Registration
    operation: Operation
    attempts: Sequence[AttemptRecord]
    hint: JobHint | None = None


@dataclass(frozen=True, slots=True)
class ListPage:
    """Part of a list, newest first."""

    entries: Sequence[IndexEntry]
    #: Where the next page begins, or None at the end.
    cursor: Cursor | None


#: States of registrations that were notified, and so have a message and can have attempts.
_NOTIFIED = frozenset({State.PENDING, State.DELIVERED, State.DEAD, State.CANCELED})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Selection:
    """The registrations of a list, and the parts of the index to read."""

    owner: str | None
    where: EntryFilter
    message_id: str | None
    #: The requested states that can have matches.
    states: Sequence[State]
    #: The partitions that can have matches.
    partitions: Sequence[str]

    @classmethod
    def of(
        cls, states: Sequence[State], *, owner: str | None, where: EntryFilter, message_id: str | None
    ) -> "_Selection":
        """Leave out states and partitions that cannot have matches."""
        is_of_notified = message_id is not None or where.outcome is not None
        return cls(
            owner=owner,
            where=where,
            message_id=message_id,
            states=[state for state in states if state in _NOTIFIED or not is_of_notified],
            partitions=list(operation_partitions()) if message_id is None else partitions_of_message(message_id),
        )

    @property
    def skips_rows(self) -> bool:
        """Whether many rows within the ranges may not match: the index is ordered by time alone."""
        return (self.owner, self.message_id, replace(self.where, since=None, until=None)) != (None, None, NO_CONDITIONS)

    def matches(self, entry: IndexEntry) -> bool:
        """Return whether an entry meets all conditions, apart from its state."""
        is_named = self.owner in (None, entry.owner) and self.message_id in (None, entry.message_id)
        return is_named and self.where.matches(entry)

    def range(self, state: State, cursor: Cursor | None) -> tuple[str, str]:
        """Return the keys between which the matches in `state` follow a cursor. The range can be empty."""
        prefix = f"idx:{state}:"
        start = prefix if cursor is None else f"{prefix}{cursor.place}!"
        begin = start if self.where.until is None else max(start, index_until(state, self.where.until))
        return begin, after(prefix) if self.where.since is None else index_from(state, self.where.since)


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The state of the bridge."""

    last_sweep_at: datetime | None
    #: Times in rows of sources that lie ahead, by row key. They are shown corrected.
    clocks_ahead: Mapping[str, Sequence[str]]
    #: The due time of the most overdue row, if any.
    oldest_overdue_at: datetime | None
    #: By state, up to one more than COUNTED, and some seconds old.
    counts: Mapping[State, int]
    #: By source; one that was never polled has none.
    budgets: Mapping[str, Budget]
    #: Why messages cannot be sent to the queue; None if they can.
    queue: QueueProblem | None
    #: The schedule's expectations of sources and their groups, without sources that were never polled.
    forecasts: Sequence[Forecast]


@dataclass(frozen=True, slots=True, kw_only=True)
class Queries:
    """The use case."""

    repository: Repository
    clock: Clock
    executor: Executor
    counts: Counts
    schedule: StoredSchedule
    #: Until when the index of a partition counts as large.
    large_until: dict[str, datetime] = field(default_factory=dict)

    def registration(self, ref: RegistrationRef) -> RegistrationView | None:
        """Return a registration with operation and attempts, all as of one moment: two calls.

        The last attempt of a registration is always kept. If its row is gone, the registration may be gone, too, which
        costs a third call.
        """
        view = self._registration(ref)
        if view is None or view.registration.last_attempt == (view.attempts[-1].number if view.attempts else 0):
            return view
        return self._registration(ref)

    def _registration(self, ref: RegistrationRef) -> RegistrationView | None:
        aggregate = self.operation(ref.operation)
        found = None if aggregate is None else aggregate.get(ref)
        if aggregate is None or found is None:
            return None
        return RegistrationView(found.record, aggregate.operation.record, self.attempts(found.record))

    def hint(self, operation: Operation, *, owner: str | None) -> JobHint | None:
        """Return a hint for an operation of a source with jobs that the upstream does not know.

        Only then is the job with the same id read: one call. A job of others than `owner` (None: all) is not revealed.
        """
        is_unknown = operation.last_error is not None and operation.last_error.kind is PollErrorKind.NOT_FOUND
        if operation.ref.is_job or not (is_unknown or operation.reason is ExpiredReason.NOT_FOUND):
            return None
        job = self.repository.aggregate(replace(operation.ref, kind=Kind.JOB))
        is_job = (
            job is not None
            and (job.operation.record.is_final or job.operation.record.seen_running_at is not None)
            and any(owner in (None, each.record.owner) for each in job.registrations.values())
        )
        return JobHint.IS_JOB if is_job else JobHint.MAY_BE_JOB

    def record(self, ref: RegistrationRef) -> Registration | None:
        """Return a registration without operation and attempts: one call."""
        found = self.repository.registration(ref)
        return None if found is None else found.record

    def owner(self, ref: RegistrationRef) -> str | None:
        """Return the owner of a registration, which never changes, since the id derives from it. One call."""
        found = self.record(ref)
        return None if found is None else found.owner

    def operation(self, ref: OperationRef) -> OperationAggregate | None:
        """Return an operation with its registrations. A missing due row is restored first."""
        return self.repository.aggregate(ref, restore_overdue=True)

    def attempts(self, registration: Registration) -> Sequence[AttemptRecord]:
        """Return the last attempts of a registration, oldest first: one call."""
        return self.repository.attempts(registration)

    def page(
        self,
        states: Sequence[State],
        *,
        limit: int,
        cursor: Cursor | None,
        owner: str | None = None,
        where: EntryFilter = NO_CONDITIONS,
        message_id: str | None = None,
    ) -> ListPage:
        """List the registrations in one of `states`, newest first by the time at which they entered it.

        With `owner`, only the owner's. With `message_id`, only the one of this message. All conditions are combined.

        The index is ordered by state and time alone, so a bounded number of rows that do not match are read and
        skipped. The page of an owner or a filter with few matches can be short or empty and still have a cursor.
        """
        wanted = _Selection.of(states, owner=owner, where=where, message_id=message_id)
        ranges = len(wanted.partitions) * len(wanted.states)
        if not ranges:
            return ListPage((), None)
        size = max(1, _STRETCH // ranges) if wanted.skips_rows else limit + 1
        found: list[IndexEntry] = []
        for _ in range(min(_STRETCHES, max(1, _QUERIES // ranges))):
            stretch = self._stretch(wanted, cursor, size)
            found += [entry for entry in stretch.entries if wanted.matches(entry)]
            cursor = stretch.cursor
            if found and message_id is not None:
                return ListPage(found[:1], None)
            if len(found) > limit:
                return ListPage(found[:limit], Cursor(_place(found[limit - 1])))
            if cursor is None:
                break
        return ListPage(found, cursor)

    def _stretch(self, wanted: _Selection, cursor: Cursor | None, size: int) -> ListPage:
        """Read on in the index of each state and partition, `size` rows each, up to where all of them have been read.

        A registration that moves during the reads can be found in both states. The result has the registration once,
        with the current state.
        """

        def read(place: tuple[str, Sequence[State]]) -> Sequence[tuple[State, Sequence[Row]]]:
            partition, states = place
            whole = self._whole_index(partition) if cursor is None and len(states) > 1 else None
            return [(state, self._rows(partition, wanted.range(state, cursor), size, whole)) for state in states]

        places = self._places(wanted, from_the_beginning=cursor is None)
        read_parts = [part for found in map_in_order(self.executor, read, places) for part in found]
        parts = [rows for _, rows in read_parts]
        ends = (_end(rows) for rows in parts if len(rows) == size)
        end = min((cursor.place for cursor in ends if cursor is not None), default=None)
        found = (entry for state, rows in read_parts for entry in entries(rows, state))
        newest: dict[RegistrationRef, IndexEntry] = {}
        for entry in sorted((entry for entry in found if end is None or _place(entry) <= end), key=_place):
            newest.setdefault(entry.ref, entry)
        return ListPage(list(newest.values()), None if end is None else Cursor(end))

    def _places(self, wanted: _Selection, *, from_the_beginning: bool) -> Sequence[tuple[str, Sequence[State]]]:
        """Return the reads to make: one for all states of a partition with a small index, otherwise one per state."""
        now, places = self.clock(), list[tuple[str, Sequence[State]]]()
        for partition in wanted.partitions:
            is_small = now >= self.large_until.get(partition, now)
            if from_the_beginning and is_small and len(wanted.states) > 1:
                places.append((partition, wanted.states))
            else:
                places += [(partition, (state,)) for state in wanted.states]
        return places

    def _whole_index(self, partition: str) -> Sequence[Row] | None:
        """Read the index of all states in one call. Returns None for a large index, which is remembered for a while."""
        rows = self.repository.table.range(partition, "idx:", "idx;", limit=_SMALL + 1)
        if len(rows) <= _SMALL:
            return rows
        self.large_until[partition] = self.clock() + _LARGE_FOR
        return None

    def _rows(self, partition: str, within: tuple[str, str], size: int, whole: Sequence[Row] | None) -> Sequence[Row]:
        """Take the first `size` rows of a range from `whole`, or read them."""
        start, stop = within
        if whole is not None:
            return [row for row in whole if start <= row.key < stop][:size]
        return self.repository.table.range(partition, start, stop, limit=size) if start < stop else ()

    def status(self) -> Status:
        """Read the heartbeat, and the first due row of each partition. The counts can be some seconds old."""
        now, sources = self.clock(), self.repository.sources(self.schedule.plan)
        firsts = map_in_order(self.executor, self._first_due, operation_partitions())
        overdue = [at for at in firsts if at is not None and at < now]
        last, known, ahead = last_heartbeat_at(sources), dict[str, Budget](), dict[str, Sequence[str]]()
        if last is not None and last > now + CLOCK_SKEW:
            last, ahead[HEARTBEAT_KEY] = now + CLOCK_SKEW, ["at"]
        for name, stored_budget in budgets(sources).items():
            known[name], wrong = clamped(stored_budget, now)
            if wrong:
                ahead[source_key(name)] = wrong
        return Status(
            last_sweep_at=last,
            clocks_ahead=ahead,
            oldest_overdue_at=min(overdue, default=None),
            counts=self.counts.by_state(),
            budgets=known,
            queue=queue_problem(sources),
            forecasts=list(self.schedule.forecasts(sources, prices_of(known), polls=0)),
        )

    def _first_due(self, partition: str) -> datetime | None:
        now = self.clock()
        ranges = (due_deliveries(now), due_operations(now))
        firsts = [self.repository.table.range(partition, *each, limit=_FIRST_DUE, columns=["v"]) for each in ranges]
        found = (next((at for row in rows if (at := due_at(row.key)) is not None), None) for rows in firsts)
        return min((at for at in found if at is not None), default=None)


def budgets(rows: Sequence[Row]) -> Mapping[str, Budget]:
    """Read the budgets among the rows of the sources, by source."""
    return dict(readable([row for row in rows if row.key.startswith(SOURCE_PREFIX)], _budget))


def prices_of(budgets: Mapping[str, Budget]) -> dict[str, float]:
    """Return the prices of requests to sources."""
    return {name: budget.shadow_price for name, budget in budgets.items()}


def entries(rows: Sequence[Row], state: State) -> Iterable[IndexEntry]:
    """Decode index rows. Unreadable rows are skipped."""
    prefix = f"idx:{state}:"

    def entry(row: Row) -> IndexEntry:
        ref = registration_of(row.key.removeprefix(prefix)[14:])
        if ref is None:
            raise UnreadableRow(f"an index row about no registration: {row.key[:200]}")
        return decode(IndexEntry, ref, row.values)

    return readable(rows, entry)


def _budget(row: Row) -> tuple[str, Budget]:
    return row.key.removeprefix(SOURCE_PREFIX), decode(Budget, None, row.values)


def _end(rows: Sequence[Row]) -> Cursor | None:
    """Return the position of the last row at which a list can continue."""
    return next((cursor for row in reversed(rows) if (cursor := Cursor.of_key(row.key)) is not None), None)


def _place(entry: IndexEntry) -> str:
    return entry.key.removeprefix(f"idx:{entry.state}:")
