"""Steps as transactions, including columns that only a later step reads, or that matter only after a crash."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from bridge.domain.attempt import AttemptRecord
from bridge.domain.delivery import REDISPATCH, DeliveryTask
from bridge.domain.host_limits import Deferred
from bridge.domain.ids import Kind
from bridge.domain.operation import Explanation, FinalStatus, Operation, PollError, PollErrorKind
from bridge.domain.outcome import Delivered, Gone
from bridge.domain.polling import Finish, PollAgain
from bridge.domain.registration import DeferredBy, InvalidTransition, Registration, State, Transition
from bridge.domain.retry import DeadReason, Done, RetryAt
from bridge.storage.aggregate import OperationAggregate, as_seen_by
from bridge.storage.due import DueHandle, restore
from bridge.storage.index import index_key_of
from bridge.storage.keys import DueKind, due_key, due_reference, partition_of, row_key
from bridge.storage.records import Stored
from bridge.storage.table import ANY, Delete, Insert, Merge, Transaction, Upsert, Write
from bridge.storage.writes import deliver, poll, purge, register
from tests.support.factories import NOON, operation, registration

LATER = NOON + timedelta(hours=1)
RETENTION = timedelta(days=30)
REQUEST = registration(tx="before")
REF = REQUEST.ref.operation
PENDING = replace(
    REQUEST,
    state=State.PENDING,
    message_id="msg_1",
    message_type="avatar.operation.succeeded",
    message_body=b"{}",
    last_attempt=3,
    due=due_key(NOON, DueKind.DELIVER, due_reference(REQUEST.ref)),
)
CLAIMED = replace(PENDING, claim="mine", leased_until=LATER)
OPERATION = operation(group="long", polls=7, due=due_key(NOON, DueKind.POLL, due_reference(REF)), tx="before")


def aggregate(
    *registrations: Registration, operation: Operation = OPERATION, unreadable: str = ""
) -> OperationAggregate:
    """Return an aggregate with these rows."""
    found = {each.ref.hash: Stored(each, "etag-r") for each in registrations}
    return OperationAggregate(Stored(operation, "etag-o"), found, frozenset([unreadable] if unreadable else ()))


def written(transaction: Transaction, key: str) -> Write:
    """Return the only write to one row."""
    [write] = [each for each in transaction.writes if each.key == key]
    return write


def columns(transaction: Transaction, key: str) -> dict[str, object]:
    """Return the written columns of one row."""
    write = written(transaction, key)
    assert not isinstance(write, Delete)
    return dict(write.values)


def test_a_deferred_attempt_keeps_its_number_and_stores_the_reason() -> None:
    """Registration, index row and due row change together, and the step has a `tx`."""
    step = deliver.defer(Stored(PENDING, "etag-r"), Deferred(until=LATER, why=DeferredBy.CONCURRENCY), tx="mine")

    row = columns(step, row_key(REQUEST.ref))
    due = str(row["due"])
    assert (row["next_attempt_at"], row["deferred_by"], row["tx"]) == (LATER, "concurrency", "mine")
    assert "last_attempt" not in row
    assert (step.partition, step.stamp, step.tx) == (partition_of(REQUEST.ref), row_key(REQUEST.ref), "mine")
    assert written(step, row_key(REQUEST.ref)) == Merge(row_key(REQUEST.ref), row, "etag-r")  # type: ignore[arg-type] # as it was read
    assert written(step, str(PENDING.due)) == Delete(str(PENDING.due), ANY)
    assert due == due_key(LATER, DueKind.DELIVER, due_reference(REQUEST.ref))
    assert columns(step, due)["number"] == 4
    assert isinstance(written(step, index_key_of(PENDING)), Merge)
    assert len(step.writes) == 4


def test_a_run_whose_last_attempt_was_lost_is_dead_at_once() -> None:
    """The step has a `tx` for an unknown outcome."""
    step = deliver.mark_dead(Stored(PENDING, "etag-r"), LATER, tx="mine")

    row = columns(step, row_key(REQUEST.ref))
    assert (row["state"], row["reason"], row["since"], row["tx"]) == (State.DEAD, "exhausted", LATER, "mine")
    assert (step.partition, step.stamp, step.tx) == (partition_of(REQUEST.ref), row_key(REQUEST.ref), "mine")
    assert written(step, str(PENDING.due)) == Delete(str(PENDING.due), ANY)
    assert len(step.writes) == 4


def test_a_spread_redelivery_is_due_at_its_time() -> None:
    """The registration has the same time, and the sweep sends the task. The step has a `tx`."""
    dead = PENDING.ended(Transition.GIVE_UP, NOON, reason=DeadReason.GONE)
    at = LATER + timedelta(seconds=10)

    step = register.redeliver_later(Stored(dead, "etag-r"), LATER, at, tx="mine")

    row = columns(step, row_key(REQUEST.ref))
    due = due_key(at, DueKind.DELIVER, due_reference(REQUEST.ref))
    assert (row["state"], row["due"], row["next_attempt_at"], row["tx"]) == (State.PENDING, due, at, "mine")
    assert (row["run_start"], row["run_began_at"], row["reason"]) == (4, LATER, "")
    assert (step.partition, step.stamp, step.tx) == (partition_of(REQUEST.ref), row_key(REQUEST.ref), "mine")
    assert columns(step, due)["number"] == 4


def test_a_delivery_without_a_due_row_can_be_canceled() -> None:
    """The due row was deleted by hand, so the step deletes no row."""
    step = register.cancel_pending(Stored(replace(PENDING, due=None), "etag-r"), LATER, tx="mine")

    assert [type(write) for write in step.writes] == [Merge, Delete, Insert]
    assert written(step, index_key_of(PENDING)) == Delete(index_key_of(PENDING), ANY)


def test_an_attempt_without_a_due_row_can_be_recorded() -> None:
    """The due row was deleted by hand."""
    claimed = deliver.Claimed.held(Stored(replace(CLAIMED, due=None), "etag-r"))

    step = deliver.record(claimed.registration, claimed.attempt, Done(), LATER, tx="mine")

    assert [type(write) for write in step.writes] == [Merge, Delete, Insert, Upsert]


@pytest.mark.parametrize("error", [PollError(PollErrorKind.SERVER_ERROR, "HTTP 500"), None])
def test_a_poll_stores_its_result(error: PollError | None) -> None:
    """Stored: time, count and error. An earlier error is cleared, and other columns are unchanged."""
    handle = DueHandle(partition=partition_of(REF), key=OPERATION.due, etag="etag-d")
    poll_state = replace(OPERATION.poll_state(), polls=8)

    reschedule = poll.poll_again(handle, PollAgain(poll_state=poll_state, at=LATER, status=None, error=error), NOON)

    due = due_key(LATER, DueKind.POLL, due_reference(REF))
    assert reschedule.changes == {
        "due": due,
        "last_polled_at": NOON,
        "polls": 8,
        "last_error_kind": "server_error" if error else "",
        "last_error_detail": "HTTP 500" if error else "",
    }


def test_a_final_status_is_stored_with_its_details() -> None:
    """Stored: the final status, time and number of polls, the upstream's answer, and the retention."""
    decision = Finish(
        poll_state=replace(OPERATION.poll_state(), polls=8, seen_running_at=NOON),
        final_status=FinalStatus.FAILED,
        body="{}",
        reason=None,
        error=None,
        why=Explanation("Code", "words"),
    )

    step, _ = poll.finish(aggregate(), decision, path="avatar", now=LATER, tx="mine", retention=RETENTION)

    due = due_key(LATER + RETENTION, DueKind.PURGE, due_reference(REF))
    assert columns(step, row_key(REF)) == {
        "v": 1,
        "status": "Failed",
        "final_status": "Failed",
        "polls": 8,
        "seen_running_at": NOON,
        "last_polled_at": LATER,
        "finished_at": LATER,
        "body": "{}",
        "error_code": "Code",
        "error_message": "words",
        "due": due,
        "tx": "mine",
    }
    assert isinstance(written(step, due), Insert)


