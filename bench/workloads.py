"""How long operations take in the simulations: NumPy, seeded."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Nothing takes longer than this, in seconds.
HORIZON = 9 * 3600.0


@dataclass(frozen=True, slots=True)
class Load:
    """Operations to come, in the order of their birth; in seconds."""

    births: Floats
    durations: Floats
    groups: Integers


@dataclass(frozen=True, slots=True)
class Workload:
    """Durations in seconds, and the group of each operation."""

    name: str
    draw: Callable[[np.random.Generator, int], tuple[Floats, Integers]]

    def sample(self, count: int, seed: int) -> tuple[Floats, Integers]:
        """Draw so many operations."""
        durations, groups = self.draw(np.random.default_rng(seed), count)
        return np.clip(durations, 0.5, HORIZON), groups

    def load(self, count: int, seed: int, *, rate: float = 1.0, slower: float = 1.0) -> Load:
        """Draw so many that are born at random, so many a second; `slower` stretches what they take."""
        durations, groups = self.sample(count, seed)
        births = np.cumsum(np.random.default_rng([seed, count]).exponential(1 / rate, count))
        return Load(births, slower * durations, groups)


def _lognormal(rng: np.random.Generator, count: int) -> tuple[Floats, Integers]:
    """Median 3 min, sigma 0.6, of which eight groups explain 0.5."""
    places = np.array([-1.53, -0.89, -0.49, -0.16, 0.16, 0.49, 0.89, 1.53])
    places = 0.5 * places / places.std()
    groups = rng.integers(0, len(places), count)
    rest = np.sqrt(0.6**2 - 0.5**2)
    return 180 * np.exp(places[groups] + rest * rng.standard_normal(count)), groups


def _bimodal(rng: np.random.Generator, count: int) -> tuple[Floats, Integers]:
    """70% about 30 s (sigma 0.3), 30% about 20 min (sigma 0.25), which the groups tell apart."""
    groups = (rng.random(count) < 0.3).astype(np.int64)
    median, sigma = np.where(groups, 1200.0, 30.0), np.where(groups, 0.25, 0.3)
    return median * np.exp(sigma * rng.standard_normal(count)), groups


def _pareto(rng: np.random.Generator, count: int) -> tuple[Floats, Integers]:
    """Index 2, scale 40, 80 or 160 s by group, cut at 1 h; 2% are stuck for 2 to 8 h."""
    groups = rng.integers(0, 3, count)
    scale = np.array([40.0, 80.0, 160.0])[groups]
    durations = np.minimum(scale / np.sqrt(1 - rng.random(count)), 3600.0)
    stuck = rng.random(count) < 0.02
    return np.where(stuck, rng.uniform(2 * 3600, 8 * 3600, count), durations), groups


WORKLOADS = LOGNORMAL, BIMODAL, PARETO = (
    Workload("lognormal", _lognormal),
    Workload("bimodal", _bimodal),
    Workload("pareto", _pareto),
)
