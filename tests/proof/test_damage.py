"""Short form of the damage: missing due rows and incomplete reads strand no registration."""

import pytest

from tests.proof.damage import damaged
from tests.proof.seed import SEED


@pytest.mark.parametrize("turn", range(6))
def test_every_registration_ends_after_due_rows_were_deleted_and_reads_found_nothing(turn: int) -> None:
    assert damaged(SEED + turn) is None
