"""A registration: one callback URL waiting for one operation, its states, and how owners share an operation."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from bridge.domain.events import Addressee, Format, Message, OperationCompleted, compose
from bridge.domain.ids import RegistrationRef
from bridge.domain.operation import MAX_REGISTRATIONS, FinalStatus, Operation
from bridge.domain.sliding_window import check_times, take
from bridge.domain.text import same_json


class State(StrEnum):
    """Where a registration stands."""

    WAITING = "waiting"  #: for the operation
    PENDING = "pending"  #: its message is being delivered
    DELIVERED = "delivered"  #: a receiver answered 2xx
    DEAD = "dead"  #: a run ended without a 2xx
    CANCELED = "canceled"  #: by its client
    SKIPPED = "skipped"  #: the event is not among those it asked for


class Transition(StrEnum):
    """What can happen to a registration."""

    NOTIFY = "notify"
    FILTER = "filter"
    DELIVER = "deliver"
    GIVE_UP = "give up"
    CANCEL = "cancel"
    REDELIVER = "redeliver"
    REACTIVATE = "reactivate"


#: The state machine: every transition and the state that it leads to. ARCHITECTURE.md draws it.
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

#: States in which the bridge still has something to do.
LIVE = frozenset({State.WAITING, State.PENDING})

#: States in which a registration gives its place to a new one. A released one does so in any state.
REPLACEABLE = frozenset({State.CANCELED, State.SKIPPED})


#: Runs that a client can have begun for a registration in any hour, beside the first one: each is a POST at least, to
#: whatever server the client named.
RUNS_AN_HOUR = 10


class InvalidTransition(Exception):
    """A step was built on a registration whose state does not allow it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """One row; see the `#:` of each column. Times are aware UTC."""

    ref: RegistrationRef
    #: Whose it is; one fixed name where a function key is the whole trust.
    owner: str
    #: Where the callback goes, normalised. `…` and a tag stand for a query, which is in `query`. In what a client asks
    #: for, and in rows of former versions, it is the whole URL.
    callback_url: str
    #: The final statuses that it wants to hear of.
    events: tuple[FinalStatus, ...]
    #: The client's own JSON object, as compact ASCII JSON text.
    metadata: str | None = None
    #: What the client knows of the operation's length beforehand, as a label.
    group: str | None = None
    #: How the message is written.
    format: Format = Format.STANDARD
    #: The client's own headers for its callbacks, encrypted for this generation by `bridge/domain/header_cipher.py`.
    headers: str | None = None
    #: The query of the callback URL, encrypted for this generation; absent if the URL has none.
    query: str | None = None
    #: Whether an admin registered it. It takes the operation for no owner, and an operation that is taken lets it in.
    by_admin: bool = False
    #: Whether it was canceled after its end, and so gave the operation back.
    released: bool = False
    #: How often the operation had been polled when this registration began to wait.
    polls_before: int = 0
    #: How often the operation was polled while this registration waited, and when last; set when it stops waiting.
    polls: int = 0
    last_polled_at: datetime | None = None
    #: When the bridge saw the end of which this registration was notified, or which its filter left out.
    finished_at: datetime | None = None
    #: The `traceparent` of the request that registered it, where that had a right one.
    traceparent: str | None = None
    state: State = State.WAITING
    #: When it came into its state; its index row has this in its key.
    since: datetime
    #: When it was created, or created again. Tells one generation from the next, so that nothing of a former one
    #: counts.
    generation: datetime
    #: Why it is dead: `gone` or `exhausted`.
    reason: str | None = None
    #: How its operation ended, once the registration was notified or skipped.
    final_status: FinalStatus | None = None
    message_id: str | None = None
    message_type: str | None = None
    #: The exact bytes that every attempt sends.
    message_body: bytes | None = None
    #: The number of the last attempt that was claimed, over all generations; 0 before the first.
    last_attempt: int = 0
    #: The number of the first attempt of the present run.
    run_start: int = 1
    #: When the present run began: for the first one, when the bridge saw the end of the operation.
    run_began_at: datetime | None = None
    #: When the last runs after an attempt began, in milliseconds since 1970: an hour takes RUNS_AN_HOUR of them.
    runs: tuple[int, ...] = ()
    #: When the next attempt may be made.
    next_attempt_at: datetime | None = None
    #: Why the next attempt waits longer than the schedule says: `concurrency` or `circuitOpen`; None if it does not.
    deferred_by: str | None = None
    #: Names the attempt that holds the lease; absent when none does.
    claim: str | None = None
    #: The end of that attempt's exclusive right.
    leased_until: datetime | None = None
    #: The key of its due row, while it is pending.
    due: str | None = None
    delivered_at: datetime | None = None
    #: Stamped by the transaction that wrote the row last.
    tx: str = ""

    @property
    def is_of_its_key(self) -> bool:
        """Whether its key is the hash of its owner and URL. In a row that was changed by hand, it is not."""
        return self.ref == RegistrationRef.of(self.ref.operation, owner=self.owner, callback_url=self.callback_url)

    def __post_init__(self) -> None:
        """Refuse times that no clock has told; raises ValueError."""
        check_times(self.runs)

    @property
    def takes_operation(self) -> bool:
        """Whether the operation is its owner's, if owners do not share operations: until it is canceled."""
        return not (self.by_admin or self.released or self.state is State.CANCELED)

    @property
    def is_replaceable(self) -> bool:
        """Whether it gives its place to a new registration of its operation, if no other place is free."""
        return self.released or self.state in REPLACEABLE

    @property
    def message(self) -> Message | None:
        """What its callbacks say; None until there is something to say."""
        if self.message_id is None or self.message_type is None or self.message_body is None:
            return None
        return Message(id=self.message_id, type=self.message_type, body=self.message_body)

    def expected_message(self) -> Message:
        """Take the message of a registration that is being delivered.

        Raises InvalidTransition where there is none.
        """
        message = self.message
        if message is None:
            raise InvalidTransition("a delivery without a message")
        return message

    def moved(self, transition: Transition, now: datetime) -> "Registration":
        """Go where `transition` leads.

        Raises InvalidTransition where the table has no such transition.
        """
        return replace(self, state=self._after(transition), since=now)

    def _after(self, transition: Transition) -> State:
        target = TRANSITIONS.get((self.state, transition))
        if target is None:
            raise InvalidTransition(f"{transition} on a registration that is {self.state}")
        return target

    def notified(self, completed: OperationCompleted, now: datetime, *, due: str) -> "Registration":
        """Take the end that it waited for: a first run begins at once."""
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
        return _run_begun(waiting.moved(Transition.NOTIFY, now), now, due)

    def filtered(self, completed: OperationCompleted, now: datetime) -> "Registration":
        """Take note of an end that it did not ask for: nothing is sent."""
        return self._with_outcome(completed).moved(Transition.FILTER, now)

    def _with_outcome(self, completed: OperationCompleted) -> "Registration":
        """Keep what it may know of its operation, which can be followed for another registration later."""
        stopped = self._stopped_waiting(completed.polls, completed.observed_at)
        return replace(stopped, final_status=completed.final_status, finished_at=completed.observed_at)

    def _stopped_waiting(self, polls: int, last_polled_at: datetime | None) -> "Registration":
        own = max(0, polls - self.polls_before)
        return replace(self, polls=own, last_polled_at=last_polled_at if own else None)

    def rerun(self, now: datetime, *, due: str) -> "Registration":
        """Begin another run of the same message; what an earlier run claimed no longer holds."""
        again = replace(self.moved(Transition.REDELIVER, now), delivered_at=None, reason=None, released=False)
        return _run_begun(again, now, due)

    def wait_for_run(self, now: datetime) -> timedelta | None:
        """Tell how long to wait until another run may be asked for; None if it may be now."""
        taken = self._runs_with(now)
        return taken if isinstance(taken, timedelta) else None

    def _runs_with(self, now: datetime) -> tuple[int, ...] | timedelta:
        return take(self.runs, now, most=RUNS_AN_HOUR, within=timedelta(hours=1))

    def counted_run(self, now: datetime) -> tuple[int, ...]:
        """Count a run that begins at `now`; one before any attempt has sent nothing yet, and does not count."""
        taken = self._runs_with(now)
        return self.runs if self.last_attempt == 0 or isinstance(taken, timedelta) else taken

    def canceled(self, now: datetime) -> "Registration":
        """Give up on the client's behalf; an attempt in flight loses its claim and records only itself."""
        return _idle(self.moved(Transition.CANCEL, now), next_attempt_at=None)

    def canceled_waiting(self, now: datetime, operation: Operation) -> "Registration":
        """Give up before the operation has ended."""
        return self._stopped_waiting(operation.polls, operation.last_polled_at).canceled(now)

    def ended(self, transition: Transition, now: datetime, *, reason: str | None = None) -> "Registration":
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

    def postponed(self, at: datetime, *, due: str) -> "Registration":
        """End the attempt and wait for the next one of the run."""
        return _idle(self, next_attempt_at=at, due=due)

    def claimed(self, claim: str, *, until: datetime, due: str) -> "Registration":
        """Take the exclusive right to make the next attempt."""
        return replace(
            self,
            last_attempt=self.last_attempt + 1,
            deferred_by=None,
            claim=claim,
            leased_until=until,
            next_attempt_at=until,  # there is one then if this one is lost
            due=due,
        )

    def next_generation(self, at: datetime) -> datetime:
        """Tell when a new generation that is asked for at `at` begins: after the former one, whatever clocks say."""
        return max(at, self.generation + timedelta(milliseconds=1))

    def renewed_by(self, request: "Registration") -> "Registration":
        """Give a client's request the identity of this registration, and the time of its new generation."""
        return replace(
            request, ref=self.ref, callback_url=self.callback_url, generation=self.next_generation(request.generation)
        )

    def reactivated(self, renewed: "Registration") -> "Registration":
        """Begin a new generation with what the client says now; former attempts keep their numbers."""
        return replace(
            renewed,
            state=self._after(Transition.REACTIVATE),
            generation=self.next_generation(renewed.generation),
            last_attempt=self.last_attempt,
            run_start=self.last_attempt + 1,
            runs=self.runs,
        )

    def same_request(self, other: "Registration") -> bool:
        """Tell whether both ask for the same callback, headers aside: those are compared in the clear."""
        mine, theirs = ((set(each.events), each.format, each.group) for each in (self, other))
        return mine == theirs and same_json(self.metadata, other.metadata)


