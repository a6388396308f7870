"""Counts by state: bounded reads, cached for some seconds, computed by one thread at a time."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from bridge.domain.errors import StorageUnavailable
from bridge.domain.ids import RegistrationRef
from bridge.domain.registration import State
from bridge.services.queries import COUNTED, KEPT_FOR, Counts
from bridge.storage.index import IndexEntry
from bridge.storage.keys import PARTITION_COUNT, partition_of
from bridge.storage.records import for_insert
from bridge.storage.table import Insert, Row, Transaction
from bridge.testing import MemoryTable
from tests.support.harness import FakeClock, Harness, PoolExecutor, harness

A_COUNT = PARTITION_COUNT * len(State)


class CountsTable(MemoryTable):
    """A table that records the rows of each counting read, and can block or fail in one."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[int] = []
        self.fault: Exception | None = None
        self.began, self.goes_on = threading.Event(), threading.Event()
        self.goes_on.set()

    def range(self, partition: str, start: str, stop: str, **options: Any) -> Sequence[Row]:
        """Read rows."""
        if self.fault is not None:
            raise self.fault
        found = super().range(partition, start, stop, **options)
        self.read.append(len(found))
        self.began.set()
        assert self.goes_on.wait(60)
        return found


def put(table: MemoryTable, bridge: Harness, number: int, state: State = State.DEAD) -> None:
    """Store one registration in the index."""
    request = bridge.request(f"operation-{number}")
    ref = RegistrationRef.of(request.ref.operation, owner="bob", callback_url=request.callback_url)
    entry = IndexEntry.of(replace(request, ref=ref, owner="bob", state=state))
    table.commit(Transaction(partition_of(ref), (Insert(entry.key, for_insert(entry)),)))


def test_the_states_are_counted_up_to_a_thousand_over_all_partitions(bridge: Harness) -> None:
    """No further row is read."""
    table = CountsTable()
    for number in range(3_000):
        put(table, bridge, number)

    counts = Counts(table, bridge.clock, PoolExecutor()).by_state()

    assert (counts[State.DEAD], counts[State.WAITING]) == (COUNTED + 1, 0)
    assert sum(table.read) == COUNTED + 1


def test_a_status_soon_after_another_counts_nothing(bridge: Harness) -> None:
    """The other fields of the status are read each time."""
    bridge.register("operation-1")
    queries = bridge.queries
    bridge.table.taken()
    first = queries.status()
    cost_of_first = bridge.table.taken()["range"]
    bridge.register("operation-2")
    bridge.clock.advance(KEPT_FOR.total_seconds() - 0.001)
    bridge.table.taken()

    again = queries.status()

    assert bridge.table.taken()["range"] == cost_of_first - A_COUNT
    assert (first.counts[State.WAITING], again.counts[State.WAITING]) == (1, 1)
    assert again.oldest_overdue_at is not None


@pytest.mark.parametrize("seconds", [10, 3600, -10], ids=["just old", "long ago", "by a clock that was set back"])
def test_counts_that_are_old_are_counted_again(bridge: Harness, seconds: float) -> None:
    """Ten seconds after they were begun."""
    counts = bridge.queries.counts
    bridge.register("operation-1")
    first = counts.by_state()[State.WAITING]
    bridge.register("operation-2")
    bridge.clock.advance(seconds)

    second = counts.by_state()[State.WAITING]

    assert (first, second) == (1, 2)


def test_a_count_that_failed_is_not_kept(bridge: Harness) -> None:
    """The next request counts again, and older counts are not used."""
    table = CountsTable()
    counts = Counts(table, bridge.clock, PoolExecutor())
    counts.by_state()
    put(table, bridge, 1)
    bridge.clock.advance(60)
    table.fault = StorageUnavailable("storage is down")
    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            counts.by_state()

    table.fault = None

    assert counts.by_state()[State.DEAD] == 1


def test_simultaneous_requests_share_one_count() -> None:
    """The other threads wait for the counting one."""
    table = CountsTable()
    put(table, harness(), 1)
    table.goes_on.clear()
    with ThreadPoolExecutor(6) as askers, ThreadPoolExecutor(2) as readers:
        counts = Counts(table, FakeClock(), readers)
        asked = [askers.submit(counts.by_state) for _ in range(6)]
        assert table.began.wait(60)
        table.goes_on.set()

        found = [each.result(60)[State.DEAD] for each in asked]

    assert found == [1] * 6
    assert len(table.read) == A_COUNT


def test_the_number_of_waiting_registrations_is_always_current(bridge: Harness) -> None:
    """A sweep measures once a minute, and the measure is of then."""
    counts = bridge.queries.counts
    counts.by_state()
    bridge.register()

    assert counts.waiting() == 1
