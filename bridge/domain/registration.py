"""A registration: one callback URL waiting for one operation, its states, and how owners share an operation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from bridge.domain.events import Addressee, Format, Message, OperationCompleted, compose
from bridge.domain.ids import RegistrationRef
from bridge.domain.operation import MAX_REGISTRATIONS, FinalStatus, Operation
from bridge.domain.outcome import LastAttempt
from bridge.domain.rate_limit import check_times, take
from bridge.domain.retry import DeadReason
from bridge.domain.text import same_json
from bridge.domain.time import from_millis


class State(StrEnum):
    """The state of a registration."""

    WAITING = "waiting"  #: the operation has not ended
    PENDING = "pending"  #: the message is being delivered
    DELIVERED = "delivered"  #: a receiver answered 2xx
    DEAD = "dead"  #: a run ended without a 2xx
    CANCELED = "canceled"  #: the client canceled
    SKIPPED = "skipped"  #: the final status is not among the requested events


class Transition(StrEnum):
    """A change of state."""

    NOTIFY = "notify"
    FILTER = "filter"
    DELIVER = "deliver"
    GIVE_UP = "give up"
    CANCEL = "cancel"
    REDELIVER = "redeliver"
    REACTIVATE = "reactivate"


#: The state machine: every transition and its target state. ARCHITECTURE.md has the diagram.
TRANSITIONS: Mapping[tuple[State, Transition], State] = MappingProxyType(
    {
        (State.WAITING, Transition.NOTIFY): State.PENDING,
        (State.WAITING, Transition.FILTER): State.SKIPPED,
        (State.WAITING, Transition.CANCEL): State.CANCELED,
        (State.PENDING, Transition.DELIVER): State.DELIVERED,
        (State.PENDING, Transition.GIVE_UP): State.DEAD,
        (State.PENDING, Transition.CANCEL): State.CANCELED,
        (State.DELIVERED, Transition.REDELIVER): State.PENDING,
        (State.DEAD, Transition.REDELIVER): State.PENDING,
        (State.CANCELED, Transition.REDELIVER): State.PENDING,
        (State.CANCELED, Transition.REACTIVATE): State.WAITING,
        (State.PENDING, Transition.REACTIVATE): State.WAITING,
        (State.DELIVERED, Transition.REACTIVATE): State.WAITING,
        (State.DEAD, Transition.REACTIVATE): State.WAITING,
        (State.SKIPPED, Transition.REACTIVATE): State.WAITING,
    }
)

#: States with work left for the bridge.
LIVE = frozenset({State.WAITING, State.PENDING})

#: States in which a registration can be deleted in favour of a new one. A released registration can be in any state.
REPLACEABLE = frozenset({State.CANCELED, State.SKIPPED})


#: The most runs and retries that clients can start for a registration per hour, beside the first run. Each is at least
#: one POST, to a server of the client's choice.
RUNS_AN_HOUR = 10


class DeferredBy(StrEnum):
    """Why an attempt waits longer than scheduled."""

    CONCURRENCY = "concurrency"  #: the host or the owner already has the most attempts in flight
    CIRCUIT_OPEN = "circuitOpen"  #: its host does not answer


class InvalidTransition(Exception):
    """The state of a registration does not allow a step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """One row, with a `#:` for each column. Times are aware UTC."""

    ref: RegistrationRef
    #: The registering client. One fixed name in key mode.
    owner: str
    #: The callback URL, normalised. `…` and a tag replace a query, which is in `query`. Requests of clients, and rows
    #: of former versions, have the whole URL.
    callback_url: str
    #: The final statuses of which the client wants to be notified.
    events: tuple[FinalStatus, ...]
    #: The client's own JSON object, as compact ASCII JSON text.
    metadata: str | None = None
    #: The client's label of operations that take about equally long.
    group: str | None = None
    #: The format of the message.
    format: Format = Format.STANDARD
    #: The client's own headers for its callbacks, encrypted for this generation by `bridge/domain/header_cipher.py`.
    headers: str | None = None
    #: The query of the callback URL, encrypted for this generation; absent if the URL has none.
    query: str | None = None
    #: Whether an admin registered. Such a registration never takes the operation, and may join a taken one.
    by_admin: bool = False
    #: Whether the registration was canceled after its end, and so gave the operation back.
    released: bool = False
    #: The number of polls of the operation before this registration.
    polls_before: int = 0
    #: The number of polls while this registration waited, and the time of the last one. Set when the wait ends.
    polls: int = 0
    last_polled_at: datetime | None = None
    #: When the bridge saw the end of which this registration was notified, or which its filter left out.
    finished_at: datetime | None = None
    #: The valid `traceparent` of the registering request, if any.
    traceparent: str | None = None
    state: State = State.WAITING
    #: When the registration entered its state. Part of the index row's key.
    since: datetime
    #: When this generation began. Tasks and claims of another generation are void.
    generation: datetime
    #: Why the registration is dead.
    reason: DeadReason | None = None
    #: How the operation ended, once the registration was notified or skipped.
    final_status: FinalStatus | None = None
    message_id: str | None = None
    message_type: str | None = None
    #: The exact bytes that every attempt sends.
    message_body: bytes | None = None
    #: The number of the last claimed attempt, over all generations. 0 before the first.
    last_attempt: int = 0
    #: The number of the first attempt of the current run.
    run_start: int = 1
    #: When the current run began: for the first run, when the bridge saw the end of the operation.
    run_began_at: datetime | None = None
    #: From when the delay of a job's delivery counts: the end of the job, or the registration if that is later. None
    #: for an operation and for a redelivery, whose delay counts from the start of the run.
    delay_from: datetime | None = None
    #: The last attempt of the current run whose outcome is known. None before the first record of the run.
    last_recorded: LastAttempt | None = None
    #: The start times of the last runs after an attempt, and of the last retries that clients ordered, in milliseconds
    #: since 1970. At most RUNS_AN_HOUR per hour.
    runs: tuple[int, ...] = ()
    #: When the next attempt may be made.
    next_attempt_at: datetime | None = None
    #: Why the next attempt waits longer than scheduled. None without a deferral.
    deferred_by: DeferredBy | None = None
    #: The number of the attempt that a client ordered at once, so that an open circuit does not stop it. 0 without an
    #: order. The claim of that attempt ends the order, also if an earlier version claims.
    forced_attempt: int = 0
    #: The id of the attempt that holds the lease, if any.
    claim: str | None = None
    #: The end of the lease.
    leased_until: datetime | None = None
    #: The key of the due row while the registration is pending.
    due: str | None = None
    delivered_at: datetime | None = None
    #: The id of the transaction that last wrote the row.
    tx: str = ""

    @property
    def is_of_its_key(self) -> bool:
        """Whether the key is the hash of owner and URL. In a row that was changed by hand the hash differs."""
        return self.ref == RegistrationRef.of(self.ref.operation, owner=self.owner, callback_url=self.callback_url)

    def __post_init__(self) -> None:
        """Refuse implausible times. Raises ValueError."""
        check_times(self.runs)

    @property
    def takes_operation(self) -> bool:
        """Whether the registration takes the operation for its owner: not for admins, and not after a cancellation."""
        return not (self.by_admin or self.released or self.state is State.CANCELED)

    @property
    def is_replaceable(self) -> bool:
        """Whether the registration may be deleted for a new one of its operation, if no other place is free."""
        return self.released or self.state in REPLACEABLE

    @property
    def is_forced(self) -> bool:
        """Whether a client has ordered the next attempt at once."""
        return self.forced_attempt == self.last_attempt + 1

    def is_in_flight(self, now: datetime) -> bool:
        """Return whether an attempt holds the lease."""
        return self.leased_until is not None and self.leased_until > now

    @property
    def message(self) -> Message | None:
        """The message of the callbacks, or None before the notification."""
        if self.message_id is None or self.message_type is None or self.message_body is None:
            return None
        return Message(id=self.message_id, type=self.message_type, body=self.message_body)

    def expected_message(self) -> Message:
        """Return the message of a registration that is being delivered.

        Raises InvalidTransition if there is no message.
        """
        message = self.message
        if message is None:
            raise InvalidTransition("a delivery without a message")
        return message

    def moved(self, transition: Transition, now: datetime) -> "Registration":
        """Apply `transition`.

        Raises InvalidTransition if the current state does not allow it.
        """
        return replace(self, state=self._after(transition), since=now)

    def _after(self, transition: Transition) -> State:
        target = TRANSITIONS.get((self.state, transition))
        if target is None:
            raise InvalidTransition(f"{transition} on a registration that is {self.state}")
        return target

    def notified(self, completed: OperationCompleted, now: datetime, *, due: str) -> "Registration":
        """Store the message about the end of the operation. The first run begins at once."""
        message = compose(
            completed,
            Addressee(ref=self.ref, owner=self.owner, callback_url=self.callback_url),
            metadata=self.metadata,
            generation=self.generation,
            format=self.format,
        )
        waiting = replace(
            self._with_outcome(completed),
            message_id=message.id,
            message_type=message.type,
            message_body=message.body,
        )
        begun = _run_begun(waiting.moved(Transition.NOTIFY, now), now, due)
        ended_at = completed.ended_at
        return begun if ended_at is None else replace(begun, delay_from=max(ended_at, self.generation))

    def filtered(self, completed: OperationCompleted, now: datetime) -> "Registration":
        """Store an end that is not among the requested events. No message is composed."""
        return self._with_outcome(completed).moved(Transition.FILTER, now)

    def _with_outcome(self, completed: OperationCompleted) -> "Registration":
        """Copy the outcome. The operation's own row may be followed later for another registration."""
        stopped = self._stopped_waiting(completed.polls, completed.observed_at)
        return replace(stopped, final_status=completed.final_status, finished_at=completed.observed_at)

    def _stopped_waiting(self, polls: int, last_polled_at: datetime | None) -> "Registration":
        own = max(0, polls - self.polls_before)
        return replace(self, polls=own, last_polled_at=last_polled_at if own else None)

    def retried(self, at: datetime, now: datetime, *, due: str, is_forced: bool) -> "Registration":
        """Let the next attempt of the run be due at `at`, for a client's order at `now`. The order counts like a run.

        The claim of a lost attempt becomes void, so that a late record does not move the next attempt back.
        """
        counted = self._runs_with(now)
        return replace(
            _idle(self, next_attempt_at=at, due=due),
            forced_attempt=self.last_attempt + 1 if is_forced else 0,
            runs=self.runs if isinstance(counted, timedelta) else counted,
        )

    def rerun(self, now: datetime, *, due: str) -> "Registration":
        """Begin another run of the same message. A claim of an earlier run becomes void."""
        again = replace(self.moved(Transition.REDELIVER, now), delivered_at=None, reason=None, released=False)
        return _run_begun(again, now, due)

    def has_run_since(self, then: datetime) -> bool:
        """Return whether a client has started a run or a retry at `then` or later."""
        return bool(self.runs) and from_millis(self.runs[-1]) >= then

    def wait_for_run(self, now: datetime) -> timedelta | None:
        """Return how long a client must wait before another run or retry, or None if one is allowed now."""
        taken = self._runs_with(now)
        return taken if isinstance(taken, timedelta) else None

    def _runs_with(self, now: datetime) -> tuple[int, ...] | timedelta:
        return take(self.runs, now, most=RUNS_AN_HOUR, within=timedelta(hours=1))

    def counted_run(self, now: datetime) -> tuple[int, ...]:
        """Count a run that begins at `now`. A run before any attempt has sent nothing yet, and does not count."""
        taken = self._runs_with(now)
        return self.runs if self.last_attempt == 0 or isinstance(taken, timedelta) else taken

    def canceled(self, now: datetime) -> "Registration":
        """Cancel for the client. An attempt in flight loses the claim, and records only its own row."""
        return _idle(self.moved(Transition.CANCEL, now), next_attempt_at=None)

    def canceled_waiting(self, now: datetime, operation: Operation) -> "Registration":
        """Cancel before the operation has ended."""
        return self._stopped_waiting(operation.polls, operation.last_polled_at).canceled(now)

    def ended(self, transition: Transition, now: datetime, *, reason: DeadReason | None = None) -> "Registration":
        """End the run: delivered or dead."""
        return replace(
            self,
            state=self._after(transition),
            since=now,
            reason=reason,
            delivered_at=now if transition is Transition.DELIVER else None,
            deferred_by=None,
            claim=None,
            leased_until=None,
            next_attempt_at=None,
            due=None,
        )

    def delay_at(self, now: datetime) -> timedelta | None:
        """Return the delay of a delivery at `now`, never negative. None for rows of former versions."""
        begin = self.delay_from or self.run_began_at
        return None if begin is None else max(now - begin, timedelta(0))

    def postponed(self, at: datetime, *, due: str) -> "Registration":
        """End the attempt and schedule the next one of the run."""
        return _idle(self, next_attempt_at=at, due=due)

    def claimed(self, claim: str, *, until: datetime, due: str) -> "Registration":
        """Grant the exclusive right to make the next attempt."""
        return replace(
            self,
            last_attempt=self.last_attempt + 1,
            deferred_by=None,
            claim=claim,
            leased_until=until,
            next_attempt_at=until,  # the next attempt, if this one is lost
            due=due,
        )

    def next_generation(self, at: datetime) -> datetime:
        """Return when a new generation requested at `at` begins: always after the former one, on any clock."""
        return max(at, self.generation + timedelta(milliseconds=1))

    def renewed_by(self, request: "Registration") -> "Registration":
        """Give a client's request the identity of this registration and the start of the new generation."""
        return replace(
            request, ref=self.ref, callback_url=self.callback_url, generation=self.next_generation(request.generation)
        )

    def reactivated(self, renewed: "Registration") -> "Registration":
        """Begin a new generation with the client's current request. Earlier attempts keep their numbers."""
        return replace(
            renewed,
            state=self._after(Transition.REACTIVATE),
            generation=self.next_generation(renewed.generation),
            last_attempt=self.last_attempt,
            run_start=self.last_attempt + 1,
            runs=self.runs,
        )

    def differences(self, other: "Registration") -> Sequence[str]:
        """Return the names of the requested values that differ. Headers are compared in the clear elsewhere."""
        compared = {
            "events": set(self.events) == set(other.events),
            "metadata": same_json(self.metadata, other.metadata),
            "group": self.group == other.group,
            "format": self.format is other.format,
        }
        return [name for name, is_same in compared.items() if not is_same]


