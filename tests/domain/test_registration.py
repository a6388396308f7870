"""Columns of a registration after each transition."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from bridge.domain.operation import FinalStatus
from bridge.domain.outcome import LastAttempt
from bridge.domain.registration import DeferredBy, InvalidTransition, Registration, State, Transition
from bridge.domain.retry import DeadReason
from tests.support.factories import NOON, completed, registration

LATER = NOON + timedelta(hours=1)
REQUEST = registration()
#: A registration with an attempt in flight and a deferred later one.
PENDING = replace(
    REQUEST,
    state=State.PENDING,
    message_id="msg_1",
    last_attempt=3,
    deferred_by=DeferredBy.CONCURRENCY,
    claim="somebody",
    leased_until=NOON,
    due="due:key",
    next_attempt_at=NOON,
)
COMPLETED = completed(FinalStatus.FAILED, observed_at=LATER)
#: The columns of a registration without further work.
IDLE = (None, None, None, None, None)


def plans(registration: Registration) -> tuple[object, ...]:
    """Return the columns that describe the next step."""
    return (
        registration.next_attempt_at,
        registration.deferred_by,
        registration.claim,
        registration.leased_until,
        registration.due,
    )


@pytest.mark.parametrize(
    ("end", "state", "delivered_at", "reason"),
    [
        (lambda: PENDING.canceled(LATER), State.CANCELED, None, None),
        (lambda: PENDING.ended(Transition.DELIVER, LATER), State.DELIVERED, LATER, None),
        (lambda: PENDING.ended(Transition.GIVE_UP, LATER, reason=DeadReason.GONE), State.DEAD, None, "gone"),
    ],
)
def test_an_ended_registration_has_no_next_step(
    end: Callable[[], Registration], state: State, delivered_at: object, reason: str | None
) -> None:
    """An ended registration has no next attempt, no claim and no due row.

    The reason and the time of the end are stored.
    """
    after = end()

    assert plans(after) == IDLE
    assert (after.state, after.since, after.delivered_at, after.reason) == (state, LATER, delivered_at, reason)


def test_a_postponed_registration_has_no_claim() -> None:
    """The state and the time of its start do not change."""
    after = PENDING.postponed(LATER, due="due:later")

    assert plans(after) == (LATER, None, None, None, "due:later")
    assert (after.state, after.since) == (PENDING.state, PENDING.since)


@pytest.mark.parametrize(
    "ended",
    [
        replace(PENDING.ended(Transition.DELIVER, NOON), reason=DeadReason.EXHAUSTED),
        PENDING.ended(Transition.GIVE_UP, NOON, reason=DeadReason.GONE),
    ],
)
def test_another_run_begins_now_and_clears_the_last_result(ended: Registration) -> None:
    """The attempt gets the next number."""
    ended = replace(ended, last_recorded=LastAttempt(number=3, at=NOON, status=410))

    after = ended.rerun(LATER, due="due:now")

    assert (after.state, after.since, after.delivered_at, after.reason) == (State.PENDING, LATER, None, None)
    assert (plans(after), after.run_start) == ((LATER, None, None, None, "due:now"), 4)
    assert (after.run_began_at, after.last_recorded) == (LATER, None)


def test_a_completed_operation_begins_a_run_at_once() -> None:
    """The run starts with the first attempt of this generation, and the age counts from now."""
    waiting = replace(REQUEST, last_attempt=3)

    after = waiting.notified(COMPLETED, LATER, due="due:now")

    assert (after.state, after.since, after.final_status) == (State.PENDING, LATER, FinalStatus.FAILED)
    assert (plans(after), after.run_start) == ((LATER, None, None, None, "due:now"), 4)
    assert after.run_began_at == LATER
    assert len(after.expected_message().id) == len("msg_") + 32


@pytest.mark.parametrize(
    ("ended_at", "delay"),
    [
        (NOON - timedelta(days=1), timedelta(hours=2)),  # before the registration
        (NOON + timedelta(minutes=20), timedelta(minutes=100)),
        (None, timedelta(hours=1)),
    ],
)
def test_the_delay_of_a_delivery_counts_from_the_end_of_a_job(ended_at: datetime | None, delay: timedelta) -> None:
    """The end of an operation is unknown, so its delay counts from the poll that saw the end."""
    after = REQUEST.notified(replace(COMPLETED, ended_at=ended_at), LATER, due="due:now")

    assert after.delay_at(NOON + timedelta(hours=2)) == delay
    assert after.delay_at(NOON - timedelta(days=9)) == timedelta(0)
    again = after.ended(Transition.DELIVER, LATER).rerun(LATER, due="due:again")
    assert again.delay_at(LATER + timedelta(seconds=5)) == timedelta(seconds=5)


def test_a_registration_without_a_run_has_no_delay() -> None:
    assert REQUEST.delay_at(LATER) is None


def test_a_filtered_final_status_is_stored() -> None:
    """The list shows the final status of the operation."""
    after = REQUEST.filtered(COMPLETED, LATER)

    assert (after.state, after.since, after.final_status) == (State.SKIPPED, LATER, FinalStatus.FAILED)


@pytest.mark.parametrize(("asked", "begins"), [(NOON, NOON + timedelta(milliseconds=1)), (LATER, LATER)])
def test_a_new_generation_always_begins_after_the_former_one(asked: object, begins: object) -> None:
    """The attempt numbers continue. The new request replaces all fields, and no part of the old message remains."""
    before = replace(PENDING.canceled(NOON), generation=NOON)
    request = replace(REQUEST, generation=asked, since=LATER, metadata='{"new":1}')  # type: ignore[arg-type] # the table's times

    after = before.reactivated(request)

    assert (after.state, after.generation, after.since) == (State.WAITING, begins, LATER)
    assert (after.last_attempt, after.run_start, after.metadata, after.message) == (3, 4, '{"new":1}', None)


def test_a_waiting_registration_cannot_be_reactivated() -> None:
    """The registration would lose its place. `is_revivable` covers the other states."""
    with pytest.raises(InvalidTransition, match="reactivate on a registration that is waiting"):
        REQUEST.reactivated(REQUEST)


def test_a_delivery_requires_a_message() -> None:
    """The error names the bug."""
    with pytest.raises(InvalidTransition, match=r"^a delivery without a message$"):
        REQUEST.expected_message()
