"""One delivery: the task in due rows and queue messages, the timeline, and the decision whether to attempt.

    claim            connect, POST, read: 15 s                       lease ends
      |......................|--------------------|..........................|
      0                     15 s                 30 s                       60 s
                             not begun later      over by then, which a clock that
                             than this            is 30 s ahead takes for the end

    enqueue ─── message lives for the redispatch interval, 2 min ───► the due row sends another

An attempt is shorter than its lease, the lease is shorter than the redispatch interval, and a message lives no longer
than that interval. The registration alone therefore shows whether an attempt is still allowed.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from bridge.domain.callback_url import origin_of
from bridge.domain.events import Message
from bridge.domain.ids import RegistrationRef
from bridge.domain.keyring import Keyring
from bridge.domain.registration import Registration, State
from bridge.domain.retry import ATTEMPTS_PER_RUN, Backoff
from bridge.domain.text import read_traceparent
from bridge.domain.time import CLOCK_SKEW

#: The duration of the exclusive right to one attempt.
LEASE = timedelta(seconds=60)

#: The limit of an attempt's time on the network.
ATTEMPT = timedelta(seconds=15)

#: An attempt begins only with at least this much left of the lease, so that it ends before the lease on every clock.
LEASE_NEEDED = ATTEMPT + CLOCK_SKEW

#: The wait after messages of an attempt without a claim before the due row sends another. Also the life of a message.
REDISPATCH = Backoff(timedelta(minutes=2), timedelta(hours=1))

#: The wait after a failure to send a message before the due row sends again.
RESEND_AFTER = timedelta(seconds=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryTask:
    """The order to make attempt `number`, in a queue message or a due row."""

    ref: RegistrationRef
    #: The generation of the registration for which the task was made.
    generation: datetime
    #: The number of the attempt to make.
    number: int
    #: How many messages have been sent for this attempt.
    sends: int = 0
    #: The trace context to continue.
    traceparent: str | None = None
    #: Scheme, name and port of the receiver, and the owner: known before the registration is read. None in tasks of
    #: former versions.
    origin: str | None = None
    owner: str | None = None
    #: Whether a client ordered the attempt at once, so that an open circuit does not stop it. Earlier versions ignore
    #: the column and the field.
    forced: bool | None = None
    #: Only in messages: whether the sweep held back, or may have held back, further deliveries to this host.
    has_more: bool | None = None

    @classmethod
    def next_of(cls, registration: Registration, *, sends: int = 0) -> "DeliveryTask":
        """Return the task of the next attempt."""
        return cls(
            ref=registration.ref,
            generation=registration.generation,
            number=registration.last_attempt + 1,
            sends=sends,
            traceparent=registration.traceparent,
            origin=origin_of(registration.callback_url),
            owner=registration.owner,
            forced=registration.is_forced or None,
        )


def pending_task(registration: Registration) -> DeliveryTask | None:
    """Return the open task of a delivery. None without a delivery, or while an attempt is claimed."""
    if registration.state is not State.PENDING or registration.claim is not None:
        return None
    return DeliveryTask.next_of(registration, sends=1)


@dataclass(frozen=True, slots=True)
class Skip:
    """The task is void. If the delivery goes on, its due row has the valid task."""

    why: str


@dataclass(frozen=True, slots=True)
class MarkDead:
    """The last attempt of the run was lost, so the registration is dead."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """Make the attempt."""


def decide_delivery(task: DeliveryTask, registration: Registration, now: datetime) -> Skip | MarkDead | Attempt:
    """Decide whether to follow `task`.

    An attempt without an outcome at the end of its lease counts, as `lost`: it may have reached the receiver. By the
    clock of this instance a task may arrive early, by at most the clock skew.
    """
    why = _why_not(task, registration, now)
    if why is not None:
        return Skip(why)
    return MarkDead() if is_last_lost(registration) else Attempt()


def is_last_lost(registration: Registration) -> bool:
    """Return whether a pending run has no attempt left: the last one was lost, or is in flight."""
    return registration.last_attempt + 1 >= registration.run_start + ATTEMPTS_PER_RUN


def _why_not(task: DeliveryTask, registration: Registration, now: datetime) -> str | None:
    next_at = registration.next_attempt_at
    reasons = {
        f"it is {registration.state}": registration.state is not State.PENDING,
        "it has no message": registration.message is None,
        "another generation": task.generation != registration.generation,
        "another attempt": task.number != registration.last_attempt + 1,
        "an attempt is in flight": registration.is_in_flight(now),
        "too early": next_at is not None and next_at > now + CLOCK_SKEW,
    }
    return next((why for why, holds in reasons.items() if holds), None)


def headers_of(
    registration: Registration, message: Message, keyring: Keyring, *, at: datetime, trace: str | None
) -> dict[str, str]:
    """Return the headers of a callback that is sent at `at`, apart from the client's own: signature, trace and type."""
    owner, origin = registration.owner, origin_of(registration.callback_url)
    signed = keyring.headers(message.id, message.body, owner=owner, origin=origin, at=at)
    return {**signed, **unsigned_headers_of(registration, trace=trace)}


def unsigned_headers_of(registration: Registration, *, trace: str | None) -> dict[str, str]:
    """Return the trace of a callback, if there is a valid one, and the type of its content."""
    traceparent = read_traceparent(trace)  # values from rows are validated, too
    traced = {} if traceparent is None else {"traceparent": traceparent}
    return {**traced, "Content-Type": registration.format.content_type}
