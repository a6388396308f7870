"""The order of polls and the value of the last granted one, by the duration model of each group."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from bridge.domain.ids import Kind, OperationRef
from bridge.domain.operation import FinalStatus, PollState
from bridge.domain.upstream import Pending, Terminal
from bridge.learnt.plan import lost_by
from bridge.learnt.schedule import LearntSchedule
from bridge.services.sweep.priority import PollPriority
from bridge.storage.due import DueHandle, DuePoll
from bridge.storage.keys import DURATION_PREFIX, SOURCES_PARTITION, after, due_reference
from bridge.testing import MemoryTable
from tests.support.harness import NOON
from tests.support.schedules import learnt_schedule

NOW = NOON + timedelta(seconds=60)


def poll_state(name: str, *, group: str | None = None, source: str = "default") -> PollState:
    """Return an operation that was registered at noon and seen running half a minute later."""
    seen = NOON + timedelta(seconds=30)
    return PollState(ref=OperationRef(source, name), registered_at=NOON, polls=1, seen_running_at=seen, group=group)


def due(each: PollState) -> DuePoll:
    """Return a due poll."""
    return DuePoll(DueHandle(partition="op0", key=due_reference(each.ref), etag="1"), each)


@pytest.fixture
def schedule() -> LearntSchedule:
    """Return a schedule with two groups: operations of a minute, and operations of an hour."""
    table = MemoryTable()
    learnt = learnt_schedule(table)
    for group, seconds in (("short", 60), ("long", 3600)):
        for number in range(30):
            ref = OperationRef("default", f"{group}-{number}")
            running = NOON + timedelta(seconds=seconds - 10)
            born = PollState(ref=ref, registered_at=NOON, group=group)
            seen = PollState(ref=ref, registered_at=NOON, group=group, seen_running_at=running)
            learnt.observe(born, Pending("Running"), running)
            learnt.observe(seen, Terminal(FinalStatus.SUCCEEDED, None), NOON + timedelta(seconds=seconds))
    learnt.end()
    learnt.begin(table.range(SOURCES_PARTITION, DURATION_PREFIX, after(DURATION_PREFIX)))
    return learnt


def lost(schedule: LearntSchedule, each: PollState) -> float:
    """Return the expected loss of an operation that is polled now."""
    return lost_by(schedule.durations.curve(each.ref.source, each.group), each, NOW)


def worth_of(schedule: LearntSchedule, each: PollState, now: datetime) -> float:
    """Return the expected loss of an operation that is polled now, in base prices."""
    return schedule.urgency(each, now) / schedule.base_price(each.ref)


def test_each_operation_uses_the_model_of_its_group(schedule: LearntSchedule) -> None:
    """Of three operations of the same age, the one that is likely to end now has the greatest loss."""
    long, plain, short = poll_state("long", group="long"), poll_state("plain"), poll_state("short", group="short")
    priority = PollPriority(schedule, NOW)

    first, *others = priority.ordered([due(long), due(plain), due(short)])

    assert first.poll_state == short
    assert [each.poll_state for each in others] == sorted([plain, long], key=lambda each: -lost(schedule, each))
    assert len({lost(schedule, each) for each in (long, plain, short)}) == 3


def test_each_source_uses_its_own_model(schedule: LearntSchedule) -> None:
    """The model of another source is irrelevant."""
    here, there = poll_state("here", group="short"), poll_state("there", group="short", source="voices")
    priority = PollPriority(schedule, NOW)

    [first, last] = priority.ordered([due(here), due(there)])

    assert (first.poll_state, last.poll_state) == (there, here)  # the unknown source may have the greater loss
    assert lost(schedule, there) > lost(schedule, here)


@pytest.mark.parametrize("granted", [1, 2, 3])
def test_the_last_that_is_granted_sets_the_worth(schedule: LearntSchedule, granted: int) -> None:
    poll_states = [poll_state("long", group="long"), poll_state("short", group="short"), poll_state("plain")]

    worth = PollPriority(schedule, NOW).worth([due(each) for each in poll_states], granted)

    values = sorted((worth_of(schedule, each, NOW) for each in poll_states), reverse=True)
    assert worth == pytest.approx(values[granted - 1])


JOB, OPERATION = OperationRef("default", "twin", Kind.JOB), OperationRef("default", "twin")


@pytest.fixture
def mixed() -> LearntSchedule:
    """Return a schedule with operations of about a minute and jobs of about an hour, at one source."""
    table = MemoryTable()
    learnt = learnt_schedule(table, shortest=timedelta(seconds=1))
    for number in range(60):
        for ref, seconds in ((OPERATION, 40 + number), (JOB, 3000 + 20 * number)):
            end = NOON + timedelta(seconds=seconds)
            running = PollState(ref=ref, registered_at=NOON, seen_running_at=end - timedelta(seconds=1))
            learnt.observe(replace(running, seen_running_at=None), Pending("Running", NOON), end - timedelta(seconds=1))
            learnt.observe(running, Terminal(FinalStatus.SUCCEEDED, None, created_at=NOON, ended_at=end), end)
    learnt.end()
    learnt.begin(table.range(SOURCES_PARTITION, DURATION_PREFIX, after(DURATION_PREFIX)))
    return learnt


@pytest.mark.parametrize("price", [1.0, 1.5])
@pytest.mark.parametrize(("ref", "age"), [(OPERATION, 40), (JOB, 3000)], ids=["operation", "job"])
def test_a_poll_is_due_when_its_worth_reaches_the_price_of_its_source(
    mixed: LearntSchedule, ref: OperationRef, age: float, price: float
) -> None:
    """One price holds for both kinds. In seconds of delay, the price of a poll of a job is far higher."""
    seen = NOON + timedelta(seconds=age)
    state = PollState(ref=ref, registered_at=NOON, polls=1, seen_running_at=seen)

    due_at = mixed.next_poll(state, seen, price=price)

    assert worth_of(mixed, state, due_at) == pytest.approx(price, rel=1e-2)
    assert (mixed.urgency(state, due_at) > 3) is ref.is_job


@pytest.mark.parametrize("granted", [1, 3, 5])
def test_the_price_of_mixed_kinds_lets_as_many_polls_fall_due_as_are_granted(
    mixed: LearntSchedule, granted: int
) -> None:
    """Within the sweep, the polls with the most seconds of delay go first, whatever the kind."""
    states = [
        PollState(ref=replace(ref, id=f"{ref.id}-{number}"), registered_at=NOON, polls=1, seen_running_at=seen)
        for ref, age in ((OPERATION, 30), (JOB, 2600))
        for number in range(3)
        for seen in [NOON + timedelta(seconds=age * (1 + number / 10))]
    ]
    now = NOON + timedelta(seconds=3400)
    priority = PollPriority(mixed, now)

    price = priority.worth([due(each) for each in states], granted)
    ordered = priority.ordered([due(each) for each in states])

    assert sum(worth_of(mixed, each, now) >= price for each in states) == granted
    urgencies = [mixed.urgency(each.poll_state, now) for each in ordered]
    assert urgencies == sorted(urgencies, reverse=True)
