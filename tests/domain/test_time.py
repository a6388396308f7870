"""Times in whole milliseconds."""

from datetime import datetime

from hypothesis import given

from bridge.domain.time import from_millis, iso, to_millis, whole_millis
from tests.support.strategies import moments


@given(moments("1970-01-01", "9999-01-01"))
def test_what_is_finer_than_a_millisecond_is_dropped(instant: datetime) -> None:
    """As it is where it is counted, so that a key and a column never differ."""
    assert whole_millis(instant) == from_millis(to_millis(instant))
    assert iso(whole_millis(instant)) == iso(instant)
