"""The schedule of attempts."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.outcome import Failure, Gone, Outcome, Unreachable, answered
from bridge.domain.retry import ATTEMPTS_PER_RUN, SCHEDULE, DeadReason, Done, GiveUp, RetryAt, decide, parse_retry_after

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
REFUSED = answered(500, address=None)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_a_2xx_ends_the_delivery(status: int) -> None:
    """Holds for any attempt."""
    assert decide(answered(status, address=None), attempt_of_run=10, now=NOON, random=0.5) == Done()


def test_a_410_gives_up() -> None:
    """A 410 at the first attempt is sufficient."""
    assert isinstance(answered(410, address=None), Gone)
    assert decide(answered(410, address=None), attempt_of_run=1, now=NOON, random=0.5) == GiveUp(DeadReason.GONE)


@pytest.mark.parametrize(
    "outcome",
    [answered(each, address=None) for each in (301, 400, 404, 429, 500, 503)] + [Unreachable(error=Failure.DNS)],
)
def test_every_other_outcome_follows_the_schedule(outcome: Outcome) -> None:
    """Redirects are included, since they are not followed."""
    waits = [decide(outcome, attempt_of_run=number, now=NOON, random=0.5) for number in range(1, ATTEMPTS_PER_RUN + 1)]

    assert waits == [*(RetryAt(NOON + wait) for wait in SCHEDULE), GiveUp(DeadReason.EXHAUSTED)]


def test_a_run_lasts_three_days() -> None:
    """A receiver can be down for a weekend."""
    assert sum(SCHEDULE, timedelta()) == timedelta(hours=75, minutes=35, seconds=5)


@given(st.floats(0, 1, exclude_max=True), st.integers(1, len(SCHEDULE)))
def test_jitter_stays_within_a_fifth(random: float, attempt: int) -> None:
    decision = decide(REFUSED, attempt_of_run=attempt, now=NOON, random=random)

    assert isinstance(decision, RetryAt)
    assert 0.799 <= (decision.at - NOON) / SCHEDULE[attempt - 1] <= 1.201


@pytest.mark.parametrize(
    ("asked", "waits"),
    [
        (timedelta(seconds=1), timedelta(minutes=5)),
        (timedelta(hours=1), timedelta(hours=1)),
        (timedelta(days=30), timedelta(hours=24, minutes=5)),
    ],
)
def test_retry_after_only_lengthens_a_wait(asked: timedelta, waits: timedelta) -> None:
    """The limit is 24 hours."""
    outcome = answered(503, address=None, retry_after=asked)

    assert decide(outcome, attempt_of_run=2, now=NOON, random=0.5) == RetryAt(NOON + waits)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("38", 38),
        (" 38 ", 38),
        ("0", 0),
        ("99999999999999999999", 10**9),
        ("Mon, 23 Nov 2026 12:01:00 GMT", 60),
        ("Mon, 23 Nov 2026 11:00:00 GMT", None),
        ("-5", None),
        ("1.5", 2),
        ("600.5", 601),
        ("600.0", 600),
        ("600.", 600),
        (".5", 1),
        ("0.0001", 1),
        ("1.5.5", None),
        ("1e3", None),
        (".", None),
        ("1,5", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("٣٨", None),
        ("Mon, 99 Nov 2026 12:01:00 GMT", None),
        ("Mon, 23 Nov 2026 12:01:00", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: int | None) -> None:
    """RFC 9110, 10.2.3. Other values are ignored."""
    expected = None if seconds is None else timedelta(seconds=seconds)

    assert parse_retry_after(header, NOON) == expected


@given(st.text())
def test_any_retry_after_can_be_read(header: str) -> None:
    """Raises no exception."""
    wait = parse_retry_after(header, NOON)

    assert wait is None or wait >= timedelta(0)
