"""Steps of the sweep: an operation continues or ends, a due row moves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bridge.domain.delivery import REDISPATCH, RESEND_AFTER, DeliveryTask
from bridge.domain.events import OperationCompleted
from bridge.domain.operation import Operation, PollError, PollState
from bridge.domain.polling import Finish, PollAgain
from bridge.storage.aggregate import OperationAggregate
from bridge.storage.due import DueHandle
from bridge.storage.keys import DueKind, due_at, due_key, due_parts, due_reference, operation_of, partition_of, row_key
from bridge.storage.records import for_insert, part_columns
from bridge.storage.table import ANY, MAX_WRITES, Delete, Insert, Merge, Row, Transaction, Value, Write
from bridge.storage.writes.common import Share, overwrite, purge_due, put, take_all
from bridge.storage.writes.register import notify

#: The number of writes of one rescheduled due row.
WRITES_PER_RESCHEDULE = 3

#: The index of the write to the row that points to the due row, among those writes.
TARGET = 2

#: The most due rows that move in one transaction.
RESCHEDULES_PER_TRANSACTION = MAX_WRITES // WRITES_PER_RESCHEDULE

#: How long an operation with registrations that this version cannot read waits for a version that can.
UNREADABLE_WAIT = timedelta(minutes=5)

#: The wait before another check of a due row, if a read did not find its operation.
NOT_FOUND_WAIT = timedelta(seconds=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reschedule:
    """The move of a due row to a later time, with the changes of the row that points to it."""

    handle: DueHandle
    #: The new key.
    key: str
    #: The columns of the due row.
    columns: Mapping[str, Value]
    #: The key of its operation or registration.
    target: str
    #: The changes of that row, including the pointer.
    changes: Mapping[str, Value]


def poll_again(handle: DueHandle, decision: PollAgain, now: datetime) -> Reschedule:
    """Move an operation's next poll. The operation is updated, never created: a purged one stays purged."""
    poll_state = decision.poll_state
    key = due_key(decision.at, DueKind.POLL, due_reference(poll_state.ref), instead_of=handle.key)
    changes: dict[str, Value] = {
        "due": key,
        "last_polled_at": now,
        "polls": poll_state.polls,
        **part_columns("last_error", PollError, decision.error),
    }
    if poll_state.seen_running_at is not None:
        changes["seen_running_at"] = poll_state.seen_running_at
    if poll_state.created_at is not None:
        changes["created_at"] = poll_state.created_at
    if decision.status is not None:
        changes["status"] = decision.status
    return Reschedule(
        handle=handle, key=key, columns=for_insert(poll_state), target=row_key(poll_state.ref), changes=changes
    )


def postpone(row: Row, at: datetime) -> Reschedule:
    """Move the due row of a poll or a purge to a later time, unchanged: no poll happened.

    The time in between is no evidence that the operation is absent. Raises ValueError for a row of another kind.
    """
    kind, reference = due_parts(row.key)
    ref, before = operation_of(reference), due_at(row.key)
    if ref is None or before is None:
        raise ValueError(f"no due row of an operation: {row.key[:64]}")
    columns = dict(row.values)
    if isinstance(since := columns.get("absent_since"), datetime):
        columns["absent_since"] = since + max(at - before, timedelta(0))
    key = due_key(at, DueKind(kind), reference, instead_of=row.key)
    handle = DueHandle(partition=row.partition, key=row.key, etag=row.etag)
    return Reschedule(handle=handle, key=key, columns=columns, target=row_key(ref), changes={"due": key})


def enqueue(handle: DueHandle, task: DeliveryTask, now: datetime) -> tuple[Reschedule, DeliveryTask]:
    """Move a delivery's due row on, so that it repeats a lost message. Returns the task to send."""
    sent = replace(task, sends=task.sends + 1)
    at = now + REDISPATCH.wait(sent.sends)
    key = due_key(at, DueKind.DELIVER, due_reference(task.ref), instead_of=handle.key)
    columns = for_insert(replace(sent, has_more=None))
    return Reschedule(handle=handle, key=key, columns=columns, target=row_key(task.ref), changes={"due": key}), sent


def due_later(handle: DueHandle, task: DeliveryTask, at: datetime) -> Reschedule:
    """Move a delivery's due row without sending a message."""
    key = due_key(at, DueKind.DELIVER, due_reference(task.ref), instead_of=handle.key)
    return Reschedule(handle=handle, key=key, columns=for_insert(task), target=row_key(task.ref), changes={"due": key})


