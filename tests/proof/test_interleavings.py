"""Short form of the races: simultaneous invocations lose and repeat nothing. `make prove` tries every order."""

from itertools import islice

import pytest

from tests.proof.interleavings import CLOCKS, handovers, run_race, shuffled
from tests.proof.races import RACES
from tests.proof.seed import SEED


@pytest.mark.parametrize("race", RACES)
def test_giving_way_at_any_step_loses_nothing(race: str) -> None:
    """One clock is 30 s ahead, and no callback is repeated."""
    met = [run_race(order) for order in islice(handovers(race, CLOCKS[1]), 60)]

    assert [failure for failure in met if failure is not None] == []


@pytest.mark.parametrize("clocks", CLOCKS, ids=str)
@pytest.mark.parametrize("race", RACES)
def test_any_order_of_simultaneous_calls_loses_nothing(race: str, clocks: tuple[int, int, int]) -> None:
    """Clocks differ by up to ten minutes. Beyond 30 s, a callback may be repeated under the same message id."""
    met = [run_race(order) for order in islice(shuffled(race, clocks, SEED), 5)]

    assert [failure for failure in met if failure is not None] == [], f"PROVE_SEED={SEED}"