@pytest.mark.parametrize("step", ["defer", "retry", "claim", "enqueue"])
def test_a_due_row_of_a_delivery_never_moves_to_its_own_key(step: str) -> None:
    """A transaction cannot delete and insert the same row."""
    before, tx = Stored(CLAIMED, "etag-r"), "mine"
    attempt = deliver.Claimed.held(before).attempt
    same = NOON if step != "claim" else NOON - timedelta(seconds=60)
    built = {
        "defer": deliver.defer(before, Deferred(until=same, why=DeferredBy.CONCURRENCY), tx=tx),
        "retry": deliver.record(before, attempt, RetryAt(same), NOON, tx=tx),
        "claim": deliver.claim(before, same, name=tx)[0],
        "enqueue": poll.reschedule_all([enqueued(NOON - REDISPATCH.first)], tx=tx),
    }[step]

    keys = [write.key for write in built.writes]
    assert len(keys) == len(set(keys))
    assert columns(built, row_key(REQUEST.ref))["due"] != PENDING.due


def enqueued(now: datetime) -> poll.Reschedule:
    """Send the next task of the delivery."""
    handle = DueHandle(partition=partition_of(REQUEST.ref), key=str(PENDING.due), etag="etag-d")
    return poll.enqueue(handle, DeliveryTask.next_of(PENDING), now)[0]


