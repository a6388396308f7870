"""Steps that a client requests: register, cancel, redeliver."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bridge.domain.delivery import DeliveryTask
from bridge.domain.events import OperationCompleted
from bridge.domain.operation import FinalStatus, Operation
from bridge.domain.registration import Registration, State
from bridge.storage.aggregate import OperationAggregate
from bridge.storage.index import index_key_of
from bridge.storage.keys import DueKind, due_key, due_reference, partition_of, row_key
from bridge.storage.records import Stored, for_insert
from bridge.storage.table import ANY, Delete, Insert, Merge, Transaction, Write
from bridge.storage.writes.common import (
    Share,
    first_due,
    first_task,
    left_due,
    overwrite,
    purge_due,
    put,
    take_all,
    touch,
)


@dataclass(frozen=True, slots=True)
class Removal:
    """A registration that is deleted, for a new one or by its client: the row, the index row and the attempts."""

    registration: Stored[Registration]
    #: The keys of its attempts. With KEPT_ATTEMPTS of them, the transaction has at most 57 rows.
    attempts: Sequence[str] = ()

    @property
    def writes(self) -> tuple[Delete, ...]:
        """The deletions. The registration's ETag decides for all rows, which change only together with it."""
        record = self.registration.record
        rows = (Delete(row_key(record.ref), self.registration.etag), Delete(index_key_of(record), ANY))
        return (*rows, *(Delete(key, ANY) for key in self.attempts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """The result of a registration, once its transaction is committed."""

    transaction: Transaction
    operation: Operation
    registration: Registration
    #: The task to send after the commit, if any.
    task: DeliveryTask | None


def register_new(request: Registration, now: datetime) -> Joined:
    """Begin to follow an operation without registrations: 4 rows, none of which may exist.

    The operation is due at once, since it may have ended long ago.
    """
    ref = request.ref.operation
    due = due_key(now, DueKind.POLL, due_reference(ref))
    operation = Operation(ref=ref, registered_at=now, group=request.group, owner=request.owner, due=due, tx=request.tx)
    begun = Insert(row_key(ref), for_insert(operation))
    rows = (begun, *put(None, request, request.tx), Insert(due, for_insert(operation.poll_state())))
    transaction = Transaction(partition_of(ref), rows, stamp=row_key(request.ref), tx=request.tx)
    return Joined(transaction=transaction, operation=operation, registration=request, task=None)


def register_further(
    aggregate: OperationAggregate,
    request: Registration,
    now: datetime,
    completed: OperationCompleted | None,
    replaced: Removal | None = None,
) -> Joined:
    """Let `request` wait for a known operation, or notify it at once if the operation has `completed`.

    A canceled or `Expired` registration begins a new generation. Open tasks of the former generation become void. An
    operation without waiting registrations, or one that the bridge gave up on, is polled again. At most 7 rows, under
    the ETags of the operation and of the former registration. A new registration can take the place of a `replaced`
    one, and deletes its rows.
    """
    before = aggregate.get(request.ref)
    operation, task = aggregate.operation.record, None
    request = replace(request, polls_before=operation.polls)
    registration = request if before is None else before.record.reactivated(request)
    rows: tuple[Write, ...]
    if completed is not None:
        registration, task, due_rows = notify(registration, completed, now)
        rows = (touch(aggregate.operation, request.tx), *due_rows)
    elif operation.is_polled:
        rows = (touch(aggregate.operation, request.tx),)
    else:
        operation, rows = _reopen(aggregate.operation, request, now)
    gone = () if before is None or not before.record.due else (Delete(before.record.due, ANY),)
    given_up = () if replaced is None else replaced.writes
    rows = (*rows, *gone, *put(before, registration, request.tx), *given_up)
    transaction = Transaction(partition_of(request.ref), rows, stamp=row_key(request.ref), tx=request.tx)
    return Joined(transaction=transaction, operation=operation, registration=registration, task=task)


def notify(
    registration: Registration, completed: OperationCompleted, now: datetime, *, share: Share = take_all
) -> tuple[Registration, DeliveryTask | None, tuple[Insert, ...]]:
    """Apply the end to a waiting registration: message and due row, or only the state if the event is filtered."""
    if completed.final_status not in registration.events:
        return registration.filtered(completed, now), None, ()
    task, due_row = first_task(registration, now)
    sent = share(task)
    if sent is None:
        due_row = left_due(registration, now)
    return registration.notified(completed, now, due=due_row.key), sent, (due_row,)


def cancel_waiting(
    aggregate: OperationAggregate, before: Stored[Registration], now: datetime, *, tx: str, retention: timedelta
) -> Transaction:
    """Cancel a waiting registration. The last one ends the polling. At most 6 rows, under both ETags."""
    operation = aggregate.operation
    after = before.record.canceled_waiting(now, operation.record)
    if len(aggregate.waiting()) > 1:
        writes: tuple[Write, ...] = (touch(operation, tx),)
    else:
        key, due_row = purge_due(operation.record, now + retention)
        row = Merge(row_key(operation.record.ref), {"due": key, "tx": tx}, operation.etag)
        writes = (row, Delete(operation.record.due, ANY), due_row)
    return Transaction(partition_of(after.ref), (*writes, *put(before, after, tx)), stamp=row_key(after.ref), tx=tx)


def cancel_pending(before: Stored[Registration], now: datetime, *, tx: str) -> Transaction:
    """Cancel a delivery: 4 rows. An attempt in flight may still arrive, but its claim is void."""
    after = before.record.canceled(now)
    gone = (Delete(before.record.due, ANY),) if before.record.due else ()
    return Transaction(partition_of(after.ref), (*put(before, after, tx), *gone), stamp=row_key(after.ref), tx=tx)


def release(before: Stored[Registration], *, tx: str) -> Transaction:
    """Give the operation of an ended registration back: 1 row. The state stays unchanged."""
    after = replace(before.record, released=True)
    return Transaction(partition_of(after.ref), (overwrite(before, after, tx),), stamp=row_key(after.ref), tx=tx)


def redeliver(
    before: Stored[Registration], now: datetime, *, tx: str, taken: Stored[Operation] | None = None
) -> tuple[Transaction, DeliveryTask]:
    """Begin another run of the same message: 4 rows. Returns the task to send after the commit.

    If the redelivery takes the operation for its owner again, the operation is touched as `taken`: 5 rows. Of two
    concurrent owners, the second then has to read the change of the first.
    """
    after = before.record.rerun(now, due=first_due(before.record, now))
    task, due_row = first_task(before.record, now)
    touched = () if taken is None else (touch(taken, tx),)
    writes = (*put(before, after, tx), due_row, *touched)
    return Transaction(partition_of(after.ref), writes, stamp=row_key(after.ref), tx=tx), task


def redeliver_later(
    before: Stored[Registration], now: datetime, at: datetime, *, tx: str, is_forced: bool = False
) -> Transaction:
    """Begin another run of the same message at a later time: 4 rows. A sweep sends its message when due.

    The first attempt passes an open circuit if `is_forced`.
    """
    key = due_key(at, DueKind.DELIVER, due_reference(before.record.ref))
    begun = before.record.rerun(now, due=key)
    after = replace(begun, next_attempt_at=at, forced_attempt=begun.last_attempt + 1 if is_forced else 0)
    writes = (*put(before, after, tx), Insert(key, for_insert(DeliveryTask.next_of(after))))
    return Transaction(partition_of(after.ref), writes, stamp=row_key(after.ref), tx=tx)


def begins_new_generation(registration: Registration) -> bool:
    """Return whether registering again begins a new generation instead of returning the current one.

    True for a canceled or released registration, and if the bridge gave up on the operation: the client wants to
    wait on.
    """
    is_canceled = registration.state is State.CANCELED or registration.released
    return is_canceled or registration.final_status is FinalStatus.EXPIRED


def _reopen(operation: Stored[Operation], request: Registration, now: datetime) -> tuple[Operation, tuple[Write, ...]]:
    before = operation.record
    due = due_key(now, DueKind.POLL, due_reference(before.ref))  # never the key of the purge that this replaces
    group = request.group or before.group
    after = Operation(
        ref=before.ref,
        registered_at=now,
        group=group,
        owner=request.owner,
        polls=before.polls,
        created_at=before.created_at,
        due=due,
        tx=request.tx,
    )
    row = overwrite(operation, after, request.tx)
    return after, (row, Delete(before.due, ANY), Insert(due, for_insert(after.poll_state())))
