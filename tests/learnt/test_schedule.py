"""The schedule that weighs the cost of a poll against the delay."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.learnt.durations import EDGES, HazardCurve
from bridge.learnt.plan import GAP_OF_AGE, GAP_ON_TOP, LONGEST_GAP, base_price, lost, next_age, worth_polling
from tests.learnt.test_durations import ANY_MODEL

AGES = st.floats(0, 100_000)
PRICES = st.floats(0, 1e6)
SWEEP = 10.0
CURVES = ANY_MODEL.map(lambda model: model.curve())


def constant(hazard: float) -> HazardCurve:
    """Return the curve of operations that end at a constant rate."""
    return HazardCurve((hazard,) * len(EDGES))


def test_the_loss_equals_the_integral() -> None:
    """A constant hazard has a closed form: gap - (1 - e^(-h·gap))/h."""
    for age in (0.0, 3.0, 77.0, 60_000.0):
        for gap in (0.5, 30.0, 900.0):
            expected = gap - -math.expm1(-gap / 60) * 60
            assert lost(constant(1 / 60), age, age + gap) == pytest.approx(expected)


@given(CURVES, AGES, st.floats(0, LONGEST_GAP), st.floats(0, LONGEST_GAP))
def test_the_loss_grows_with_the_delay_of_the_poll(curve: HazardCurve, seen: float, one: float, other: float) -> None:
    """The loss never exceeds the wait."""
    short, long = sorted((one, other))

    assert -1e-6 <= lost(curve, seen, seen + short) <= lost(curve, seen, seen + long) + 1e-6
    assert lost(curve, seen, seen + long) <= long + 1e-6


@given(CURVES, AGES, st.floats(0.01, 1000))
def test_the_next_poll_is_at_the_time_when_the_loss_reaches_the_shadow_price(
    curve: HazardCurve, seen: float, shadow_price: float
) -> None:
    """The longest gap is the upper bound."""
    age = worth_polling(curve, seen, shadow_price)

    assert seen < age <= seen + LONGEST_GAP + 1e-6
    if age < seen + LONGEST_GAP - 1:
        assert lost(curve, seen, age) == pytest.approx(shadow_price, rel=1e-2, abs=1e-3)


@given(CURVES, AGES, st.floats(0, 7200), PRICES, PRICES)
def test_the_schedule_keeps_its_bounds_and_rises_with_the_shadow_price(
    curve: HazardCurve, seen: float, since: float, one: float, other: float
) -> None:
    """The interval is never NaN, at least a sweep, and at most the limit for rare late ends."""
    cheap, dear = sorted((one, other))
    now = seen + since

    early, late = (
        next_age(curve, seen=seen, now=now, shadow_price=shadow_price, shortest=SWEEP) for shadow_price in (cheap, dear)
    )

    assert early <= late
    assert now + SWEEP <= early
    assert late <= now + max(SWEEP, min(LONGEST_GAP, now * GAP_OF_AGE + GAP_ON_TOP))


@given(CURVES, st.floats(1, 1000), st.floats(1, 1000))
def test_the_base_price_falls_with_the_polls_that_an_operation_may_cost(
    curve: HazardCurve, one: float, other: float
) -> None:
    """The result is a number for any duration model."""
    few, many = sorted((one, other))

    assert 0 < base_price(curve, many) <= base_price(curve, few) < math.inf


def test_polls_wait_for_a_peak() -> None:
    """Polls are rare while no operation ends, and frequent around the peak."""
    hump = HazardCurve(tuple(0.02 if 250 <= edge <= 700 else 1e-6 for edge in EDGES))
    first = next_age(hump, seen=100, now=100, shadow_price=1.0, shortest=SWEEP)
    within = next_age(hump, seen=400, now=400, shadow_price=0.5, shortest=SWEEP)

    assert first == 100 + 100 * GAP_OF_AGE + GAP_ON_TOP
    assert within == 400 + SWEEP
