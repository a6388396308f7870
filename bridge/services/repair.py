"""Restores missing due rows.

Every operation and every pending delivery has exactly one due row, and each step that deletes one also writes the next.
A due row can still be missing, after a manual deletion or a wrong answer of storage, and its registration would then
wait forever. Registering and reading check the operation that they read, and each heartbeat checks a bounded number of
rows of the table. A crash here costs nothing: the next check finds the same.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bridge.domain.errors import StorageUnavailable
from bridge.domain.ids import OperationRef
from bridge.log import Event, log
from bridge.storage.keys import (
    OPERATION_PREFIX,
    PARTITION_COUNT,
    after,
    is_due_before,
    operation_of,
    operation_partitions,
)
from bridge.storage.repository import OVERDUE, Repository
from bridge.storage.table import Row

#: The most rows that one check reads, and the most overdue operations before it stops. A check costs one call, and some
#: for each overdue operation.
ROWS_PER_CHECK, OPERATIONS_PER_CHECK = 1_000, 20


@dataclass(frozen=True, slots=True)
class Repair:
    """The use case."""

    repository: Repository

    def check(self, place: str) -> str:
        """Check the next rows of the table from `place`, and restore missing due rows.

        Returns where the next check goes on, which is never the same place. Never raises for a failure of storage.
        """
        partition, start = _read_place(place)
        try:
            rows = self.repository.table.range(
                partition, start, after(OPERATION_PREFIX), limit=ROWS_PER_CHECK, columns=["v", "due"]
            )
        except StorageUnavailable as error:
            log(Event.STORAGE, step="check due rows", partition=partition, error=str(error))
            return _next_partition(partition)
        for looked_at, (ref, row) in enumerate(self._overdue(rows)):
            if looked_at == OPERATIONS_PER_CHECK:
                return f"{partition} {row.key}"
            self.repository.restore(ref)
        return f"{partition} {rows[-1].key}!" if len(rows) == ROWS_PER_CHECK else _next_partition(partition)

    def _overdue(self, rows: Sequence[Row]) -> Iterator[tuple[OperationRef, Row]]:
        """Yield the operations of which a due row is long overdue, each once."""
        latest, last = self.repository.clock() - OVERDUE, OperationRef("", "")
        for row in rows:
            ref = operation_of(row.key.removeprefix(OPERATION_PREFIX).rpartition(":")[0])
            due = row.values.get("due")
            if ref is not None and ref != last and isinstance(due, str) and is_due_before(due, latest):
                last = ref
                yield ref, row


def _read_place(place: str) -> tuple[str, str]:
    """Parse the position of a check: a partition and a row key. Any other text is the beginning."""
    partition, _, key = place.partition(" ")
    if partition in operation_partitions() and key.startswith(OPERATION_PREFIX):
        return partition, key
    return (partition if partition in operation_partitions() else next(operation_partitions())), OPERATION_PREFIX


def _next_partition(partition: str) -> str:
    return f"op{(int(partition[2:]) + 1) % PARTITION_COUNT}"
