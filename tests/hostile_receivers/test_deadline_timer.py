"""The single thread behind all deadlines.

Tests that depend on an order control the clock. Otherwise, a pause of the machine between two lines could fire a timer
before the test cancels the timer.
"""

import threading
import time

from bridge.adapters.net.deadline import DeadlineTimer

#: Far more than a timer needs here, even on a slow machine.
GENEROUS = 20.0


class HeldClock:
    """A clock that only the test advances."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        """Return the seconds."""
        return self.seconds


def nothing() -> None:
    """Do nothing."""


def test_an_earlier_timer_wakes_the_thread() -> None:
    """The thread would sleep for an hour when the earlier timer is set."""
    timer, rung = DeadlineTimer(), threading.Event()
    timer.set(time.monotonic() + 3600, nothing)

    timer.set(time.monotonic() + 0.01, rung.set)

    assert rung.wait(GENEROUS)


def test_a_timer_does_not_fire_early() -> None:
    """Timer and test use the same clock."""
    rung, all_rung = list[float](), threading.Event()
    timer = DeadlineTimer()
    at = time.monotonic() + 0.03

    timer.set(at, lambda: rung.append(time.monotonic()))
    timer.set(at, all_rung.set)

    assert all_rung.wait(GENEROUS)
    assert rung[0] >= at


def test_only_due_timers_fire() -> None:
    """The order of setting is irrelevant."""
    clock, rung, first_rung, all_rung = HeldClock(), list[str](), threading.Event(), threading.Event()
    timer = DeadlineTimer(clock)
    for name, at in ("third", 0.09), ("first", 0.03), ("second", 0.06):
        timer.set(at, lambda name=name: rung.append(name))  # type: ignore[misc]
    timer.set(0.06, first_rung.set)

    clock.seconds = 0.06
    assert first_rung.wait(GENEROUS)
    assert sorted(rung) == ["first", "second"]

    timer.set(0.09, all_rung.set)
    clock.seconds = 0.09
    assert all_rung.wait(GENEROUS)
    assert rung[2:] == ["third"]


def test_a_canceled_timer_does_not_fire() -> None:
    """A later timer fires, by which time the canceled one would have fired."""
    clock, rung, later = HeldClock(), list[str](), threading.Event()
    timer = DeadlineTimer(clock)
    timer.cancel(timer.set(0.02, lambda: rung.append("canceled")))
    timer.set(0.05, later.set)

    clock.seconds = 0.05

    assert later.wait(GENEROUS)
    assert not rung


def test_a_failing_timer_does_not_stop_the_others() -> None:
    """All deadlines of the process depend on the thread."""

    def fail() -> None:
        raise OSError("already closed")

    clock, rung = HeldClock(), threading.Event()
    timer = DeadlineTimer(clock)
    timer.set(0.0, fail)

    timer.set(0.03, rung.set)
    clock.seconds = 0.03

    assert rung.wait(GENEROUS)


def test_many_timers_share_one_thread() -> None:
    """Canceled timers leave no thread either."""
    timer = DeadlineTimer()
    timer.set(time.monotonic() + 3600, nothing)
    before = threading.active_count()

    for _ in range(100):
        timer.cancel(timer.set(time.monotonic() + 3600, nothing))

    assert threading.active_count() == before
