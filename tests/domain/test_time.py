"""Instants of whole milliseconds."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.time import from_millis, iso, to_millis, whole_millis


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - bounds have no zone
def test_what_is_finer_than_a_millisecond_is_dropped(instant: datetime) -> None:
    """As it is where it is counted, so that a key and a column never differ."""
    assert whole_millis(instant) == from_millis(to_millis(instant))
    assert iso(whole_millis(instant)) == iso(instant)
