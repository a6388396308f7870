"""Run simultaneous invocations in every order of their calls: nothing is lost, and no callback is repeated."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby, permutations

from bridge.domain.time import CLOCK_SKEW
from tests.proof import invariants
from tests.proof.baton import Schedule, together
from tests.proof.instance import Parts
from tests.proof.races import RACES
from tests.proof.simulation import Loss, Simulation

#: Seconds by which the clocks of the instances differ from true time. Beyond the skew, a callback may be repeated.
CLOCKS = ((0, 0, 0), (0, 30, 15), (30, 0, 0), (0, 300, -300), (300, 0, -60), (-300, 0, 300))

#: More steps than any invocation has.
_WHOLE = 99


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One possible order of a race."""

    race: str
    #: Seconds by which each instance's clock is ahead.
    clocks: Sequence[int]
    schedule: Schedule

    def __str__(self) -> str:
        """Return the text that repeats this order."""
        turns = ", ".join(f"[{place}] * {len(list(same))}" for place, same in groupby(self.schedule))
        return f"{self.race} with clocks {self.clocks}, turns {turns}"


def handovers(race: str, clocks: Sequence[int]) -> Iterator[Order]:
    """Yield every order in which one invocation gives way once, at any step, until all others have ended."""
    steps = _steps(race, clocks)
    for places in permutations(range(len(steps))):
        others = [place for place in places[1:] for _ in range(_WHOLE)]
        for first in range(steps[places[0]]):
            yield Order(race=race, clocks=clocks, schedule=[places[0]] * first + others)


def orders(race: str, clocks: Sequence[int]) -> Iterator[Order]:
    """Yield every order in which one invocation gives way once, at any step, and so does the next one."""
    steps = _steps(race, clocks)
    for places in permutations(range(len(steps))):
        others = [place for place in places[2:] for _ in range(_WHOLE)]
        for first in range(steps[places[0]]):
            for second in range(1, steps[places[1]] + 1):
                schedule = [places[0]] * first + [places[1]] * second + others
                yield Order(race=race, clocks=clocks, schedule=schedule)


def shuffled(race: str, clocks: Sequence[int], seed: int) -> Iterator[Order]:
    """Draw orders without end, in which every invocation may give way at every call."""
    rng = random.Random(seed)
    steps = _steps(race, clocks)
    turns = [place for place, number in enumerate(steps) for _ in range(number + 2)]
    while True:
        rng.shuffle(turns)
        yield Order(race=race, clocks=clocks, schedule=tuple(turns))


def run_race(order: Order, parts: Parts | None = None) -> str | None:
    """Run a race in one order, then to the end. Returns a description of the loss or the repetition, if any."""
    try:
        _happen(order, parts)
    except Loss as loss:
        return f"{order}: {loss}"
    return None


def _steps(race: str, clocks: Sequence[int]) -> Sequence[int]:
    """Count the steps of each invocation when they run one after the other."""
    return _happen(Order(race=race, clocks=clocks, schedule=()), None)


def _happen(order: Order, parts: Parts | None) -> Sequence[int]:
    race = RACES[order.race]
    offsets = [timedelta(seconds=each) for each in order.clocks[: race.instances]]
    simulation = Simulation(offsets=offsets, parts=parts)
    steps = together(simulation.calls, race.scene(simulation), order.schedule, simulation.check_rows)
    simulation.settle()
    invariants.check(simulation, repeats=race.freezes or max(offsets) - min(offsets) > CLOCK_SKEW)
    simulation.forget()
    if simulation.left():
        raise Loss(f"left behind: {simulation.left()}")
    return steps
