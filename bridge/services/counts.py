"""How many registrations are in each state. An instance counts once in KEPT_FOR at most, and keeps the counts.

A page asks every five seconds and in each tab, and counting is the largest read of a status.
"""

import threading
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bridge.domain.registration import State
from bridge.domain.time import Clock
from bridge.pool import map_in_order
from bridge.storage.keys import after, operation_partitions
from bridge.storage.table import Table

#: Registrations are counted up to this many of a state, over all partitions; past it, 'more' has to do.
COUNTED = 1_000

#: Counts are answered from memory for this long after they were begun.
KEPT_FOR = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class _Kept:
    """Counts, and when they were begun."""

    at: datetime
    counts: Mapping[State, int]


@dataclass(slots=True)
class Counts:
    """Counts the rows of the index. Threads may share it."""

    table: Table
    clock: Clock
    executor: Executor
    _kept: _Kept | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def by_state(self) -> Mapping[State, int]:
        """Return the counts of all states, up to one more than COUNTED each, at most KEPT_FOR old.

        One thread counts at a time; others wait for its counts, which are no older than their own would be. Raises
        StorageUnavailable, after which nothing is kept and the next call counts again.
        """
        with self._lock:
            now = self.clock()
            if self._kept is None or abs(now - self._kept.at) >= KEPT_FOR:
                self._kept = None
                found = map_in_order(self.executor, self.of, State)
                self._kept = _Kept(now, dict(zip(State, found, strict=True)))
            return self._kept.counts

    def of(self, state: State) -> int:
        """Count a state now, up to one more than COUNTED, partition by partition, and read no row beyond that.

        Raises StorageUnavailable.
        """
        prefix, found = f"idx:{state}:", 0
        for partition in operation_partitions():
            limit = COUNTED + 1 - found
            if limit <= 0:
                break
            found += len(self.table.range(partition, prefix, after(prefix), limit=limit, columns=["v"]))
        return found

    def waiting(self) -> int:
        """Count the registrations that wait now, up to one more than COUNTED. Raises StorageUnavailable."""
        return self.of(State.WAITING)
