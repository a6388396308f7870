"""Inject one fault and measure what the others notice: `make bench-isolation`, or `python -m bench.isolation NAMES`.

Each scenario runs twice: with the fault, and the same without it (`.calm`). Each runs alone in a fresh process. The
figures go into results.json below `isolation.`, the table into RESULTS.md; figures of scenarios that did not run stay.
"""

import multiprocessing
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from bench import isolation_receivers, isolation_storage, isolation_sweeps, results
from bench.measuring import Figures
from bench.report import Goal

#: A scenario by its name. It returns figures by their keys below `isolation.`.
SCENARIOS: Mapping[str, Callable[[], Figures]] = {
    **isolation_sweeps.SCENARIOS,
    **isolation_receivers.SCENARIOS,
    **isolation_storage.SCENARIOS,
}

#: What each figure has to reach, by its key below `isolation.`.
GOALS: Mapping[str, Goal] = {
    **isolation_sweeps.GOALS,
    **isolation_receivers.GOALS,
    **isolation_storage.GOALS,
}

#: What each figure means, in one line.
MEANINGS: Mapping[str, str] = {
    **isolation_sweeps.MEANINGS,
    **isolation_receivers.MEANINGS,
    **isolation_storage.MEANINGS,
}

_GROUP = "isolation."
TITLE = "Isolation"


def run(names: Sequence[str]) -> dict[str, float]:
    """Run scenarios one after the other; returns the figures by their full keys."""
    figures: dict[str, float] = {}
    for name in names:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
            found = alone.submit(SCENARIOS[name]).result()
        figures |= {f"{_GROUP}{key}": value for key, value in found.items()}
        print(*(f"{_GROUP}{key} {value:.4g}" for key, value in found.items()), sep="\n", flush=True)
    return figures


def section(figures: Mapping[str, float], *, took: float | None = None) -> str:
    """Write the table of all figures that are kept, each beside its goal and the run without the fault."""
    head = (
        "Written by `make bench-isolation`. One fault each; `calm` is the same run without the fault. "
        "Time is simulated if a scenario takes minutes.\n\n"
        "| figure | value | goal | calm | | what it is |\n| --- | ---: | ---: | ---: | --- | --- |\n"
    )
    known = {key.removeprefix(_GROUP): value for key, value in figures.items() if key.startswith(_GROUP)}
    rows = "\n".join(_row(key, known) for key in known if not key.endswith(".calm"))
    return head + rows + ("" if took is None else f"\n\nThe last run took {took:.0f} s.")


def _row(key: str, known: Mapping[str, float]) -> str:
    value, goal, calm = known[key], GOALS.get(key), known.get(f"{key}.calm")
    sign = "" if goal is None else f"{'≥' if goal.at_least else '≤'} {goal.value:g}"
    missed = "" if goal is None or goal.is_met(value) else "**missed**"
    shown = "" if calm is None else f"{calm:.3g}"
    return f"| `{_GROUP}{key}` | {value:.3g} | {sign} | {shown} | {missed} | {MEANINGS.get(key, '')} |"


def main(names: Sequence[str], folder: Path = results.FOLDER) -> None:
    """Run the named scenarios or all of them, and write what they came to beside the figures that are kept."""
    unknown = sorted(set(names) - SCENARIOS.keys())
    if unknown:
        raise SystemExit(f"there is no scenario {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    begun = time.perf_counter()
    figures = results.updated(results.read(folder), run(names or list(SCENARIOS)))
    results.write(figures, folder)
    page = (folder / "RESULTS.md").read_text(encoding="utf-8")
    body = section(figures, took=time.perf_counter() - begun)
    (folder / "RESULTS.md").write_text(results.with_section(page, TITLE, body), encoding="utf-8")
    print(body)


if __name__ == "__main__":
    main(sys.argv[1:])
