"""Attempts at one host: who enters leaves again, and who is held back never was there."""

from contextlib import suppress
from datetime import timedelta

import pytest

from bridge.core.pacing import MAX_IN_FLIGHT, SILENT_IN_A_ROW, HeldBack
from bridge.hosts import Hosts, Visit
from tests.support.world import FakeClock

HOST = "https://receiver.example.com"


def full(hosts: Hosts) -> None:
    """Begin as many attempts as a host takes at once."""
    for _ in range(MAX_IN_FLIGHT):
        assert hosts.enter(HOST, chance=0.0) is None


def silenced(hosts: Hosts) -> None:
    """Let a host be silent until it rests."""
    for _ in range(SILENT_IN_A_ROW):
        hosts.enter(HOST, chance=0.0)
        hosts.leave(HOST, answered=False)


def test_one_that_was_held_back_gives_no_place_free() -> None:
    """It took none: the next one is held back as well."""
    hosts = Hosts(FakeClock())
    full(hosts)

    for _ in range(2):
        with Visit(hosts) as visit:
            assert isinstance(visit.enter(HOST, chance=0.0), HeldBack)


def test_one_that_entered_gives_its_place_free_whatever_happened() -> None:
    """Even where the attempt ended in a fault of the program."""
    hosts = Hosts(FakeClock())
    for _ in range(3 * MAX_IN_FLIGHT):
        with suppress(RuntimeError), Visit(hosts) as visit:
            assert visit.enter(HOST, chance=0.0) is None
            raise RuntimeError("a bug")


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 5.0), (0.5, 7.5)])
def test_busy_ones_come_back_at_different_times(chance: float, seconds: float) -> None:
    """As chance has it: from five to ten seconds."""
    clock = FakeClock()
    hosts = Hosts(clock)
    full(hosts)

    held = Visit(hosts).enter(HOST, chance=chance)

    assert isinstance(held, HeldBack)
    assert (held.until - clock(), held.why) == (timedelta(seconds=seconds), "busy")


def test_a_resting_host_is_not_waited_for() -> None:
    """Whoever comes is told at once until when it rests; another host is free meanwhile."""
    clock = FakeClock()
    hosts = Hosts(clock)
    silenced(hosts)

    held = hosts.enter(HOST, chance=0.0)

    assert isinstance(held, HeldBack)
    assert (held.until - clock(), held.why) == (timedelta(seconds=30), "resting")
    assert hosts.enter("https://another.example.com", chance=0.0) is None
