"""Invocations that meet lose nothing, and tell nobody twice. The short form; `make prove` tries every order."""

from itertools import islice

import pytest

from tests.proof.interleavings import CLOCKS, handovers, run_race, shuffled
from tests.proof.races import RACES
from tests.proof.seed import SEED


@pytest.mark.parametrize("race", RACES)
def test_whoever_gives_way_anywhere_does_no_harm(race: str) -> None:
    """With one clock 30 s ahead: nobody is told twice."""
    met = [run_race(order) for order in islice(handovers(race, CLOCKS[1]), 60)]

    assert [failure for failure in met if failure is not None] == []


@pytest.mark.parametrize("clocks", CLOCKS, ids=str)
@pytest.mark.parametrize("race", RACES)
def test_any_order_of_calls_does_no_harm(race: str, clocks: tuple[int, int, int]) -> None:
    """Drawn, with clocks that differ by up to ten minutes: past 30 s a message may come twice, under its one name."""
    met = [run_race(order) for order in islice(shuffled(race, clocks, SEED), 5)]

    assert [failure for failure in met if failure is not None] == [], f"PROVE_SEED={SEED}"
