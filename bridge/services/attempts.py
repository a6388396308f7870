"""Claims and records attempts: the right to an attempt, deferrals, and the record of outcomes."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar, assert_never

from bridge.domain.attempt import AttemptRecord
from bridge.domain.callback_url import host_and_port
from bridge.domain.delivery import LEASE, LEASE_NEEDED, Attempt, DeliveryTask, MarkDead, Skip, decide_delivery
from bridge.domain.errors import Contended, StorageUnavailable, UnreadableRow
from bridge.domain.host_limits import Deferred, FailedProbe
from bridge.domain.outcome import Outcome, Unreachable
from bridge.domain.registration import Registration
from bridge.domain.retry import Backoff, Decision, Done, GiveUp, RetryAt, decide
from bridge.domain.time import Clock
from bridge.log import Event, log
from bridge.storage.records import Stored
from bridge.storage.repository import Commit, Repository, unchanged
from bridge.storage.table import Transaction
from bridge.storage.writes import deliver
from bridge.storage.writes.deliver import Claimed

_T = TypeVar("_T")

#: What is wrong with a message whose registration a read did not find.
NO_REGISTRATION = "a queue message without a registration"

#: The wait between tries to record an attempt, while storage does not answer.
_RECORD_BACKOFF = Backoff(timedelta(milliseconds=100), timedelta(seconds=4))


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecorder:
    """Records the end of each attempt.

    The decision is not made again after a POST, and the record is tried until the lease ends.
    """

    repository: Repository
    clock: Clock
    #: Returns a number in [0, 1) that spreads retries.
    random: Callable[[], float]

    def record(self, claimed: Claimed, attempt: AttemptRecord, outcome: Outcome) -> None:
        """Record the attempt, whatever other steps did meanwhile. Gives up only if storage stays silent."""
        now = self.clock()
        of_run = attempt.number - claimed.registration.record.run_start + 1
        decision = decide(outcome, attempt_of_run=of_run, now=now, random=self.random())

        def first(tx: str) -> Commit[None]:
            return _committed(deliver.record(claimed.registration, attempt, decision, now, tx=tx))

        def again(row: Stored[AttemptRecord] | None, tx: str) -> Commit[None]:
            if row is not None and (row.record.is_recorded or row.record.claim != attempt.claim):
                return unchanged(None)  # an earlier try succeeded after all, or the row is another's
            found, etag = self.repository.registration(attempt.ref), None if row is None else row.etag
            late = deliver.record_late(found, claimed, attempt, decision, now, tx=tx, row_etag=etag)
            return unchanged(None) if late is None else _committed(late)

        recorded = self._is_recorded(attempt, again, first)
        waited, tries = timedelta(0), 0
        # Another instance may attempt after the lease. A record after that changes none of its decisions.
        while not recorded and self.clock() < attempt.leased_until and waited < LEASE:
            tries += 1
            wait = _RECORD_BACKOFF.wait(tries)
            self.repository.sleep(wait.total_seconds())
            waited += wait
            recorded = self._is_recorded(attempt, again)
        _log_attempt(claimed.registration.record, attempt, decision, now, recorded=recorded)

    def _is_recorded(
        self,
        attempt: AttemptRecord,
        again: Callable[[Stored[AttemptRecord] | None, str], Commit[None]],
        first: Callable[[str], Commit[None]] | None = None,
    ) -> bool:
        """Try the step after a POST once. Exceptions are no longer useful to the caller at this point.

        The row of an attempt is gone if the registration was replaced by another one, or after a purge. It belongs to
        another attempt if the same callback was registered again afterwards.
        """
        read = partial(self.repository.attempt, attempt.ref, attempt.number)
        try:
            self.repository.transact(read, again, first=first, restores=attempt.ref.operation)
        except (StorageUnavailable, Contended, UnreadableRow):
            return False
        return True

    def fail_unsent(self, before: Stored[Registration], probe: FailedProbe, now: datetime, *, tx: str) -> Commit[None]:
        """Count the failed probe of a host as an attempt of a delivery that was due by then."""
        record = before.record
        attempt = AttemptRecord.unsent(record.ref, record.last_attempt + 1, now, probe, name=tx)
        decision = decide(
            Unreachable(error=probe.error),
            attempt_of_run=attempt.number - record.run_start + 1,
            now=now,
            random=self.random(),
        )
        if isinstance(decision, Done):
            return unchanged(None)
        steps = (
            deliver.fail_unsent(before, attempt, decision, now, tx=tx, drops_oldest=drops)
            for drops in deliver.ways_to_drop(record)
        )
        return Commit(tuple(steps), lambda _: _log_attempt(record, attempt, decision, now, recorded=True))


def _committed(transaction: Transaction) -> Commit[None]:
    return Commit((transaction,), lambda _: None)


def _log_attempt(
    registration: Registration, attempt: AttemptRecord, decision: Decision, now: datetime, *, recorded: bool
) -> None:
    """Write the one log line of an attempt that ended at `now`."""
    at: datetime | None = None
    delay: timedelta | None = None
    match decision:
        case Done():
            then, delay = "delivered", registration.delay_at(now)
        case RetryAt(at=at):
            then = "retry"
        case GiveUp(reason=reason):
            then = f"dead: {reason}"
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
        delay=None if delay is None else round(delay.total_seconds(), 3),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """The writes before a POST, or instead of one. Raises StorageUnavailable and Contended."""

    repository: Repository
    clock: Clock
    recorder: AttemptRecorder

    def claim(self, task: DeliveryTask) -> Claimed | None:
        """Take the right to the attempt, with enough time left to make it; None if there is nothing to do."""
        claimed = self._follow(task, _claim)
        if claimed is not None and claimed.attempt.leased_until - self.clock() < LEASE_NEEDED:
            log(Event.DROPPED, registration=task.ref.public_id, attempt=task.number, why="the claim took too long")
            return None
        return claimed

    def put_back(self, task: DeliveryTask, deferred: Deferred) -> None:
        """Put a delivery back; if a failed probe of its host counts for it, an attempt of it has failed instead."""
        self._follow(task, partial(self._put_back, task, deferred))

    def _follow(
        self, task: DeliveryTask, attempt: Callable[[Stored[Registration], datetime, str], Commit[_T]]
    ) -> _T | None:
        """Do the step `attempt` if the task may be followed; None if it may not, or its registration is unreadable."""
        try:
            return self.repository.transact(
                partial(self.repository.registration, task.ref),
                partial(self._decide, task, attempt),
                restores=task.ref.operation,
            )
        except UnreadableRow as error:
            log(Event.ROW_UNREADABLE, registration=task.ref.public_id, why=str(error))
            return None

    def _decide(
        self,
        task: DeliveryTask,
        attempt: Callable[[Stored[Registration], datetime, str], Commit[_T]],
        before: Stored[Registration] | None,
        tx: str,
    ) -> Commit[_T | None]:
        """Return the step `attempt`, or the end of the run if its last attempt was lost."""
        if before is None:
            log(Event.ROW_UNREADABLE, registration=task.ref.public_id, why=NO_REGISTRATION)
            return unchanged(None)
        now, number = self.clock(), before.record.last_attempt
        match decide_delivery(task, before.record, now):
            case Skip(why=why):
                log(Event.DROPPED, registration=task.ref.public_id, attempt=task.number, why=why)
                return unchanged(None)
            case MarkDead():
                dead = deliver.mark_dead(before, now, tx=tx)
                return Commit((dead,), lambda _: log(Event.DEAD, registration=task.ref.public_id, attempt=number))
            case Attempt():
                return attempt(before, now, tx)
            case never:
                assert_never(never)

    def _put_back(
        self, task: DeliveryTask, deferred: Deferred, before: Stored[Registration], now: datetime, tx: str
    ) -> Commit[None]:
        record = before.record
        if record.is_forced and not task.forced:
            log(Event.DROPPED, registration=task.ref.public_id, attempt=task.number, why="a client ordered it at once")
            return unchanged(None)  # its due row and another message have the order
        probe = deferred.counts_for(record.next_attempt_at or record.run_began_at or record.since)
        if probe is not None:
            return self.recorder.fail_unsent(before, probe, now, tx=tx)
        public_id, host = record.ref.public_id, host_and_port(record.callback_url)
        return Commit(
            (deliver.defer(before, deferred, tx=tx),),
            lambda _: log(Event.HELD_BACK, registration=public_id, to=host, why=deferred.why, until=deferred.until),
        )


def _claim(before: Stored[Registration], now: datetime, tx: str) -> Commit[Claimed]:
    claims = [deliver.claim(before, now, name=tx, drops_oldest=drops) for drops in deliver.ways_to_drop(before.record)]
    after = claims[0][1]
    return Commit(tuple(transaction for transaction, _ in claims), lambda etag: Claimed.held(Stored(after, etag)))
