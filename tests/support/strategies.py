"""Strategies that several tests use."""

from datetime import UTC, datetime

from hypothesis import strategies as st


def moments(first: str, last: str) -> st.SearchStrategy[datetime]:
    """Draw UTC times between two dates, each in the form `2026-01-31`."""
    return st.datetimes(datetime.fromisoformat(first), datetime.fromisoformat(last), timezones=st.just(UTC))
