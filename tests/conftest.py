"""Fixtures of many tests. Fixtures with real parts start them."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

from bridge import log
from local.azurite import Azurite
from tests.support.faults import MADE
from tests.support.harness import Harness, harness
from tests.support.log_guard import GuardedLogger
from tests.support.markers import isolate, kind_of
from tests.support.tenant import KeyServer, key_server

# No test depends on the speed of the machine.
settings.register_profile("bridge", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# For `make mutate`, which runs tests thousands of times: few examples, equal for each mutant, without shrinking.
settings.register_profile(
    "mutants",
    settings.get_profile("bridge"),
    max_examples=10,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
)
settings.load_profile("mutants" if "MUTANT_UNDER_TEST" in os.environ else "bridge")


_TESTS = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its kind."""
    for item in items:
        if item.path.is_relative_to(_TESTS):
            path = item.path.relative_to(_TESTS).as_posix()
            names = [mark.name for mark in item.iter_markers()]
            item.add_marker(kind_of(path, names, getattr(item, "fixturenames", ())))


@pytest.fixture(autouse=True)
def isolation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevent sockets and processes in a unit test."""
    if request.node.get_closest_marker("unit"):
        isolate(monkeypatch)


@pytest.fixture(autouse=True)
def guarded_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[GuardedLogger]:
    """Fail each test with a line that Azure would drop or truncate: one of a pool thread, or one that is too long."""
    guarded = GuardedLogger(log._logger)
    monkeypatch.setattr(log, "_logger", guarded)
    yield guarded
    assert (guarded.of_pools, guarded.too_long) == ([], [])


@pytest.fixture(autouse=True)
def faults_are_met() -> Iterator[None]:
    """Fail each test with a fault of storage that no transaction met."""
    MADE.clear()
    yield
    assert all(table.is_met for table in MADE)


@pytest.fixture
def bridge() -> Harness:
    """Return a harness: a bridge in memory, at noon, without registrations."""
    return harness()


@pytest.fixture(scope="module")
def tenant() -> Iterator[KeyServer]:
    """Run a tenant for the tests of a module."""
    with key_server() as running:
        yield running


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """Start the storage emulator in memory, on free ports."""
    logging.getLogger("azure").setLevel(logging.WARNING)
    with Azurite.start() as running:
        yield running
