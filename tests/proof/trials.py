"""Run trials on all processors, each in a free process."""

import logging
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor

#: Returns None, or a description of the loss. Must be picklable.
Trial = Callable[[], object]


def processes() -> Executor:
    """Start one process per processor, with the bridge's log off, since the faults are intended."""
    return ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn"), initializer=silence)


def silence() -> None:
    """Switch the log of the bridge off in this process."""
    logging.getLogger("bridge").setLevel(logging.CRITICAL)


def run(pool: Executor, trials: Iterable[Trial]) -> Iterator[str | None]:
    """Run trials. Yields the result of each, in order: None, or the loss. The first `next` starts them."""
    yield from pool.map(_run, trials)


def _run(trial: Trial) -> str | None:
    lost = trial()
    return None if lost is None else str(lost)
