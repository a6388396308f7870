"""The proof bites: each kind of fault that it looks for is injected, and found."""

import pytest

from tests.proof.fault_injection import INJECTED_FAULTS, caught


@pytest.mark.parametrize("fault", INJECTED_FAULTS)
def test_a_injected_fault_is_found(fault: str) -> None:
    """By the same lives and races that the bridge itself goes through."""
    assert caught(INJECTED_FAULTS[fault]()) is not None
