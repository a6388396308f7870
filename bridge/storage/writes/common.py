"""Writes that several steps are made of."""

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from bridge.domain.delivery import REDISPATCH, DeliveryTask
from bridge.domain.operation import Operation
from bridge.domain.registration import Registration
from bridge.storage.index import IndexEntry, index_key_of
from bridge.storage.keys import DueKind, due_key, due_reference, row_key
from bridge.storage.records import SCHEMA_VERSION, VERSION_COLUMN, Stored, for_insert, for_update
from bridge.storage.transaction import ANY, Delete, Insert, Merge, Write

R = TypeVar("R", Operation, Registration)


def put(before: Stored[Registration] | None, after: Registration, tx: str) -> tuple[Write, ...]:
    """Write a registration, new or over what was read, and move its index row with it.

    The index row has no ETag of its own here: it changes only together with the registration, whose ETag decides.
    """
    entry = Insert(index_key_of(after), for_insert(IndexEntry.of(after)))
    if before is None:
        return Insert(row_key(after.ref), {**for_insert(after), "tx": tx}), entry
    return overwrite(before, after, tx), Delete(index_key_of(before.record), ANY), entry


def overwrite(before: Stored[R], after: R, tx: str) -> Merge:
    """Write what has changed in an operation or a registration over what was read, and stamp it."""
    return Merge(row_key(after.ref), {**for_update(before, after), "tx": tx}, before.etag)


#: Says whether a task may be sent now: returns the task to send, or None.
Share = Callable[[DeliveryTask], DeliveryTask | None]


def take_all(task: DeliveryTask) -> DeliveryTask | None:
    """Let every task be sent."""
    return task


def first_task(registration: Registration, now: datetime) -> tuple[DeliveryTask, Insert]:
    """Make the task for the first attempt of a run, to be sent now, and the due row that repeats it if it is lost."""
    task = DeliveryTask.next_of(registration, sends=1)
    return task, Insert(first_due(registration, now), for_insert(task))


def left_due(registration: Registration, now: datetime) -> Insert:
    """Make the due row of a run whose first task a sweep sends."""
    due = due_key(now, DueKind.DELIVER, due_reference(registration.ref))
    return Insert(due, for_insert(DeliveryTask.next_of(registration)))


def first_due(registration: Registration, now: datetime) -> str:
    """Name the due row of a run that begins now."""
    return due_key(now + REDISPATCH.first, DueKind.DELIVER, due_reference(registration.ref))


def purge_due(operation: Operation, at: datetime) -> tuple[str, Insert]:
    """Make the due row of an operation's purge; returns its key too."""
    key = due_key(at, DueKind.PURGE, due_reference(operation.ref), instead_of=operation.due)
    return key, Insert(key, {VERSION_COLUMN: SCHEMA_VERSION})


def touch(operation: Stored[Operation], tx: str) -> Merge:
    """Change nothing about an operation but its ETag: whoever read it before has to read it again."""
    return Merge(row_key(operation.record.ref), {"tx": tx}, operation.etag)
