"""The requests of clients: register, cancel and redeliver a callback.

Each request is one transaction, decided on the rows as read, and decided again after a conflict. Messages are sent
after the commit. If the process dies before that, the due row sends the message.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import TypeVar

from bridge.domain.attempt import KEPT_ATTEMPTS
from bridge.domain.callback_url import HIDDEN, host_and_port, without_query
from bridge.domain.custom_headers import OwnHeaders
from bridge.domain.delivery import pending_task
from bridge.domain.errors import CommitUnknown, Conflict, UnreadableRow
from bridge.domain.events import OperationCompleted
from bridge.domain.header_cipher import DecryptionFailed, HeaderCipher, Secrets
from bridge.domain.ids import OperationRef, RegistrationRef
from bridge.domain.operation import MAX_REGISTRATIONS, Operation
from bridge.domain.registration import Registration, Sharing, State
from bridge.domain.time import Clock
from bridge.domain.upstream import Source
from bridge.log import Event, log
from bridge.services.dispatch import Dispatcher
from bridge.services.owner_quota import WaitingLimit
from bridge.services.repair import Repair
from bridge.storage.aggregate import OperationAggregate
from bridge.storage.keys import after, attempts_prefix, due_reference, partition_of, row_key
from bridge.storage.records import Stored
from bridge.storage.repository import Waits, commit, transact
from bridge.storage.table import Table
from bridge.storage.transaction import Transaction
from bridge.storage.writes import purge, register
from bridge.storage.writes.register import Joined, Replaced
from bridge.telemetry import Step, Telemetry

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Full:
    """There is no place for a new registration, and no registration that can be replaced."""

    limit: int
    #: Whether this is the limit of one owner.
    of_owner: bool


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


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An existing registration may be the same, but its headers or URL cannot be decrypted."""

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
class NoMessage:
    """There is no message yet to deliver again."""


Registered = Created | Existing | Differs | Unreadable | Taken | TooMany | TooManyRuns | TooManyWaiting

_NO_HEADERS = OwnHeaders()

