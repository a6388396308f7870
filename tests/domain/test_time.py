"""Times in whole milliseconds."""

from datetime import datetime

from hypothesis import given

from bridge.domain.time import from_millis, iso, to_millis, whole_millis
from tests.support.strategies import moments


@given(moments("1970-01-01", "9999-01-01"))
def test_fractions_of_a_millisecond_are_dropped(instant: datetime) -> None:
    """Keys have milliseconds, so a key and a column always agree."""
    assert whole_millis(instant) == from_millis(to_millis(instant))
    assert iso(whole_millis(instant)) == iso(instant)
