"""Data of a clock that was ahead: corrected on reading, reported, and temporary."""

from datetime import datetime, timedelta

import pytest

from bridge.api.handlers import Handlers
from bridge.domain.rate_limit import Budget, clamped, deny, fresh, reserve, throttle
from bridge.domain.time import CLOCK_SKEW
from bridge.storage.table import ANY, Merge, Transaction
from tests.support.harness import NOON, FakeClock, Harness, harness
from tests.support.http import Client
from tests.support.log_lines import lines_of
from tests.support.poll_errors import http_error

HOUR = timedelta(hours=1)


def ahead(bridge: Harness, by: timedelta) -> Harness:
    """Return another instance on the same storage, with a clock that is ahead."""
    other = harness(lambda _: bridge.memory, SPEECH_REQUESTS_PER_SECOND="1")
    other.clock.now = bridge.clock.now + by
    return other


@pytest.mark.parametrize("by", [timedelta(seconds=90), HOUR, timedelta(days=400)])
def test_polling_goes_on_within_a_minute_of_an_instance_that_was_ahead(by: timedelta) -> None:
    bridge = harness(SPEECH_REQUESTS_PER_SECOND="1")
    other = ahead(bridge, by)
    for number in range(40):
        other.register(f"early-{number}")
    for _ in range(2):
        other.sweep()
        other.clock.advance(10)
        bridge.clock.advance(10)
    bridge.register("late")

    for _ in range(6):
        bridge.sweep()
        bridge.clock.advance(10)

    assert "late" in [ref.id for ref in bridge.upstream.asked]


@pytest.mark.parametrize("by", [HOUR, timedelta(days=400)])
def test_the_heartbeat_of_an_instance_that_was_ahead_is_overwritten(
    by: timedelta, caplog: pytest.LogCaptureFixture
) -> None:
    bridge = harness()
    ahead(bridge, by).sweep()

    bridge.sweep()

    [row] = [row for row in bridge.memory.rows("sources") if row.key == "heartbeat"]
    assert row.values["at"] == NOON
    assert [line["row"] for line in lines_of(caplog) if line["event"] == "clock.ahead"] == ["heartbeat"]
    assert "sweep.finished" not in caplog.text  # below the level of this test
    assert Client.of(bridge).call(Handlers.status, "/status").body["clocksAhead"] == []


def test_a_status_reports_future_times_without_showing_them() -> None:
    bridge = harness()
    other = ahead(bridge, HOUR)
    other.register()
    other.sweep()

    shown = Client.of(bridge).call(Handlers.status, "/status").body

    assert {each["row"] for each in shown["clocksAhead"]} == {"heartbeat", "source:default"}
    assert datetime.fromisoformat(shown["lastSweepAt"]) == NOON + CLOCK_SKEW


def test_a_corrected_row_is_written_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    bridge = harness()
    bridge.register()
    bridge.sweep()
    bridge.memory.commit(
        Transaction("sources", (Merge("source:default", {"at": NOON + HOUR, "changed_at": NOON + HOUR}, ANY),))
    )
    caplog.clear()
    for _ in range(6):
        bridge.clock.advance(20)
        bridge.sweep()

    lines = [line for line in lines_of(caplog) if line["event"] == "clock.ahead"]
    assert [(line["row"], line["columns"]) for line in lines] == [("source:default", ["at", "changed_at"])]


@pytest.mark.parametrize("wait", [None, timedelta(seconds=10), timedelta(minutes=20)])
def test_a_clock_that_was_ahead_does_not_lengthen_a_throttling_pause(wait: timedelta | None) -> None:
    told = wait or timedelta(seconds=30)
    stopped = throttle(fresh(NOON + HOUR, highest=1), wait, NOON + HOUR, asked_at=NOON + HOUR)

    corrected, wrong = clamped(stopped, NOON)

    assert corrected.stopped_until == NOON + CLOCK_SKEW + told
    assert "stopped_until" in wrong


def test_a_clock_that_was_ahead_does_not_lengthen_a_pause() -> None:
    paused = deny(fresh(NOON + HOUR, highest=1), http_error(401), NOON + HOUR, asked_at=NOON + HOUR)

    corrected, _ = clamped(paused, NOON)

    assert corrected.paused_until == NOON + CLOCK_SKEW + timedelta(minutes=1)


@pytest.mark.parametrize(("column", "longest"), [("stopped_until", HOUR), ("paused_until", timedelta(minutes=15))])
def test_a_pause_of_unknown_length_is_at_most_the_longest(column: str, longest: timedelta) -> None:
    """A row of the previous version has no length of the pause."""
    budget = Budget(rate=1, tokens=0, at=NOON, changed_at=NOON, **{column: NOON + timedelta(days=3)})  # type: ignore[arg-type]

    corrected, wrong = clamped(budget, NOON)

    assert getattr(corrected, column) == NOON + CLOCK_SKEW + longest
    assert wrong == [column]


def test_times_within_the_clock_skew_are_unchanged() -> None:
    stopped = throttle(fresh(NOON + CLOCK_SKEW, highest=1), HOUR, NOON + CLOCK_SKEW, asked_at=NOON + CLOCK_SKEW)
    denied = deny(stopped, http_error(401), NOON + CLOCK_SKEW, asked_at=NOON + CLOCK_SKEW)

    assert clamped(denied, NOON) == (denied, [])


def test_a_corrected_pause_ends() -> None:
    """Reads every ten seconds, like sweeps, correct the pause once, not each time."""
    clock = FakeClock()
    budget = throttle(fresh(NOON + HOUR, highest=1), None, NOON + HOUR, asked_at=NOON + HOUR)
    seconds = 0
    while not reserve(budget, 1, clock(), highest=1)[1]:
        budget, _ = clamped(budget, clock())
        clock.advance(10)
        seconds += 10
        assert seconds < 200

    assert seconds <= 100
