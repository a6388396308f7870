"""The contract of every poll schedule, and additional properties of the exponential one."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.ids import OperationRef
from bridge.domain.operation import FinalStatus, PollState
from bridge.domain.poll_schedule import LONGEST_GAP, ExponentialSchedule, Sale
from bridge.domain.polling import Circumstances, PollAgain, PollingPolicy, after_poll
from bridge.domain.upstream import NotFound, Pending, PollResult, Terminal, Throttled, TransientError
from bridge.ports import StoredSchedule
from tests.support.poll_errors import TIMEOUT, http_error
from tests.support.schedules import exponential_schedule, learnt_schedule

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
REF = OperationRef("default", "operation-1")
HOUR = timedelta(hours=1)

SCHEDULES = pytest.mark.parametrize("make", [learnt_schedule, exponential_schedule], ids=["learnt", "exponential"])
AGES = st.floats(0, 10 * 24 * 3600).map(lambda seconds: timedelta(seconds=seconds))
PRICES = st.floats(1, 1e4)


def running(seen: timedelta | None = None, *, group: str | None = None) -> PollState:
    """Return an operation that was registered at noon and seen running at an age."""
    return PollState(ref=REF, registered_at=NOON, group=group, seen_running_at=None if seen is None else NOON + seen)


@SCHEDULES
@given(age=AGES, since=AGES, price=PRICES, shortest=st.integers(1, 7200))
def test_the_next_poll_keeps_the_shortest_and_the_longest_wait(
    make: Callable[..., StoredSchedule], age: timedelta, since: timedelta, price: float, shortest: int
) -> None:
    """The shortest wait wins over a smaller longest wait."""
    least, now = timedelta(seconds=shortest), NOON + age + since

    at = make(shortest=least).next_poll(running(age), now, price=price)

    millisecond = timedelta(milliseconds=1)
    assert now + least - millisecond <= at <= now + max(least, LONGEST_GAP) + millisecond


@SCHEDULES
@given(age=AGES)
def test_a_clock_that_was_ahead_at_registration_delays_no_poll_beyond_the_shortest_wait_of_a_new_operation(
    make: Callable[..., StoredSchedule], age: timedelta
) -> None:
    schedule = make()

    at = schedule.next_poll(running(), NOON - age, price=1)

    assert at <= max(schedule.next_poll(running(), NOON, price=1), NOON - age + 70 * SECOND)


@SCHEDULES
@pytest.mark.parametrize("wait", [1 * SECOND, 40 * SECOND, 600 * SECOND, 7200 * SECOND])
def test_a_time_that_a_source_names_is_honoured(make: Callable[..., StoredSchedule], wait: timedelta) -> None:
    """The time comes from a throttling source, or from a failure with `Retry-After`."""
    policy, now = PollingPolicy(schedule=make(), deadline=24 * HOUR), NOON + HOUR

    stopped = after_poll(
        running(HOUR), Throttled(http_error(429), wait), now, policy, Circumstances(free_at=now + wait)
    )
    failed = after_poll(running(HOUR), TransientError(http_error(503), wait), now, policy)

    assert isinstance(stopped, PollAgain)
    assert isinstance(failed, PollAgain)
    assert stopped.at >= now + wait
    assert failed.at >= now + wait


@SCHEDULES
def test_the_last_poll_is_at_the_deadline(make: Callable[..., StoredSchedule]) -> None:
    policy, now = PollingPolicy(schedule=make(), deadline=HOUR), NOON + HOUR - SECOND

    decision = after_poll(running(HOUR - 60 * SECOND), Pending("Running"), now, policy)

    assert isinstance(decision, PollAgain)
    assert decision.at == NOON + HOUR


@SCHEDULES
@given(age=AGES, one=AGES, other=AGES)
def test_the_longer_an_operation_was_not_seen_the_more_urgent_is_its_poll(
    make: Callable[..., StoredSchedule], age: timedelta, one: timedelta, other: timedelta
) -> None:
    """No urgency is negative, for any clocks."""
    schedule, (less, more) = make(), sorted((one, other))

    earlier, later = (schedule.urgency(running(age), NOON + age + each) for each in (less, more))

    assert 0 <= earlier <= later + 1e-6
    assert schedule.urgency(running(age), NOON - one) == 0


@SCHEDULES
@given(
    price=st.floats(0, 1e6),
    sale=st.builds(
        Sale,
        wanted=st.integers(1, 1000),
        granted=st.integers(1, 1000),
        left=st.floats(0, 1000),
        worth=st.floats(0, 1e9),
        elapsed=AGES,
    ),
)
def test_the_price_is_a_number_of_at_least_1(make: Callable[..., StoredSchedule], price: float, sale: Sale) -> None:
    assert 1 <= make().update_price(price, sale) <= 1e4


@SCHEDULES
@pytest.mark.parametrize(
    "result",
    [Pending("Running"), Terminal(FinalStatus.SUCCEEDED, None), TransientError(TIMEOUT), NotFound(http_error(404))],
)
def test_every_result_can_be_observed_in_a_sweep(make: Callable[..., StoredSchedule], result: PollResult) -> None:
    schedule = make()

    schedule.begin([])
    schedule.observe(running(30 * SECOND, group="short"), result, NOON + 60 * SECOND)
    schedule.end()

    assert schedule.next_poll(running(60 * SECOND), NOON + 60 * SECOND, price=1) >= NOON + 70 * SECOND


@SCHEDULES
def test_a_forecast_equals_the_polls_of_a_running_operation(
    make: Callable[..., StoredSchedule],
) -> None:
    """The first poll is at once."""
    schedule = make()

    forecasts = list(schedule.forecasts([], {"default": 1.0, "other": 2.0}, polls=40))

    assert [(each.source, each.group, each.plan) for each in forecasts] == [
        ("default", None, schedule.plan),
        ("other", None, schedule.plan),
    ]
    ages = forecasts[0].polls_at
    assert (len(ages), ages[0]) == (40, 0)
    for age, following in pairwise(ages):
        at = timedelta(seconds=age)
        assert schedule.next_poll(running(at), NOON + at, price=1) - NOON == timedelta(seconds=following)
    assert [list(each.polls_at) for each in schedule.forecasts([], {"default": 1.0}, polls=0)] == [[]]


def test_exponential_gaps_grow_by_a_quarter_between_the_two_bounds() -> None:
    schedule = ExponentialSchedule(10 * SECOND)

    [forecast] = schedule.forecasts([], {"default": 1.0}, polls=60)

    gaps = [later - age for age, later in pairwise(forecast.polls_at)]
    assert gaps[:5] == [10, 10, 10, 10, 10]
    assert gaps[-1] == LONGEST_GAP.total_seconds()
    grown = [later / gap for gap, later in pairwise(gaps) if gap > 10 and later < LONGEST_GAP.total_seconds()]
    assert grown == pytest.approx([1.25] * len(grown), rel=1e-3)
    assert len(grown) > 15


def test_exponential_gaps_depend_on_neither_price_nor_group() -> None:
    schedule, now = ExponentialSchedule(10 * SECOND), NOON + HOUR

    plain = schedule.next_poll(running(HOUR), now, price=1)

    assert schedule.next_poll(running(HOUR, group="short"), now, price=1e4) == plain
    assert schedule.next_poll(replace(running(), faults=9), now, price=1) == plain
