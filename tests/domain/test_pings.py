"""The rate limit of pings."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.rate_limit import PINGS_A_MINUTE, Pings, take_ping
from bridge.domain.time import to_millis

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@given(st.lists(st.integers(0, 90_000), max_size=200))
def test_at_most_ten_pings_are_allowed_in_any_minute(waits: list[int]) -> None:
    """Holds for any order of pings. A client that waits for `Retry-After` gets a ping."""
    pings, now, sent = Pings(), NOON, []
    for wait in waits:
        now += timedelta(milliseconds=wait)
        after = take_ping(pings, now, tx="")
        if isinstance(after, timedelta):
            assert timedelta(0) < after <= timedelta(minutes=1)
            assert isinstance(take_ping(pings, now + after, tx=""), Pings)
        else:
            pings = after
            sent.append(now)

    for first, last in zip(sent, sent[PINGS_A_MINUTE:], strict=False):
        assert last - first >= timedelta(minutes=1)


def test_an_allowed_ping_is_stored_with_its_tx() -> None:
    """The row stores the `tx` and the pings of the last minute."""
    old, young = (to_millis(NOON - timedelta(seconds=seconds)) for seconds in (60, 59))

    assert take_ping(Pings(recent=(old, young)), NOON, tx="mine") == Pings(recent=(young, to_millis(NOON)), tx="mine")


@pytest.mark.parametrize(("millis", "is_possible"), [(-1, False), (0, True), (10**13 - 1, True), (10**13, False)])
def test_impossible_times_are_rejected(millis: int, *, is_possible: bool) -> None:
    """Such times would block all pings, or fail later."""
    if is_possible:
        assert Pings(recent=(millis,)).recent == (millis,)
        return
    with pytest.raises(ValueError, match=r"^a time out of range$"):
        Pings(recent=(millis,))


def test_a_clock_that_was_ahead_delays_pings_by_at_most_a_minute() -> None:
    """Future times count as of now."""
    ahead = Pings(recent=(to_millis(NOON + timedelta(minutes=5)),) * PINGS_A_MINUTE)

    assert take_ping(ahead, NOON, tx="") == timedelta(minutes=1)
