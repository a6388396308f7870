"""How receivers are kept apart."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from bridge.core.pacing import FIRST_REST, LONGEST_REST, MAX_IN_FLIGHT, SILENT_IN_A_ROW, HeldBack, Host, admit, leave

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def attempt(host: Host, now: datetime, *, answered: bool | None) -> Host:
    """Make one attempt."""
    admitted = admit(host, now, chance=0)
    assert isinstance(admitted, Host)
    return leave(admitted, now, answered=answered)


def silent(times: int) -> Host:
    """Make a host that was silent so many times in a row, waiting out its rests."""
    host, now = Host(), NOON
    for _ in range(times):
        now = max(now, host.resting_until or now)
        host = attempt(host, now, answered=False)
    return host


def test_a_host_takes_four_attempts_at_once() -> None:
    """The fifth is held back for a while, spread over as long again."""
    host = Host()
    for _ in range(MAX_IN_FLIGHT):
        admitted = admit(host, NOON, chance=0)
        assert isinstance(admitted, Host)
        host = admitted

    assert admit(host, NOON, chance=0) == HeldBack(NOON + timedelta(seconds=5), "busy")
    assert admit(host, NOON, chance=0.5) == HeldBack(NOON + timedelta(seconds=7.5), "busy")
    assert isinstance(admit(leave(host, NOON, answered=True), NOON, chance=0), Host)


def test_a_silent_host_rests_ever_longer() -> None:
    """30 s, doubling to 10 min."""
    rests, now, host = [], NOON, silent(SILENT_IN_A_ROW - 1)
    for _ in range(7):
        host = attempt(host, now, answered=False)
        assert host.resting_until is not None
        rests.append(host.resting_until - now)
        now = host.resting_until

    assert rests == [FIRST_REST * 2**number for number in range(5)] + [LONGEST_REST] * 2


def test_a_resting_host_is_left_alone_until_its_time() -> None:
    """And says until when."""
    host = silent(SILENT_IN_A_ROW)
    assert host.resting_until is not None

    assert admit(host, NOON, chance=0) == HeldBack(host.resting_until, "resting")
    assert isinstance(admit(host, host.resting_until, chance=0), Host)


def test_after_a_rest_one_attempt_probes() -> None:
    """The others wait for what comes of it."""
    host = silent(SILENT_IN_A_ROW)
    later = NOON + FIRST_REST
    probing = admit(host, later, chance=0)
    assert isinstance(probing, Host)

    assert admit(probing, later, chance=0) == HeldBack(later + timedelta(seconds=5), "busy")


def test_an_answer_makes_up_for_everything() -> None:
    """Whatever it was: the host is there."""
    assert attempt(silent(SILENT_IN_A_ROW), NOON + FIRST_REST, answered=True) == Host(answers=True)


def test_silence_of_attempts_that_began_before_a_rest_does_not_lengthen_it() -> None:
    """They were in flight together."""
    host = silent(SILENT_IN_A_ROW - 1)
    for _ in range(3):
        admitted = admit(host, NOON, chance=0)
        assert isinstance(admitted, Host)
        host = admitted
    for _ in range(3):
        host = leave(host, NOON, answered=False)

    assert (host.rests, host.resting_until) == (1, NOON + FIRST_REST)


def test_patience_is_for_those_who_answer() -> None:
    """A silent host keeps no thread waiting."""
    assert Host(answers=True).patience == timedelta(seconds=1)
    assert Host().patience == timedelta(milliseconds=100)
    assert silent(1).patience == timedelta(0)


def test_an_attempt_that_was_not_made_says_nothing() -> None:
    """Neither for nor against the host."""
    assert attempt(silent(3), NOON, answered=None) == silent(3)


steps = st.lists(st.tuples(st.sampled_from(["enter", "answer", "silence", "nothing"]), st.integers(0, 900)))


@given(steps)
def test_a_host_is_never_overrun_and_always_comes_back(history: list[tuple[str, int]]) -> None:
    """Under any history."""
    host, now = Host(), NOON
    for step, seconds in history:
        now += timedelta(seconds=seconds)
        if step == "enter":
            admitted = admit(host, now, chance=0)
            host = admitted if isinstance(admitted, Host) else host
        elif host.in_flight:
            host = leave(host, now, answered={"answer": True, "silence": False, "nothing": None}[step])
        assert 0 <= host.in_flight <= MAX_IN_FLIGHT
        assert host.resting_until is None or host.resting_until - now <= LONGEST_REST

    while host.in_flight:
        host = leave(host, now, answered=None)
    assert isinstance(admit(host, now + LONGEST_REST, chance=0), Host)


def test_one_that_leaves_takes_its_own_place_and_no_other() -> None:
    """Whether it was answered, was not, or was not made; what is known of the host follows the last one."""
    busy = Host(in_flight=3, answers=True)

    assert leave(busy, NOON, answered=None) == Host(in_flight=2, answers=True)
    assert leave(busy, NOON, answered=True) == Host(in_flight=2, answers=True)
    assert leave(busy, NOON, answered=False) == Host(in_flight=2, answers=False, silent=1)
