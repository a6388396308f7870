"""Claims and records attempts: the right to an attempt, deferrals, and the record of outcomes."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import assert_never

from bridge.domain.attempt import AttemptRecord
from bridge.domain.callback_url import host_and_port
from bridge.domain.delivery import LEASE, LEASE_NEEDED, Attempt, DeliveryTask, MarkDead, Skip, decide_delivery
from bridge.domain.errors import Conflict, ConflictKind, StorageUnavailable, UnreadableRow
from bridge.domain.host_limits import Deferred, FailedProbe
from bridge.domain.ids import RegistrationRef
from bridge.domain.outcome import Outcome, Unreachable
from bridge.domain.registration import Registration
from bridge.domain.retry import Decision, Done, GiveUp, RetryAt, decide
from bridge.domain.time import Clock
from bridge.log import Event, log
from bridge.services.repair import Repair
from bridge.storage.keys import attempt_key, partition_of, row_key
from bridge.storage.records import Stored, stored
from bridge.storage.repository import Waits, commit, commit_first, transact
from bridge.storage.table import Table
from bridge.storage.transaction import Transaction
from bridge.storage.writes import deliver
from bridge.storage.writes.deliver import Claimed

#: The first and the longest wait between tries to record an attempt, in seconds. Each wait doubles the one before.
_FIRST_WAIT = 0.1
_LONGEST_WAIT = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecorder:
    """Records the end of each attempt.

    The decision is not made again after a POST, and the record is tried until the lease ends.
    """

    table: Table
    clock: Clock
    #: Returns a random id, different for each call.
    new_id: Callable[[], str]
    #: Returns a number in [0, 1) that spreads retries.
    random: Callable[[], float]
    #: Waits for a number of seconds.
    sleep: Callable[[float], None]
    #: Restores missing due rows.
    repair: Repair

    def record(self, claimed: Claimed, attempt: AttemptRecord, outcome: Outcome) -> None:
        """Record the attempt, whatever other steps did meanwhile. Gives up only if storage stays silent."""
        tx, now = self.new_id(), self.clock()
        of_run = attempt.number - claimed.registration.record.run_start + 1
        decision = decide(outcome, attempt_of_run=of_run, now=now, random=self.random())

        def first() -> Transaction:
            return deliver.record(claimed.registration, attempt, decision, now, tx=tx)

        def again() -> Transaction | None:
            row = self._row_of(attempt)
            if row is not None and (row.record.is_recorded or row.record.claim != attempt.claim):
                return None  # an earlier try succeeded after all, or the row is another attempt's
            found, etag = self._read(attempt.ref), None if row is None else row.etag
            return deliver.record_late(found, claimed, attempt, decision, now, tx=tx, row_etag=etag)

        recorded = self._committed(first, attempt.ref) or self._committed(again, attempt.ref)
        waited, wait = 0.0, _FIRST_WAIT
        # Another instance may attempt after the lease. A record after that changes none of its decisions.
        while not recorded and self.clock() < attempt.leased_until and waited < LEASE.total_seconds():
            self.sleep(wait)
            waited, wait = waited + wait, min(2 * wait, _LONGEST_WAIT)
            recorded = self._committed(again, attempt.ref)
        _log_attempt(claimed.registration.record, attempt, decision, recorded=recorded)

    def _committed(self, step: Callable[[], Transaction | None], ref: RegistrationRef) -> bool:
        """Try a step after a POST once. Exceptions are no longer useful to the caller at this point."""
        try:
            transaction = step()
            if transaction is not None:
                commit(self.table, transaction)
        except Conflict as conflict:
            if conflict.kind is ConflictKind.MISSING:
                self.repair.restore(ref.operation)
            return False
        except (StorageUnavailable, UnreadableRow):
            return False
        return True

    def _row_of(self, attempt: AttemptRecord) -> Stored[AttemptRecord] | None:
        """Read the row of an attempt.

        The row is gone if the registration was replaced by another one, or after a purge. It belongs to another attempt
        if the same callback was registered again afterwards.
        """
        row = self.table.get(partition_of(attempt.ref), attempt_key(attempt.ref, attempt.number))
        return None if row is None else stored(AttemptRecord, attempt.ref, row)

    def fail_unsent(self, before: Stored[Registration], probe: FailedProbe, now: datetime, *, tx: str) -> None:
        """Count the failed probe of a host as an attempt of a delivery that was due by then.

        Raises Conflict and StorageUnavailable.
        """
        record = before.record
        attempt = AttemptRecord.unsent(record.ref, record.last_attempt + 1, now, probe, name=tx)
        decision = decide(
            Unreachable(error=probe.error),
            attempt_of_run=attempt.number - record.run_start + 1,
            now=now,
            random=self.random(),
        )
        if not isinstance(decision, Done):
            steps = [
                deliver.fail_unsent(before, attempt, decision, now, tx=tx, drops_oldest=drops)
                for drops in deliver.ways_to_drop(record)
            ]
            commit_first(self.table, steps)
            _log_attempt(record, attempt, decision, recorded=True)

    def _read(self, ref: RegistrationRef) -> Stored[Registration] | None:
        row = self.table.get(partition_of(ref), row_key(ref))
        return None if row is None else stored(Registration, ref, row)


def _log_attempt(registration: Registration, attempt: AttemptRecord, decision: Decision, *, recorded: bool) -> None:
    """Write the one log line of an attempt."""
    match decision:
        case Done():
            then, at = "delivered", None
        case RetryAt(at=at):
            then = "retry"
        case GiveUp(reason=reason):
            then, at = f"dead: {reason}", None
    log(
        Event.ATTEMPTED if recorded else Event.UNRECORDED,
        registration=attempt.ref.public_id,
        attempt=attempt.number,
        message=registration.message_id,
        to=host_and_port(registration.callback_url),
        address=attempt.address,
        status=attempt.status,
        error=attempt.error,
        ms=attempt.duration_ms,
        then=then,
        next=at,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """The steps before a POST, or instead of one. They raise StorageUnavailable and Contended."""

    table: Table
    clock: Clock
    #: Returns a random id, different for each call.
    new_id: Callable[[], str]
    #: Waits between the rounds of a step after conflicts.
    waits: Waits
    recorder: AttemptRecorder
    #: Restores missing due rows.
    repair: Repair

    def claim(self, task: DeliveryTask) -> Claimed | None:
        """Claim the attempt with enough time to make it. Returns None if there is nothing to do."""
        name = self.new_id()
        try:
            restore = partial(self.repair.restore, task.ref.operation)
            claimed = transact(lambda: self._claim(task, name), self.waits, missing=restore)
        except UnreadableRow as error:
            log(Event.ROW_UNREADABLE, registration=task.ref.public_id, why=str(error))
            return None
        if claimed is not None and claimed.attempt.leased_until - self.clock() < LEASE_NEEDED:
            log(Event.DROPPED, registration=task.ref.public_id, attempt=task.number, why="the claim took too long")
            return None
        return claimed

    def _claim(self, task: DeliveryTask, name: str) -> Claimed | None:
        """Read, decide and commit once."""
        before = self._read(task)
        if before is None:
            return None
        if before.record.claim == name:
            return Claimed.held(before)
        now = self.clock()
        if not self._may_attempt(task, before, now, name):
            return None
        claims = [
            deliver.claim(before, now, name=name, drops_oldest=drops) for drops in deliver.ways_to_drop(before.record)
        ]
        etags = commit_first(self.table, [transaction for transaction, _ in claims])
        after = claims[0][1]
        return Claimed.held(Stored(after, etags[row_key(after.ref)]))

    def _may_attempt(self, task: DeliveryTask, before: Stored[Registration], now: datetime, name: str) -> bool:
        """Return whether to follow the task. Ends the run if its last attempt was lost."""
        match decide_delivery(task, before.record, now):
            case Skip(why=why):
                log(Event.DROPPED, registration=task.ref.public_id, attempt=task.number, why=why)
                return False
            case MarkDead():
                commit(self.table, deliver.mark_dead(before, now, tx=name))
                log(Event.DEAD, registration=task.ref.public_id, attempt=before.record.last_attempt)
                return False
            case Attempt():
                return True
            case never:
                assert_never(never)

    def put_back(self, task: DeliveryTask, deferred: Deferred) -> None:
        """Postpone a delivery, or record a failed attempt if a failed probe of its host counts for it."""
        tx = self.new_id()
        try:
            restore = partial(self.repair.restore, task.ref.operation)
            transact(lambda: self._put_back(task, deferred, tx), self.waits, missing=restore)
        except UnreadableRow as error:
            log(Event.ROW_UNREADABLE, registration=task.ref.public_id, why=str(error))

    def _put_back(self, task: DeliveryTask, deferred: Deferred, tx: str) -> None:
        """Read, decide and commit once."""
        now = self.clock()
        before = self._read(task)
        if before is None or not self._may_attempt(task, before, now, tx):
            return
        record = before.record
        probe = deferred.counts_for(record.next_attempt_at or record.run_began_at or record.since)
        if probe is not None:
            self.recorder.fail_unsent(before, probe, now, tx=tx)
            return
        commit(self.table, deliver.defer(before, deferred, tx=tx))
        host = host_and_port(record.callback_url)
        log(Event.HELD_BACK, registration=record.ref.public_id, to=host, why=deferred.why, until=deferred.until)

    def _read(self, task: DeliveryTask) -> Stored[Registration] | None:
        """Read the registration of a task. Raises UnreadableRow."""
        row = self.table.get(partition_of(task.ref), row_key(task.ref))
        if row is None:
            log(Event.ROW_UNREADABLE, registration=task.ref.public_id, why="a queue message without a registration")
            return None
        return stored(Registration, task.ref, row)
