"""Short form of the model: any event after any other. `make prove` draws tens of thousands of steps."""

from tests.proof.machine import draw
from tests.proof.seed import SEED


def test_each_registration_moves_as_the_model_predicts() -> None:
    """Events: clients, upstream, receivers, time, a queue that loses and repeats messages, and failing storage."""
    lost = draw(SEED, scenarios=60, steps=40)

    assert lost is None, f"PROVE_SEED={SEED}: {lost}"
