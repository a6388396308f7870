"""Does many things at once: some threads, each of which takes the next thing by itself.

To be given it by the thread that waits for what comes would cost two changes of threads for each of them.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from queue import SimpleQueue
from typing import TypeVar

_Each = TypeVar("_Each")
_Result = TypeVar("_Result")


def results(
    executor: Executor,
    parallel: int,
    things: Sequence[_Each],
    do: Callable[[_Each], _Result],
    *,
    while_: Callable[[], bool],
) -> Iterator[_Result]:
    """Do so many at once, begun in their order and yielded as they end; none is begun once `while_` does not hold.

    Raises what `do` raises, after the others have ended.
    """
    waiting, done = deque(things), SimpleQueue[tuple[_Result] | None]()

    def take() -> tuple[_Each] | None:
        with suppress(IndexError):  # another thread took the last one
            return (waiting.popleft(),)
        return None

    def work() -> None:
        try:
            while while_() and (each := take()) is not None:
                done.put((do(*each),))
        finally:
            done.put(None)

    workers = [executor.submit(work) for _ in range(min(parallel, len(things)))]
    for _ in workers:
        yield from (result for (result,) in iter(done.get, None))
    for worker in workers:
        worker.result()