@pytest.mark.parametrize("step", ["look again", "left open", "poll again"])
def test_a_due_row_of_an_operation_never_moves_to_its_own_key(step: str) -> None:
    """Holds for a poll and for a purge in the same millisecond."""
    kind = DueKind.PURGE if step == "look again" else DueKind.POLL
    key = due_key(LATER, kind, due_reference(REF))
    handle = DueHandle(partition=partition_of(REF), key=key, etag="etag-d")
    known = aggregate(operation=replace(OPERATION, due=key), unreadable="f" * 16)
    poll_state = OPERATION.poll_state()
    now = LATER - poll.UNREADABLE_WAIT
    moved = {
        "look again": purge.look_again(handle, REF, LATER).key,
        "poll again": poll.poll_again(
            handle, PollAgain(poll_state=poll_state, at=LATER, status=None, error=None), NOON
        ).key,
        "left open": str(columns(end(known, now), row_key(REF))["due"]),
    }[step]

    assert moved != key
    assert moved.split(":")[2:] == key.split(":")[2:]


def end(known: OperationAggregate, now: datetime) -> Transaction:
    """End an operation at a time."""
    decision = Finish(
        poll_state=replace(OPERATION.poll_state(), polls=8),
        final_status=FinalStatus.SUCCEEDED,
        body=None,
        reason=None,
        error=None,
    )
    return poll.finish(known, decision, path="avatar", now=now, tx="mine", retention=RETENTION)[0]


def test_an_operation_that_is_left_open_is_polled_again_in_five_minutes() -> None:
    """No final status is stored, and the poll counts. A version that can read all registrations ends the operation."""
    step = end(aggregate(unreadable="f" * 16), LATER)

    row = columns(step, row_key(REF))
    assert (row["polls"], row["last_polled_at"], row["tx"]) == (8, LATER, "mine")
    assert row["due"] == due_key(LATER + timedelta(minutes=5), DueKind.POLL, due_reference(REF))
    assert columns(step, str(row["due"]))["polls"] == 8
    assert not row.get("final_status")


