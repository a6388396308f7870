"""What the tests of the command line share."""

from collections.abc import Iterator

import pytest

from tests.support.played_bridge import PlayedBridge, played_bridge


@pytest.fixture
def played() -> Iterator[PlayedBridge]:
    """Play a bridge."""
    with played_bridge() as running:
        yield running
