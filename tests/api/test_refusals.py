"""Rejected calls cost one log line per caller and minute, for any number of calls."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from bridge.api.auth import Refusals

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, int]]:
    """Return and clear the lines: caller, reason and count."""
    read = [json.loads(record.message) for record in caplog.records]
    caplog.clear()
    return [(each["caller"], each["why"], each["count"]) for each in read if each["event"] == "caller.refused"]


@pytest.fixture
def refusals(caplog: pytest.LogCaptureFixture) -> Refusals:
    """Count from zero, with the log captured."""
    caplog.set_level("INFO", "bridge")
    return Refusals()


def test_a_thousand_rejected_calls_in_a_minute_are_two_lines(
    refusals: Refusals, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(1_000):
        now = NOON + number * timedelta(milliseconds=50)
        refusals.write_ended(now)
        refusals.note("203.0.113.7", "malformed", now)
    at_once = lines(caplog)

    refusals.write_ended(NOON + 60 * SECOND)

    assert at_once == [("203.0.113.7", "malformed", 1)]
    assert lines(caplog) == [("203.0.113.7", "malformed", 999)]


def test_each_caller_has_its_own_line_with_the_last_reason(
    refusals: Refusals, caplog: pytest.LogCaptureFixture
) -> None:
    for caller, why in [("a", "malformed"), ("b", "expired"), ("a", "expired"), ("a", "issuer")]:
        refusals.note(caller, why, NOON)

    refusals.write_ended(NOON + 60 * SECOND)

    assert lines(caplog) == [("a", "malformed", 1), ("b", "expired", 1), ("a", "issuer", 2)]


def test_the_next_minute_begins_with_a_line(refusals: Refusals, caplog: pytest.LogCaptureFixture) -> None:
    for now in (NOON, NOON + 61 * SECOND):
        refusals.write_ended(now)
        refusals.note("a", "malformed", now)

    assert lines(caplog) == [("a", "malformed", 1)] * 2


def test_many_callers_take_bounded_memory_and_lines(refusals: Refusals, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(5_000):
        refusals.note(f"2001:db8::{number:x}", "missing", NOON)
    at_once = lines(caplog)

    refusals.write_ended(NOON + 60 * SECOND)

    assert len(at_once) == 1_001
    assert at_once[-1] == ("others", "missing", 1)
    assert lines(caplog) == [("others", "missing", 3_999)]
    assert not refusals._windows
