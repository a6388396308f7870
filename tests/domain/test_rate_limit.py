"""The budget of a source: never more than allowed, and always back in the end."""

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.rate_limit import (
    HIGHEST_PRICE,
    LOWEST_RATE,
    PAUSE_BACKOFF,
    PRICE_FALLS,
    PRICE_RISES,
    STOP_BACKOFF,
    SWEEP,
    Budget,
    accept,
    deny,
    fresh,
    give_back,
    refill,
    reserve,
    throttle,
    update_price,
)

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def later(seconds: float) -> datetime:
    """Say when, counted from noon."""
    return NOON + timedelta(seconds=seconds)


def test_a_sweep_may_ask_as_much_as_comes_in_between_two() -> None:
    """Ten requests at one a second; no more until more have come in."""
    budget, granted = reserve(fresh(NOON, highest=1), 100, NOON, highest=1)
    assert granted == 10
    budget, granted = reserve(budget, 100, later(4.5), highest=1)
    assert granted == 4
    _, granted = reserve(budget, 100, later(3600), highest=1)
    assert granted == 10


def test_what_was_not_used_goes_back() -> None:
    """And never makes the bucket larger."""
    budget, granted = reserve(fresh(NOON, highest=1), 10, NOON, highest=1)

    assert reserve(give_back(budget, granted), 10, NOON, highest=1)[1] == 10
    assert give_back(fresh(NOON, highest=1), 50).tokens == 10


def test_a_429_halves_the_rate_and_stops_the_source() -> None:
    """For as long as it said."""
    budget = throttle(fresh(NOON, highest=1), timedelta(seconds=38), NOON, asked_at=NOON)

    assert budget.rate == 0.5
    assert reserve(budget, 10, later(37), highest=1)[1] == 0
    assert reserve(budget, 10, later(38), highest=1)[1] > 0


def test_a_429_without_a_time_stops_ever_longer() -> None:
    """30 s, doubling to 5 min."""
    budget, now, stops = fresh(NOON, highest=1), NOON, []
    for _ in range(6):
        budget = throttle(budget, None, now, asked_at=now)
        assert budget.stopped_until is not None
        stops.append(budget.stopped_until - now)
        now = budget.stopped_until + SECOND

    assert stops == [STOP_BACKOFF.first * 2**number for number in range(4)] + [STOP_BACKOFF.longest] * 2


def test_429s_that_were_in_flight_together_count_once() -> None:
    """Sixteen threads got the same answer."""
    budget = throttle(fresh(NOON, highest=1), None, later(1), asked_at=NOON)
    again = throttle(budget, None, later(2), asked_at=NOON)

    assert (again.rate, again.stopped_until) == (budget.rate, budget.stopped_until)
    assert throttle(budget, timedelta(minutes=10), later(2), asked_at=NOON).stopped_until == later(602)


def test_a_429_that_says_how_long_takes_all_tokens_and_no_longer_a_stop_of_ours() -> None:
    """What was reserved before is gone: the source is empty when it begins again."""
    budget = throttle(
        Budget(rate=8, tokens=5, at=NOON, changed_at=NOON, stops=2), timedelta(seconds=7), later(1), asked_at=NOON
    )

    assert (budget.rate, budget.tokens, budget.changed_at) == (4, 0, later(1))
    assert (budget.stopped_at, budget.stopped_until, budget.stops) == (later(1), later(8), 2)


def test_one_that_was_asked_for_at_the_moment_of_the_stop_counts_to_it() -> None:
    """Of a 429, and of a denied credential."""
    stopped = throttle(Budget(rate=8, tokens=5, at=NOON, changed_at=NOON), None, NOON, asked_at=NOON)
    denied = deny(stopped, "HTTP 401", NOON, asked_at=NOON)

    assert throttle(stopped, None, later(1), asked_at=NOON).rate == 4
    assert deny(denied, "HTTP 403", later(1), asked_at=NOON) == denied
    assert denied.denied == "HTTP 401"


def test_the_rate_never_falls_below_one_a_minute() -> None:
    """So that the source is asked again in the end."""
    budget = fresh(NOON, highest=1)
    for number in range(20):
        budget = throttle(budget, timedelta(0), later(number), asked_at=later(number))

    assert budget.rate == LOWEST_RATE


def test_each_quiet_minute_wins_some_of_the_rate_back() -> None:
    """5% of the highest, up to all of it."""
    budget = throttle(fresh(NOON, highest=2), timedelta(0), NOON, asked_at=NOON)

    rates = [refill(budget, later(seconds), highest=2).rate for seconds in (59, 60, 119, 120, 600, 6000)]

    assert rates == pytest.approx([1, 1.1, 1.1, 1.2, 2, 2])


def test_quiet_minutes_are_counted_however_often_one_looks() -> None:
    """Every ten seconds or once an hour."""
    often = once = throttle(fresh(NOON, highest=2), timedelta(0), NOON, asked_at=NOON)
    for seconds in range(10, 610, 10):
        often = refill(often, later(seconds), highest=2)

    assert often.rate == pytest.approx(refill(once, later(600), highest=2).rate)


def test_a_denied_credential_pauses_the_source_and_one_probes_it() -> None:
    """A minute, doubling to fifteen."""
    budget, now, pauses = fresh(NOON, highest=1), NOON, []
    for _ in range(6):
        budget = deny(budget, "HTTP 401", now, asked_at=now)
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


