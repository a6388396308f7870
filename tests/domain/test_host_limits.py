"""The state of one host: class, limit and circuit."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.host_limits import (
    CIRCUIT_BACKOFF,
    CLASS_PLACES,
    FAILURES_TO_OPEN,
    MAX_IN_FLIGHT,
    MAX_IN_FLIGHT_SLOW,
    PLACES,
    PROVEN_FOR,
    Deferred,
    HostClass,
    HostState,
    server_of,
)
from bridge.domain.outcome import Failure, Unreachable
from bridge.domain.registration import DeferredBy

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
QUICKLY = timedelta(milliseconds=50)
SLOWLY = timedelta(seconds=10)


def answered(state: HostState, took: timedelta = QUICKLY, now: datetime = NOON) -> HostState:
    return state.answered(now, took, address="203.0.113.7")


def failed(state: HostState, now: datetime = NOON) -> HostState:
    return state.failed(now, Unreachable(error=Failure.TIMEOUT))


def silent(times: int) -> HostState:
    """Return the state after failures in a row, each at the earliest time that the circuit permits."""
    state, now = HostState(), NOON
    for _ in range(times):
        now = max(now, state.open_until or now)
        state = failed(state, now)
    return state


@pytest.mark.parametrize(
    ("state", "host_class", "limit"),
    [
        (HostState(), HostClass.UNPROVEN, 1),
        (answered(HostState()), HostClass.QUICK, MAX_IN_FLIGHT),
        (answered(HostState(), SLOWLY), HostClass.SLOW, MAX_IN_FLIGHT_SLOW),
        (answered(answered(HostState()), SLOWLY), HostClass.SLOW, MAX_IN_FLIGHT_SLOW),
        (failed(answered(HostState())), HostClass.UNPROVEN, 1),
        (answered(HostState(), now=NOON - PROVEN_FOR - timedelta(seconds=1)), HostClass.UNPROVEN, 1),
        (answered(silent(FAILURES_TO_OPEN)), HostClass.QUICK, MAX_IN_FLIGHT),
    ],
)
def test_the_class_of_a_host_follows_its_last_answers(state: HostState, host_class: HostClass, limit: int) -> None:
    assert (state.class_at(NOON), state.limit(NOON)) == (host_class, limit)


def test_slow_and_unproven_hosts_leave_a_third_of_the_places() -> None:
    taken = CLASS_PLACES[HostClass.SLOW] + CLASS_PLACES[HostClass.UNPROVEN]

    assert PLACES - taken >= PLACES / 3


def test_a_circuit_is_open_for_longer_each_time() -> None:
    waits, now, state = [], NOON, silent(FAILURES_TO_OPEN - 1)
    for _ in range(7):
        state = failed(state, now)
        assert state.open_until is not None
        waits.append(state.open_until - now)
        now = state.open_until

    assert waits == [CIRCUIT_BACKOFF.first * 2**number for number in range(5)] + [CIRCUIT_BACKOFF.longest] * 2


def test_failures_that_end_while_the_circuit_is_open_do_not_lengthen_it() -> None:
    opened = silent(FAILURES_TO_OPEN)

    later = failed(failed(opened, NOON + timedelta(seconds=1)), NOON + timedelta(seconds=2))

    assert (later.openings, later.open_until, later.probe) == (1, opened.open_until, opened.probe)


def test_an_answer_closes_the_circuit_and_keeps_the_address() -> None:
    state = silent(FAILURES_TO_OPEN).answered(NOON, QUICKLY, address=None)

    assert state == HostState(answered_at=NOON, mean=QUICKLY, address=None)


def test_a_failed_probe_counts_only_for_attempts_due_by_then() -> None:
    opened = silent(FAILURES_TO_OPEN)
    assert opened.open_until is not None
    deferred = Deferred(until=opened.open_until, why=DeferredBy.CIRCUIT_OPEN, probe=opened.probe)

    assert deferred.counts_for(NOON) == opened.probe
    assert deferred.counts_for(NOON + timedelta(milliseconds=1)) is None
    assert Deferred(until=NOON, why=DeferredBy.CONCURRENCY).counts_for(NOON) is None


@pytest.mark.parametrize(
    ("origin", "address", "server"),
    [
        ("https://a.example.com", None, None),
        ("https://a.example.com", "203.0.113.7", "203.0.113.7 443"),
        ("https://b.example.com", "203.0.113.7", "203.0.113.7 443"),
        ("http://b.example.com:8080", "203.0.113.7", "203.0.113.7 8080"),
        ("http://203.0.113.7", None, "203.0.113.7 80"),
        ("https://[2001:db8:1:2:3::4]", None, "2001:db8:1:2:: 443"),
        ("https://a.example.com", "2001:db8:1:2:ffff::1", "2001:db8:1:2:: 443"),
        ("https://[not an origin", None, None),
        ("https://a.example.com:99999", None, None),
        ("", None, None),
    ],
)
def test_a_server_is_an_address_and_a_port(origin: str, address: str | None, server: str | None) -> None:
    assert server_of(origin, HostState(address=address)) == server


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20_000), st.integers(0, 900))))
def test_a_circuit_always_closes_again(history: list[tuple[bool, int, int]]) -> None:
    state, now = HostState(), NOON
    for is_answered, milliseconds, seconds in history:
        now += timedelta(seconds=seconds)
        took = timedelta(milliseconds=milliseconds)
        state = answered(state, took, now) if is_answered else failed(state, now)
        assert state.limit(now) >= 1
        assert state.open_until is None or state.open_until - now <= CIRCUIT_BACKOFF.longest

    assert not state.is_open(now + CIRCUIT_BACKOFF.longest)
