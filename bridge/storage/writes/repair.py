"""The step that restores a missing due row, under the key in its operation or registration."""

from collections.abc import Iterator

from bridge.domain.delivery import DeliveryTask
from bridge.domain.operation import Operation
from bridge.domain.registration import Registration, State
from bridge.storage.aggregate import OperationAggregate
from bridge.storage.keys import DueKind, due_at, due_parts, due_reference, partition_of, row_key
from bridge.storage.records import SCHEMA_VERSION, VERSION_COLUMN, Stored, for_insert
from bridge.storage.transaction import Insert, Merge, Transaction, Value


def with_due_rows(aggregate: OperationAggregate) -> Iterator[Stored[Operation] | Stored[Registration]]:
    """Yield the records that must have a due row: the operation always, a registration while it is pending."""
    yield aggregate.operation
    yield from (each for each in aggregate.registrations.values() if each.record.state is State.PENDING)


def restore(target: Stored[Operation] | Stored[Registration], *, tx: str) -> Transaction | None:
    """Insert the due row of `target`: 2 rows. None if the pointer is not a valid key for `target`.

    The transaction conflicts if the due row exists, and under the ETag of `target` if the pointer has changed since the
    read. So at most one due row exists, whatever a read returned.
    """
    record = target.record
    key = record.due or ""
    kind, reference = due_parts(key)
    if due_at(key) is None or kind not in tuple(DueKind) or reference != due_reference(record.ref):
        return None
    if (kind == DueKind.DELIVER) != isinstance(record, Registration):
        return None
    return Transaction(
        partition_of(record.ref),
        (Insert(key, _columns(record)), Merge(row_key(record.ref), {"tx": tx}, target.etag)),
        stamp=row_key(record.ref),
        tx=tx,
    )


def _columns(record: Operation | Registration) -> dict[str, Value]:
    if isinstance(record, Registration):
        return for_insert(DeliveryTask.next_of(record))
    return for_insert(record.poll_state()) if record.is_polled else {VERSION_COLUMN: SCHEMA_VERSION}
