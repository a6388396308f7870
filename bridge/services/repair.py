"""Restores missing due rows.

Every operation and every pending delivery has exactly one due row, and each step that deletes one also writes the next.
A due row can still be missing, after a manual deletion or a wrong answer of storage, and its registration would then
wait forever. Registering and reading check the operation that they read, and each heartbeat checks a bounded number of
rows of the table. A crash here costs nothing: the next check finds the same.
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

#: How long a due row must be overdue before it is checked: a sweep processes nearly all rows sooner.
OVERDUE = timedelta(minutes=10)

#: The most rows that one check reads, and the most overdue operations before it stops. A check costs one call, and some
#: for each overdue operation.
ROWS_PER_CHECK, OPERATIONS_PER_CHECK = 1_000, 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """The use case."""

    table: Table
    clock: Clock
    #: Returns a random id, different for each call.
    new_id: Callable[[], str]

    def restore_overdue(self, aggregate: OperationAggregate) -> bool:
        """Restore missing due rows of an operation that are long overdue. Returns whether any was restored.

        Without an overdue row no call is made. Never raises for storage failures.
        """
        latest = self.clock() - OVERDUE
        overdue = [each for each in repair.with_due_rows(aggregate) if _is_due_before(each.record.due, latest)]
        return sum(self._restore(each) for each in overdue) > 0

    def restore(self, ref: OperationRef) -> None:
        """Restore all missing due rows of an operation, after a step has missed one. Never raises, likewise."""
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
        """Check the next rows of the table from `place`, and restore missing due rows.

        Returns where the next check continues, which is never the same place. Never raises, likewise.
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
        """Yield the operations with a long overdue due row, each once."""
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
            return False  # the due row exists, or a step has just moved it
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
    """Parse the position of a check: a partition and a row key. Any other text is the beginning."""
    partition, _, key = place.partition(" ")
    if partition in operation_partitions() and key.startswith(OPERATION_PREFIX):
        return partition, key
    return (partition if partition in operation_partitions() else next(operation_partitions())), OPERATION_PREFIX


def _next_partition(partition: str) -> str:
    return f"op{(int(partition[2:]) + 1) % PARTITION_COUNT}"