@pytest.mark.parametrize(("says", "group"), [("short", "short"), (None, "long")])
def test_an_operation_that_is_reopened_begins_anew_and_keeps_its_count(says: str | None, group: str) -> None:
    """A label of the new request replaces the old one."""
    gone = replace(OPERATION, due=due_key(NOON, DueKind.PURGE, due_reference(REF)), final_status=FinalStatus.EXPIRED)

    joined = register.register_further(aggregate(operation=gone), replace(REQUEST, group=says, tx="mine"), LATER, None)

    after = joined.operation
    assert (after.registered_at, after.polls, after.group, after.final_status) == (LATER, 7, group, None)
    assert after.tx == "mine"
    assert written(joined.transaction, gone.due) == Delete(gone.due, ANY)
    assert isinstance(written(joined.transaction, after.due), Insert)


def test_canceling_the_last_registration_schedules_a_purge_after_the_retention() -> None:
    """The transaction checks both ETags and stores its `tx` on both rows."""
    step = register.cancel_waiting(aggregate(REQUEST), Stored(REQUEST, "etag-r"), LATER, tx="mine", retention=RETENTION)

    due = due_key(LATER + RETENTION, DueKind.PURGE, due_reference(REF))
    assert written(step, row_key(REF)) == Merge(row_key(REF), {"due": due, "tx": "mine"}, "etag-o")
    assert isinstance(written(step, due), Insert)
    assert columns(step, row_key(REQUEST.ref))["tx"] == "mine"


def test_canceling_one_of_several_registrations_only_touches_the_operation() -> None:
    """A concurrent step then gets a conflict and reads again."""
    other = registration(url="https://other.example.com/")

    step = register.cancel_waiting(
        aggregate(REQUEST, other), Stored(REQUEST, "etag-r"), LATER, tx="mine", retention=RETENTION
    )

    assert written(step, row_key(REF)) == Merge(row_key(REF), {"tx": "mine"}, "etag-o")
    assert len(step.writes) == 4


def test_an_operation_with_a_live_registration_is_checked_after_another_retention() -> None:
    """The check is neither immediate nor in the past."""
    assert purge.keep_until(aggregate(REQUEST), LATER, RETENTION) == LATER + RETENTION


@pytest.mark.parametrize("claim", ["mine", "another's"])
def test_a_late_record_of_a_delivery_can_be_recognised(claim: str) -> None:
    """Holds if the claim still stands, and if another claim was made meanwhile."""
    claimed = deliver.Claimed.held(Stored(CLAIMED, "etag-r"))
    attempt = claimed.attempt.with_outcome(Delivered(status=200, address=None, body=""), timedelta(seconds=1))

    step = deliver.record_late(
        Stored(replace(CLAIMED, claim=claim), "etag-2"), claimed, attempt, Done(), LATER, tx="tx"
    )

    assert step is not None
    assert (step.tx, step.stamp, columns(step, row_key(REQUEST.ref))["tx"]) == ("tx", row_key(REQUEST.ref), "tx")


def test_an_attempt_follows_from_its_claim() -> None:
    """The attempt began a minute before the end of the lease. Without a result by then, the attempt is lost."""
    attempt = deliver.Claimed.held(Stored(CLAIMED, "etag-r")).attempt

    assert attempt == AttemptRecord(
        ref=REQUEST.ref, number=3, at=LATER - timedelta(seconds=60), claim="mine", leased_until=LATER
    )
    assert attempt.error_at(LATER - timedelta(microseconds=1)) is None
    assert attempt.error_at(LATER) == "lost"
    assert attempt.with_outcome(Gone(status=410, address=None, body=""), timedelta(0)).error_at(LATER) is None


@pytest.mark.parametrize("change", [{"claim": None}, {"leased_until": None}])
def test_an_attempt_requires_a_claim(change: dict[str, None]) -> None:
    """The error names the bug."""
    with pytest.raises(InvalidTransition, match=r"^an attempt on a registration that is not claimed$"):
        deliver.Claimed.held(Stored(replace(CLAIMED, **change), "etag-r"))  # type: ignore[arg-type] # either of two


