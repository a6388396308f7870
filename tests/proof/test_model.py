"""Anything may happen after anything. The short form; `make prove` draws tens of thousands of steps."""

from tests.proof.machine import draw
from tests.proof.seed import SEED


def test_whatever_happens_each_registration_moves_as_the_model_says() -> None:
    """Clients, upstream, receivers, time, a queue that loses and repeats, and storage that fails."""
    lost = draw(SEED, scenarios=60, steps=40)

    assert lost is None, f"PROVE_SEED={SEED}: {lost}"
