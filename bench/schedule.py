"""Measure what the learned schedule is worth: `python -m bench.schedule` says it, and draws schedule.png.

It simulates the shipped functions (`bridge/learnt/`, `bridge/domain/rate_limit.py`), not copies of them.
"""

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from bench.experiments import Found, Size, budget, compare, decisions, draw, drift, small_budget
from bench.report import plot, table
from bench.workloads import WORKLOADS

_FOLDER = Path(__file__).parent

#: Beside 5 s, with which the lines are drawn.
_LONGER_SWEEPS = (10.0, 15.0)


def experiments(size: Size) -> list[Callable[[], Found]]:
    """List all of them, the longest first."""
    slowest_first = tuple(reversed(WORKLOADS))
    return [
        *(partial(draw, workload, size) for workload in slowest_first),
        *(partial(compare, workload, sweep, size) for workload in slowest_first for sweep in reversed(_LONGER_SWEEPS)),
        partial(budget, size),
        partial(small_budget, size),
        partial(drift, size),
    ]


def gather(found: list[Found]) -> Found:
    """Put together what several came to."""
    return Found(
        {name: value for each in found for name, value in each.figures.items()},
        {name: points for each in found for name, points in each.lines.items()},
    )


def measure(size: Size) -> tuple[Found, str]:
    """Run all on two cores, and write their part of the page; how many decisions a second is measured alone, before."""
    begun = time.perf_counter()
    alone = decisions(size)
    with ProcessPoolExecutor(2) as pool:
        found = gather([alone, *(each.result() for each in [pool.submit(one) for one in experiments(size)])])
    plot(found.lines, _FOLDER / "schedule.png")
    return found, table(found, size, took=time.perf_counter() - begun)


if __name__ == "__main__":
    print(measure(Size())[1])
