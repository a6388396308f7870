"""What the experiments came to, for people: a table with the goals beside the figures, and a picture."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import matplotlib.ticker
import numpy as np
from matplotlib.figure import Figure

from bench.experiments import Found, Size
from bench.lines import Point
from bench.workloads import WORKLOADS

_NAMES = [each.name for each in WORKLOADS]

_STYLES = {
    "fixed": ("tab:gray", "o-"),
    "5% quantile, then fixed": ("tab:brown", "s-"),
    "Google's": ("tab:red", "*"),
    "learned": ("tab:blue", "o-"),
    "optimum": ("tab:blue", ":"),
    "learned, groups": ("tab:green", "o-"),
    "optimum, groups": ("tab:green", ":"),
}


@dataclass(frozen=True, slots=True)
class Goal:
    """What is to be reached."""

    value: float
    #: Whether more is better.
    at_least: bool = False

    def is_met(self, value: float) -> bool:
        """Tell whether it was."""
        return value >= self.value if self.at_least else value <= self.value


GOALS: Mapping[str, Goal] = {
    **{f"schedule.{name}": Goal(value) for name, value in zip(_NAMES, (0.84, 0.40, 0.46), strict=True)},
    **{f"schedule.{name}.groups": Goal(value) for name, value in zip(_NAMES, (0.60, 0.34, 0.36), strict=True)},
    **{f"schedule.{name}.optimum": Goal(1.12) for name in _NAMES},
    **{f"schedule.{name}.p99": Goal(1.3) for name in _NAMES},
    **{f"schedule.{name}.cold": Goal(1.15) for name in _NAMES},
    "schedule.budget": Goal(0.86),
    "schedule.budget.groups": Goal(0.52),
    "schedule.decisions_per_second": Goal(20_000, at_least=True),
}

_HEAD = """# What the learned schedule is worth

Written by `make bench` (`bench/schedule.py`) in {took:.0f} s, on {cores} of {machine}, Python {python}, NumPy {numpy}.

The functions that the bridge runs are simulated, sweep by sweep, over {operations:,} operations that are born at \
random, one a second; the first {before:,} only train (over 1,000 of them have ended by then). Every policy is spared \
the poll at once after registering, which costs the same for all. A figure is the mean delay from an operation's \
end to its detection, over that of asking every 30 s, at equal requests: the price is searched at which an operation \
costs as many. `.groups` learns by group, `.p99` compares the 99th percentile, `.optimum` compares with dynamic \
programming that knows the durations, `.optimum.p99` is the 99th percentile of that one over that of asking every 30 \
s, `.cold` compares price · requests + delay of operations 50 to 200 with the same \
schedule where it knows the durations. `.sweep10` and `.sweep15` sweep every 10 and 15 s instead of 5.

A budget is compared with asking every 30 s, first come, first served, under the same budget, with sweeps of 10 s: \
10 requests a second (`schedule.budget`) and 2 a minute (`.small`), with lognormal durations so long that thousands \
and dozens wait (`.waiting`). Those count that are born in full flow; what follows them competes for the budget until \
they have ended. Otherwise the end of the flow, when the budget suffices, would be measured too.

`schedule.drift`: all become three times slower at one moment; price · requests + delay of what is born after it, \
over that of the same schedule knowing the new durations. `.first` is the first fifth of them, `.before` what came \
before the moment, `.unlearnt` the schedule that goes on with the old model.

![Delay against requests](schedule.png)

| figure | value | goal | |
| --- | ---: | ---: | --- |
"""


def table(found: Found, size: Size, *, took: float) -> str:
    """Write the page; a goal that is missed says so in its line, and again below."""
    head = _HEAD.format(
        took=took,
        cores="two cores",
        machine=f"{_processor()}, {platform.system()}",
        python=platform.python_version(),
        numpy=np.__version__,
        operations=size.operations,
        before=size.before,
    )
    rows = [_row(name, found.figures[name]) for name in sorted(found.figures)]
    return head + "\n".join(rows) + "\n\n" + _missed(found.figures) + "\n\n" + _points(found.lines) + "\n"


def _row(name: str, value: float) -> str:
    goal = GOALS.get(name)
    shown = f"{value:,.0f}" if value >= 100 else f"{value:.3f}"
    if goal is None:
        return f"| `{name}` | {shown} | | |"
    return f"| `{name}` | {shown} | {goal.value:,g} | {'' if goal.is_met(value) else '**missed**'} |"


def _missed(figures: Mapping[str, float]) -> str:
    missed = [name for name, goal in GOALS.items() if not goal.is_met(figures[name])]
    if not missed:
        return "Every goal is met."
    return "Missed: " + " ".join(_why(name, figures) for name in missed)


def _why(name: str, figures: Mapping[str, float]) -> str:
    said = f"`{name}` is {figures[name]:.3f}, not {GOALS[name].value:g}"
    if not name.endswith(".p99"):
        return f"{said}."
    best = figures[f"{name.removesuffix('.p99')}.optimum.p99"]
    return (
        f"{said}; of the schedule that is the optimum for the mean it is {best:.3f}: whoever has the mean in mind asks "
        "rarely for the few that are stuck, and the percentile falls among those."
    )


def _points(lines: Mapping[tuple[str, str], list[Point]]) -> str:
    """List what the picture shows."""
    head = "| workload | policy | requests | mean delay, s | p99, s |\n| --- | --- | ---: | ---: | ---: |\n"
    return head + "\n".join(
        f"| {workload} | {policy} | {each.requests:.2f} | {each.delay:.2f} | {each.p99:.1f} |"
        for (workload, policy), points in lines.items()
        for each in points
    )


def plot(lines: Mapping[tuple[str, str], list[Point]], file: Path) -> None:
    """Draw delay against requests, one line a policy, the workloads side by side."""
    with mpl.rc_context({"font.size": 9, "axes.grid": True, "grid.alpha": 0.3}):
        figure = Figure(figsize=(12, 4.2), layout="constrained")
        places = figure.subplots(1, len(_NAMES), sharey=True)
        for axes, workload in zip(places, _NAMES, strict=True):
            for policy, (colour, style) in _STYLES.items():
                points = sorted(lines[workload, policy], key=lambda each: each.requests)
                where = [each.requests for each in points], [each.delay for each in points]
                axes.loglog(*where, style, color=colour, label=policy, markersize=4)
            axes.set(title=workload, xlabel="requests per operation", xlim=(2, 60), ylim=(1.5, 60))
            for axis, ticks in ((axes.xaxis, (2, 5, 10, 20, 50)), (axes.yaxis, (2, 5, 10, 20, 50))):
                axis.set_major_locator(mpl.ticker.FixedLocator(ticks))
                axis.set_major_formatter("{x:g}")
                axis.set_minor_formatter("")
        places[0].set_ylabel("mean delay, s")
        places[-1].legend(fontsize=8)
        figure.savefig(file, dpi=110)


def _processor() -> str:
    """Name the processor where the system tells."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
