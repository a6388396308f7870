"""The one thread of all deadlines.

Its clock is the test's wherever an order matters: a machine that stops for a moment between two lines of a test would
else let ring what the second line calls off.
"""

import threading
import time

from bridge.adapters.net.deadline import DeadlineTimer

#: Far more than a ring may take here, on the slowest of machines.
GENEROUS = 20.0


class HeldClock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        """Tell them."""
        return self.seconds


def nothing() -> None:
    """Ring unheard."""


def test_an_earlier_alarm_wakes_who_sleeps_until_a_later_one() -> None:
    """The thread sleeps for an hour when it is set."""
    timer, rung = DeadlineTimer(), threading.Event()
    timer.set(time.monotonic() + 3600, nothing)

    timer.set(time.monotonic() + 0.01, rung.set)

    assert rung.wait(GENEROUS)


def test_an_alarm_does_not_ring_before_its_time() -> None:
    """By the same clock."""
    rung, all_rung = list[float](), threading.Event()
    timer = DeadlineTimer()
    at = time.monotonic() + 0.03

    timer.set(at, lambda: rung.append(time.monotonic()))
    timer.set(at, all_rung.set)

    assert all_rung.wait(GENEROUS)
    assert rung[0] >= at


def test_what_is_due_rings_and_what_is_not_waits() -> None:
    """In whatever order they were set."""
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


def test_what_was_called_off_does_not_ring() -> None:
    """A later one does, by which time it would have."""
    clock, rung, later = HeldClock(), list[str](), threading.Event()
    timer = DeadlineTimer(clock)
    timer.cancel(timer.set(0.02, lambda: rung.append("canceled")))
    timer.set(0.05, later.set)

    clock.seconds = 0.05

    assert later.wait(GENEROUS)
    assert not rung


def test_an_alarm_that_fails_takes_no_other_with_it() -> None:
    """All deadlines of the process hang on the thread."""

    def fail() -> None:
        raise OSError("already closed")

    clock, rung = HeldClock(), threading.Event()
    timer = DeadlineTimer(clock)
    timer.set(0.0, fail)

    timer.set(0.03, rung.set)
    clock.seconds = 0.03

    assert rung.wait(GENEROUS)


def test_many_alarms_have_one_thread() -> None:
    """And no other is left by those that were canceled."""
    timer = DeadlineTimer()
    timer.set(time.monotonic() + 3600, nothing)
    before = threading.active_count()

    for _ in range(100):
        timer.cancel(timer.set(time.monotonic() + 3600, nothing))

    assert threading.active_count() == before
