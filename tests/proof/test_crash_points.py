"""Whatever goes wrong at any call, nothing is lost. The short form; `make prove` tries everything."""

from itertools import islice

import pytest

from tests.proof.calls import Call
from tests.proof.crashes import live, several, singles, trace
from tests.proof.lives import LIVES, Life
from tests.proof.seed import SEED

lives = pytest.mark.parametrize("life", LIVES, ids=lambda life: str(life.__name__))


@lives
def test_one_thing_that_goes_wrong_loses_nothing(life: Life) -> None:
    """A third of all points, in turns over what can go wrong at each."""
    plans = islice(singles(trace(life)), 0, None, 3)

    assert [str(failed) for failed in (live(life, plan) for plan in plans) if failed is not None] == []


@lives
def test_several_things_that_go_wrong_lose_nothing(life: Life) -> None:
    """Two to five, drawn; half of them close together."""
    plans = islice(several(trace(life), SEED, most=5), 60)

    failures = [str(failed) for failed in (live(life, plan) for plan in plans) if failed is not None]

    assert failures == [], f"PROVE_SEED={SEED}"


def test_the_lives_make_every_kind_of_call() -> None:
    """Otherwise the proof would prove less than it says."""
    assert {call for life in LIVES for call in trace(life)} == set(Call)
