"""Lines of a policy, delay against requests, and what they say at equal requests."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bench.policies import Policy
from bench.simulation import Result, simulate
from bench.workloads import Load

#: A price to begin the search with, in seconds.
_GUESS = 3.0

#: Steps of the search: requests go about with the root of the price, so it is quick.
_STEPS = 3

#: The search ends with one point on either side, looked for by this much of the price.
_ASIDE = 1.12


@dataclass(frozen=True, slots=True)
class Point:
    """One policy with one price or interval: what an operation costs, in requests and in seconds of delay."""

    requests: float
    delay: float
    p99: float
    shadow_price: float = math.nan


@dataclass(frozen=True, slots=True)
class Bench:
    """A load, and which of its operations count: what comes before them is there to be learnt from."""

    load: Load
    sweep: float
    first: int

    def run(self, policy: Policy) -> Result:
        """Simulate, and look at those that count."""
        return simulate(policy, self.load, sweep=self.sweep).of(self.first)

    def point(self, policy: Policy, shadow_price: float = math.nan) -> Point:
        """Simulate, and sum up."""
        result = self.run(policy)
        return Point(result.mean_requests, result.mean_delay, result.p99, shadow_price)

    def line(self, make: Callable[[float], Policy], requests: float, around: Sequence[float] = ()) -> list[Point]:
        """Search the price at which an operation costs so many requests; `around` adds multiples of it."""
        shadow_price, points = _GUESS, []
        for _ in range(_STEPS):
            points.append(self.point(make(shadow_price), shadow_price))
            shadow_price *= (points[-1].requests / requests) ** 2
        points += [self.point(make(shadow_price * each), shadow_price * each) for each in around]
        for aside in (1 / _ASIDE, _ASIDE):  # what is dearer is asked for less
            end = shadow_price
            while not any((each.requests - requests) * (1 - aside) >= 0 for each in points):
                end *= aside
                points.append(self.point(make(end), end))
        return sorted(points, key=lambda each: each.requests)


def at(points: Sequence[Point], requests: float) -> Point:
    """Read a line at so many requests, straight between its points on logarithmic axes.

    Raises ValueError where the line does not reach: nothing is guessed.
    """
    ordered = sorted(points, key=lambda each: each.requests)
    places = np.log([each.requests for each in ordered])
    if not places[0] <= math.log(requests) <= places[-1]:
        raise ValueError(f"{requests} requests are not between {ordered[0].requests} and {ordered[-1].requests}")

    def read(values: list[float]) -> float:
        return math.exp(float(np.interp(math.log(requests), places, np.log(values))))

    return Point(
        requests,
        read([each.delay for each in ordered]),
        read([each.p99 for each in ordered]),
        read([each.shadow_price for each in ordered]),
    )
