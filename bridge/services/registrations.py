"""The requests of clients: register, cancel, redeliver and purge a callback.

Each is one step of the repository: read, decide, commit. A task is sent after the commit. If the process dies before
that, the due row sends it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from bridge.domain.attempt import KEPT_ATTEMPTS
from bridge.domain.callback_url import HIDDEN, host_and_port, without_query
from bridge.domain.custom_headers import OwnHeaders
from bridge.domain.delivery import REDISPATCH, DeliveryTask, is_last_lost
from bridge.domain.errors import UnreadableRow
from bridge.domain.events import OperationCompleted
from bridge.domain.header_cipher import DecryptionFailed, HeaderCipher, Secrets
from bridge.domain.ids import RegistrationRef
from bridge.domain.operation import MAX_REGISTRATIONS, Operation
from bridge.domain.registration import LIVE, Registration, Sharing, State
from bridge.domain.time import Clock
from bridge.domain.upstream import Source
from bridge.log import Event, log
from bridge.services.dispatch import Dispatcher
from bridge.services.owner_quota import WaitingLimit
from bridge.storage.aggregate import OperationAggregate
from bridge.storage.keys import due_reference, partition_of
from bridge.storage.records import Stored
from bridge.storage.repository import Commit, Repository, unchanged
from bridge.storage.table import Transaction
from bridge.storage.writes import deliver, purge, register
from bridge.storage.writes.register import Joined, Removal
from bridge.telemetry import Step, Telemetry

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Created:
    """A new registration, or a new generation of a canceled one."""

    registration: Registration
    operation: Operation


@dataclass(frozen=True, slots=True)
class Existing:
    """The same registration exists."""

    registration: Registration
    operation: Operation


@dataclass(frozen=True, slots=True)
class Differs:
    """A registration with the same owner, operation and URL, but other content, exists."""

    ref: RegistrationRef
    #: The names of the fields in the API with other content.
    fields: Sequence[str]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An existing registration may be the same, but its headers or URL cannot be decrypted."""

    ref: RegistrationRef
    #: The reason and its remedy.
    undecrypted: DecryptionFailed


@dataclass(frozen=True, slots=True)
class TooMany:
    """The operation has as many registrations as possible, or as one owner can have, and none can be replaced."""

    limit: int = MAX_REGISTRATIONS
    #: Whether this is the limit of one owner.
    of_owner: bool = False


@dataclass(frozen=True, slots=True)
class Taken:
    """Owners do not share operations, and another owner has registered for this one."""


@dataclass(frozen=True, slots=True)
class TooManyRuns:
    """The registration has no further run left in this hour."""

    #: The wait until the next run is allowed.
    wait: timedelta


@dataclass(frozen=True, slots=True)
class TooManyWaiting:
    """The owner has as many waiting registrations as allowed."""

    limit: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """Done, now or before."""


@dataclass(frozen=True, slots=True)
class RegistrationNotFound:
    """There is no such registration."""


@dataclass(frozen=True, slots=True)
class NotEnded:
    """The registration is waiting or pending."""


@dataclass(frozen=True, slots=True)
class NoMessage:
    """There is no message yet to deliver again."""


Registered = Created | Existing | Differs | Unreadable | Taken | TooMany | TooManyRuns | TooManyWaiting

Canceled = Accepted | RegistrationNotFound

Purged = Accepted | RegistrationNotFound | NotEnded

Redelivered = Accepted | RegistrationNotFound | NoMessage | Taken | TooManyRuns

_NO_HEADERS = OwnHeaders()

