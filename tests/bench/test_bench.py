"""The benchmark at a very small size: it runs and reports every figure. The real run judges the figures."""

import math
from pathlib import Path

import numpy as np
import pytest

from bench.experiments import Size, budget, decisions, draw, small_budget
from bench.lines import Point, at
from bench.optimum import plans
from bench.policies import SOURCE, Fixed, Planned
from bench.report import GOALS, plot, table
from bench.schedule import experiments, gather
from bench.simulation import simulate
from bench.workloads import LOGNORMAL, WORKLOADS, Load

TINY = Size(operations=120, before=30, sample=500, beginnings=1, prices=(0.1, 10.0), many=600, few=40)


def test_every_goal_has_a_figure_and_the_page_shows_both(tmp_path: Path) -> None:
    """Every ratio is within sane bounds."""
    found = gather(
        [each(TINY) for each in (budget, small_budget, decisions)] + [draw(each, TINY) for each in WORKLOADS]
    )

    page = table(found, TINY, took=1)
    plot(found.lines, tmp_path / "schedule.png")

    assert set(GOALS) <= set(found.figures)
    assert all(0 < value < math.inf for value in found.figures.values())
    assert all(f"| `{name}` |" in page for name in found.figures)
    assert (tmp_path / "schedule.png").read_bytes().startswith(b"\x89PNG")


def test_longer_sweeps_and_a_drift_are_measured_too() -> None:
    """One workload, with the two remaining scenarios."""
    others = [each for each in experiments(TINY) if getattr(each, "func", None) not in (budget, small_budget, draw)]

    figures = gather([others[-2](), others[-1]()]).figures

    assert {"schedule.lognormal.sweep10", "schedule.lognormal.sweep10.groups", "schedule.drift"} <= set(figures)
    assert all(0 < value < math.inf for value in figures.values())


def test_a_fixed_interval_has_the_known_cost() -> None:
    """Three operations align with the sweeps, so requests and delays are known exactly."""
    load = Load(np.zeros(3), np.array([5.0, 30.0, 61.0]), np.zeros(3, dtype=np.int64))

    result = simulate(Fixed(30.0), load, sweep=5.0)

    assert result.requests.tolist() == [1, 1, 3]
    assert result.delays.tolist() == [25, 0, 29]


def test_a_budget_delays_polls() -> None:
    """The budget is one request in ten seconds.

    Of three operations due at once, the last is polled 20 s after the first.
    """
    load = Load(np.zeros(3), np.ones(3), np.zeros(3, dtype=np.int64))

    result = simulate(Fixed(10.0), load, sweep=10.0, rate=0.1)

    assert sorted(result.delays.tolist()) == [9, 19, 29]


def test_the_optimum_polls_once_if_all_durations_are_equal() -> None:
    """The poll is at the first sweep after the end, wherever between two sweeps the operation started."""
    phases = plans(np.full(100, 42.0), None, sweep=5.0, shadow_price=1.0)[SOURCE]

    assert [len(ages) for ages in phases] == [1] * len(phases)
    assert all(42 <= ages[0] < 47 for ages in phases)


def test_the_optimum_is_better_than_any_fixed_interval_at_its_price() -> None:
    """The comparison uses the optimized value: price times requests plus delay."""
    load, (sample, _) = LOGNORMAL.load(1500, 1), LOGNORMAL.sample(20_000, 7)
    best = simulate(Planned(sweep=5.0, plans=plans(sample, None, sweep=5.0, shadow_price=4.0)), load, sweep=5.0)

    assert all(best.cost(4.0) < simulate(Fixed(each), load, sweep=5.0).cost(4.0) for each in (5.0, 15.0, 30.0, 60.0))


def test_a_line_is_not_extrapolated() -> None:
    """No value is extrapolated."""
    line = [Point(2, 40, 80), Point(8, 10, 20)]

    assert at(line, 4).delay == pytest.approx(20)
    with pytest.raises(ValueError, match="not between"):
        at(line, 9)
