"""Steps of a delivery: claim, record, defer, retry now, mark as dead."""

from dataclasses import dataclass, replace
from datetime import datetime

from bridge.domain.attempt import KEPT_ATTEMPTS, AttemptRecord
from bridge.domain.delivery import LEASE, REDISPATCH, RESEND_AFTER, DeliveryTask, pending_task
from bridge.domain.host_limits import Deferred
from bridge.domain.outcome import Failure
from bridge.domain.registration import InvalidTransition, Registration, State, Transition
from bridge.domain.retry import DeadReason, Decision, Done, GiveUp, RetryAt
from bridge.storage.index import IndexEntry, index_key_of
from bridge.storage.keys import DueKind, attempt_key, due_at, due_key, due_reference, partition_of, row_key
from bridge.storage.records import Stored, for_insert, for_merge
from bridge.storage.table import ANY, Delete, Insert, Merge, Transaction, Upsert, Write
from bridge.storage.writes.common import overwrite, put


@dataclass(frozen=True, slots=True)
class Claimed:
    """The exclusive right to one attempt."""

    registration: Stored[Registration]
    attempt: AttemptRecord

    @classmethod
    def held(cls, registration: Stored[Registration]) -> "Claimed":
        """Return the caller's own right to the attempt that the registration has claimed."""
        record = registration.record
        if record.claim is None or record.leased_until is None:
            raise InvalidTransition("an attempt on a registration that is not claimed")
        attempt = AttemptRecord(
            ref=record.ref,
            number=record.last_attempt,
            at=record.leased_until - LEASE,
            claim=record.claim,
            leased_until=record.leased_until,
        )
        return cls(registration, attempt)


def claim(
    before: Stored[Registration], now: datetime, *, name: str, drops_oldest: bool = True
) -> tuple[Transaction, Registration]:
    """Claim the next attempt: 4 rows, under the registration's ETag. Returns the registration after the claim.

    One row more deletes the oldest attempt beyond the limit. A purge that gave way may have deleted that row already,
    and the missing row would fail the transaction, so a further round omits the deletion (`drops_oldest`).

    The random `name` identifies the claim and the transaction. The due row moves to the end of the lease and orders the
    next attempt: if the bridge dies in between, this attempt counts as lost.
    """
    until = now + LEASE
    due = _due(before.record, until)
    after = before.record.claimed(name, until=until, due=due)
    attempt = Claimed.held(Stored(after, before.etag)).attempt
    writes: tuple[Write, ...] = (
        overwrite(before, after, name),
        Insert(attempt_key(after.ref, attempt.number), for_insert(attempt)),
        *_gone(before.record),
        _next_task(after, due),
    )
    writes = (*writes, *_oldest(attempt, drops_oldest=drops_oldest))
    return Transaction(partition_of(after.ref), writes, stamp=row_key(after.ref), tx=name), after


def defer(before: Stored[Registration], deferred: Deferred, *, tx: str) -> Transaction:
    """Move an attempt to a later time without consuming it: 5 rows, under the registration's ETag."""
    due = _due(before.record, deferred.until)
    after = replace(before.record, next_attempt_at=deferred.until, deferred_by=deferred.why, due=due)
    return Transaction(partition_of(after.ref), _moved(before, after, tx), stamp=row_key(after.ref), tx=tx)


def retry_now(before: Stored[Registration], now: datetime, *, tx: str) -> tuple[Transaction, DeliveryTask]:
    """Make the next attempt of the run due now, for a client: 4 rows, under the registration's ETag.

    Returns the task to send after the commit. The due row repeats a lost message, like that of a new run.
    """
    due = _due(before.record, now + REDISPATCH.first)
    after = before.record.retried(now, now, due=due, is_forced=True)
    writes = _moved(before, after, tx, sends=1)
    return Transaction(partition_of(after.ref), writes, stamp=row_key(after.ref), tx=tx), DeliveryTask.next_of(
        after, sends=1
    )


