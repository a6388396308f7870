"""What is compared with what: each experiment returns its figures by their names, as results.json has them."""

import math
import time
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from bench.lines import Bench, Point, at
from bench.optimum import known_models, plans
from bench.policies import SOURCE, Fixed, Google, Learned, Planned, Policy
from bench.simulation import Result, simulate
from bench.workloads import LOGNORMAL, Load, Workload
from bridge.learnt.durations import DurationModel
from bridge.learnt.plan import next_age

INTERVALS = (5.0, 15.0, 30.0, 60.0)

#: The fixed interval whose requests are the measure.
MEASURE = 30.0

#: The part of the operations that counts where a budget is short.
_FLOW = 0.36, 0.47

_SEED = 1
_SEED_OF_THE_MODEL = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is simulated."""

    operations: int = 5000
    #: So many are born before those that count: over 1,000 of them have ended by then.
    before: int = 1300
    #: Durations that whoever knows the durations has seen.
    sample: int = 400_000
    #: Beginnings that a cold start is the mean of.
    beginnings: int = 12
    #: The optimum is looked for at these multiples of the learned schedule's price.
    prices: tuple[float, ...] = (0.1, 0.3, 0.7, 1.0, 1.4, 3.0, 10.0)
    #: Operations of the two budgets.
    many: int = 27_500
    few: int = 1500


@dataclass(frozen=True, slots=True)
class Found:
    """What one experiment came to."""

    figures: dict[str, float] = field(default_factory=dict)
    #: The points of the plot, by workload and policy.
    lines: dict[tuple[str, str], list[Point]] = field(default_factory=dict)


def compare(workload: Workload, sweep: float, size: Size) -> Found:
    """Compare the learned schedule with a fixed one, at equal requests, for a longer sweep."""
    bench = Bench(workload.load(size.operations, _SEED), sweep, size.before)
    fixed = bench.point(Fixed(MEASURE))
    figures: dict[str, float] = {}
    for suffix, by_group in (("", False), (".groups", True)):
        line = bench.line(partial(Learned, shortest=sweep, by_group=by_group), fixed.requests)
        figures |= _over(f"schedule.{workload.name}.sweep{sweep:.0f}{suffix}", at(line, fixed.requests), fixed)
    return Found(figures)


def _over(name: str, learned: Point, fixed: Point) -> dict[str, float]:
    return {name: learned.delay / fixed.delay, f"{name}.p99": learned.p99 / fixed.p99}


def draw(workload: Workload, size: Size) -> Found:
    """Draw the line of each policy, with a sweep of 5 s, and compare the learned ones with the optimum."""
    bench = Bench(workload.load(size.operations, _SEED), 5.0, size.before)
    sample, groups = workload.sample(size.sample, _SEED_OF_THE_MODEL)
    quantile = float(np.quantile(sample, 0.05))
    fixed = bench.point(Fixed(MEASURE))
    lines = {
        "fixed": [bench.point(Fixed(each)) for each in INTERVALS],
        "Google's": [bench.point(Google())],
        "5% quantile, then fixed": [bench.point(Fixed(each, wait=quantile)) for each in INTERVALS],
    }
    figures: dict[str, float] = {}
    for suffix, known, title in ((".groups", groups, ", groups"), ("", None, "")):
        make = partial(Learned, shortest=5.0, by_group=known is not None)
        learned = bench.line(make, fixed.requests, around=(0.1, 0.3, 3.0, 10.0))
        equal = at(learned, fixed.requests)
        optimum = [
            bench.point(
                Planned(sweep=5.0, plans=plans(sample, known, sweep=5.0, shadow_price=equal.shadow_price * each))
            )
            for each in size.prices
        ]
        lines |= {f"learned{title}": learned, f"optimum{title}": optimum}
        name = f"schedule.{workload.name}{suffix}"
        figures |= _over(name, equal, fixed)
        best = at(optimum, fixed.requests)
        figures[f"{name}.optimum"] = equal.delay / best.delay
        figures[f"{name}.optimum.p99"] = best.p99 / fixed.p99
    figures[f"schedule.{workload.name}.cold"] = _cold(workload, equal.shadow_price, size)
    return Found(figures, {(workload.name, policy): points for policy, points in lines.items()})


def _cold(workload: Workload, shadow_price: float, size: Size) -> float:
    """Compare with the known model from the first operation on: price times requests plus delay, of 50 to 200."""
    model = known_models(*workload.sample(size.sample, _SEED_OF_THE_MODEL))[SOURCE]
    cold, known = 0.0, 0.0
    for seed in range(10, 10 + size.beginnings):
        load = workload.load(220, seed)
        cold += simulate(Learned(shadow_price, 5.0), load, sweep=5.0).of(50, 200).cost(shadow_price)
        known += (
            simulate(Learned(shadow_price, 5.0, learns=False, source=model), load, sweep=5.0)
            .of(50, 200)
            .cost(shadow_price)
        )
    return cold / known


def drift(size: Size) -> Found:
    """Let all become three times slower from one moment, and compare with who knows it before and after."""
    half, shadow_price = size.operations // 2, 5.0
    before, after = (LOGNORMAL.load(half, _SEED + number, slower=1 + 2 * number) for number in (0, 1))
    load = Load(
        np.concatenate([before.births, before.births[-1] + after.births]),
        np.concatenate([before.durations, after.durations]),
        np.concatenate([before.groups, after.groups]),
    )
    learned = simulate(Learned(shadow_price, 5.0), load, sweep=5.0)
    sample, groups = LOGNORMAL.sample(size.sample, _SEED_OF_THE_MODEL)
    quick, slow = (known_models(stretch * sample, groups)[SOURCE] for stretch in (1, 3))
    known_before = simulate(Learned(shadow_price, 5.0, learns=False, source=quick), load, sweep=5.0)
    known_after = simulate(Learned(shadow_price, 5.0, learns=False, source=slow), load, sweep=5.0)

    def over(known: Result, first: int, last: int) -> float:
        return learned.of(first, last).cost(shadow_price) / known.of(first, last).cost(shadow_price)

    return Found(
        {
            "schedule.drift.before": over(known_before, half // 2, half),
            "schedule.drift.first": over(known_after, half, half + half // 5),
            "schedule.drift": over(known_after, half, 2 * half),
            "schedule.drift.unlearnt": known_before.of(half).cost(shadow_price)
            / known_after.of(half).cost(shadow_price),
        }
    )


def budget(size: Size) -> Found:
    """Let 10 requests a second serve some 5,000 that wait."""
    return _budget("schedule.budget", LOGNORMAL.load(size.many, _SEED, rate=5, slower=4.65), 10.0)


def small_budget(size: Size) -> Found:
    """Let 2 requests a minute serve about 60 that wait."""
    return _budget("schedule.budget.small", LOGNORMAL.load(size.few, _SEED, rate=1 / 60, slower=16.7), 1 / 30)


def _budget(name: str, load: Load, rate: float) -> Found:
    """Compare with first come, first served every 30 s, under the same budget.

    Those count that are born in full flow and end in it: what follows them is there to compete for the budget.
    """
    first, last = (round(len(load.births) * each) for each in _FLOW)
    sweep = 10.0
    flow = slice(*(int(load.births[each] / sweep) for each in (first, last)))

    def serve(policy: Policy) -> Result:
        return simulate(policy, load, sweep=sweep, rate=rate, last=last)

    served = serve(Fixed(MEASURE))
    figures = {f"{name}.waiting": float(served.waiting[flow].mean())}
    for suffix, by_group in (("", False), (".groups", True)):
        learned = serve(Learned(None, sweep, by_group=by_group)).of(first, last)
        figures[name + suffix] = learned.mean_delay / served.of(first, last).mean_delay
    return Found(figures)


def decisions(size: Size) -> Found:
    """Count how many times a second one core says when to ask next, over duration models and ages as they occur."""
    sample, groups = LOGNORMAL.sample(size.sample, _SEED_OF_THE_MODEL)
    curve = known_models(sample, groups).get(SOURCE, DurationModel()).curve()
    ages = [float(each) for each in sample[: size.operations] * 0.7]
    best = math.inf
    for _ in range(3):
        begun = time.perf_counter()
        for age in ages:
            next_age(curve, seen=age, now=age, shadow_price=5.0, shortest=5.0)
        best = min(best, time.perf_counter() - begun)
    return Found({"schedule.decisions_per_second": len(ages) / best})