def test_denials_that_were_in_flight_together_count_once() -> None:
    """One pause, not sixteen."""
    budget = deny(fresh(NOON, highest=1), "HTTP 401", later(1), asked_at=NOON)

    assert deny(budget, "HTTP 401", later(2), asked_at=NOON) == budget


def test_an_answer_ends_a_pause() -> None:
    """The credential was mended."""
    paused = deny(fresh(NOON, highest=1), "HTTP 401", NOON, asked_at=NOON)

    assert accept(paused, asked_at=NOON) == replace(paused, answered_at=NOON)
    assert accept(paused, asked_at=later(61)).free_at() is None


@dataclass(frozen=True, kw_only=True)
class Sale:
    """What a sweep wanted, what it was granted, and what the last one granted is worth."""

    wanted: int
    granted: int
    left: float = 0.0
    worth: float = 0.0


@pytest.mark.parametrize(
    ("shadow_price", "sale", "then"),
    [
        pytest.param(2.0, Sale(wanted=50, granted=10, worth=2.1), 2.1, id="what-the-last-one-granted-is-worth"),
        pytest.param(2.0, Sale(wanted=50, granted=10, worth=9.0), 2 * PRICE_RISES, id="it-rises-slowly"),
        pytest.param(2.0, Sale(wanted=50, granted=10, worth=1.9), 1.9, id="down-though-the-budget-is-short"),
        pytest.param(2.0, Sale(wanted=19, granted=19, left=1.0), 1.9, id="down-by-what-is-left"),
        pytest.param(2.0, Sale(wanted=1, granted=1, left=99.0), 2 * PRICE_FALLS, id="it-falls-slowly"),
        pytest.param(2.0, Sale(wanted=20, granted=20), 2.0, id="it-stays-where-demand-fits"),
        pytest.param(1.0, Sale(wanted=1, granted=1, left=99.0), 1.0, id="never-under-the-base-price"),
        pytest.param(0.0, Sale(wanted=5, granted=1, worth=9.0), 1.0, id="a-price-that-nobody-set-is-the-base-price"),
        pytest.param(HIGHEST_PRICE, Sale(wanted=50, granted=10, worth=1e9), HIGHEST_PRICE, id="never-over-the-highest"),
    ],
)
def test_the_shadow_price_follows_what_the_last_request_is_worth(shadow_price: float, sale: Sale, then: float) -> None:
    """By at most a tenth in a sweep."""
    assert update_price(shadow_price, **asdict(sale), elapsed=SWEEP) == pytest.approx(then)


def test_sweeps_that_had_nothing_to_ask_let_the_shadow_price_fall_too() -> None:
    """After a quiet half hour a shortage is forgotten."""
    shadow_price = update_price(1000.0, wanted=1, granted=1, left=9.0, worth=0.0, elapsed=timedelta(minutes=30))

    assert shadow_price == 1


steps = st.lists(
    st.tuples(
        st.sampled_from(["ask", "429", "429 with a time", "denied", "answer"]), st.floats(0, 120), st.integers(1, 50)
    ),
    max_size=60,
)


def live(budget: Budget, step: str, now: datetime, number: int, highest: float) -> tuple[Budget, int]:
    """Let one thing happen; returns what was granted too."""
    match step:
        case "ask":
            return reserve(budget, number, now, highest=highest)
        case "429":
            return throttle(budget, None, now, asked_at=now), 0
        case "429 with a time":
            return throttle(budget, timedelta(seconds=number), now, asked_at=now), 0
        case "denied":
            return deny(budget, "HTTP 401", now, asked_at=now), 0
        case _:
            return accept(budget, asked_at=now), 0


@given(steps, st.sampled_from([0.1, 1.0, 7.0]))
def test_never_more_than_the_rate_and_a_burst_in_any_window(
    history: list[tuple[str, float, int]], highest: float
) -> None:
    """Whatever happens: requests in a window of t seconds are at most rate · t + burst."""
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
def test_a_source_is_always_asked_again_in_the_end(history: list[tuple[str, float, int]]) -> None:
    """After at most an hour of quiet, at the full rate."""
    budget, now = fresh(NOON, highest=1.0), NOON
    for step, seconds, number in history:
        now += timedelta(seconds=seconds)
        budget, _ = live(budget, step, now, number, 1.0)
    now += timedelta(hours=1)
    budget, granted = reserve(budget, 10, now, highest=1.0)
    assert granted >= 1

    budget = accept(budget, asked_at=now + SECOND)

    assert reserve(budget, 10, now + timedelta(minutes=1), highest=1.0)[1] == 10


def test_a_clock_that_goes_backwards_brings_nothing() -> None:
    """Another instance wrote the row."""
    budget = replace(fresh(NOON, highest=1), tokens=0.0)

    assert refill(budget, NOON - timedelta(hours=1), highest=1) == budget
    assert isinstance(budget, Budget)


def test_an_answer_forgets_every_stop_and_denial_and_nothing_else() -> None:
    """The next ones begin with the shortest again; rate and tokens stay as the 429 left them."""
    stopped = throttle(fresh(NOON, highest=1), None, NOON, asked_at=NOON)
    both = deny(stopped, "HTTP 401", NOON, asked_at=NOON)

    after = accept(both, asked_at=later(1))

    assert (both.stops, both.pauses, both.denied) == (1, 1, "HTTP 401")
    kept = {"rate": both.rate, "tokens": both.tokens, "changed_at": both.changed_at, "answered_at": later(1)}
    assert after == replace(fresh(NOON, highest=1), **kept)  # type: ignore[arg-type] # of several types
