"""Backoff: each failure in a row doubles the wait, within its bounds, however many there are."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.retry import Backoff

SECOND = timedelta(seconds=1)


@st.composite
def backoffs(draw: st.DrawFn) -> Backoff:
    """Draw a first wait of up to a day, and a longest one that is no shorter."""
    first = draw(st.timedeltas(timedelta(microseconds=1), timedelta(days=1)))
    return Backoff(first, draw(st.timedeltas(first, timedelta(days=365))))


@pytest.mark.parametrize(("failures", "seconds"), [(1, 15), (2, 30), (3, 60), (4, 100), (5, 100), (10**6, 100)])
def test_the_wait_doubles_up_to_the_longest(failures: int, seconds: int) -> None:
    assert Backoff(15 * SECOND, 100 * SECOND).wait(failures) == seconds * SECOND


@given(backoffs(), st.integers(max_value=0))
def test_fewer_than_one_failure_count_as_one(backoff: Backoff, failures: int) -> None:
    """A row can hold any number."""
    assert backoff.wait(failures) == backoff.first


@given(backoffs(), st.integers(1, 100))
def test_each_wait_is_twice_the_last_or_the_longest(backoff: Backoff, failures: int) -> None:
    before, after = backoff.wait(failures), backoff.wait(failures + 1)

    assert after == min(2 * before, backoff.longest)


@given(backoffs(), st.integers(100, 10**30))
def test_many_failures_wait_for_the_longest_time(backoff: Backoff, failures: int) -> None:
    """No number of failures overflows."""
    assert backoff.wait(failures) == backoff.longest
