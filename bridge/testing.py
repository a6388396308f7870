"""A table and a queue in memory, with the contract of the real ones. For tests and measurements.

One contract suite runs on this table and on the real service's emulator, so both behave alike.
"""

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import count, islice

from sortedcontainers import SortedList

from bridge.domain.delivery import DeliveryTask
from bridge.domain.errors import Conflict, ConflictKind
from bridge.storage.table import ANY, MAX_WRITES, Delete, Insert, Merge, Row, Transaction, Upsert, Value, Write

_MAX_STRING_UNITS = 32_768
_MAX_BYTES = 65_536
_INT_LIMIT = 2**63
_NO_KEYS = SortedList()


class MemoryTable:
    """A dict with ETags. Every method holds one lock, so threads see the same states as with the real service.

    The keys of a partition are sorted, and a transaction reads only its own rows. The cost of a step does not depend
    on the number of other rows, so a measurement shows the bridge and not this table.
    """

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, Row]] = {}
        self._keys: dict[str, SortedList] = {}
        self._etags = count(1)
        self._lock = threading.Lock()

    def get(self, partition: str, key: str) -> Row | None:
        """Read one row, or return None if the row is missing."""
        with self._lock:
            return self._rows.get(partition, {}).get(key)

    def range(
        self, partition: str, start: str, stop: str, *, limit: int | None = None, columns: Sequence[str] = ()
    ) -> Sequence[Row]:
        """Read the rows with `start <= key < stop` in key order, at most `limit` of them."""
        with self._lock:
            keys, rows = self._keys.get(partition, _NO_KEYS), self._rows.get(partition, {})
            found = keys.irange(start, stop, inclusive=(True, False))
            return [_only(rows[key], columns) for key in islice(found, limit)]

    def commit(self, transaction: Transaction) -> Mapping[str, str]:
        """Commit all writes or none.

        Raises Conflict, and ValueError for a transaction that the service would reject with 400 or not accept.
        """
        _check(transaction)
        with self._lock:
            before = self._rows.setdefault(transaction.partition, {})
            after: dict[str, Row | None] = {
                write.key: _applied(before.get(write.key), write, index, transaction.partition, self._etags)
                for index, write in enumerate(transaction.writes)
            }
            for key, row in after.items():
                self._put(transaction.partition, key, row)
            return {key: row.etag for key, row in after.items() if row is not None}

    def rows(self, partition: str | None = None) -> Sequence[Row]:
        """Return all rows, for tests that check the whole table."""
        with self._lock:
            partitions = self._rows if partition is None else [partition]
            return [row for name in partitions for _, row in sorted(self._rows.get(name, {}).items())]

    def _put(self, partition: str, key: str, row: Row | None) -> None:
        rows, keys = self._rows[partition], self._keys.setdefault(partition, SortedList())
        if row is None:
            del rows[key]
            keys.remove(key)
            return
        if key not in rows:
            keys.add(key)
        rows[key] = row


class MemoryQueue:
    """Keeps sent messages until a test takes them."""

    def __init__(self) -> None:
        self.tasks: list[DeliveryTask] = []
        self.ttls: list[timedelta] = []

    def create(self) -> None:
        """Do nothing: the queue always exists."""

    def send(self, task: DeliveryTask, *, ttl: timedelta) -> None:
        """Keep a task."""
        self.tasks.append(task)
        self.ttls.append(ttl)

    def take(self) -> list[DeliveryTask]:
        """Empty the queue and return its tasks, oldest first."""
        taken, self.tasks = self.tasks, []
        return taken


def _applied(found: Row | None, write: Write, index: int, partition: str, etags: Iterator[int]) -> Row | None:
    """Return the row after a write, or None after a deletion. Raises Conflict."""
    values: Mapping[str, Value]
    match write:
        case Insert(values=values):
            if found is not None:
                raise Conflict(ConflictKind.EXISTS, index)
        case Merge(values=changes):
            values = {**_expected(found, write.etag, index).values, **changes}
        case Upsert(values=changes):
            values = {**(found.values if found else {}), **changes}
        case Delete():
            _expected(found, write.etag, index)
            return None
    return Row(partition, write.key, f"etag-{next(etags)}", dict(values))


def _expected(found: Row | None, etag: str, index: int) -> Row:
    if found is None:
        raise Conflict(ConflictKind.MISSING, index)
    if etag not in (ANY, found.etag):
        raise Conflict(ConflictKind.STALE, index)
    return found


def _only(row: Row, columns: Sequence[str]) -> Row:
    if not columns:
        return row
    return Row(row.partition, row.key, row.etag, {name: row.values[name] for name in columns if name in row.values})


def _check(transaction: Transaction) -> None:
    keys = [write.key for write in transaction.writes]
    if not 0 < len(keys) <= MAX_WRITES:
        raise ValueError(f"a transaction has 1 to {MAX_WRITES} writes, not {len(keys)}")
    if len(set(keys)) < len(keys):
        raise ValueError("a transaction names each row only once")
    for write in transaction.writes:
        if not isinstance(write, Delete):
            for name, value in write.values.items():
                _check_value(name, value)


def _check_value(name: str, value: Value) -> None:
    match value:
        case str():
            units = len(value) if value.isascii() else len(value.encode("utf-16-le")) // 2
            fits = units <= _MAX_STRING_UNITS
        case bytes():
            fits = len(value) <= _MAX_BYTES
        case datetime():
            fits = value.tzinfo is not None
        case float():
            fits = math.isfinite(value)
        case int():
            fits = -_INT_LIMIT <= value < _INT_LIMIT
    if not fits:
        raise ValueError(f"column {name!r} does not fit")
