"""Place one or more faults at the calls of a scenario, run the scenario to the end, and check that nothing was lost."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.proof.calls import MODES, Call, Plan
from tests.proof.instance import Parts
from tests.proof.scenarios import Scenario
from tests.proof.simulation import Loss, Simulation


@dataclass(frozen=True, slots=True)
class Failed:
    """A scenario that lost something, with all that a repetition needs."""

    scenario: str
    plan: Plan
    #: The kinds of the calls that the plan hit.
    calls: Sequence[str]
    why: str

    def __str__(self) -> str:
        plan = ", ".join(
            f"{number}: Mode.{mode.name} ({call})"
            for (number, mode), call in zip(self.plan.items(), self.calls, strict=True)
        )
        return f"{self.scenario} with {{{plan}}}: {self.why}"


def trace(scenario: Scenario) -> Sequence[Call]:
    """Run without faults and return the calls. Raises Loss if even that run loses something."""
    simulation = Simulation()
    scenario(simulation)
    return simulation.calls.trace


def singles(calls: Sequence[Call]) -> Iterator[Plan]:
    """Return every plan with a single fault."""
    return ({number: mode} for number, call in enumerate(calls, 1) for mode in MODES[call])


def several(calls: Sequence[Call], seed: int, *, most: int = 2) -> Iterator[Plan]:
    """Draw plans of two up to `most` faults, without end.

    The calls after a first fault can differ from a run without faults. Every fault fits every kind of call.
    """
    rng = random.Random(seed)
    while True:
        numbers = sorted(rng.sample(range(1, len(calls) + 1), rng.randint(2, most)))
        if rng.random() < 0.5:  # close together, where faults can interact
            numbers = [numbers[0] + rng.randrange(1, 12) * place for place in range(len(numbers))]
        kinds = [calls[min(number, len(calls)) - 1] for number in numbers]
        yield {number: rng.choice(MODES[kind]) for number, kind in zip(numbers, kinds, strict=True)}


def live(scenario: Scenario, plan: Plan, parts: Parts | None = None) -> Failed | None:
    """Run a scenario once with a plan. Returns the failure, if something was lost."""
    simulation = Simulation(plan, parts=parts)
    try:
        scenario(simulation)
    except Loss as loss:
        made = simulation.calls.trace
        calls = [made[number - 1].value if number <= len(made) else "none" for number in plan]
        return Failed(scenario.__name__, plan, calls, str(loss))
    return None