#: Stands for the owner of an unreadable registration. No owner has this name.
_UNKNOWN = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """The use case."""

    repository: Repository
    dispatcher: Dispatcher
    clock: Clock
    sources: Mapping[str, Source]
    #: How long an operation is kept after its end.
    retention: timedelta
    #: Encrypts the queries of callback URLs, and the custom headers of callbacks.
    cipher: HeaderCipher
    #: Returns the random bytes of an encryption's nonce.
    nonce: Callable[[], bytes]
    telemetry: Telemetry
    #: Decides whether an owner may register more.
    waiting: WaitingLimit
    #: How owners share an operation.
    sharing: Sharing = field(default_factory=Sharing)

    def register(self, request: Registration, headers: OwnHeaders = _NO_HEADERS) -> Registered:
        """Let `request` wait for its operation, or deliver at once if the operation has ended.

        One call for a new operation, three for a known one, and one more to delete attempts of a replaced registration.
        Raises Contended and StorageUnavailable. After either the registration may exist, and registering again finds
        it.
        """
        secrets, request = Secrets(request.callback_url, headers), self.cipher.tagged(request)
        with self.telemetry.span(
            Step.REGISTER,
            request.traceparent,
            bridge__operation__id=due_reference(request.ref.operation),
            bridge__registration__id=request.ref.public_id,
        ) as span:
            result = self._registered(replace(request, traceparent=span.traceparent), secrets)
            if isinstance(result, Created | Existing):  # found under an older signing key, its id differs
                span.attributes["bridge__registration__id"] = result.registration.ref.public_id
        if isinstance(result, Created):
            if result.registration.state is State.WAITING:
                self.waiting.note(request.owner)
            public_id, state = result.registration.ref.public_id, result.registration.state.value
            log(Event.REGISTERED, registration=public_id, to=host_and_port(request.callback_url), state=state)
        return result

    def cancel(self, ref: RegistrationRef) -> Canceled:
        """Cancel a callback: no further attempt begins. An ended registration stays unchanged.

        If owners do not share operations, the registration also gives its operation back.
        """
        return self._transact(ref, partial(self._cancel, ref))

    def purge(self, ref: RegistrationRef) -> Purged:
        """Delete an ended registration with its message and its attempts, now instead of after the retention.

        The last registration of an operation takes the operation along. If owners do not share operations, the
        operation is given back, like by a cancellation.
        """
        seen: list[Registration] = []
        return self._transact(ref, partial(self._purge, ref, seen))

    def redeliver(self, ref: RegistrationRef) -> Redelivered:
        """Begin another run of the same message, or make the next attempt of a pending run now.

        Nothing changes while an attempt is in flight, and after an earlier order that no attempt has followed yet.
        """
        return self._transact(ref, partial(self._redeliver, ref))

    def _transact(
        self,
        ref: RegistrationRef,
        decide: Callable[[OperationAggregate | None, str], Commit[_T]],
        first: Callable[[str], Commit[_T]] | None = None,
    ) -> _T:
        read = partial(self.repository.aggregate, ref.operation, restore_overdue=True)
        return self.repository.transact(read, decide, first=first, restores=ref.operation)

    def _registered(self, request: Registration, secrets: Secrets) -> Registered:
        if self.waiting.is_reached(request.owner):
            return self._transact(request.ref, partial(self._register, request, secrets, may_wait=False))
        decide = partial(self._register, request, secrets, may_wait=True)
        return self._transact(request.ref, decide, first=partial(self._register_new, request, secrets))

    def _register_new(self, request: Registration, secrets: Secrets, tx: str) -> Commit[Registered]:
        encrypted = self.cipher.encrypt(replace(request, tx=tx), secrets, nonce=self.nonce())
        return self._join(register.register_new(encrypted, request.generation))

    def _register(
        self,
        request: Registration,
        secrets: Secrets,
        aggregate: OperationAggregate | None,
        tx: str,
        *,
        may_wait: bool,
    ) -> Commit[Registered]:
        if aggregate is None:
            too_many = TooManyWaiting(self.waiting.limit or 0)
            return self._register_new(request, secrets, tx) if may_wait else unchanged(too_many)
        before = self._find(aggregate, request, secrets.url)
        if isinstance(before, Unreadable):
            return unchanged(before)
        if before is not None and not register.begins_new_generation(before.record):
            return unchanged(self._compared(before.record, request, secrets.headers, aggregate.operation.record))
        return self._register_further(aggregate, before, replace(request, tx=tx), secrets, may_wait=may_wait)

    def _register_further(
        self,
        aggregate: OperationAggregate,
        before: Stored[Registration] | None,
        request: Registration,
        secrets: Secrets,
        *,
        may_wait: bool,
    ) -> Commit[Registered]:
        """Register for a known operation: a new registration, or a new generation of one."""
        if self._is_taken(aggregate, request):
            return unchanged(Taken())
        place = self._place_for(request, aggregate) if before is None else None
        if isinstance(place, TooMany):
            return unchanged(place)
        source = self.sources[request.ref.operation.source]
        completed = OperationCompleted.of(aggregate.operation.record, source.path)
        wait = before.record.wait_for_run(self.clock()) if before is not None and completed is not None else None
        if wait is not None:  # a new generation would begin with another run at once
            return unchanged(TooManyRuns(wait))
        if completed is None and not may_wait:
            return unchanged(TooManyWaiting(self.waiting.limit or 0))
        renewed = request if before is None else before.record.renewed_by(request)
        encrypted = self.cipher.encrypt(renewed, secrets, nonce=self.nonce())
        replaced = None if place is None else self._removal(place)
        return self._join(register.register_further(aggregate, encrypted, self.clock(), completed, replaced))

    def _is_taken(self, aggregate: OperationAggregate, registration: Registration) -> bool:
        """Return whether the operation is another owner's.

        Raises UnreadableRow if no readable registration takes the operation, but an unreadable one may.
        """
        if aggregate.taker is None and aggregate.unreadable and self.sharing.is_taken(_UNKNOWN, registration):
            raise UnreadableRow(f"the owner of an operation: {due_reference(registration.ref.operation)}")
        return self.sharing.is_taken(aggregate.taker, registration)

    def _removal(self, removed: Stored[Registration]) -> Removal:
        """Collect the attempts of a registration that is removed: one call if there can be any.

        A registration has at most KEPT_ATTEMPTS of them. Further rows of other versions are deleted first.
        """
        ref = removed.record.ref
        attempts = self.repository.attempt_keys(ref) if removed.record.last_attempt else []
        for transaction in purge.forget_attempts(partition_of(ref), attempts[:-KEPT_ATTEMPTS]):
            self.repository.commit(transaction)
        return Removal(removed, attempts[-KEPT_ATTEMPTS:])

    def _compared(
        self, known: Registration, request: Registration, headers: OwnHeaders, operation: Operation
    ) -> Existing | Differs | Unreadable:
        different = known.differences(request)
        own = self.cipher.decrypt(known)
        if isinstance(own, DecryptionFailed):
            return Differs(known.ref, different) if different else Unreadable(known.ref, own)
        if not own.headers.same_as(headers):
            different = [*different, "headers"]
        return Differs(known.ref, different) if different else Existing(known, operation)

    def _find(
        self, aggregate: OperationAggregate, request: Registration, url: str
    ) -> Stored[Registration] | Unreadable | None:
        """Find the registration of the same owner and URL.

        With a query the id differs if another signing key was the newest at the time of its registration, so the
        queries of the owner's otherwise equal URLs are compared. One that cannot be decrypted may be the same. If a key
        was missing for a while, there can be two. One that begins no new generation comes first.
        """
        found = aggregate.get(request.ref)
        if HIDDEN not in request.callback_url or (found and not register.begins_new_generation(found.record)):
            return found
        shown, unreadable = without_query(request.callback_url), None
        for each in aggregate.registrations.values():
            if each.record.owner == request.owner and without_query(each.record.callback_url) == shown:
                known, is_over = self.cipher.url(each.record), register.begins_new_generation(each.record)
                if known == url and not is_over:
                    return each
                if known == url:
                    found = found or each
                elif isinstance(known, DecryptionFailed) and not is_over:
                    unreadable = Unreadable(each.record.ref, known)
        return unreadable or found

    def _join(self, joined: Joined) -> Commit[Registered]:
        def then(_: str) -> Created:
            if joined.task is not None:
                self.dispatcher.send(joined.task)
            return Created(joined.registration, joined.operation)

        return Commit((joined.transaction,), then)

    def _cancel(self, ref: RegistrationRef, aggregate: OperationAggregate | None, tx: str) -> Commit[Canceled]:
        before = None if aggregate is None else aggregate.get(ref)
        if aggregate is None or before is None:
            return unchanged(RegistrationNotFound())
        match before.record.state:
            case State.WAITING:
                transaction = register.cancel_waiting(aggregate, before, self.clock(), tx=tx, retention=self.retention)
            case State.PENDING:
                transaction = register.cancel_pending(before, self.clock(), tx=tx)
            case _ if self.sharing.by_owners or not before.record.takes_operation:
                return unchanged(Accepted())
            case _:
                transaction = register.release(before, tx=tx)
        was = before.record.state.value
        return self._accept(transaction, lambda: log(Event.CANCELED, registration=ref.public_id, was=was))

    def _purge(
        self, ref: RegistrationRef, seen: list[Registration], aggregate: OperationAggregate | None, tx: str
    ) -> Commit[Purged]:
        """Decide the step. `seen` has the registration as an earlier round of the same call found it."""
        before = None if aggregate is None else aggregate.get(ref)
        if aggregate is None or before is None:
            return Commit((), lambda _: self._log_purged(seen[-1])) if seen else unchanged(RegistrationNotFound())
        if before.record.state in LIVE:
            return unchanged(NotEnded())
        transaction = purge.forget_one(aggregate, self._removal(before), tx=tx)
        seen.append(before.record)
        return Commit((transaction,), lambda _: self._log_purged(before.record))

    @staticmethod
    def _log_purged(gone: Registration) -> Accepted:
        log(Event.REGISTRATION_PURGED, registration=gone.ref.public_id, was=gone.state.value)
        return Accepted()

    def _accept(
        self, transaction: Transaction, write_line: Callable[[], None], *tasks: DeliveryTask
    ) -> Commit[Accepted]:
        def then(_: str) -> Accepted:
            write_line()
            self.dispatcher.send(*tasks)
            return Accepted()

        return Commit((transaction,), then)

    def _place_for(self, new: Registration, aggregate: OperationAggregate) -> Stored[Registration] | TooMany | None:
        """Find the registration to replace by a new one, or None if a place is free."""
        sharing = self.sharing
        if aggregate.size_of(new.owner) >= sharing.places_of_owner:
            full = TooMany(sharing.places_of_owner, of_owner=sharing.places_of_owner < sharing.places)
            return aggregate.oldest_replaceable(lambda each: each.owner == new.owner) or full
        if aggregate.size >= sharing.places:
            full = TooMany(sharing.places, of_owner=False)
            return aggregate.oldest_replaceable(lambda each: sharing.gives_place(each, new)) or full
        return None

    def _redeliver(self, ref: RegistrationRef, aggregate: OperationAggregate | None, tx: str) -> Commit[Redelivered]:
        before = None if aggregate is None else aggregate.get(ref)
        if aggregate is None or before is None:
            return unchanged(RegistrationNotFound())
        if before.record.state is State.PENDING:
            return self._retry_now(before, tx)
        if before.record.message is None:
            return unchanged(NoMessage())
        takes_again = not (self.sharing.by_owners or before.record.takes_operation)
        if takes_again and self._is_taken(aggregate, before.record):
            return unchanged(Taken())
        wait = before.record.wait_for_run(self.clock())
        if wait is not None:
            return unchanged(TooManyRuns(wait))
        taken = aggregate.operation if takes_again else None
        transaction, task = register.redeliver(before, self.clock(), tx=tx, taken=taken)
        was = before.record.state.value
        return self._accept(transaction, lambda: log(Event.REDELIVERY, registration=ref.public_id, was=was), task)

    def _retry_now(self, before: Stored[Registration], tx: str) -> Commit[Redelivered]:
        now, record = self.clock(), before.record
        if record.is_in_flight(now) or is_last_lost(record) or _is_ordered(record, now):
            return unchanged(Accepted())
        wait = record.wait_for_run(now)
        if wait is not None:
            return unchanged(TooManyRuns(wait))
        transaction, task = deliver.retry_now(before, now, tx=tx)
        public_id, was = record.ref.public_id, record.state.value
        return self._accept(transaction, lambda: log(Event.REDELIVERY, registration=public_id, was=was), task)


def _is_ordered(registration: Registration, now: datetime) -> bool:
    """Return whether a client has just ordered the next attempt, so that its message is on its way."""
    at = registration.next_attempt_at
    return registration.is_forced and at is not None and abs(now - at) < REDISPATCH.first
