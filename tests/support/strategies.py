"""Strategies for values that several tests draw."""

from datetime import UTC, datetime

from hypothesis import strategies as st


def moments(first: str, last: str) -> st.SearchStrategy[datetime]:
    """Draw moments in UTC between two dates, each as `2026-01-31`."""
    return st.datetimes(datetime.fromisoformat(first), datetime.fromisoformat(last), timezones=st.just(UTC))
