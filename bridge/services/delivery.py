"""Makes one attempt: claim, POST, record.

    claim      after a crash the lease ends without a record: the attempt counts as lost, and the next one follows
    POST       a crash repeats the delivery, with the same webhook-id and the same bytes
    record     a crash costs nothing

The decision is not made again after a POST: whatever has become of the registration meanwhile, the attempt is recorded,
and a 2xx ends a delivery that is still pending.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

from bridge.domain.attempt import AttemptRecord
from bridge.domain.callback_url import origin_of
from bridge.domain.delivery import DeliveryTask, headers_of
from bridge.domain.errors import BridgeError, UnreadableRow
from bridge.domain.header_cipher import DecryptionFailed, HeaderCipher
from bridge.domain.host_limits import HeldPermit, HostPermit, Work
from bridge.domain.outcome import Delivered, Outcome, Unreachable
from bridge.domain.registration import Registration
from bridge.domain.time import Clock
from bridge.log import Event, log
from bridge.ports import WebhookSender
from bridge.services.attempts import NO_REGISTRATION, AttemptRecorder, Claims
from bridge.services.dispatch import Dispatcher
from bridge.services.host_limiter import HostLimiter
from bridge.storage.keys import due_reference
from bridge.storage.repository import Repository
from bridge.storage.writes.deliver import Claimed
from bridge.telemetry import Metric, Step, Telemetry

#: While fewer tasks than this wait for a host with more deliveries, further messages are sent.
_FEW_WAIT = 50

#: A thread begins no further attempt after this time, so that its function ends long before the host's timeout.
_THREAD_TIME = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliver:
    """The use case."""

    repository: Repository
    dispatcher: Dispatcher
    sender: WebhookSender
    cipher: HeaderCipher
    hosts: HostLimiter
    clock: Clock
    claims: Claims
    recorder: AttemptRecorder
    #: Waits for a number of seconds, between attempts at unproven hosts.
    sleep: Callable[[float], None]
    #: Sends messages for further due deliveries, like a sweep.
    refill: Callable[[], None]
    telemetry: Telemetry

    def deliver(self, task: DeliveryTask) -> None:
        """Follow a task if it is still valid: three calls to the table around one POST.

        The task may wait in memory for another thread. This thread then continues with other waiting tasks, if any.
        Raises StorageUnavailable and Contended only before the POST of `task`, which may then be followed again.
        """
        named = task if task.origin is not None and task.owner is not None else self._named(task)
        if named is None:
            return
        until, failures = self.clock() + _THREAD_TIME, list[BridgeError | None]()
        work: Work | None = self.hosts.acquire(named)
        while work is not None:
            with self.hosts.permit(work, self.dispatcher.send) as held:
                failures.append(self._put_back(work, named))
                if work.pause is not None:
                    self.sleep(max(work.pause.total_seconds(), 0.0))
                permit = self._located(held)
                if permit is not None:
                    failures.append(self._tried(partial(self._attempt, permit), permit.task, named))
                    held.takes_more = failures[-1] is None and self.clock() < until
            work = held.then
        for failure in filter(None, failures):
            raise failure

    def _put_back(self, work: Work, named: DeliveryTask) -> BridgeError | None:
        """Postpone deliveries that get no place soon, and send messages that bring other threads to free places."""
        self.dispatcher.send(*work.resent)
        failures = [self._tried(partial(self.claims.put_back, *each), each[0], named) for each in work.deferred]
        return next(filter(None, failures), None)

    def _tried(self, do: Callable[[], None], task: DeliveryTask, named: DeliveryTask) -> BridgeError | None:
        """Perform an action for a task. Returns the exception if the task is this thread's own and will come again.

        The message of a task that waited in memory is gone. Its due row sends another.
        """
        try:
            do()
        except BridgeError as error:
            if task is named:
                return error
            log(Event.STORAGE, step="deliver", registration=task.ref.public_id, error=str(error))
        return None

    def _named(self, task: DeliveryTask) -> DeliveryTask | None:
        """Read the origin and the owner for a task of a former version."""
        try:
            before = self.repository.registration(task.ref)
        except UnreadableRow as error:
            log(Event.ROW_UNREADABLE, registration=task.ref.public_id, why=str(error))
            return None
        if before is None:
            log(Event.ROW_UNREADABLE, registration=task.ref.public_id, why=NO_REGISTRATION)
            return None
        return replace(task, origin=origin_of(before.record.callback_url), owner=before.record.owner)

    def _located(self, held: HeldPermit) -> HostPermit | None:
        """Count an unproven host by the address that its name leads to; None if no attempt may begin there now."""
        permit = held.permit
        address = self.sender.address_of(permit.origin) if permit is not None and permit.needs_address else None
        if permit is not None and address is not None:
            located = self.hosts.locate(permit, address)
            held.permit, held.then = (None, located) if isinstance(located, Work) else (located, None)
        return held.permit

    def _attempt(self, permit: HostPermit) -> None:
        """Claim, POST, record."""
        task = permit.task
        claimed = self.claims.claim(task)
        if claimed is None:
            return
        registration = claimed.registration.record
        with self.telemetry.span(
            Step.DELIVER,
            task.traceparent or registration.traceparent,
            bridge__operation__id=due_reference(registration.ref.operation),
            bridge__registration__id=registration.ref.public_id,
            bridge__attempt=claimed.attempt.number,
        ) as span:
            outcome, attempt = self._post(claimed, permit, span.traceparent)
            span.attributes["http__response__status_code"], span.error = attempt.status, attempt.error
        self.recorder.record(claimed, attempt, outcome)
        self._measure(registration, attempt, outcome)
        if task.has_more and not isinstance(outcome, Unreachable) and self.hosts.waiting(permit.origin) < _FEW_WAIT:
            self.refill()

    def _post(self, claimed: Claimed, permit: HostPermit, trace: str | None) -> tuple[Outcome, AttemptRecord]:
        """Send the complete message, or none.

        Without the client's own headers, or the query of its URL, a receiver would refuse the message or mistake its
        sender. The attempt fails instead, the schedule continues, and restoring the key solves the problem.
        """
        registration, begun = claimed.registration.record, self.clock()
        own = self.cipher.decrypt(registration)
        if isinstance(own, DecryptionFailed):
            log(Event.UNDECRYPTED, registration=registration.ref.public_id, why=own.why)
            outcome: Outcome = Unreachable(error=own.error, detail=own.why)
            took = timedelta(0)
        else:
            message = registration.expected_message()
            signed = headers_of(registration, message, self.cipher.keyring, at=begun, trace=trace)
            headers = {**own.headers.given, **signed}
            outcome = self.sender.post(own.url, headers, message.body)
            took = self.clock() - begun
            if origin_of(registration.callback_url) == permit.origin:
                self.hosts.note(permit, outcome, took)
        return outcome, claimed.attempt.with_outcome(outcome, took)

    def _measure(self, registration: Registration, attempt: AttemptRecord, outcome: Outcome) -> None:
        """Record the metrics of an attempt, after all writes."""
        kind = attempt.error if attempt.status is None else f"{attempt.status // 100}xx"
        self.telemetry.measure(Metric.ATTEMPTS, bridge__attempt__outcome=kind)
        delay = registration.delay_at(self.clock())
        if isinstance(outcome, Delivered) and delay is not None:
            self.telemetry.measure(Metric.DELAY, delay.total_seconds())
