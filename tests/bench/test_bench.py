"""The benchmark, very small: it goes on working, and says all that it is asked for. How good, it says itself."""

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
    """A tiny run has all names, and every ratio is a sane number."""
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
    """The others of the list, for one workload."""
    others = [each for each in experiments(TINY) if getattr(each, "func", None) not in (budget, small_budget, draw)]

    figures = gather([others[-2](), others[-1]()]).figures

    assert {"schedule.lognormal.sweep10", "schedule.lognormal.sweep10.groups", "schedule.drift"} <= set(figures)
    assert all(0 < value < math.inf for value in figures.values())


def test_a_fixed_interval_costs_what_it_must() -> None:
    """Three operations on the grid of the sweeps: the requests and the delays are known."""
    load = Load(np.zeros(3), np.array([5.0, 30.0, 61.0]), np.zeros(3, dtype=np.int64))

    result = simulate(Fixed(30.0), load, sweep=5.0)

    assert result.requests.tolist() == [1, 1, 3]
    assert result.delays.tolist() == [25, 0, 29]


def test_a_budget_holds_back_what_it_does_not_grant() -> None:
    """One request in ten seconds: of three that are due at once, the last is asked for 20 s after the first."""
    load = Load(np.zeros(3), np.ones(3), np.zeros(3, dtype=np.int64))

    result = simulate(Fixed(10.0), load, sweep=10.0, rate=0.1)

    assert sorted(result.delays.tolist()) == [9, 19, 29]


def test_the_optimum_asks_once_where_all_take_the_same() -> None:
    """At the first sweep that finds it ended, wherever in a sweep it was born."""
    phases = plans(np.full(100, 42.0), None, sweep=5.0, shadow_price=1.0)[SOURCE]

    assert [len(ages) for ages in phases] == [1] * len(phases)
    assert all(42 <= ages[0] < 47 for ages in phases)


def test_the_optimum_is_better_than_any_fixed_interval_at_its_price() -> None:
    """By what it is the optimum of: price times requests plus delay."""
    load, (sample, _) = LOGNORMAL.load(1500, 1), LOGNORMAL.sample(20_000, 7)
    best = simulate(Planned(sweep=5.0, plans=plans(sample, None, sweep=5.0, shadow_price=4.0)), load, sweep=5.0)

    assert all(best.cost(4.0) < simulate(Fixed(each), load, sweep=5.0).cost(4.0) for each in (5.0, 15.0, 30.0, 60.0))


def test_a_line_is_not_read_where_it_does_not_reach() -> None:
    """Nothing is guessed."""
    line = [Point(2, 40, 80), Point(8, 10, 20)]

    assert at(line, 4).delay == pytest.approx(20)
    with pytest.raises(ValueError, match="not between"):
        at(line, 9)
