"""Run all measures: `make bench` writes results.json and RESULTS.md. Names after it run those only, and write nothing.

Each measure runs alone, in a fresh process. Figures of groups that it does not measure stay in both files.
"""

import multiprocessing
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor

from bench import (
    delivering,
    growth,
    hosted,
    imports,
    instances,
    isolation,
    memory,
    results,
    schedule,
    started,
    storage,
    sweeping,
)
from bench.experiments import Size
from bench.measuring import Figures, Scale
from bench.page import page

MEASURES: Mapping[str, Callable[[Scale], Figures]] = {
    "sweeping": sweeping.measure,
    "delivering": delivering.measure,
    "storage": storage.measure,
    "growth": growth.measure,
    "memory": memory.measure,
    "imports": imports.measure,
    "started": started.measure,
    "instances": instances.measure,
    "hosted": hosted.measure,
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
    kept = results.merged(results.read(), {**figures, **found.figures})
    of_host = {name: value for name, value in kept.items() if name.startswith("host.")}
    written = page({**of_host, **figures}, imports.costs(), text, took=time.perf_counter() - begun)
    written = results.with_section(written, isolation.TITLE, isolation.section(kept))
    results.write(kept)
    (results.FOLDER / "RESULTS.md").write_text(written, encoding="utf-8")
    print(written)


if __name__ == "__main__":
    main(sys.argv[1:])
