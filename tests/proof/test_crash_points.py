"""Whatever goes wrong at any call, nothing is lost. The short form; `make prove` tries everything."""

from itertools import islice

import pytest

from tests.proof.calls import Call
from tests.proof.crashes import live, several, singles, trace
from tests.proof.scenarios import SCENARIOS, Scenario
from tests.proof.seed import SEED

scenarios = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: str(scenario.__name__))


@scenarios
def test_one_thing_that_goes_wrong_loses_nothing(scenario: Scenario) -> None:
    """A third of all points, in turns over what can go wrong at each."""
    plans = islice(singles(trace(scenario)), 0, None, 3)

    assert [str(failed) for failed in (live(scenario, plan) for plan in plans) if failed is not None] == []


@scenarios
def test_several_things_that_go_wrong_lose_nothing(scenario: Scenario) -> None:
    """Two to five, drawn; half of them close together."""
    plans = islice(several(trace(scenario), SEED, most=5), 60)

    failures = [str(failed) for failed in (live(scenario, plan) for plan in plans) if failed is not None]

    assert failures == [], f"PROVE_SEED={SEED}"


def test_the_lives_make_every_kind_of_call() -> None:
    """Otherwise the proof would prove less than it says."""
    assert {call for scenario in SCENARIOS for call in trace(scenario)} == set(Call)