#: Stands for the owner of an unreadable registration. No owner has this name.
_UNKNOWN = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """The use case."""

    table: Table
    dispatcher: Dispatcher
    clock: Clock
    #: Returns a random id, different for each call.
    new_id: Callable[[], str]
    #: Waits between the rounds of a step after conflicts.
    waits: Waits
    sources: Mapping[str, Source]
    #: How long an operation is kept after its end.
    retention: timedelta
    #: Encrypts the queries of callback URLs, and the custom headers of callbacks.
    cipher: HeaderCipher
    #: Returns the random bytes of an encryption's nonce.
    nonce: Callable[[], bytes]
    telemetry: Telemetry
    #: Restores missing due rows.
    repair: Repair
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
            result = self._registered(replace(request, tx=self.new_id(), traceparent=span.traceparent), secrets)
            if isinstance(result, Created | Existing):  # found under an older signing key, its id differs
                span.attributes["bridge__registration__id"] = result.registration.ref.public_id
        if isinstance(result, Created):
            if result.registration.state is State.WAITING:
                self.waiting.note(request.owner)
            public_id, state = result.registration.ref.public_id, result.registration.state.value
            log(Event.REGISTERED, registration=public_id, to=host_and_port(request.callback_url), state=state)
        return result

    def cancel(self, ref: RegistrationRef) -> Accepted | RegistrationNotFound:
        """Cancel a callback: no further attempt begins. An ended registration stays unchanged.

        If owners do not share operations, the registration also gives its operation back.
        """
        tx = self.new_id()
        return self._transact(lambda: self._cancel(ref, tx), ref)

    def redeliver(self, ref: RegistrationRef) -> Accepted | RegistrationNotFound | NoMessage | Taken | TooManyRuns:
        """Begin another run of the same message. Nothing changes if one is pending."""
        tx = self.new_id()
        return self._transact(lambda: self._redeliver(ref, tx), ref)

    def _registered(self, request: Registration, secrets: Secrets) -> Registered:
        if self.waiting.is_reached(request.owner):
            return self._transact(lambda: self._register_known(request, secrets, may_wait=False), request.ref)
        try:
            return self._register_new(request, secrets)
        except (Conflict, CommitUnknown):
            return self._transact(lambda: self._register_known(request, secrets), request.ref)

    def _register_new(self, request: Registration, secrets: Secrets) -> Created:
        encrypted = self.cipher.encrypt(request, secrets, nonce=self.nonce())
        return self._join(register.register_new(encrypted, request.generation))

    def _register_known(self, request: Registration, secrets: Secrets, *, may_wait: bool = True) -> Registered:
        aggregate = self._aggregate(request.ref)
        if aggregate is None:
            return self._register_new(request, secrets) if may_wait else TooManyWaiting(self.waiting.limit or 0)
        before = self._find(aggregate, request, secrets.url)
        if isinstance(before, DecryptionFailed):
            return Unreadable(before)
        return self._register_beside(aggregate, before, request, secrets, may_wait=may_wait)

    def _register_beside(
        self,
        aggregate: OperationAggregate,
        before: Stored[Registration] | None,
        request: Registration,
        secrets: Secrets,
        *,
        may_wait: bool,
    ) -> Registered:
        if before is not None and before.record.tx == request.tx:  # an earlier commit of this call succeeded late
            self._send_open(before.record)
            return Created(before.record, aggregate.operation.record)
        if before is not None and not register.begins_new_generation(before.record):
            return self._compared(before.record, request, secrets.headers, aggregate.operation.record)
        return self._register_further(aggregate, before, request, secrets, may_wait=may_wait)

    def _register_further(
        self,
        aggregate: OperationAggregate,
        before: Stored[Registration] | None,
        request: Registration,
        secrets: Secrets,
        *,
        may_wait: bool,
    ) -> Created | Taken | TooMany | TooManyRuns | TooManyWaiting:
        """Register for a known operation: a new registration, or a new generation of one."""
        if self._is_taken(aggregate, request):
            return Taken()
        place = self._place_for(request, aggregate) if before is None else None
        if isinstance(place, Full):
            return TooMany(place.limit, of_owner=place.of_owner)
        source = self.sources[request.ref.operation.source]
        completed = OperationCompleted.of(aggregate.operation.record, source.path)
        wait = before.record.wait_for_run(self.clock()) if before is not None and completed is not None else None
        if wait is not None:  # a new generation would begin with another run at once
            return TooManyRuns(wait)
        if completed is None and not may_wait:
            return TooManyWaiting(self.waiting.limit or 0)
        renewed = request if before is None else before.record.renewed_by(request)
        encrypted = self.cipher.encrypt(renewed, secrets, nonce=self.nonce())
        replaced = None if place is None else self._replaced(place)
        return self._join(register.register_further(aggregate, encrypted, self.clock(), completed, replaced))

    def _is_taken(self, aggregate: OperationAggregate, registration: Registration) -> bool:
        """Return whether the operation is another owner's.

        Raises UnreadableRow if no readable registration takes the operation, but an unreadable one may.
        """
        if aggregate.taker is None and aggregate.unreadable and self.sharing.is_taken(_UNKNOWN, registration):
            raise UnreadableRow(f"the owner of an operation: {due_reference(registration.ref.operation)}")
        return self.sharing.is_taken(aggregate.taker, registration)

    def _replaced(self, place: Stored[Registration]) -> Replaced:
        """Collect the attempts of a registration that is replaced: one call if there can be any.

        A registration has at most KEPT_ATTEMPTS of them. Further rows of other versions are deleted first.
        """
        ref, attempts = place.record.ref, list[str]()
        if place.record.last_attempt:
            rows = self.table.range(
                partition_of(ref), attempts_prefix(ref), after(attempts_prefix(ref)), columns=["number"]
            )
            attempts = [row.key for row in rows]
        for transaction in purge.forget_attempts(partition_of(ref), attempts[:-KEPT_ATTEMPTS]):
            commit(self.table, transaction)
        return Replaced(place, attempts[-KEPT_ATTEMPTS:])

    def _compared(
        self, known: Registration, request: Registration, headers: OwnHeaders, operation: Operation
    ) -> Existing | Differs | Unreadable:
        if not known.same_request(request):
            return Differs()
        own = self.cipher.decrypt(known)
        if isinstance(own, DecryptionFailed):
            return Unreadable(own)
        return Existing(known, operation) if own.headers.same_as(headers) else Differs()

    def _find(
        self, aggregate: OperationAggregate, request: Registration, url: str
    ) -> Stored[Registration] | DecryptionFailed | None:
        """Find the registration of the same owner and URL.

        With a query the id differs if another signing key was the newest at the time of its registration, so the
        queries of the owner's otherwise equal URLs are compared. One that cannot be decrypted may be the same. If a key
        was missing for a while, there can be two. One that begins no new generation comes first.
        """
        found = aggregate.get(request.ref)
        if HIDDEN not in request.callback_url or (found and not register.begins_new_generation(found.record)):
            return found
        shown, undecrypted = without_query(request.callback_url), None
        for each in aggregate.registrations.values():
            if each.record.owner == request.owner and without_query(each.record.callback_url) == shown:
                known, is_over = self.cipher.url(each.record), register.begins_new_generation(each.record)
                if known == url and not is_over:
                    return each
                if known == url:
                    found = found or each
                elif isinstance(known, DecryptionFailed) and not is_over:
                    undecrypted = known
        return undecrypted or found

    def _join(self, joined: Joined) -> Created:
        commit(self.table, joined.transaction)
        if joined.task is not None:
            self.dispatcher.send(joined.task)
        return Created(joined.registration, joined.operation)

    def _cancel(self, ref: RegistrationRef, tx: str) -> Accepted | RegistrationNotFound:
        aggregate = self._aggregate(ref)
        before = None if aggregate is None else aggregate.get(ref)
        if aggregate is None or before is None:
            return RegistrationNotFound()
        transaction: Transaction
        match before.record.state:
            case State.WAITING:
                transaction = register.cancel_waiting(aggregate, before, self.clock(), tx=tx, retention=self.retention)
            case State.PENDING:
                transaction = register.cancel_pending(before, self.clock(), tx=tx)
            case _:
                if before.record.tx == tx:  # an earlier commit of this call, after a lost reply
                    log(Event.CANCELED, registration=ref.public_id)
                if self.sharing.by_owners or not before.record.takes_operation:
                    return Accepted()
                transaction = register.release(before, tx=tx)
        commit(self.table, transaction)
        log(Event.CANCELED, registration=ref.public_id, was=before.record.state.value)
        return Accepted()

    def _place_for(self, new: Registration, aggregate: OperationAggregate) -> Stored[Registration] | Full | None:
        """Find the registration to replace by a new one, or None if a place is free."""
        sharing = self.sharing
        if aggregate.size_of(new.owner) >= sharing.places_of_owner:
            full = Full(sharing.places_of_owner, of_owner=sharing.places_of_owner < sharing.places)
            return aggregate.oldest_replaceable(lambda each: each.owner == new.owner) or full
        if aggregate.size >= sharing.places:
            full = Full(sharing.places, of_owner=False)
            return aggregate.oldest_replaceable(lambda each: sharing.gives_place(each, new)) or full
        return None

    def _redeliver(  # noqa: PLR0911 - one for each outcome
        self, ref: RegistrationRef, tx: str
    ) -> Accepted | RegistrationNotFound | NoMessage | Taken | TooManyRuns:
        aggregate = self._aggregate(ref)
        before = None if aggregate is None else aggregate.get(ref)
        if aggregate is None or before is None:
            return RegistrationNotFound()
        if before.record.tx == tx:  # an earlier commit of this call succeeded late
            log(Event.REDELIVERY, registration=ref.public_id)
            self._send_open(before.record)
            return Accepted()
        if before.record.state is State.PENDING:
            return Accepted()
        if before.record.message is None:
            return NoMessage()
        takes_again = not (self.sharing.by_owners or before.record.takes_operation)
        if takes_again and self._is_taken(aggregate, before.record):
            return Taken()
        wait = before.record.wait_for_run(self.clock())
        if wait is not None:
            return TooManyRuns(wait)
        taken = aggregate.operation if takes_again else None
        transaction, task = register.redeliver(before, self.clock(), tx=tx, taken=taken)
        commit(self.table, transaction)
        log(Event.REDELIVERY, registration=ref.public_id, was=before.record.state.value)
        self.dispatcher.send(task)
        return Accepted()

    def _send_open(self, registration: Registration) -> None:
        task = pending_task(registration)
        if task is not None:
            self.dispatcher.send(task)

    def _transact(self, step: Callable[[], _T], ref: RegistrationRef) -> _T:
        return transact(step, self.waits, missing=partial(self.repair.restore, ref.operation))

    def _aggregate(self, ref: RegistrationRef) -> OperationAggregate | None:
        """Read an operation with its registrations. A missing due row is restored first."""
        aggregate = self._read(ref.operation)
        return self._read(ref.operation) if aggregate and self.repair.restore_overdue(aggregate) else aggregate

    def _read(self, ref: OperationRef) -> OperationAggregate | None:
        return OperationAggregate.read(ref, self.table.range(partition_of(ref), row_key(ref), after(row_key(ref))))
