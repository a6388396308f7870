"""Something goes wrong at every call of a life, at one of them or at two: the life goes on, and nothing is lost."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.proof.calls import MODES, Call, Plan
from tests.proof.instance import Parts
from tests.proof.scenarios import Scenario
from tests.proof.simulation import Loss, Simulation


@dataclass(frozen=True, slots=True)
class Failed:
    """A life in which something was lost, told so that it can be lived again."""

    scenario: str
    plan: Plan
    #: What was called where the plan says.
    calls: Sequence[str]
    why: str

    def __str__(self) -> str:
        plan = ", ".join(
            f"{number}: Mode.{mode.name} ({call})"
            for (number, mode), call in zip(self.plan.items(), self.calls, strict=True)
        )
        return f"{self.scenario} with {{{plan}}}: {self.why}"


def trace(scenario: Scenario) -> Sequence[Call]:
    """Live without faults, and see which calls are made. Raises Loss if that alone goes wrong."""
    simulation = Simulation()
    scenario(simulation)
    return simulation.calls.trace


def singles(calls: Sequence[Call]) -> Iterator[Plan]:
    """Everything that can go wrong at one call."""
    return ({number: mode} for number, call in enumerate(calls, 1) for mode in MODES[call])


def several(calls: Sequence[Call], seed: int, *, most: int = 2) -> Iterator[Plan]:
    """Draw two or up to `most` faults, without end.

    What follows the first may be other calls than those of a life without faults; a mode fits any of them.
    """
    rng = random.Random(seed)
    while True:
        numbers = sorted(rng.sample(range(1, len(calls) + 1), rng.randint(2, most)))
        if rng.random() < 0.5:  # soon after one another, where they can meet
            numbers = [numbers[0] + rng.randrange(1, 12) * place for place in range(len(numbers))]
        kinds = [calls[min(number, len(calls)) - 1] for number in numbers]
        yield {number: rng.choice(MODES[kind]) for number, kind in zip(numbers, kinds, strict=True)}


def live(scenario: Scenario, plan: Plan, parts: Parts | None = None) -> Failed | None:
    """Live once with what goes wrong; says what was lost."""
    simulation = Simulation(plan, parts=parts)
    try:
        scenario(simulation)
    except Loss as loss:
        made = simulation.calls.trace
        calls = [made[number - 1].value if number <= len(made) else "none" for number in plan]
        return Failed(scenario.__name__, plan, calls, str(loss))
    return None
