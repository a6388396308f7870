"""Due rows: the handles of the steps that are due, and the step that restores a missing due row."""

from collections.abc import Iterator
from dataclasses import dataclass

from bridge.domain.delivery import DeliveryTask
from bridge.domain.errors import UnreadableRow
from bridge.domain.ids import OperationRef
from bridge.domain.operation import Operation, PollState
from bridge.domain.registration import Registration, State
from bridge.storage.aggregate import OperationAggregate
from bridge.storage.keys import (
    DueKind,
    due_at,
    due_parts,
    due_reference,
    operation_of,
    partition_of,
    registration_of,
    row_key,
)
from bridge.storage.records import SCHEMA_VERSION, VERSION_COLUMN, Stored, decode, for_insert
from bridge.storage.table import Insert, Merge, Row, Transaction, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class DueHandle:
    """A due row as read. Deleting it with a matching ETag grants the exclusive right to perform its step."""

    partition: str
    key: str
    etag: str


@dataclass(frozen=True, slots=True)
class DuePoll:
    """An operation is due for a poll."""

    handle: DueHandle
    poll_state: PollState


@dataclass(frozen=True, slots=True)
class DueDelivery:
    """A delivery is due for a message."""

    handle: DueHandle
    task: DeliveryTask


@dataclass(frozen=True, slots=True)
class DuePurge:
    """An operation is due for a purge."""

    handle: DueHandle
    ref: OperationRef


Due = DuePoll | DueDelivery | DuePurge


def read_due(row: Row) -> Due:
    """Decode a due row.

    Raises UnreadableRow if the row is not the bridge's, or of a newer schema.
    """
    handle = DueHandle(partition=row.partition, key=row.key, etag=row.etag)
    kind, reference = due_parts(row.key)
    operation, registration = operation_of(reference), registration_of(reference)
    if due_at(row.key) is None:
        raise UnreadableRow(f"a due row without a time: {row.key[:64]}")
    if kind == DueKind.POLL and operation is not None:
        return DuePoll(handle, decode(PollState, operation, row.values))
    if kind == DueKind.DELIVER and registration is not None:
        return DueDelivery(handle, decode(DeliveryTask, registration, row.values))
    if kind == DueKind.PURGE and operation is not None:
        return DuePurge(handle, operation)
    raise UnreadableRow(f"a due row of unknown kind: {row.key[:64]}")


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
