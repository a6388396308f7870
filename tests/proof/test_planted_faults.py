"""The proof bites: each kind of fault that it looks for is planted, and found."""

import pytest

from tests.proof.plants import PLANTS, caught


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_fault_is_found(plant: str) -> None:
    """By the same lives and meetings that the bridge itself goes through."""
    assert caught(PLANTS[plant]()) is not None
