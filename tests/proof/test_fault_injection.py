"""The proof finds each kind of injected fault."""

import pytest

from tests.proof.fault_injection import INJECTED_FAULTS, missed


@pytest.mark.parametrize("fault", INJECTED_FAULTS)
def test_an_injected_fault_is_found(fault: str) -> None:
    assert missed(fault) is None
