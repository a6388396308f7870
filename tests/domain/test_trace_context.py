"""Validation of `traceparent` headers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.text import read_traceparent

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
EXAMPLE = f"00-{TRACE}-{PARENT}-01"  # of the specification, 3.2.4


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        EXAMPLE.upper(),
        f" {EXAMPLE}",
        f"{EXAMPLE}\n",
        f"{EXAMPLE},{EXAMPLE}",
        f"{EXAMPLE}-00",
        f"01-{TRACE}-{PARENT}-01",
        f"cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE[1:]}-{PARENT}-01",
        f"00-{TRACE}0-{PARENT}-01",
        f"00-{TRACE}-{PARENT[1:]}-01",
        f"00-{TRACE}-{PARENT}-1",
        f"00-{TRACE}-{PARENT}-0g",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}\u0661-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01\r\nX-Injected: yes",
    ],
)
def test_only_version_00_is_valid(header: str | None) -> None:
    """Rejected: other versions, case, lengths, white space and lists, and ids of zeros."""
    assert read_traceparent(header) is None


@given(
    trace_id=st.integers(1, 2**128 - 1),
    parent_id=st.integers(1, 2**64 - 1),
    flags=st.integers(0, 255),
)
def test_a_valid_traceparent_is_forwarded_unchanged(trace_id: int, parent_id: int, flags: int) -> None:
    """A receiver gets the caller's header, byte for byte."""
    header = f"00-{trace_id:032x}-{parent_id:016x}-{flags:02x}"

    assert read_traceparent(header) == header