def _run_begun(registration: Registration, now: datetime, due: str) -> Registration:
    fresh = _idle(registration, next_attempt_at=now, due=due)
    return replace(fresh, run_start=fresh.last_attempt + 1, run_began_at=now, runs=fresh.counted_run(now))


def _idle(registration: Registration, *, next_attempt_at: datetime | None, due: str | None = None) -> Registration:
    """Let nobody hold the right to an attempt."""
    return replace(
        registration, deferred_by=None, claim=None, leased_until=None, next_attempt_at=next_attempt_at, due=due
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """How owners share an operation: who gets its outcome, and how many registrations each may have.

    By default these are the rules of a bridge that does not tell owners apart.
    """

    #: Whether a second owner may register for an operation, and gets its outcome.
    by_owners: bool = True
    #: How many registrations an operation has at most.
    places: int = MAX_REGISTRATIONS
    #: How many of them are of one owner at most.
    places_of_owner: int = MAX_REGISTRATIONS

    def is_taken(self, taker: str | None, registration: Registration) -> bool:
        """Tell whether an operation of the owner `taker` is another owner's. Registrations of admins are let in."""
        return not (self.by_owners or registration.by_admin or taker in (None, registration.owner))

    def gives_place(self, old: Registration, new: Registration) -> bool:
        """Tell whether one registration may be deleted for another: not if its owner would lose the operation."""
        return self.by_owners or old.owner == new.owner or not old.takes_operation
