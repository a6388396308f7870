"""Runs work in the threads of a pool, and writes the log lines in the thread that takes the results.

The Functions host keeps a log line only if the thread that writes the line belongs to an invocation. A thread of a
pool belongs to none. Log lines therefore come back beside the results, and the thread of the invocation writes each
line at the next result, so a killed process has written the lines of its commits. Every pool of the bridge is
used through this module, and a test enforces that rule.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from contextvars import copy_context
from itertools import chain
from operator import itemgetter
from queue import Empty, SimpleQueue
from typing import TypeVar

from bridge.log import Line, lines_to, log

#: Seconds without a result after which `idle` is called.
_IDLE_AFTER = 1.0

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def imap_unordered(
    executor: Executor,
    function: Callable[[_Item], _Result],
    items: Iterable[_Item],
    *,
    parallel: int | None = None,
    while_: Callable[[], bool] = lambda: True,
    idle: Callable[[], None] | None = None,
) -> Generator[_Result]:
    """Call `function` for each item, begun in order, and yield the results as they come.

    At most `parallel` calls run at once. The default is the number of threads of the pool. No call is begun after
    `while_` returns False, or after the iterator is closed. The thread that takes the results calls `idle` each time
    that it has waited a second for a result. The iterator ends after the last running call, and then raises the
    exception of a call.
    """
    waiting, done = deque(items), SimpleQueue[tuple[_Result] | Line | None]()

    def take() -> tuple[_Item] | None:
        with suppress(IndexError):  # another thread took the last one
            return (waiting.popleft(),)
        return None

    def work() -> None:
        """Take one item after the other. Handing out items from another thread would cost two thread switches each."""
        try:
            with lines_to(done.put):
                while while_() and (item := take()) is not None:
                    done.put((function(*item),))
        finally:
            done.put(None)

    count = len(waiting) if parallel is None else min(parallel, len(waiting))
    workers = [executor.submit(copy_context().run, work) for _ in range(count)]  # with the deadline of the request
    results = _results(done, count, idle)
    try:
        yield from chain(results)  # it has no `close`: if this iterator is closed, `results` goes on below
    finally:
        waiting.clear()
        for _ in results:
            pass
    for worker in workers:
        worker.result()


def map_in_order(executor: Executor, function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Sequence[_Result]:
    """Call `function` for each item, as many at once as the pool has threads. Returns the results in order.

    After an exception no other call is begun. The exception is raised once the running calls have ended.
    """
    failed = False

    def call(numbered: tuple[int, _Item]) -> tuple[int, _Result]:
        nonlocal failed
        number, item = numbered
        try:
            return number, function(item)
        except BaseException:
            failed = True
            raise

    results = dict(imap_unordered(executor, call, enumerate(items), while_=lambda: not failed))
    return [result for _, result in sorted(results.items(), key=itemgetter(0))]


def _results(
    done: "SimpleQueue[tuple[_Result] | Line | None]", workers: int, idle: Callable[[], None] | None
) -> Iterator[_Result]:
    """Yield the results of `workers` workers, and write their log lines in between."""
    while workers:
        try:
            found = done.get(timeout=None if idle is None else _IDLE_AFTER)
        except Empty:
            if idle is not None:
                idle()
            continue
        match found:
            case None:
                workers -= 1
            case Line(event=event, fields=fields):
                log(event, **fields)
            case (result,):
                yield result
