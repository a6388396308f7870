"""The one thread of all deadlines."""

import threading
import time

from bridge.adapters.alarms import Alarms

#: Far more than a ring may take here, on the slowest of machines.
GENEROUS = 20.0

_rung_wrongly: list[float] = []


def never() -> None:
    """Note that what must not ring has rung: a failure in that thread would be seen by nobody."""
    _rung_wrongly.append(time.monotonic())


def test_an_earlier_alarm_wakes_who_sleeps_until_a_later_one() -> None:
    """The thread sleeps for an hour when it is set."""
    alarms, rung = Alarms(), threading.Event()
    alarms.set(time.monotonic() + 3600, never)

    alarms.set(time.monotonic() + 0.01, rung.set)

    assert rung.wait(GENEROUS)


def test_alarms_ring_in_the_order_of_their_times() -> None:
    """Whatever the order in which they were set, and none before its time."""
    alarms, rung, all_rung = Alarms(), list[tuple[float, float]](), threading.Event()
    now = time.monotonic()

    for after in (0.09, 0.03, 0.06):
        alarms.set(now + after, lambda at=now + after: rung.append((at, time.monotonic())))  # type: ignore[misc]
    alarms.set(now + 0.12, all_rung.set)

    assert all_rung.wait(GENEROUS)
    assert [at for at, _ in rung] == sorted(at for at, _ in rung)
    assert all(rang >= at for at, rang in rung)


def test_what_was_called_off_does_not_ring() -> None:
    """A later one does, by which time it would have."""
    alarms, rung = Alarms(), threading.Event()
    now = time.monotonic()
    alarms.call_off(alarms.set(now + 0.02, never))

    alarms.set(now + 0.05, rung.set)

    assert rung.wait(GENEROUS)
    assert not _rung_wrongly


def test_an_alarm_that_fails_takes_no_other_with_it() -> None:
    """All deadlines of the process hang on the thread."""

    def fail() -> None:
        raise OSError("already closed")

    alarms, rung = Alarms(), threading.Event()
    now = time.monotonic()
    alarms.set(now, fail)

    alarms.set(now + 0.03, rung.set)

    assert rung.wait(GENEROUS)


def test_many_alarms_have_one_thread() -> None:
    """And no other is left by those that were called off."""
    alarms = Alarms()
    alarms.set(time.monotonic() + 3600, never)
    before = threading.active_count()

    for _ in range(100):
        alarms.call_off(alarms.set(time.monotonic() + 3600, never))

    assert threading.active_count() == before
