"""Puts due rows back that are missing.

Every operation and every pending delivery has exactly one due row, and no step takes one away without its successor.
A due row that is missing all the same (deleted by hand, or by an answer of storage that was wrong) would leave its
registration waiting without end. Registering and showing look at the operation that they have read, and each heartbeat
looks at a bounded number of rows of the table. A crash here costs nothing: the next look finds the same.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bridge.domain.errors import Conflict, StorageUnavailable, UnreadableRow
from bridge.domain.ids import OperationRef
from bridge.domain.operation import Operation
from bridge.domain.registration import Registration
from bridge.domain.time import Clock
from bridge.log import Event, log
from bridge.storage.aggregate import OperationAggregate
from bridge.storage.keys import (
    OPERATION_PREFIX,
    PARTITION_COUNT,
    after,
    due_at,
    due_reference,
    operation_of,
    operation_partitions,
    partition_of,
    row_key,
)
from bridge.storage.records import Stored
from bridge.storage.repository import commit
from bridge.storage.table import Table
from bridge.storage.transaction import Row
from bridge.storage.writes import repair

#: A due row is looked for once it has been due for this long: a sweep deals with nearly all of them sooner.
OVERDUE = timedelta(minutes=10)

#: Rows that one check looks at, and operations that it may find overdue before it stops. A check costs one call, and
#: some for each operation that is overdue.
ROWS_PER_CHECK, OPERATIONS_PER_CHECK = 1_000, 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """The use case, with everything that it needs."""

    table: Table
    clock: Clock
    #: Makes a random text that no other call makes.
    new_id: Callable[[], str]

    def restore_overdue(self, aggregate: OperationAggregate) -> bool:
        """Put back the due rows of an operation that are long overdue and missing; returns whether any was.

        Without an overdue row no call is made. Never raises for what storage does.
        """
        latest = self.clock() - OVERDUE
        overdue = [each for each in repair.with_due_rows(aggregate) if _is_due_before(each.record.due, latest)]
        return sum(self._restore(each) for each in overdue) > 0

    def restore(self, ref: OperationRef) -> None:
        """Put back every due row of an operation that is missing: a step has met one that is. Never raises likewise."""
        try:
            aggregate = OperationAggregate.read(
                ref, self.table.range(partition_of(ref), row_key(ref), after(row_key(ref)))
            )
        except (StorageUnavailable, UnreadableRow) as error:
            log(Event.STORAGE, step="restore", operation=due_reference(ref), error=str(error))
            return
        if aggregate is not None:
            for each in repair.with_due_rows(aggregate):
                self._restore(each)

    def check(self, place: str) -> str:
        """Look at the next rows of the table, from `place` on, and put back what is missing.

        Returns where the next check goes on, which is never the same place. Never raises likewise.
        """
        partition, start = _read_place(place)
        try:
            rows = self.table.range(
                partition, start, after(OPERATION_PREFIX), limit=ROWS_PER_CHECK, columns=["v", "due"]
            )
        except StorageUnavailable as error:
            log(Event.STORAGE, step="check due rows", partition=partition, error=str(error))
            return _next_partition(partition)
        for looked_at, (ref, row) in enumerate(self._overdue(rows)):
            if looked_at == OPERATIONS_PER_CHECK:
                return f"{partition} {row.key}"
            self.restore(ref)
        return f"{partition} {rows[-1].key}!" if len(rows) == ROWS_PER_CHECK else _next_partition(partition)

    def _overdue(self, rows: Sequence[Row]) -> Iterator[tuple[OperationRef, Row]]:
        """Yield the operations of which a due row is long overdue, each once."""
        latest, last = self.clock() - OVERDUE, OperationRef("", "")
        for row in rows:
            ref = operation_of(row.key.removeprefix(OPERATION_PREFIX).rpartition(":")[0])
            due = row.values.get("due")
            if ref is not None and ref != last and isinstance(due, str) and _is_due_before(due, latest):
                last = ref
                yield ref, row

    def _restore(self, target: Stored[Operation] | Stored[Registration]) -> bool:
        transaction = repair.restore(target, tx=self.new_id())
        if transaction is None:
            return False
        due = target.record.due
        try:
            commit(self.table, transaction)
        except Conflict:
            return False  # the due row is there, or a step has just moved it
        except StorageUnavailable as error:
            log(Event.STORAGE, step="restore", key=due, error=str(error))
            return False
        overdue = self.clock() - (due_at(due or "") or self.clock())
        log(Event.RESTORED, key=due, overdue=overdue // timedelta(seconds=1))
        return True


def _is_due_before(key: str | None, latest: datetime) -> bool:
    at = None if key is None else due_at(key)
    return at is not None and at < latest


def _read_place(place: str) -> tuple[str, str]:
    """Read where a check goes on: a partition and a row key. Anything else is the beginning."""
    partition, _, key = place.partition(" ")
    if partition in operation_partitions() and key.startswith(OPERATION_PREFIX):
        return partition, key
    return (partition if partition in operation_partitions() else next(operation_partitions())), OPERATION_PREFIX


def _next_partition(partition: str) -> str:
    return f"op{(int(partition[2:]) + 1) % PARTITION_COUNT}"
