"""Whether a task may be processed, and the pending task of a registration."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from bridge.domain.callback_url import origin_of
from bridge.domain.delivery import Attempt, DeliveryTask, MarkDead, Skip, decide_delivery, pending_task
from bridge.domain.registration import DeferredBy, Registration, State
from bridge.domain.retry import ATTEMPTS_PER_RUN
from bridge.domain.time import CLOCK_SKEW
from tests.support.factories import NOON, registration

SECOND = timedelta(seconds=1)
#: A second run, after three attempts.
PENDING = replace(
    registration(),
    state=State.PENDING,
    message_id="msg_1",
    message_type="avatar.operation.succeeded",
    message_body=b"{}",
    last_attempt=3,
    run_start=3,
    next_attempt_at=NOON,
)
TASK = DeliveryTask(
    ref=PENDING.ref,
    generation=PENDING.generation,
    number=4,
    sends=1,
    origin=origin_of(PENDING.callback_url),
    owner=PENDING.owner,
)


def test_a_timely_task_is_processed() -> None:
    """The task is for the next attempt of this generation, and no attempt is in flight."""
    assert decide_delivery(TASK, PENDING, NOON) == Attempt()


@pytest.mark.parametrize(
    ("registration", "task", "why"),
    [
        (replace(PENDING, state=State.CANCELED), TASK, "it is canceled"),
        (replace(PENDING, message_body=None), TASK, "it has no message"),
        (PENDING, replace(TASK, generation=NOON + SECOND), "another generation"),
        (PENDING, replace(TASK, number=3), "another attempt"),
        (PENDING, replace(TASK, number=5), "another attempt"),
        (replace(PENDING, leased_until=NOON + SECOND), TASK, "an attempt is in flight"),
        (replace(PENDING, next_attempt_at=NOON + CLOCK_SKEW + SECOND), TASK, "too early"),
    ],
)
def test_a_skipped_task_has_a_reason(registration: Registration, task: DeliveryTask, why: str) -> None:
    """The log line has no other explanation."""
    assert decide_delivery(task, registration, NOON) == Skip(why)


@pytest.mark.parametrize(
    "registration", [replace(PENDING, leased_until=NOON), replace(PENDING, next_attempt_at=NOON + CLOCK_SKEW)]
)
def test_a_lease_and_a_wait_end_exactly_at_their_end(registration: Registration) -> None:
    """Exactly at the end, since the due row is read then and would otherwise come twice."""
    assert decide_delivery(TASK, registration, NOON) == Attempt()


@pytest.mark.parametrize(("made", "answer"), [(ATTEMPTS_PER_RUN - 1, Attempt()), (ATTEMPTS_PER_RUN, MarkDead())])
def test_a_run_has_a_limited_number_of_attempts(made: int, answer: Attempt | MarkDead) -> None:
    """Attempts of earlier runs do not count."""
    last = PENDING.run_start + made - 1

    assert decide_delivery(replace(TASK, number=last + 1), replace(PENDING, last_attempt=last), NOON) == answer


def test_the_pending_task_is_for_the_next_attempt_of_this_generation() -> None:
    """The task equals the first one sent."""
    assert pending_task(PENDING) == TASK


@pytest.mark.parametrize("change", [{"state": State.DELIVERED}, {"claim": "somebody"}])
def test_no_task_is_pending_after_the_end_or_during_an_attempt(change: dict[str, State | str]) -> None:
    """A task would only be dropped."""
    assert pending_task(replace(PENDING, **change)) is None  # type: ignore[arg-type] # fields of several types


def test_a_delivery_is_due_when_its_lease_ends() -> None:
    """After a claim, the next attempt is due at the end of the lease. Until then, the claim permits this attempt."""
    until: datetime = NOON + timedelta(minutes=1)

    claimed = replace(PENDING, deferred_by=DeferredBy.CONCURRENCY).claimed("somebody", until=until, due="due:key")

    assert (claimed.last_attempt, claimed.next_attempt_at, claimed.leased_until) == (4, until, until)
    assert (claimed.deferred_by, claimed.claim, claimed.due) == (None, "somebody", "due:key")