def _run_begun(registration: Registration, now: datetime, due: str) -> Registration:
    fresh = _idle(registration, next_attempt_at=now, due=due)
    return replace(
        fresh,
        run_start=fresh.last_attempt + 1,
        last_recorded=None,
        run_began_at=now,
        delay_from=None,
        runs=fresh.counted_run(now),
    )


def _idle(registration: Registration, *, next_attempt_at: datetime | None, due: str | None = None) -> Registration:
    """Clear the claim, the lease, and an order that no attempt has followed."""
    return replace(
        registration,
        deferred_by=None,
        forced_attempt=0,
        claim=None,
        leased_until=None,
        next_attempt_at=next_attempt_at,
        due=due,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """How owners share an operation: which owners may register, and how many registrations each may have.

    The defaults are the rules of a bridge without separate owners.
    """

    #: Whether several owners may register for one operation, and so get its outcome.
    by_owners: bool = True
    #: The most registrations of an operation.
    places: int = MAX_REGISTRATIONS
    #: The most registrations of one owner for an operation.
    places_of_owner: int = MAX_REGISTRATIONS

    def is_taken(self, taker: str | None, registration: Registration) -> bool:
        """Return whether the operation of owner `taker` is closed to a registration. Admins may always register."""
        return not (self.by_owners or registration.by_admin or taker in (None, registration.owner))

    def gives_place(self, old: Registration, new: Registration) -> bool:
        """Return whether `old` may be deleted for `new`. Never if the owner of `old` would lose the operation."""
        return self.by_owners or old.owner == new.owner or not old.takes_operation
