"""The times of timers."""

from datetime import UTC, datetime, timedelta

import pytest

from local.host.schedule import Schedule


def at(text: str) -> datetime:
    """Parse a time of one day. `18:00:03.5` is three and a half seconds past six."""
    return datetime.fromisoformat(f"2026-11-23T{text}").replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "now", "expected"),
    [
        ("*/10 * * * * *", "18:00:03.500", "18:00:10"),
        ("*/10 * * * * *", "18:00:10", "18:00:20"),
        ("* * * * * *", "18:00:59.999", "18:01:00"),
        ("30 5 * * * *", "18:05:30", "19:05:30"),
        ("0 0,30 18-20 * * *", "18:00:00", "18:30:00"),
        ("*/5 * * * *", "18:01:02", "18:05:00"),
        ("0 0 19 * Nov Mon", "18:00:00", "19:00:00"),
    ],
)
def test_occurrences_follow_the_expression_with_seconds_first(expression: str, now: str, expected: str) -> None:
    """Six fields start with the second, five with the minute."""
    assert Schedule.parse(expression).after(at(now)) == at(expected)


def test_day_of_month_and_day_of_week_must_both_match() -> None:
    """Other crons require one of the two. NCRONTAB requires a Monday that is the first."""
    schedule = Schedule.parse("0 0 0 1 * 1")

    assert schedule.after(at("18:00:00")) == datetime(2027, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * *",
        "* * * * * * *",
        "60 * * * * *",
        "* * 24 * * *",
        "0 0 0 * * 7",
        "0 0 0 31 2 *",
        "@hourly",
        "0 0 0 L * *",
        "0 0 0 ? * *",
        "0 0 0 * * 1#2",
        "H * * * * *",
        "R * * * * *",
        "00:00:10",
        "every ten seconds or so ok",
    ],
)
def test_extensions_that_ncrontab_lacks_are_rejected(expression: str) -> None:
    """Extensions of other crons would fire here but not on Azure."""
    with pytest.raises(ValueError, match=r"NCRONTAB|never comes|days of the week"):
        Schedule.parse(expression)


@pytest.mark.parametrize(
    ("due", "started", "expected", "why"),
    [
        ("18:00:10", "18:00:10.002", "18:00:20", "on time"),
        ("18:00:10", "18:00:09.990", "18:00:20", "a moment early, and still only once"),
        ("18:00:10", "18:00:25", "18:00:30", "late: the ticks at 10 and 20 are one"),
        ("18:00:10", "18:10:00", "18:10:10", "very late: sixty ticks are one"),
    ],
)
def test_missed_ticks_collapse_into_one(due: str, started: str, expected: str, why: str) -> None:
    """The following tick counts from the start of the previous invocation."""
    schedule = Schedule.parse("*/10 * * * * *")

    assert schedule.following(at(due), at(started)) == at(expected), why


def test_an_invocation_that_overruns_is_followed_at_once() -> None:
    """The invocation started at 10 and took 15 s, so the tick at 20 has passed."""
    schedule = Schedule.parse("*/10 * * * * *")

    following = schedule.following(at("18:00:10"), at("18:00:10"))

    assert following - at("18:00:25") < timedelta(0)
