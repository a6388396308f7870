"""Writes that several steps share."""

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from bridge.domain.delivery import REDISPATCH, DeliveryTask
from bridge.domain.operation import Operation
from bridge.domain.registration import Registration
from bridge.storage.index import IndexEntry, index_key_of
from bridge.storage.keys import DueKind, due_key, due_reference, row_key
from bridge.storage.records import SCHEMA_VERSION, VERSION_COLUMN, Stored, for_insert, for_update
from bridge.storage.table import ANY, Delete, Insert, Merge, Write

R = TypeVar("R", Operation, Registration)


def put(before: Stored[Registration] | None, after: Registration, tx: str) -> tuple[Write, ...]:
    """Write a new or updated registration, and move its index row.

    The index row needs no ETag condition, since it changes only under the registration's ETag.
    """
    entry = Insert(index_key_of(after), for_insert(IndexEntry.of(after)))
    if before is None:
        return Insert(row_key(after.ref), {**for_insert(after), "tx": tx}), entry
    return overwrite(before, after, tx), Delete(index_key_of(before.record), ANY), entry


def overwrite(before: Stored[R], after: R, tx: str) -> Merge:
    """Write the changes of an operation or a registration since the read, and stamp the row."""
    return Merge(row_key(after.ref), {**for_update(before, after), "tx": tx}, before.etag)


#: Decides whether a task may be sent now: returns the task to send, or None.
Share = Callable[[DeliveryTask], DeliveryTask | None]


def take_all(task: DeliveryTask) -> DeliveryTask | None:
    """Allow every task to be sent."""
    return task


def first_task(registration: Registration, now: datetime) -> tuple[DeliveryTask, Insert]:
    """Return the first task of a run, to be sent now, and the due row that repeats a lost message."""
    task = DeliveryTask.next_of(registration, sends=1)
    return task, Insert(first_due(registration, now), for_insert(task))


def left_due(registration: Registration, now: datetime) -> Insert:
    """Return the due row of a run. A sweep sends its first message."""
    due = due_key(now, DueKind.DELIVER, due_reference(registration.ref))
    return Insert(due, for_insert(DeliveryTask.next_of(registration)))


def first_due(registration: Registration, now: datetime) -> str:
    """Return the key of the due row of a run that begins now."""
    return due_key(now + REDISPATCH.first, DueKind.DELIVER, due_reference(registration.ref))


def purge_due(operation: Operation, at: datetime) -> tuple[str, Insert]:
    """Return key and due row of an operation's purge."""
    key = due_key(at, DueKind.PURGE, due_reference(operation.ref), instead_of=operation.due)
    return key, Insert(key, {VERSION_COLUMN: SCHEMA_VERSION})


def touch(operation: Stored[Operation], tx: str) -> Merge:
    """Change only the ETag of an operation, so that concurrent steps have to read the operation again."""
    return Merge(row_key(operation.record.ref), {"tx": tx}, operation.etag)
