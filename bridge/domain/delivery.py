"""One delivery: what a due row and a queue message carry of it, its timeline, and who may attempt.

    claim            connect, POST, read: 15 s                       lease ends
      |......................|--------------------|..........................|
      0                     15 s                 30 s                       60 s
                             not begun later      over by then, which a clock that
                             than this            is 30 s ahead takes for the end

    enqueue ─── message lives for the redispatch interval, 2 min ───► the due row sends another

An attempt is shorter than its lease, the lease is shorter than the redispatch interval, and a message lives no longer
than that, so whoever is told to attempt finds out from the registration alone whether it still may.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from bridge.domain.callback_url import origin_of
from bridge.domain.ids import RegistrationRef
from bridge.domain.registration import Registration, State
from bridge.domain.retry import ATTEMPTS_PER_RUN
from bridge.domain.time import CLOCK_SKEW

#: The exclusive right to one attempt.
LEASE = timedelta(seconds=60)

#: One attempt on the network takes no longer than this.
ATTEMPT = timedelta(seconds=15)

#: An attempt is not begun with less than this left of its lease, so that it is over before anybody's clock ends that.
LEASE_NEEDED = ATTEMPT + CLOCK_SKEW

#: After a message was sent, the due row waits this long before it sends another.
REDISPATCH_AFTER = timedelta(minutes=2)

#: A message that could not be sent is sent again after this time.
RESEND_AFTER = timedelta(seconds=10)

#: The longest that it waits, after many messages that nobody claimed.
LONGEST_REDISPATCH = timedelta(hours=1)


def redispatch_after(sends: int) -> timedelta:
    """How long to wait after the `sends`-th message of an attempt that nobody claimed; also how long it lives."""
    doublings = min(max(sends - 1, 0), 10)
    return min(REDISPATCH_AFTER * (1 << doublings), LONGEST_REDISPATCH)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryTask:
    """The order to make attempt `number`: what a queue message carries, and a due row."""

    ref: RegistrationRef
    #: The generation of the registration that was meant.
    generation: datetime
    #: The number of the attempt that was meant.
    number: int
    #: How many messages have been sent for this attempt.
    sends: int = 0
    #: The trace that it goes on with.
    traceparent: str | None = None
    #: Scheme, name and port of the receiver, and the owner: known before the registration is read. None in what
    #: former versions wrote.
    origin: str | None = None
    owner: str | None = None
    #: Only in messages: the sweep held back further deliveries to this host, or may have.
    has_more: bool | None = None

    @classmethod
    def next_of(cls, registration: Registration, *, sends: int = 0) -> "DeliveryTask":
        """Make the task for the next attempt."""
        return cls(
            ref=registration.ref,
            generation=registration.generation,
            number=registration.last_attempt + 1,
            sends=sends,
            traceparent=registration.traceparent,
            origin=origin_of(registration.callback_url),
            owner=registration.owner,
        )


def pending_task(registration: Registration) -> DeliveryTask | None:
    """Make the task that a delivery has open; None where none is, or an attempt is being made."""
    if registration.state is not State.PENDING or registration.claim is not None:
        return None
    return DeliveryTask.next_of(registration, sends=1)


@dataclass(frozen=True, slots=True)
class Skip:
    """There is nothing to do; the due row knows better, if there is one."""

    why: str


@dataclass(frozen=True, slots=True)
class MarkDead:
    """The run's last attempt was lost: it is dead."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """Make the attempt."""


def decide_delivery(task: DeliveryTask, registration: Registration, now: datetime) -> Skip | MarkDead | Attempt:
    """Decide whether `task` may be followed.

    An attempt whose lease ended unrecorded counts, as `lost`: it may have reached the receiver. A task comes when its
    sender's clock says that it is time; a clock that is behind the sender's by what clocks may differ follows it.
    """
    why = _why_not(task, registration, now)
    if why is not None:
        return Skip(why)
    return MarkDead() if task.number >= registration.run_start + ATTEMPTS_PER_RUN else Attempt()


def _why_not(task: DeliveryTask, registration: Registration, now: datetime) -> str | None:
    leased_until, next_at = registration.leased_until, registration.next_attempt_at
    reasons = {
        f"it is {registration.state}": registration.state is not State.PENDING,
        "it has no message": registration.message is None,
        "another generation": task.generation != registration.generation,
        "another attempt": task.number != registration.last_attempt + 1,
        "an attempt is in flight": leased_until is not None and leased_until > now,
        "too early": next_at is not None and next_at > now + CLOCK_SKEW,
    }
    return next((why for why, holds in reasons.items() if holds), None)
