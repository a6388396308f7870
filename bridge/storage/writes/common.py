"""Writes that several steps are made of."""

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from bridge.domain.delivery import REDISPATCH_AFTER, Call
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


#: Says whether a call may be sent now: returns the call to send, or None.
Share = Callable[[Call], Call | None]


def take_all(call: Call) -> Call | None:
    """Let every call be sent."""
    return call


def first_call(registration: Registration, now: datetime) -> tuple[Call, Insert]:
    """Make the call for the first attempt of a run, to be sent now, and the due row that repeats it if it is lost."""
    call = Call.next_of(registration, sends=1)
    return call, Insert(first_due(registration, now), for_insert(call))


def left_due(registration: Registration, now: datetime) -> Insert:
    """Make the due row of a run whose first call a sweep sends."""
    due = due_key(now, DueKind.DELIVER, due_reference(registration.ref))
    return Insert(due, for_insert(Call.next_of(registration)))


def first_due(registration: Registration, now: datetime) -> str:
    """Name the due row of a run that begins now."""
    return due_key(now + REDISPATCH_AFTER, DueKind.DELIVER, due_reference(registration.ref))


def purge_due(operation: Operation, at: datetime) -> tuple[str, Insert]:
    """Make the due row of an operation's purge; returns its key too."""
    key = due_key(at, DueKind.PURGE, due_reference(operation.ref), instead_of=operation.due)
    return key, Insert(key, {VERSION_COLUMN: SCHEMA_VERSION})


def touch(operation: Stored[Operation], tx: str) -> Merge:
    """Change nothing about an operation but its ETag: whoever read it before has to read it again."""
    return Merge(row_key(operation.record.ref), {"tx": tx}, operation.etag)
