"""Short form of the crash points: a fault at any call loses nothing. `make prove` tries every point."""

from itertools import islice

import pytest

from tests.proof.calls import Call
from tests.proof.crashes import live, several, singles, trace
from tests.proof.scenarios import SCENARIOS, Scenario
from tests.proof.seed import SEED

scenarios = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: str(scenario.__name__))


@scenarios
def test_a_single_fault_loses_nothing(scenario: Scenario) -> None:
    """A third of all points, in rotation over the faults of each."""
    plans = islice(singles(trace(scenario)), 0, None, 3)

    assert [str(failed) for failed in (live(scenario, plan) for plan in plans) if failed is not None] == []


@scenarios
def test_several_faults_lose_nothing(scenario: Scenario) -> None:
    """Two to five faults at random, half of them close together."""
    plans = islice(several(trace(scenario), SEED, most=5), 60)

    failures = [str(failed) for failed in (live(scenario, plan) for plan in plans) if failed is not None]

    assert failures == [], f"PROVE_SEED={SEED}"


def test_the_scenarios_make_every_kind_of_call() -> None:
    """A missing kind of call would weaken the proof unnoticed."""
    assert {call for scenario in SCENARIOS for call in trace(scenario)} == set(Call)
