"""Run all measures: `make bench` writes results.json and RESULTS.md. Names after it run those only, and write nothing.

Each measure runs alone, in a fresh process.
"""

import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from bench import delivering, growth, imports, instances, memory, schedule, started, storage, sweeping
from bench.experiments import Size
from bench.measuring import Figures, Scale
from bench.page import page

_FOLDER = Path(__file__).parent

MEASURES: Mapping[str, Callable[[Scale], Figures]] = {
    "sweeping": sweeping.measure,
    "delivering": delivering.measure,
    "storage": storage.measure,
    "growth": growth.measure,
    "memory": memory.measure,
    "imports": imports.measure,
    "started": started.measure,
    "instances": instances.measure,
}


def run(names: Sequence[str], scale: Scale) -> dict[str, float]:
    """Run some of them, one after the other."""
    figures: dict[str, float] = {}
    for name in names:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
            found = alone.submit(MEASURES[name], scale).result()
        print(*(f"{figure} {value:.4g}" for figure, value in found.items()), sep="\n", flush=True)
        figures |= found
    return figures


def main(names: Sequence[str]) -> None:
    """Run what is named, or all."""
    if names:
        run(names, Scale())
        return
    begun = time.perf_counter()
    found, text = schedule.measure(Size())
    figures = run(list(MEASURES), Scale())
    written = page(figures, imports.costs(), text, took=time.perf_counter() - begun)
    rounded = {name: float(f"{value:.4g}") for name, value in sorted({**figures, **found.figures}.items())}
    (_FOLDER / "results.json").write_text(json.dumps(rounded, indent=2) + "\n", encoding="utf-8")
    (_FOLDER / "RESULTS.md").write_text(written, encoding="utf-8")
    print(written)


if __name__ == "__main__":
    main(sys.argv[1:])
