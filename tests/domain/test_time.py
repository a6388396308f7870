"""Times in whole milliseconds."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.time import from_millis, iso, parse_duration, parse_instant, to_millis, whole_millis
from tests.support.strategies import moments


@given(moments("1970-01-01", "9999-01-01"))
def test_fractions_of_a_millisecond_are_dropped(instant: datetime) -> None:
    """Keys have milliseconds, so a key and a column always agree."""
    assert whole_millis(instant) == from_millis(to_millis(instant))
    assert iso(whole_millis(instant)) == iso(instant)


@given(moments("1970-01-01", "9999-01-01"))
def test_a_written_instant_is_parsed_again(instant: datetime) -> None:
    assert parse_instant(iso(instant)) == whole_millis(instant)


@pytest.mark.parametrize("text", ["2026-11-23T15:04:05", "2026-11-23", "yesterday", "", None, 5, ["2026"]])
def test_a_time_without_a_zone_or_of_another_type_is_none(text: object) -> None:
    assert parse_instant(text) is None


@given(st.integers(0, 999_999), st.sampled_from([("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)]))
def test_a_duration_is_a_whole_number_with_a_unit(number: int, unit: tuple[str, int]) -> None:
    assert parse_duration(f" {number}{unit[0]} ") == timedelta(seconds=number * unit[1])


@pytest.mark.parametrize("text", ["45", "s", "-5m", "1.5h", "5 m", "5M", "1234567s", "5w", "٤s", ""])
def test_a_text_without_a_number_and_a_unit_is_no_duration(text: str) -> None:
    assert parse_duration(text) is None
