"""Steps of the purge: delete an operation or one registration, or postpone the purge."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from bridge.domain.ids import OperationRef
from bridge.storage.aggregate import OperationAggregate
from bridge.storage.due import DueHandle
from bridge.storage.index import index_key_of
from bridge.storage.keys import DueKind, due_key, due_reference, partition_of, row_key
from bridge.storage.records import SCHEMA_VERSION, VERSION_COLUMN
from bridge.storage.table import ANY, MAX_WRITES, Delete, Transaction
from bridge.storage.writes.common import touch
from bridge.storage.writes.poll import Reschedule
from bridge.storage.writes.register import Removal


def keep_until(aggregate: OperationAggregate, now: datetime, retention: timedelta) -> datetime | None:
    """Return until when to keep an aggregate, or None if it may be deleted now.

    A live aggregate is checked again after another retention. A registration that ended later than the operation, by a
    redelivery, is kept for its own retention.
    """
    if aggregate.is_live:
        return now + retention
    ends = [each.record.since for each in aggregate.registrations.values()]
    last = max([*ends, aggregate.operation.record.finished_at or aggregate.operation.record.registered_at])
    return last + retention if last + retention > now else None


def look_again(handle: DueHandle, ref: OperationRef, at: datetime) -> Reschedule:
    """Move the purge of an operation that is still needed, or that a read did not find."""
    key = due_key(at, DueKind.PURGE, due_reference(ref), instead_of=handle.key)
    return Reschedule(
        handle=handle, key=key, columns={VERSION_COLUMN: SCHEMA_VERSION}, target=row_key(ref), changes={"due": key}
    )


def forget_attempts(partition: str, keys: Sequence[str]) -> Iterator[Transaction]:
    """Delete attempts, 100 per transaction."""
    for start in range(0, len(keys), MAX_WRITES):
        chunk = keys[start : start + MAX_WRITES]
        yield Transaction(partition, tuple(Delete(key, ANY) for key in chunk))


def forget(handle: DueHandle, aggregate: OperationAggregate) -> Transaction:
    """Delete all other rows of an aggregate at once: at most 42 rows, under all their ETags."""
    operation = aggregate.operation
    rows = [Delete(row_key(each.record.ref), each.etag) for each in aggregate.registrations.values()]
    entries = [Delete(index_key_of(each.record), ANY) for each in aggregate.registrations.values()]
    last = (Delete(row_key(operation.record.ref), operation.etag), Delete(handle.key, handle.etag))
    return Transaction(handle.partition, (*rows, *entries, *last))


def forget_one(aggregate: OperationAggregate, removal: Removal, *, tx: str) -> Transaction:
    """Delete one ended registration with its attempts, for its client: at most 53 rows, under two ETags.

    The operation is touched, so that a concurrent owner has to read who owns the operation now. The last registration
    takes the operation and its due purge along: at most 54 rows. An operation without registrations would be of no use.
    """
    operation = aggregate.operation
    key, partition = row_key(operation.record.ref), partition_of(operation.record.ref)
    if aggregate.size > 1:
        return Transaction(partition, (touch(operation, tx), *removal.writes), stamp=key, tx=tx)
    rows = (Delete(key, operation.etag), Delete(operation.record.due, ANY))
    return Transaction(partition, (*rows, *removal.writes))
