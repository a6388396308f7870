"""The budget of a source: the limit holds, and polls always resume."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.rate_limit import (
    LOWEST_RATE,
    PAUSE_BACKOFF,
    STOP_BACKOFF,
    Budget,
    accept,
    deny,
    fresh,
    give_back,
    refill,
    reserve,
    throttle,
)
from tests.support.poll_errors import http_error

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def later(seconds: float) -> datetime:
    """Return the time after noon."""
    return NOON + timedelta(seconds=seconds)


def test_a_sweep_may_poll_as_often_as_tokens_were_added() -> None:
    """The rate is one request a second, so after ten requests the sweep waits for more."""
    budget, granted = reserve(fresh(NOON, highest=1), 100, NOON, highest=1)
    assert granted == 10
    budget, granted = reserve(budget, 100, later(4.5), highest=1)
    assert granted == 4
    _, granted = reserve(budget, 100, later(3600), highest=1)
    assert granted == 10


def test_unused_tokens_are_returned() -> None:
    """The bucket never exceeds its size."""
    budget, granted = reserve(fresh(NOON, highest=1), 10, NOON, highest=1)

    assert reserve(give_back(budget, granted), 10, NOON, highest=1)[1] == 10
    assert give_back(fresh(NOON, highest=1), 50).tokens == 10


def test_a_429_halves_the_rate_and_pauses_the_source() -> None:
    """The pause has the length that the answer names."""
    budget = throttle(fresh(NOON, highest=1), timedelta(seconds=38), NOON, asked_at=NOON)

    assert budget.rate == 0.5
    assert reserve(budget, 10, later(37), highest=1)[1] == 0
    assert reserve(budget, 10, later(38), highest=1)[1] > 0


def test_the_pause_after_a_429_without_a_time_doubles() -> None:
    """The pause doubles from 30 s to 5 min."""
    budget, now, stops = fresh(NOON, highest=1), NOON, []
    for _ in range(6):
        budget = throttle(budget, None, now, asked_at=now)
        assert budget.stopped_until is not None
        stops.append(budget.stopped_until - now)
        now = budget.stopped_until + SECOND

    assert stops == [STOP_BACKOFF.first * 2**number for number in range(4)] + [STOP_BACKOFF.longest] * 2


def test_simultaneous_429s_count_once() -> None:
    """Sixteen threads may get the same answer."""
    budget = throttle(fresh(NOON, highest=1), None, later(1), asked_at=NOON)
    again = throttle(budget, None, later(2), asked_at=NOON)

    assert (again.rate, again.stopped_until) == (budget.rate, budget.stopped_until)
    assert throttle(budget, timedelta(minutes=10), later(2), asked_at=NOON).stopped_until == later(602)


def test_a_429_with_a_time_drops_all_tokens_and_keeps_the_own_pause() -> None:
    """The reserved tokens are dropped too, so the source starts again with an empty bucket."""
    budget = throttle(
        Budget(rate=8, tokens=5, at=NOON, changed_at=NOON, stops=2), timedelta(seconds=7), later(1), asked_at=NOON
    )

    assert (budget.rate, budget.tokens, budget.changed_at) == (4, 0, later(1))
    assert (budget.stopped_at, budget.stopped_until, budget.stops) == (later(1), later(8), 2)


def test_a_request_of_the_moment_of_the_pause_counts_to_the_pause() -> None:
    """Applies to a 429 and to a rejected credential."""
    stopped = throttle(Budget(rate=8, tokens=5, at=NOON, changed_at=NOON), None, NOON, asked_at=NOON)
    denied = deny(stopped, http_error(401), NOON, asked_at=NOON)

    assert throttle(stopped, None, later(1), asked_at=NOON).rate == 4
    assert deny(denied, http_error(403), later(1), asked_at=NOON) == denied
    assert denied.denied == http_error(401)


def test_the_rate_never_falls_below_one_a_minute() -> None:
    """The least rate guarantees another poll."""
    budget = fresh(NOON, highest=1)
    for number in range(20):
        budget = throttle(budget, timedelta(0), later(number), asked_at=later(number))

    assert budget.rate == LOWEST_RATE


def test_each_quiet_minute_restores_some_of_the_rate() -> None:
    """The rate grows by 5% of the highest rate per minute, up to the highest."""
    budget = throttle(fresh(NOON, highest=2), timedelta(0), NOON, asked_at=NOON)

    rates = [refill(budget, later(seconds), highest=2).rate for seconds in (59, 60, 119, 120, 600, 6000)]

    assert rates == pytest.approx([1, 1.1, 1.1, 1.2, 2, 2])


def test_quiet_minutes_count_independently_of_the_reads() -> None:
    """The budget may be read every ten seconds or once an hour."""
    often = once = throttle(fresh(NOON, highest=2), timedelta(0), NOON, asked_at=NOON)
    for seconds in range(10, 610, 10):
        often = refill(often, later(seconds), highest=2)

    assert often.rate == pytest.approx(refill(once, later(600), highest=2).rate)


def test_a_rejected_credential_pauses_the_source_except_for_a_probe() -> None:
    """The pause doubles from one minute to fifteen."""
    budget, now, pauses = fresh(NOON, highest=1), NOON, []
    for _ in range(6):
        budget = deny(budget, http_error(401), now, asked_at=now)
        assert budget.paused_until is not None
        pauses.append(budget.paused_until - now)
        assert reserve(budget, 10, budget.paused_until - SECOND, highest=1)[1] == 0
        now = budget.paused_until
        before = refill(budget, now, highest=1).tokens
        budget, granted = reserve(budget, 10, now, highest=1)
        assert (granted, budget.tokens) == (1, before - 1)
        assert reserve(budget, 10, now, highest=1)[1] == 0
        now += SECOND

    assert pauses == [PAUSE_BACKOFF.first * 2**number for number in range(4)] + [PAUSE_BACKOFF.longest] * 2


def test_simultaneous_rejections_count_once() -> None:
    """There is one pause, not sixteen."""
    budget = deny(fresh(NOON, highest=1), http_error(401), later(1), asked_at=NOON)

    assert deny(budget, http_error(401), later(2), asked_at=NOON) == budget


def test_an_answer_ends_a_pause() -> None:
    """The credential works again."""
    paused = deny(fresh(NOON, highest=1), http_error(401), NOON, asked_at=NOON)

    assert accept(paused, asked_at=NOON) == replace(paused, answered_at=NOON)
    assert accept(paused, asked_at=later(61)).free_at() is None


steps = st.lists(
    st.tuples(
        st.sampled_from(["poll", "429", "429 with a time", "denied", "answer"]), st.floats(0, 120), st.integers(1, 50)
    ),
    max_size=60,
)


def live(budget: Budget, step: str, now: datetime, number: int, highest: float) -> tuple[Budget, int]:
    """Apply one event. Returns the number of granted requests too."""
    match step:
        case "poll":
            return reserve(budget, number, now, highest=highest)
        case "429":
            return throttle(budget, None, now, asked_at=now), 0
        case "429 with a time":
            return throttle(budget, timedelta(seconds=number), now, asked_at=now), 0
        case "denied":
            return deny(budget, http_error(401), now, asked_at=now), 0
        case _:
            return accept(budget, asked_at=now), 0


@given(steps, st.sampled_from([0.1, 1.0, 7.0]))
def test_any_window_has_at_most_the_rate_and_a_burst(history: list[tuple[str, float, int]], highest: float) -> None:
    """Holds for any events: a window of t seconds has at most rate · t + burst requests."""
    budget, now, asked = fresh(NOON, highest=highest), NOON, [(NOON, 0)]
    for step, seconds, number in history:
        now += timedelta(seconds=seconds)
        budget, granted = live(budget, step, now, number, highest)
        asked.append((now, granted))
        assert budget.tokens >= 0
        assert LOWEST_RATE <= budget.rate <= highest
    for begin, (began, _) in enumerate(asked):
        totals = accumulate(granted for _, granted in asked[begin:])
        windows = [(at - began).total_seconds() for at, _ in asked[begin:]]
        burst = max(highest * 10, 1)
        assert all(total <= highest * window + burst + 1e-6 for total, window in zip(totals, windows, strict=True))


@given(steps)
def test_a_source_is_always_polled_again(history: list[tuple[str, float, int]]) -> None:
    """An hour without errors is enough for the full rate."""
    budget, now = fresh(NOON, highest=1.0), NOON
    for step, seconds, number in history:
        now += timedelta(seconds=seconds)
        budget, _ = live(budget, step, now, number, 1.0)
    now += timedelta(hours=1)
    budget, granted = reserve(budget, 10, now, highest=1.0)
    assert granted >= 1

    budget = accept(budget, asked_at=now + SECOND)

    assert reserve(budget, 10, now + timedelta(minutes=1), highest=1.0)[1] == 10


def test_a_clock_that_goes_backwards_adds_no_tokens() -> None:
    """Another instance with another clock wrote the row."""
    budget = replace(fresh(NOON, highest=1), tokens=0.0)

    assert refill(budget, NOON - timedelta(hours=1), highest=1) == budget
    assert isinstance(budget, Budget)


def test_an_answer_resets_only_pauses_and_rejections() -> None:
    """The next pauses start with the shortest again. Rate and tokens remain as the 429 left them."""
    stopped = throttle(fresh(NOON, highest=1), None, NOON, asked_at=NOON)
    both = deny(stopped, http_error(401), NOON, asked_at=NOON)

    after = accept(both, asked_at=later(1))

    assert (both.stops, both.pauses, both.denied) == (1, 1, http_error(401))
    kept = {"rate": both.rate, "tokens": both.tokens, "changed_at": both.changed_at, "answered_at": later(1)}
    assert after == replace(fresh(NOON, highest=1), **kept)  # type: ignore[arg-type] # of several types
