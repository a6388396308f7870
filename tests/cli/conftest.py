"""What the tests of the command line share."""

from collections.abc import Iterator

import pytest

from tests.support.fake_bridge import FakeBridge, fake_bridge


@pytest.fixture
def fake() -> Iterator[FakeBridge]:
    """Play a bridge."""
    with fake_bridge() as running:
        yield running
