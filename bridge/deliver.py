"""Makes one attempt: claim, POST, record.

    claim      a crash after it leaves a lease that ends unrecorded: the attempt counts as lost, the next one follows
    POST       a crash after it repeats the delivery, with the same webhook-id and the same bytes
    record     a crash after it costs nothing

After a POST nothing is decided again: whatever has become of the registration meanwhile, the attempt is recorded,
and a 2xx ends a delivery that is still pending.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import assert_never

from bridge.commit import commit, until_decided
from bridge.core.attempt import AttemptRecord
from bridge.core.callback import host_and_port, origin_of
from bridge.core.delivery import LEASE_NEEDED, Attempt, Bury, Call, Drop, answer_call
from bridge.core.errors import Conflict, ConflictKind, ForeignRow, StorageUnavailable
from bridge.core.keys import RegistrationRef
from bridge.core.message import Message
from bridge.core.outcome import Delivered, Failure, Outcome, Unreachable
from bridge.core.registration import Registration
from bridge.core.retry import Decision, Done, GiveUp, RetryAt, decide
from bridge.core.rows import Stored, decode, stored
from bridge.core.sealing import HeaderSeal, Unopened
from bridge.core.steps import delivering
from bridge.core.steps.delivering import Claimed
from bridge.core.times import Clock
from bridge.core.traceparent import read_traceparent
from bridge.core.transaction import Transaction
from bridge.hosts import Hosts, Visit
from bridge.log import Event, log
from bridge.ports import Courier, Table
from bridge.repair import Repair
from bridge.telemetry import Metric, Step, Telemetry

#: Waits between tries to record an attempt, in seconds; none is begun after the lease.
_RECORD_WAITS = (0.1, 0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliver:
    """The use case, with everything that it needs."""

    table: Table
    courier: Courier
    seal: HeaderSeal
    hosts: Hosts
    clock: Clock
    #: Makes a random text that no other call makes.
    token: Callable[[], str]
    #: A number in [0, 1) that spreads retries.
    chance: Callable[[], float]
    #: Waits, in seconds, for storage to come back.
    pause: Callable[[float], None]
    telemetry: Telemetry
    #: Puts due rows back that are missing.
    repair: Repair

    def deliver(self, call: Call) -> None:
        """Follow a call, if it is still to be followed: three calls to the table around one POST.

        Raises StorageUnavailable and Contended only before the POST; then the call may be followed again.
        """
        with Visit(self.hosts) as visit:
            claimed = self._claimed(call, visit)
            if claimed is None:
                return
            registration = claimed.registration.record
            with self.telemetry.span(
                Step.DELIVER,
                call.traceparent or registration.traceparent,
                bridge__operation__id=registration.ref.operation.due_reference,
                bridge__registration__id=registration.ref.public_id,
                bridge__attempt=claimed.attempt.number,
            ) as span:
                outcome, attempt = self._post(claimed, visit, span.traceparent)
                span.attributes["http__response__status_code"], span.error = attempt.status, attempt.error
        self._record(claimed, attempt, outcome)
        self._measure(registration, attempt, outcome)

    def _claimed(self, call: Call, visit: Visit) -> Claimed | None:
        """Take the right to the attempt, with enough time left to make it; None where there is nothing to do."""
        name = self.token()
        try:
            restore = partial(self.repair.restore, call.ref.operation)
            claimed = until_decided(lambda: self._claim(call, visit, name), missing=restore)
        except ForeignRow as error:
            log(Event.SET_ASIDE, registration=call.ref.public_id, why=str(error))
            return None
        if claimed is not None and claimed.attempt.leased_until - self.clock() < LEASE_NEEDED:
            log(Event.DROPPED, registration=call.ref.public_id, attempt=call.number, why="the claim took too long")
            return None
        return claimed

    def _claim(self, call: Call, visit: Visit, name: str) -> Claimed | None:
        """Read, decide and commit once."""
        before = self._read(call.ref)
        if before is None:
            log(Event.SET_ASIDE, registration=call.ref.public_id, why="a queue message about no registration here")
            return None
        if before.record.claim == name:
            return Claimed.held(before)
        now = self.clock()
        match answer_call(call, before.record, now):
            case Drop(why=why):
                log(Event.DROPPED, registration=call.ref.public_id, attempt=call.number, why=why)
                return None
            case Bury():
                commit(self.table, delivering.bury(before, now, tx=name))
                log(Event.BURIED, registration=call.ref.public_id, attempt=before.record.last_attempt)
                return None
            case Attempt():
                return self._enter(before, now, visit, name)
            case never:
                assert_never(never)

    def _enter(self, before: Stored[Registration], now: datetime, visit: Visit, name: str) -> Claimed | None:
        """Take the right to the attempt if its host has room for it; hold it back otherwise."""
        host, ref = host_and_port(before.record.callback_url), before.record.ref
        held = visit.enter(origin_of(before.record.callback_url), chance=self.chance())
        if held is not None:
            commit(self.table, delivering.hold_back(before, held, tx=name))
            log(Event.HELD_BACK, registration=ref.public_id, to=host, why=held.why, until=held.until)
            return None
        transaction, after = delivering.claim(before, now, name=name)
        etags = commit(self.table, transaction)
        return Claimed.held(Stored(after, etags[ref.key]))

    def _post(self, claimed: Claimed, visit: Visit, trace: str | None) -> tuple[Outcome, AttemptRecord]:
        """Send the message with all that belongs to it, or not at all.

        Without the client's own headers a receiver would refuse it, or take it for somebody else's: the attempt
        fails, the schedule goes on, and putting the key back mends it.
        """
        registration, begun = claimed.registration.record, self.clock()
        own = self.seal.opened(registration)
        if isinstance(own, Unopened):
            log(Event.UNOPENED, registration=registration.ref.public_id, why=own.why)
            outcome: Outcome = Unreachable(error=Failure.HEADERS, detail=own.why)
        else:
            message = registration.expected_message()
            headers = {**own.given, **self._headers(registration, message, begun, trace)}
            outcome = self.courier.post(registration.callback_url, headers, message.body)
            visit.answered = not isinstance(outcome, Unreachable)
        return outcome, claimed.attempt.with_outcome(outcome, self.clock() - begun)

    def _headers(
        self, registration: Registration, message: Message, now: datetime, trace: str | None
    ) -> Mapping[str, str]:
        owner, origin = registration.owner, origin_of(registration.callback_url)
        signed = self.seal.keyring.headers(message.id, message.body, owner=owner, origin=origin, at=now)
        traceparent = read_traceparent(trace)  # a row is not believed either
        traced = {} if traceparent is None else {"traceparent": traceparent}
        return {**signed, **traced, "Content-Type": registration.format.content_type}

    def _measure(self, registration: Registration, attempt: AttemptRecord, outcome: Outcome) -> None:
        """Take the measures of an attempt, after everything that counts was written."""
        kind = attempt.error if attempt.status is None else f"{attempt.status // 100}xx"
        self.telemetry.measure(Metric.ATTEMPTS, bridge__attempt__outcome=kind)
        if isinstance(outcome, Delivered) and registration.run_began_at is not None:
            self.telemetry.measure(Metric.DELAY, (self.clock() - registration.run_began_at).total_seconds())

    def _record(self, claimed: Claimed, attempt: AttemptRecord, outcome: Outcome) -> None:
        """Write down the attempt, whatever others did meanwhile; gives up only if storage stays silent."""
        tx, now = self.token(), self.clock()
        of_run = attempt.number - claimed.registration.record.run_start + 1
        decision = decide(outcome, attempt_of_run=of_run, now=now, chance=self.chance())

        def first() -> Transaction:
            return delivering.record(claimed.registration, attempt, decision, now, tx=tx)

        def again() -> Transaction | None:
            if self._is_recorded(attempt):
                return None
            return delivering.record_late(self._read(attempt.ref), claimed, attempt, decision, now, tx=tx)

        recorded = (
            self._committed(first, attempt.ref)
            or self._committed(again, attempt.ref)
            or any(self._tried_again(again, attempt, wait) for wait in _RECORD_WAITS)
        )
        _tell(claimed, attempt, decision, recorded=recorded)

    def _tried_again(self, step: Callable[[], Transaction | None], attempt: AttemptRecord, wait: float) -> bool:
        """Wait and try once more, while the lease lasts: after it somebody else attempts."""
        if self.clock() >= attempt.leased_until:
            return False
        self.pause(wait)
        return self._committed(step, attempt.ref)

    def _committed(self, step: Callable[[], Transaction | None], ref: RegistrationRef) -> bool:
        """Try a step after a POST once: what it raises before the POST would be of no use any more."""
        try:
            transaction = step()
            if transaction is not None:
                commit(self.table, transaction)
        except Conflict as conflict:
            if conflict.kind is ConflictKind.MISSING:
                self.repair.restore(ref.operation)
            return False
        except (StorageUnavailable, ForeignRow):
            return False
        return True

    def _is_recorded(self, attempt: AttemptRecord) -> bool:
        """Tell whether a try that seemed to fail has come through."""
        row = self.table.get(attempt.ref.partition, attempt.ref.attempt_key(attempt.number))
        return row is not None and decode(AttemptRecord, attempt.ref, row.values).is_recorded

    def _read(self, ref: RegistrationRef) -> Stored[Registration] | None:
        row = self.table.get(ref.partition, ref.key)
        return None if row is None else stored(Registration, ref, row)


def _tell(claimed: Claimed, attempt: AttemptRecord, decision: Decision, *, recorded: bool) -> None:
    """Write the one line that says what happened to one callback."""
    registration = claimed.registration.record
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