JOB_REQUEST = registration(kind=Kind.JOB, tx="before")
JOB = operation(kind=Kind.JOB, polls=7, due=due_key(NOON, DueKind.POLL, due_reference(JOB_REQUEST.ref.operation)))
CREATED, ENDED = NOON - timedelta(hours=2), NOON + timedelta(minutes=1)
JOB_END = Finish(
    poll_state=replace(JOB.poll_state(), polls=8, created_at=CREATED),
    final_status=FinalStatus.SUCCEEDED,
    body=None,
    reason=None,
    error=None,
    ended_at=ENDED,
)


def test_a_poll_of_a_job_stores_its_creation_in_both_rows() -> None:
    """The due row decides on the next poll. The row of the job restores a missing due row."""
    handle = DueHandle(partition=partition_of(JOB.ref), key=JOB.due, etag="etag-d")
    state = replace(JOB.poll_state(), created_at=CREATED)

    moved = poll.poll_again(handle, PollAgain(poll_state=state, at=LATER, status="Running", error=None), NOON)

    assert (moved.changes["created_at"], moved.columns["created_at"]) == (CREATED, CREATED)
    restored = restore(Stored(replace(JOB, created_at=CREATED), "etag-o"), tx="mine")
    assert restored is not None
    assert columns(restored, JOB.due)["created_at"] == CREATED


def test_the_end_of_a_job_is_stored_with_its_times() -> None:
    """The event has the same times."""
    step, [task] = poll.finish(
        aggregate(JOB_REQUEST, operation=JOB), JOB_END, path="avatar", now=LATER, tx="mine", retention=RETENTION
    )

    row = columns(step, row_key(JOB.ref))
    assert (row["created_at"], row["ended_at"], row["finished_at"]) == (CREATED, ENDED, LATER)
    assert row.get("body", "") == ""
    message = str(columns(step, row_key(JOB_REQUEST.ref))["message_body"])
    assert '"createdAt":"2026-11-23T10:00:00.000Z","endedAt":"2026-11-23T12:01:00.000Z"' in message
    assert task.ref == JOB_REQUEST.ref


def test_a_job_that_is_left_open_keeps_its_creation_and_has_no_end() -> None:
    known = aggregate(JOB_REQUEST, operation=JOB, unreadable="f" * 16)

    step, _ = poll.finish(known, JOB_END, path="avatar", now=LATER, tx="mine", retention=RETENTION)

    row = columns(step, row_key(JOB.ref))
    assert (row["created_at"], "ended_at" in row) == (CREATED, False)
    assert columns(step, str(row["due"]))["created_at"] == CREATED


def test_a_job_that_is_reopened_keeps_its_creation() -> None:
    """The age of the job goes on. The end of the former generation, if any, is cleared."""
    gone = replace(
        JOB,
        due=due_key(NOON, DueKind.PURGE, due_reference(JOB.ref)),
        final_status=FinalStatus.EXPIRED,
        created_at=CREATED,
        ended_at=ENDED,
    )

    joined = register.register_further(aggregate(operation=gone), replace(JOB_REQUEST, tx="mine"), LATER, None)

    assert (joined.operation.created_at, joined.operation.ended_at) == (CREATED, None)
    assert columns(joined.transaction, joined.operation.due)["created_at"] == CREATED
    row = columns(joined.transaction, row_key(JOB.ref))
    assert ("created_at" in row, row["ended_at"]) == (False, "")


@pytest.mark.parametrize(
    ("finished_at", "times"), [(LATER, (CREATED, ENDED)), (NOON, (None, None)), (None, (None, None))]
)
def test_a_registration_sees_the_times_of_its_own_end_only(
    finished_at: datetime | None, times: tuple[datetime | None, datetime | None]
) -> None:
    """Another registration can follow the job later, to another end."""
    job = replace(
        JOB, final_status=FinalStatus.SUCCEEDED, finished_at=LATER, created_at=CREATED, ended_at=ENDED, due="due:later"
    )
    ended = replace(JOB_REQUEST, state=State.PENDING, final_status=FinalStatus.EXPIRED, finished_at=finished_at)

    seen = as_seen_by(ended, job)

    assert (seen.created_at, seen.ended_at) == times
