"""The price of a request, as a function of wanted and granted polls."""

from datetime import timedelta

import pytest

from bridge.domain.poll_schedule import Sale
from bridge.domain.rate_limit import SWEEP
from bridge.learnt.plan import HIGHEST_PRICE, PRICE_FALLS, PRICE_RISES, update_price


def sale(*, wanted: int, granted: int, left: float = 0.0, worth: float = 0.0, elapsed: timedelta = SWEEP) -> Sale:
    return Sale(wanted=wanted, granted=granted, left=left, worth=worth, elapsed=elapsed)


@pytest.mark.parametrize(
    ("shadow_price", "sold", "then"),
    [
        pytest.param(2.0, sale(wanted=50, granted=10, worth=2.1), 2.1, id="what-the-last-one-granted-is-worth"),
        pytest.param(2.0, sale(wanted=50, granted=10, worth=9.0), 2 * PRICE_RISES, id="it-rises-slowly"),
        pytest.param(2.0, sale(wanted=50, granted=10, worth=1.9), 1.9, id="down-though-the-budget-is-short"),
        pytest.param(2.0, sale(wanted=19, granted=19, left=1.0), 1.9, id="down-by-what-is-left"),
        pytest.param(2.0, sale(wanted=1, granted=1, left=99.0), 2 * PRICE_FALLS, id="it-falls-slowly"),
        pytest.param(2.0, sale(wanted=20, granted=20), 2.0, id="it-stays-where-demand-fits"),
        pytest.param(1.0, sale(wanted=1, granted=1, left=99.0), 1.0, id="never-under-the-base-price"),
        pytest.param(0.0, sale(wanted=5, granted=1, worth=9.0), 1.0, id="a-price-that-nobody-set-is-the-base-price"),
        pytest.param(HIGHEST_PRICE, sale(wanted=50, granted=10, worth=1e9), HIGHEST_PRICE, id="never-over-the-highest"),
    ],
)
def test_the_shadow_price_follows_the_value_of_the_last_request(shadow_price: float, sold: Sale, then: float) -> None:
    """A sweep changes the price by at most a tenth."""
    assert update_price(shadow_price, sold) == pytest.approx(then)


def test_the_shadow_price_falls_in_sweeps_without_polls() -> None:
    """A shortage has no effect after half an hour without polls."""
    shadow_price = update_price(1000.0, sale(wanted=1, granted=1, left=9.0, elapsed=timedelta(minutes=30)))

    assert shadow_price == 1
