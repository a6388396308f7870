"""Draw the figure of `bridge/learnt/README.md` by the functions that the bridge runs: `python -m bench.learnt`."""

from datetime import timedelta
from pathlib import Path

import matplotlib as mpl
import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.optimum import known_models
from bench.policies import SOURCE
from bench.workloads import BIMODAL
from bridge.dependencies import real_clock
from bridge.domain.poll_schedule import ExponentialSchedule, Forecast
from bridge.learnt.duration_store import DurationStore
from bridge.learnt.durations import HazardCurve
from bridge.learnt.plan import base_price, lost
from bridge.learnt.schedule import LearntSchedule
from bridge.storage.keys import duration_key
from bridge.storage.records import for_insert
from bridge.storage.repository import Repository
from bridge.storage.table import Row
from bridge.testing import MemoryTable

_FILE = Path(__file__).parent.parent / "bridge" / "learnt" / "schedule.png"

#: As by default: `BRIDGE_POLLS_PER_OPERATION` and `BRIDGE_POLL_INTERVAL`.
_POLLS_PER_OPERATION, _SHORTEST = 12.0, timedelta(seconds=10)

#: The ages that are drawn, in seconds.
_FIRST, _LAST = 8.0, 3_600.0


def draw(file: Path = _FILE) -> None:
    """Draw what is learnt of operations of two kinds, the expected delay between their polls, and the polls."""
    model = known_models(*BIMODAL.sample(2_000, 1))[SOURCE]
    rows = [Row("sources", duration_key("default", None), "1", for_insert(model))]
    store = DurationStore(
        Repository(table=MemoryTable(), clock=real_clock, new_id=lambda: "", sleep=lambda _: None, random=lambda: 0.0)
    )
    learnt = LearntSchedule(durations=store, polls_per_operation=_POLLS_PER_OPERATION, shortest=_SHORTEST)
    [forecast] = learnt.forecasts(rows, {"default": 1.0}, polls=150)
    [simple] = ExponentialSchedule(_SHORTEST).forecasts(rows, {"default": 1.0}, polls=150)
    with mpl.rc_context({"font.size": 8, "axes.grid": True, "grid.alpha": 0.3}):
        figure = Figure(figsize=(7, 4.6), layout="constrained")
        model_axes, delay_axes, polls_axes = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 1))
        _draw_model(model_axes, forecast)
        _draw_delay(delay_axes, model.curve(), forecast)
        for height, name, each in ((1, "learnt", forecast), (0, "exponential", simple)):
            polls_axes.plot(each.polls_at, [height] * len(each.polls_at), "|", markersize=11, label=name)
        polls_axes.set(yticks=(0, 1), yticklabels=("exponential", "learnt"), ylim=(-0.6, 1.6), xlabel="age")
        polls_axes.xaxis.set_major_locator(mpl.ticker.FixedLocator([10, 30, 60, 300, 600, 1800, 3600]))
        polls_axes.xaxis.set_major_formatter(lambda age, _: f"{age:g} s" if age < 60 else f"{age / 60:g} min")
        polls_axes.xaxis.set_minor_locator(mpl.ticker.NullLocator())
        figure.savefig(file, dpi=100)


def _draw_model(axes: Axes, forecast: Forecast) -> None:
    edges, shares = zip(*forecast.shares, strict=True)
    ends = [*edges[1:], edges[-1] * 2**0.25]
    axes.bar(edges, [100 * each for each in shares], np.subtract(ends, edges), align="edge", color="tab:green")
    axes.set(ylabel="ends, %", xscale="log", xlim=(_FIRST, _LAST), title="learnt: the share of operations that ends")


def _draw_delay(axes: Axes, curve: HazardCurve, forecast: Forecast) -> None:
    for seen, polled in zip(forecast.polls_at, forecast.polls_at[1:], strict=False):
        ages = np.linspace(seen, polled, 60)
        axes.plot(ages, [lost(curve, seen, float(age)) for age in ages], color="tab:blue", linewidth=0.9)
    price = base_price(curve, _POLLS_PER_OPERATION)
    axes.axhline(price, color="tab:red", linestyle="--", label="price of a request")
    axes.set(ylabel="delay, s", ylim=(0, 1.6 * price), title="expected delay since the last poll: polled at the price")
    axes.legend(loc="upper right")


if __name__ == "__main__":
    draw()
