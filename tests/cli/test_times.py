"""Times on a terminal are relative to now, and exact in a pipe."""

from datetime import timedelta

import pytest

from bridge.cli.output import Times, span
from tests.support.cli import Terminal, type_in
from tests.support.fake_bridge import FakeBridge, attempt, registration
from tests.support.harness import NOON

ID = "default~operation-1~0123456789abcdef"


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(seconds=-5), "0 s"),
        (timedelta(milliseconds=900), "0 s"),
        (timedelta(seconds=119), "119 s"),
        (timedelta(minutes=2), "2 min"),
        (timedelta(minutes=119), "119 min"),
        (timedelta(hours=2), "2 h"),
        (timedelta(hours=47), "47 h"),
        (timedelta(days=2), "2 days"),
    ],
)
def test_a_length_has_one_unit(length: timedelta, text: str) -> None:
    assert span(length) == text


def test_a_planned_time_that_has_passed_is_now_and_never_in_the_past() -> None:
    times = Times(NOON)

    assert times.due("2026-11-23T12:04:00.000Z") == "in 4 min"
    assert times.due("2026-11-23T11:59:00.000Z") == "now"
    assert times.at("2026-11-23T11:56:00.000Z") == "4 min ago"
    assert times.until("2026-11-23T12:00:43.000Z") == "for another 43 s"


def test_show_has_relative_and_exact_times_on_a_terminal_and_exact_ones_in_a_pipe(fake: FakeBridge) -> None:
    shown = registration(state="pending", nextAttemptAt="2026-11-23T12:14:00.000Z", attempts=[attempt(500)])
    fake.script(f"GET registrations/{ID}", (200, shown))

    output = [
        type_in("show", ID, environment=fake.environment, clock=lambda: NOON + timedelta(minutes=10), out=out)
        for out in (Terminal(), None)
    ]

    assert "pending for 10 min (2026-11-23T12:00:00.000Z); next attempt in 4 min (2026-11-23T12:14" in output[0].out
    assert "1  9 min ago (2026-11-23T12:01:00.000Z)  HTTP 500" in output[0].out
    assert "pending since 2026-11-23T12:00:00.000Z; next attempt at 2026-11-23T12:14:00.000Z" in output[1].out
    assert " ago" not in output[1].out


def test_status_has_relative_times_on_a_terminal(fake: FakeBridge) -> None:
    source = {
        "name": "default", "requestsPerSecond": 4, "highestRequestsPerSecond": 10, "pausedUntil": None,
        "stoppedUntil": "2026-11-23T12:00:43.000Z", "problem": None,
    }  # fmt: skip
    status = {
        "lastSweepAt": "2026-11-23T11:59:30.000Z", "oldestOverdueAt": "2026-11-23T11:50:00.000Z", "registrations": {},
        "queue": {"problem": "refuses messages", "since": "2026-11-23T11:00:00.000Z", "advice": "check the roles"},
        "sources": [source],
    }  # fmt: skip
    fake.script("GET status", (200, status))
    fake.script("GET registrations", (200, {"value": [], "nextLink": None}))

    output = type_in("status", environment=fake.environment, clock=lambda: NOON, out=Terminal())

    for words in ("30 s ago (2026", "for 10 min (2026", "refuses messages, for 60 min", "stopped for another 43 s"):
        assert words in output.out
