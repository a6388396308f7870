"""Timer triggers."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local.host.host import Host
from local.host.index import Function, TimerTrigger, index
from local.host.timer import run_timer
from local.host.worker import Worker
from tests.local.conftest import Probe

TICK = """
@app.timer_trigger("timer", schedule="%SCHEDULE%", use_monitor=False)
def tick(timer: func.TimerRequest) -> None:
    probe.seen.add(timer)
    probe.meanwhile()
    probe.fail()
"""

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


class FakeTime:
    """A clock that advances by waits and by the duration of invocations."""

    def __init__(self, takes: list[float]) -> None:
        self.now = NOON
        self.takes = takes
        self.began: list[float] = []

    def wait(self, duration: timedelta) -> bool:
        """Advance. Returns True, to stop, after the last invocation."""
        self.now += duration
        return len(self.began) == len(self.takes)

    def invoke(self) -> None:
        """Record the start in seconds after noon, and advance by the duration."""
        self.began.append((self.now - NOON).total_seconds())
        self.now += timedelta(seconds=self.takes[len(self.began) - 1])


@pytest.fixture
def timer(make_app: Callable[..., Path]) -> Function:
    """Index an app with a timer that fires every ten seconds."""
    (function,) = index(make_app(TICK), {"SCHEDULE": "*/10 * * * * *"}, prefix="api")
    return function


@pytest.mark.parametrize(
    ("takes", "expected", "why"),
    [
        ([1, 1, 1], [10, 20, 30], "short ones keep to the schedule"),
        ([12, 1, 1], [10, 22, 30], "one that overruns is followed at once"),
        ([45, 1, 1], [10, 55, 60], "the ticks at 20, 30, 40 and 50 are one"),
        ([12, 12, 12], [10, 22, 34], "the next one never begins before the last one ends"),
    ],
)
def test_one_invocation_at_a_time(
    timer: Function, probe: Probe, takes: list[float], expected: list[float], why: str
) -> None:
    """Real threads on a fake clock."""
    time = FakeTime(takes)
    worker = Worker(threads=1)
    assert isinstance(timer.trigger, TimerTrigger)
    probe.meanwhile = time.invoke

    run_timer(timer, timer.trigger, worker, now=lambda: time.now, wait=time.wait)

    worker.stop()
    assert time.began == expected, why


def test_late_invocation_is_not_past_due(timer: Function, probe: Probe) -> None:
    """On Azure, past due applies only to ticks missed while the app was down, and only with the monitor."""
    time = FakeTime([12, 1])
    worker = Worker(threads=1)
    assert isinstance(timer.trigger, TimerTrigger)
    probe.meanwhile = time.invoke

    run_timer(timer, timer.trigger, worker, now=lambda: time.now, wait=time.wait)

    worker.stop()
    assert [seen.past_due for seen in probe.seen.entries] == [False, False]


def test_timer_continues_after_an_exception(run: Callable[..., Host], probe: Probe) -> None:
    """In real time: the tick after the failed one fires."""
    probe.failures = 1
    run(TICK, settings={"SCHEDULE": "* * * * * *"})

    first, second, *_ = probe.seen.wait_for(2)

    assert first.schedule == second.schedule == {"AdjustForDST": True}