def retry_later(
    before: Stored[Registration], now: datetime, at: datetime, *, tx: str, is_forced: bool = False
) -> Transaction:
    """Make the next attempt of the run due at `at`, for a client: 4 rows. A sweep sends its message when due.

    The attempt passes an open circuit if `is_forced`.
    """
    after = before.record.retried(at, now, due=_due(before.record, at), is_forced=is_forced)
    return Transaction(partition_of(after.ref), _moved(before, after, tx), stamp=row_key(after.ref), tx=tx)


def resend_soon(before: Stored[Registration], task: DeliveryTask, now: datetime, *, tx: str) -> Transaction | None:
    """Move the due row of an unsent task to a short wait: 3 rows, under the registration's ETag.

    None if the task is no longer the open one, or is due as early anyway.
    """
    record, at = before.record, now + RESEND_AFTER
    opened, due_time = pending_task(record), due_at(record.due or "")
    if opened is None or (opened.generation, opened.number) != (task.generation, task.number):
        return None
    if due_time is None or due_time <= at:
        return None
    after = replace(record, due=due_key(at, DueKind.DELIVER, due_reference(record.ref)))
    writes: tuple[Write, ...] = (overwrite(before, after, tx), *_gone(record), _next_task(after, str(after.due)))
    return Transaction(partition_of(after.ref), writes, stamp=row_key(after.ref), tx=tx)


def record(
    before: Stored[Registration],
    attempt: AttemptRecord,
    decision: Decision,
    now: datetime,
    *,
    tx: str,
    run_start: int | None = None,
) -> Transaction:
    """Record an attempt and its consequences: 5 rows, under the registration's ETag.

    `run_start` is the number of the first attempt of its run, if that is not the current run.
    """
    last = attempt.of_run(before.record.run_start if run_start is None else run_start)
    recorded = replace(before.record, last_recorded=last)
    # A purge that gave way to this delivery may have deleted the attempt's row already.
    row = Upsert(attempt_key(attempt.ref, attempt.number), for_merge(attempt))
    match decision:
        case RetryAt(at=at):
            writes = _postpone(before, recorded, at, tx)
        case Done():
            writes = _end(before, recorded.ended(Transition.DELIVER, now), tx)
        case GiveUp(reason=reason):
            writes = _end(before, recorded.ended(Transition.GIVE_UP, now, reason=reason), tx)
    return Transaction(partition_of(attempt.ref), (*writes, row), stamp=row_key(attempt.ref), tx=tx)


def fail_unsent(
    before: Stored[Registration],
    attempt: AttemptRecord,
    decision: RetryAt | GiveUp,
    now: datetime,
    *,
    tx: str,
    drops_oldest: bool = True,
) -> Transaction:
    """Record an attempt without a POST, which counts because its host is known to be silent: 5 rows.

    Like a claim this deletes the oldest attempt beyond the limit, unless `drops_oldest` is false: one row more. The
    attempt is claimed and recorded in one step under the registration's ETag, so no crash can happen in between.
    """
    last = attempt.of_run(before.record.run_start)
    claimed = replace(before.record, last_attempt=attempt.number, last_recorded=last)
    row = Insert(attempt_key(attempt.ref, attempt.number), for_insert(attempt))
    match decision:
        case RetryAt(at=at):
            due = _due(before.record, at)
            after = claimed.postponed(at, due=due)
            shown = Merge(index_key_of(after), for_merge(IndexEntry.of(after)), ANY)
            writes: tuple[Write, ...] = (overwrite(before, after, tx), shown, _next_task(after, due))
        case GiveUp(reason=reason):
            writes = put(before, claimed.ended(Transition.GIVE_UP, now, reason=reason), tx)
    oldest = _oldest(attempt, drops_oldest=drops_oldest)
    writes = (*writes, *_gone(before.record), row, *oldest)
    return Transaction(partition_of(attempt.ref), writes, stamp=row_key(attempt.ref), tx=tx)


