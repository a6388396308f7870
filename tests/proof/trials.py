"""Runs trials on all processors, each in whichever process is free."""

import logging
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor

#: Returns None, or a description of the loss. Can be sent to another process.
Trial = Callable[[], object]


def processes() -> Executor:
    """Start as many processes as there are processors. The log of trials is off: their faults are on purpose."""
    return ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn"), initializer=silence)


def silence() -> None:
    """Switch the log of the bridge off in this process."""
    logging.getLogger("bridge").setLevel(logging.CRITICAL)


def run(pool: Executor, trials: Iterable[Trial]) -> Iterator[str | None]:
    """Run trials. Yields None or the loss of each, in their order. Starts with the first that is taken."""
    yield from pool.map(_run, trials)


def _run(trial: Trial) -> str | None:
    lost = trial()
    return None if lost is None else str(lost)
