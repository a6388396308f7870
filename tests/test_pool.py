"""Parallel work: results and log lines."""

import json
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext

import pytest

from bridge.log import Event, called_by, log
from bridge.pool import imap_unordered, map_in_order
from tests.support.harness import PoolExecutor
from tests.support.log_guard import GuardedLogger
from tests.support.log_lines import lines_of

GENEROUS = 20.0


def test_everything_is_done_once() -> None:
    """With more threads than items, or fewer."""
    for threads in (1, 3, 40):
        with ThreadPoolExecutor(threads) as executor:
            found = list(imap_unordered(executor, lambda each: each * 2, range(20), parallel=threads))

        assert sorted(found) == list(range(0, 40, 2))


def test_the_number_of_simultaneous_items_is_limited() -> None:
    """Three tasks meet at a barrier. A fourth would break the barrier."""
    meeting = threading.Barrier(3, timeout=GENEROUS)

    with ThreadPoolExecutor(8) as executor:
        found = list(imap_unordered(executor, lambda _: meeting.wait(), range(9), parallel=3))

    assert sorted(found) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_a_result_is_available_before_the_rest_has_ended() -> None:
    """The result can be committed early."""
    go_on = threading.Event()

    with ThreadPoolExecutor(2) as executor:
        found = imap_unordered(executor, lambda each: each or go_on.wait(GENEROUS), [0, 1])

        first = next(found)
        go_on.set()

        assert first is not None
        assert len(list(found)) == 1


def test_no_item_begins_after_the_time_limit() -> None:
    """Work in flight is still awaited."""
    time_left = iter([True, True, True, True, False])

    with ThreadPoolExecutor(1) as executor:
        found = list(imap_unordered(executor, abs, range(9), parallel=1, while_=lambda: next(time_left)))

    assert found == [0, 1, 2, 3]


def test_a_failure_is_raised_after_the_others_have_ended() -> None:
    """No result is lost."""

    def do(each: int) -> int:
        if each == 1:
            raise KeyError(each)
        return each

    found: list[int] = []
    with ThreadPoolExecutor(2) as executor, pytest.raises(KeyError):
        found.extend(imap_unordered(executor, do, range(5)))

    assert {0, 2, 3, 4} <= set(found)


@pytest.fixture
def executor() -> Iterator[Executor]:
    """Run a pool of the app."""
    with ThreadPoolExecutor(4, thread_name_prefix="sweep") as running:
        yield running


def purge(each: int) -> int:
    """Do work that writes a line."""
    log(Event.PURGED, operation=str(each))
    return each


def purged(*numbers: int) -> list[dict[str, str]]:
    """Return the lines of such work."""
    return [{"event": "operation.purged", "operation": str(each), "caller": "192.0.2.1"} for each in numbers]


def test_thread_that_takes_the_results_writes_the_lines(executor: Executor, caplog: pytest.LogCaptureFixture) -> None:
    """The lines have the same fields as the thread's own lines."""
    caplog.set_level("INFO", "bridge")

    with called_by("192.0.2.1"):
        found = list(imap_unordered(executor, purge, range(9)))

    assert sorted(found) == list(range(9))
    assert sorted(lines_of(caplog), key=str) == purged(*range(9))
    assert {record.threadName for record in caplog.records} == {threading.current_thread().name}


def test_lines_are_written_as_the_results_are_taken(executor: Executor, caplog: pytest.LogCaptureFixture) -> None:
    """A process that is killed meanwhile has already written the lines."""
    caplog.set_level("INFO", "bridge")
    go_on = threading.Event()

    def work(each: int) -> int:
        return purge(each) if each == 0 or go_on.wait(GENEROUS) else each

    with called_by("192.0.2.1"):
        found = imap_unordered(executor, work, [0, 1])
        first = next(found)
        before_the_second = lines_of(caplog)
        go_on.set()
        rest = list(found)

    assert (first, before_the_second, rest) == (0, purged(0), [1])
    assert lines_of(caplog) == purged(0, 1)


@contextmanager
def written(operation: str) -> Iterator[threading.Event]:
    """Set an event when the line of an operation is written."""
    is_written, logger, handler = threading.Event(), logging.getLogger("bridge"), logging.Handler("INFO")

    def emit(record: logging.LogRecord) -> None:
        if json.loads(record.getMessage())["operation"] == operation:
            is_written.set()

    handler.emit = emit  # type: ignore[method-assign] # all that is looked at
    logger.addHandler(handler)
    yield is_written
    logger.removeHandler(handler)


def test_line_is_written_while_the_work_that_it_is_about_goes_on(
    executor: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    """A commit is logged although the following send hangs."""
    caplog.set_level("INFO", "bridge")

    def work(each: int) -> bool:
        purge(each)
        return is_written.wait(GENEROUS)

    with written("0") as is_written:
        found = list(imap_unordered(executor, work, [0]))

    assert found == [True]


def test_lines_of_work_that_fails_are_written(executor: Executor, caplog: pytest.LogCaptureFixture) -> None:
    """The lines describe the events before the failure."""
    caplog.set_level("INFO", "bridge")

    def fail(each: int) -> int:
        raise KeyError(purge(each))

    with called_by("192.0.2.1"), pytest.raises(KeyError):
        list(imap_unordered(executor, fail, [7]))

    assert lines_of(caplog) == purged(7)


def test_iterator_that_is_closed_waits_for_what_was_begun(caplog: pytest.LogCaptureFixture) -> None:
    """The lines are written, and no further work begins."""
    caplog.set_level("INFO", "bridge")

    def work(each: int) -> bool:
        purge(each)
        return each != 1 or is_written.wait(GENEROUS)

    with (
        ThreadPoolExecutor(1, thread_name_prefix="sweep") as executor,
        called_by("192.0.2.1"),
        written("1") as is_written,
        closing(imap_unordered(executor, work, range(9))) as found,
    ):
        next(found)

    assert lines_of(caplog) == purged(0, 1)


def test_ordered_results_match_their_items(executor: Executor) -> None:
    """The order in which work ends is irrelevant."""
    last = threading.Event()

    def work(each: int) -> int:
        last.set() if each == 3 else last.wait(GENEROUS)
        return each * 2

    assert map_in_order(executor, work, iter(range(4))) == [0, 2, 4, 6]


def test_first_failure_of_ordered_results_is_raised_and_stops_new_work() -> None:
    """Each thread calls unavailable storage once, not once per item."""
    begun: list[int] = []

    def fail(each: int) -> int:
        begun.append(each)
        raise KeyError(each)

    with ThreadPoolExecutor(1) as executor, pytest.raises(KeyError):
        map_in_order(executor, fail, range(9))

    assert begun == [0]


def test_guard_of_the_tests_detects_a_line_of_a_pool(guarded_log: GuardedLogger) -> None:
    """Covers the test's executor and a thread of the app's pools."""
    with ThreadPoolExecutor(1, thread_name_prefix="read") as executor:
        executor.submit(purge, 1).result()
    PoolExecutor().submit(purge, 2).result()

    seen, guarded_log.of_pools = guarded_log.of_pools, []
    assert [json.loads(line)["operation"] for line in seen] == ["1", "2"]


def test_guard_of_the_tests_detects_lines_that_are_not_returned(
    guarded_log: GuardedLogger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.pool.lines_to", lambda _: nullcontext())

    list(imap_unordered(PoolExecutor(), purge, [1]))

    seen, guarded_log.of_pools = guarded_log.of_pools, []
    assert [json.loads(line)["operation"] for line in seen] == ["1"]
