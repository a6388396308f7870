"""Fixtures that many tests share. What needs a real part starts it."""

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings

from bridge import log
from local.azurite import Azurite
from tests.support.harness import Harness, harness
from tests.support.log_guard import GuardedLogger

# No test depends on how fast the machine is.
settings.register_profile("bridge", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# Thousands of times over, under `make mutate`: a few examples, the same for each mutant, and none made smaller.
settings.register_profile(
    "mutants",
    settings.get_profile("bridge"),
    max_examples=10,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
)
settings.load_profile("mutants" if "MUTANT_UNDER_TEST" in os.environ else "bridge")


@pytest.fixture(autouse=True)
def guarded_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[GuardedLogger]:
    """Fail each test in which a line is written that Azure would drop or cut: by a pool thread, or too long."""
    guarded = GuardedLogger(log._logger)
    monkeypatch.setattr(log, "_logger", guarded)
    yield guarded
    assert (guarded.of_pools, guarded.too_long) == ([], [])


@pytest.fixture
def bridge() -> Harness:
    """Make a harness: a bridge in memory, at noon, with nothing registered."""
    return harness()


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """Start the storage emulator, in memory, on ports of its own."""
    logging.getLogger("azure").setLevel(logging.WARNING)
    with Azurite.start() as running:
        yield running
