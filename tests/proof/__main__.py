"""Run the long form of the proof (`make prove`), print a summary, and exit with 1 after any loss."""

import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from types import MappingProxyType

from tests.proof import trials
from tests.proof.crashes import live, several, singles, trace
from tests.proof.damage import damaged
from tests.proof.fault_injection import INJECTED_FAULTS, missed
from tests.proof.interleavings import CLOCKS, orders, run_race, shuffled
from tests.proof.machine import draw
from tests.proof.races import RACES
from tests.proof.real import humps, kills, load
from tests.proof.scenarios import SCENARIOS
from tests.proof.seed import SEED
from tests.proof.trials import Trial, processes, silence

_FAILURES_SHOWN = 10
_DRAWN_SCENARIOS, _DRAWN_ORDERS = 500, 50
_DRAWN_TURNS, _STEPS = 4, 60
_DAMAGED_SCENARIOS = 200
_DEATHS, _KILLED = 20, 500
_LEARNT_FROM = 300
_LOAD = load.Load(per_minute=2000, minutes=3, max_wait=480)


def _every_point() -> Iterator[Trial]:
    return (partial(live, scenario, plan) for scenario in SCENARIOS for plan in singles(trace(scenario)))


def _several_points() -> Iterator[Trial]:
    for scenario in SCENARIOS:
        calls = trace(scenario)
        for most in (2, 6):
            plans = islice(several(calls, SEED, most=most), _DRAWN_SCENARIOS)
            yield from (partial(live, scenario, plan) for plan in plans)


def _every_order() -> Iterator[Trial]:
    return (partial(run_race, order) for name in RACES for clocks in CLOCKS for order in orders(name, clocks))


def _drawn_orders() -> Iterator[Trial]:
    places = ((name, clocks) for name in RACES for clocks in CLOCKS)
    return (partial(run_race, order) for place in places for order in islice(shuffled(*place, SEED), _DRAWN_ORDERS))


def _drawn_steps() -> Iterator[Trial]:
    return (partial(draw, SEED + turn, scenarios=_DRAWN_SCENARIOS, steps=_STEPS) for turn in range(_DRAWN_TURNS))


def _damaged() -> Iterator[Trial]:
    return (partial(damaged, SEED + turn) for turn in range(_DAMAGED_SCENARIOS))


def _injected() -> Iterator[Trial]:
    return (partial(missed, name) for name in INJECTED_FAULTS)


def _deaths() -> Sequence[str | None]:
    trial = kills.Trial(
        registrations=_KILLED,
        refused=_KILLED // 10,
        deaths=random.Random(SEED).choices(("app", "storage"), k=_DEATHS),
        between=(0.5, 8.0),
        away=3.0,
        step=timedelta(0),
        max_wait=900,
        seed=SEED,
    )
    with tempfile.TemporaryDirectory() as folder:
        seen = kills.run(trial, Path(folder))
    print(f"       {seen}", flush=True)
    return _each(_KILLED, seen.failures)


def _load() -> Sequence[str | None]:
    measured = load.run(_LOAD)
    print(f"       {measured}", flush=True)
    return _each(_LOAD.count, measured.failures)


def _humps() -> Sequence[str | None]:
    learnt = humps.run(_LEARNT_FROM, max_wait=600)
    print(f"       {learnt}", flush=True)
    return _each(_LEARNT_FROM, learnt.failures)


def _each(count: int, failures: Sequence[str]) -> Sequence[str | None]:
    """Return `count` results, of which the failures are losses."""
    return [*failures, *[None] * (count - len(failures))]


#: The parts by name. All trials of a part share the processors.
PARTS: Mapping[str, Callable[[], Iterator[Trial]]] = MappingProxyType(
    {
        "scenarios with one fault, at every call": _every_point,
        "scenarios with two to six faults, drawn": _several_points,
        "races of two and three, interrupted twice, anywhere": _every_order,
        "races of two and three, in any order, drawn": _drawn_orders,
        f"times {_DRAWN_SCENARIOS} scenarios of {_STEPS} steps, drawn, against the model": _drawn_steps,
        "scenarios with deleted due rows and incomplete reads, drawn": _damaged,
        "injected faults, each found": _injected,
    }
)

#: Parts that need the machine alone: the started app, and the storage emulator.
REAL_PARTS: Mapping[str, Callable[[], Sequence[str | None]]] = MappingProxyType(
    {
        f"registrations on the real parts, of which app or storage died {_DEATHS} times": _deaths,
        f"registrations on the real parts, {_LOAD.per_minute} a minute": _load,
        "operations of two kinds on the real parts, which are learnt as two": _humps,
    }
)


def main() -> int:
    """Run all parts and print a summary."""
    print(f"PROVE_SEED={SEED}", flush=True)
    silence()
    with processes() as pool:
        lost = sum(_run(name, partial(trials.run, pool, part())) for name, part in PARTS.items())
    lost += sum(_run(name, part) for name, part in REAL_PARTS.items())
    print("nothing was lost" if not lost else f"LOST: {lost}")
    return 1 if lost else 0


def _run(name: str, part: Callable[[], Iterable[str | None]]) -> int:
    """Run a part, print the result, and return the number of failures."""
    began = time.monotonic()
    results = list(part())
    failures = [failure for failure in results if failure is not None]
    print(f"{len(results):>6} {name}: {len(failures)} lost, {time.monotonic() - began:.0f} s", flush=True)
    for failure in failures[:_FAILURES_SHOWN]:
        print(f"       {failure}", flush=True)
    return len(failures)


if __name__ == "__main__":
    sys.exit(main())
