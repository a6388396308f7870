"""Many things at once: how a sweep asks."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from bridge.sweeping.crew import results

GENEROUS = 20.0


def test_everything_is_done_once() -> None:
    """By more threads than there are things, or fewer."""
    for threads in (1, 3, 40):
        with ThreadPoolExecutor(threads) as executor:
            found = list(results(executor, threads, range(20), lambda each: each * 2, while_=lambda: True))

        assert sorted(found) == list(range(0, 40, 2))


def test_so_many_are_under_way_at_once() -> None:
    """Three meet at a barrier that three must reach; a fourth would break it."""
    meeting = threading.Barrier(3, timeout=GENEROUS)

    with ThreadPoolExecutor(8) as executor:
        found = list(results(executor, 3, range(9), lambda _: meeting.wait(), while_=lambda: True))

    assert sorted(found) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_what_has_ended_is_had_before_the_rest_has() -> None:
    """So that it can be committed."""
    go_on = threading.Event()

    with ThreadPoolExecutor(2) as executor:
        found = results(executor, 2, [0, 1], lambda each: each or go_on.wait(GENEROUS), while_=lambda: True)

        first = next(found)
        go_on.set()

        assert first is not None
        assert len(list(found)) == 1


def test_none_is_begun_once_the_time_is_over() -> None:
    """What is under way is still waited for."""
    time_left = iter([True, True, True, True, False])

    with ThreadPoolExecutor(1) as executor:
        found = list(results(executor, 1, range(9), abs, while_=lambda: next(time_left)))

    assert found == [0, 1, 2, 3]


def test_a_failure_is_raised_after_the_others_have_ended() -> None:
    """Nothing that was done is lost."""

    def do(each: int) -> int:
        if each == 1:
            raise KeyError(each)
        return each

    found: list[int] = []
    with ThreadPoolExecutor(2) as executor, pytest.raises(KeyError):
        found.extend(results(executor, 2, range(5), do, while_=lambda: True))

    assert {0, 2, 3, 4} <= set(found)
