"""Fixtures of the command-line tests."""

from collections.abc import Iterator

import pytest

from tests.support.fake_bridge import FakeBridge, fake_bridge


@pytest.fixture
def fake() -> Iterator[FakeBridge]:
    """Yield a fake bridge."""
    with fake_bridge() as running:
        yield running