def not_sent(rescheduled: Reschedule, task: DeliveryTask, now: datetime) -> Reschedule:
    """Move a due row back to a short wait, after its message could not be sent.

    The key is unique to that move, so the row is either unchanged or gone.
    """
    key = due_key(now + RESEND_AFTER, DueKind.DELIVER, due_reference(task.ref), instead_of=rescheduled.key)
    handle = DueHandle(partition=rescheduled.handle.partition, key=rescheduled.key, etag=ANY)
    return Reschedule(handle=handle, key=key, columns=for_insert(task), target=rescheduled.target, changes={"due": key})


def reschedule_all(reschedules: Sequence[Reschedule], *, tx: str) -> Transaction:
    """Combine up to 33 reschedules of one partition into one transaction, each under its due row's ETag."""
    writes: list[Write] = []
    for reschedule in reschedules:
        writes += (
            Delete(reschedule.handle.key, reschedule.handle.etag),
            Insert(reschedule.key, reschedule.columns),
            Merge(reschedule.target, {**reschedule.changes, "tx": tx}, ANY),
        )
    return Transaction(reschedules[0].handle.partition, tuple(writes), stamp=reschedules[0].target, tx=tx)


def finish(
    aggregate: OperationAggregate,
    decision: Finish,
    *,
    path: str,
    now: datetime,
    tx: str,
    retention: timedelta,
    share: Share = take_all,
) -> tuple[Transaction, list[DeliveryTask]]:
    """End an operation and notify all waiting registrations: at most 83 rows. Returns the tasks to send afterwards.

    A task that `share` holds back is due at once: a sweep sends the message.

    The operation's ETag also decides for the due row, since the pointer changes in the same transaction. With a
    registration that this version cannot read, the operation stays open for a version that can notify that one, too.
    """
    before = aggregate.operation
    completed = _completed(before.record, decision, path, now)
    if aggregate.unreadable:
        after, due_row = _left_open(before.record, decision.poll_state, now)
    else:
        after, due_row = _ended(before.record, decision, now, retention)
    writes: list[Write] = [
        overwrite(before, after, tx),
        Delete(before.record.due, ANY),
        due_row,
    ]
    tasks: list[DeliveryTask] = []
    for waiting in aggregate.waiting():
        notified, task, due_rows = notify(waiting.record, completed, now, share=share)
        writes += (*put(waiting, notified, tx), *due_rows)
        tasks += [task] if task else []
    return Transaction(partition_of(after.ref), tuple(writes), stamp=row_key(after.ref), tx=tx), tasks


def _ended(before: Operation, decision: Finish, now: datetime, retention: timedelta) -> tuple[Operation, Insert]:
    key, due_row = purge_due(before, now + retention)
    after = replace(
        before,
        status=decision.final_status.value,
        final_status=decision.final_status,
        polls=decision.poll_state.polls,
        seen_running_at=decision.poll_state.seen_running_at,
        last_polled_at=now,
        last_error=decision.error,
        finished_at=now,
        reason=decision.reason,
        body=decision.body,
        error=decision.why,
        created_at=decision.poll_state.created_at,
        ended_at=decision.ended_at,
        due=key,
    )
    return after, due_row


def _left_open(before: Operation, poll_state: PollState, now: datetime) -> tuple[Operation, Insert]:
    key = due_key(now + UNREADABLE_WAIT, DueKind.POLL, due_reference(before.ref), instead_of=before.due)
    after = replace(before, polls=poll_state.polls, last_polled_at=now, created_at=poll_state.created_at, due=key)
    return after, Insert(key, for_insert(poll_state))


def _completed(before: Operation, decision: Finish, path: str, now: datetime) -> OperationCompleted:
    return OperationCompleted(
        kind=before.ref.kind,
        final_status=decision.final_status,
        status=before.status if decision.is_ours else decision.final_status.value,
        path=path,
        observed_at=now,
        not_before=decision.poll_state.seen_running_at,
        reason=decision.reason,
        body=decision.body,
        why=decision.why,
        created_at=decision.poll_state.created_at,
        ended_at=decision.ended_at,
        polls=decision.poll_state.polls,
    )