def record_late(
    found: Stored[Registration] | None,
    claimed: Claimed,
    attempt: AttemptRecord,
    decision: Decision,
    now: datetime,
    *,
    tx: str,
    row_etag: str | None = ANY,
) -> Transaction | None:
    """Record an attempt after a change of its registration, or return None if there is nothing left to write.

    `row_etag` is the ETag of the attempt's own row, or None if the row is gone.

    The decision is not made again after a POST. If the claim still holds, the attempt counts as usual. Otherwise a 2xx
    ends a pending delivery of the same generation, and any other outcome is only recorded.
    """
    if found is None:
        return None
    if found.record.claim == attempt.claim:
        return record(found, attempt, decision, now, tx=tx)
    same_generation = found.record.generation == claimed.registration.record.generation
    if isinstance(decision, Done) and found.record.state is State.PENDING and same_generation:
        run_start = claimed.registration.record.run_start
        return record(found, attempt, decision, now, tx=tx, run_start=run_start)
    if row_etag is None:
        return None
    row = Merge(attempt_key(attempt.ref, attempt.number), for_merge(attempt), row_etag)
    return Transaction(partition_of(attempt.ref), (row,))


def mark_dead(before: Stored[Registration], now: datetime, *, tx: str) -> Transaction:
    """End a run after its last attempt was lost: 4 rows."""
    claimed = before.record
    if claimed.claim is not None:
        lost = replace(Claimed.held(before).attempt, error=Failure.LOST)
        claimed = replace(claimed, last_recorded=lost.of_run(claimed.run_start))
    writes = _end(before, claimed.ended(Transition.GIVE_UP, now, reason=DeadReason.EXHAUSTED), tx)
    return Transaction(partition_of(before.record.ref), writes, stamp=row_key(before.record.ref), tx=tx)


def _end(before: Stored[Registration], after: Registration, tx: str) -> tuple[Write, ...]:
    return (*put(before, after, tx), *_gone(before.record))


def _postpone(before: Stored[Registration], recorded: Registration, at: datetime, tx: str) -> tuple[Write, ...]:
    due = _due(before.record, at)
    return _moved(before, recorded.postponed(at, due=due), tx)


def _moved(before: Stored[Registration], after: Registration, tx: str, *, sends: int = 0) -> tuple[Write, ...]:
    """Move the next attempt to the due row of `after`, and show its time in the index row."""
    shown = Merge(index_key_of(after), for_merge(IndexEntry.of(after)), ANY)
    task = _next_task(after, str(after.due), sends=sends)
    return (overwrite(before, after, tx), shown, *_gone(before.record), task)


def _due(before: Registration, at: datetime) -> str:
    return due_key(at, DueKind.DELIVER, due_reference(before.ref), instead_of=before.due or "")


def _next_task(registration: Registration, due: str, *, sends: int = 0) -> Insert:
    return Insert(due, for_insert(DeliveryTask.next_of(registration, sends=sends)))


def ways_to_drop(registration: Registration) -> tuple[bool, ...]:
    """Return the variants of the next attempt's step: with deleting an old attempt, then without if its row is gone."""
    return (True, False) if registration.last_attempt >= KEPT_ATTEMPTS else (False,)


def _oldest(attempt: AttemptRecord, *, drops_oldest: bool) -> tuple[Delete, ...]:
    """Delete the attempt that exceeds the limit once `attempt` exists."""
    number = attempt.number - KEPT_ATTEMPTS
    return (Delete(attempt_key(attempt.ref, number), ANY),) if drops_oldest and number > 0 else ()


def _gone(registration: Registration) -> tuple[Delete, ...]:
    """Delete the due row of a registration. The registration's ETag decides for both."""
    return (Delete(registration.due, ANY),) if registration.due else ()
