"""What becomes of a registration's columns when it moves."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from bridge.domain.events import OperationCompleted
from bridge.domain.operation import FinalStatus
from bridge.domain.registration import InvalidTransition, Registration, State, Transition
from tests.support.harness import NOON, harness

LATER = NOON + timedelta(hours=1)
REQUEST = harness().request()
#: An attempt of it is in flight, and a later one was deferred.
PENDING = replace(
    REQUEST,
    state=State.PENDING,
    message_id="msg_1",
    last_attempt=3,
    deferred_by="concurrency",
    claim="somebody",
    leased_until=NOON,
    due="due:key",
    next_attempt_at=NOON,
)
COMPLETED = OperationCompleted(
    final_status=FinalStatus.FAILED, path="avatar", observed_at=LATER, not_before=None, reason=None, body=None
)
#: What a registration has that nothing more is done for.
IDLE = (None, None, None, None, None)


def plans(registration: Registration) -> tuple[object, ...]:
    """Take out all that says what comes next."""
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
        (lambda: PENDING.ended(Transition.GIVE_UP, LATER, reason="gone"), State.DEAD, None, "gone"),
    ],
)
def test_what_has_ended_plans_nothing(
    end: Callable[[], Registration], state: State, delivered_at: object, reason: str | None
) -> None:
    """No next attempt, no claim, no due row; and it says how it ended and since when."""
    after = end()

    assert plans(after) == IDLE
    assert (after.state, after.since, after.delivered_at, after.reason) == (state, LATER, delivered_at, reason)


def test_what_waits_for_its_next_attempt_has_no_claim() -> None:
    """It stays in its state, since it came into it."""
    after = PENDING.postponed(LATER, due="due:later")

    assert plans(after) == (LATER, None, None, None, "due:later")
    assert (after.state, after.since) == (PENDING.state, PENDING.since)


@pytest.mark.parametrize(
    "ended",
    [
        replace(PENDING.ended(Transition.DELIVER, NOON), reason="x"),
        PENDING.ended(Transition.GIVE_UP, NOON, reason="gone"),
    ],
)
def test_another_run_begins_now_and_forgets_how_the_last_one_ended(ended: Registration) -> None:
    """With an attempt that has the next number."""
    after = ended.rerun(LATER, due="due:now")

    assert (after.state, after.since, after.delivered_at, after.reason) == (State.PENDING, LATER, None, None)
    assert (plans(after), after.run_start) == ((LATER, None, None, None, "due:now"), 4)
    assert after.run_began_at == LATER


def test_a_completed_operation_begins_a_run_at_once() -> None:
    """With the first attempt of this generation, and an age that is counted from here."""
    waiting = replace(REQUEST, last_attempt=3)

    after = waiting.notified(COMPLETED, LATER, due="due:now")

    assert (after.state, after.since, after.final_status) == (State.PENDING, LATER, FinalStatus.FAILED)
    assert (plans(after), after.run_start) == ((LATER, None, None, None, "due:now"), 4)
    assert after.run_began_at == LATER
    assert len(after.expected_message().id) == len("msg_") + 32


def test_an_end_that_was_not_asked_for_is_noted() -> None:
    """The list shows how its operation ended."""
    after = REQUEST.filtered(COMPLETED, LATER)

    assert (after.state, after.since, after.final_status) == (State.SKIPPED, LATER, FinalStatus.FAILED)


@pytest.mark.parametrize(("asked", "begins"), [(NOON, NOON + timedelta(milliseconds=1)), (LATER, LATER)])
def test_a_new_generation_begins_after_the_former_one_whatever_clocks_say(asked: object, begins: object) -> None:
    """Its attempts go on counting; what the client says now counts, and nothing of the former message."""
    before = replace(PENDING.canceled(NOON), generation=NOON)
    request = replace(REQUEST, generation=asked, since=LATER, metadata='{"new":1}')  # type: ignore[arg-type] # the table's times

    after = before.reactivated(request)

    assert (after.state, after.generation, after.since) == (State.WAITING, begins, LATER)
    assert (after.last_attempt, after.run_start, after.metadata, after.message) == (3, 4, '{"new":1}', None)


def test_what_waits_is_not_reactivated() -> None:
    """It would lose its place. `is_revivable` says which of the others may be."""
    with pytest.raises(InvalidTransition, match="reactivate on a registration that is waiting"):
        REQUEST.reactivated(REQUEST)


def test_a_delivery_without_a_message_is_no_delivery() -> None:
    """A fault of the program, which says so."""
    with pytest.raises(InvalidTransition, match=r"^a delivery without a message$"):
        REQUEST.expected_message()
