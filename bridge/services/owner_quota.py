"""Limits the number of waiting registrations per owner, so that one client cannot fill the table and the sweeps.

A sweep counts once a minute, if enough polls are due that an owner may have reached the limit, and keeps the counts of
owners near the limit in one row. An instance reads that row at most once a minute, during a registration, and adds its
own registrations since then. The limit can lag by two minutes, and registering costs no further call.

    count      a crash costs nothing: the next minute counts again
    read       a missing or unreadable row limits no owner
"""

import json
import threading
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bridge.domain.errors import Conflict, StorageUnavailable
from bridge.domain.registration import State
from bridge.domain.time import Clock
from bridge.log import Event, log
from bridge.pool import imap_unordered
from bridge.storage.keys import WAITING_KEY, WAITING_PARTITION, after, operation_partitions
from bridge.storage.records import SCHEMA_VERSION, VERSION_COLUMN
from bridge.storage.table import Row, Table, Transaction, Upsert, Value

#: How often an instance reads the counts.
READ_EVERY = timedelta(minutes=1)

#: The most rows that are counted per partition.
_COUNTED = 20_000

#: How many owners' counts are kept, the largest ones, and their least share of the limit.
_KEPT, _NEAR = 500, 0.5

#: An operation is polled at least every 30 minutes, or its due row stays due. An owner at the limit therefore has at
#: least this share of operations due in each minute.
_DUE_A_MINUTE = 1 / 60


@dataclass(slots=True)
class WaitingCounter:
    """Counts waiting registrations for the sweep. An instance runs one sweep at a time."""

    table: Table
    executor: Executor
    clock: Clock
    #: The limit of waiting registrations per owner, if any.
    limit: int | None
    _due: int = 0
    _is_near: bool = False

    def saw(self, due: int) -> None:
        """Add the number of polls that were due in a sweep."""
        self._due += due

    def count(self) -> None:
        """Count if an owner may have reached the limit, and store the counts. Never raises for storage failures."""
        due, self._due = self._due, 0
        if self.limit is None or not (self._is_near or due >= self.limit * _DUE_A_MINUTE):
            return
        try:
            found = imap_unordered(self.executor, self._count_partition, operation_partitions())
            counts = sum(found, Counter[str]())
            near = {owner: count for owner, count in counts.most_common(_KEPT) if count >= self.limit * _NEAR}
            if near or self._is_near:
                columns: dict[str, Value] = {
                    VERSION_COLUMN: SCHEMA_VERSION,
                    "at": self.clock(),
                    "owners": json.dumps(near),
                }
                self.table.commit(Transaction(WAITING_PARTITION, (Upsert(WAITING_KEY, columns),)))
            self._is_near = bool(near)
        except (Conflict, StorageUnavailable) as error:
            log(Event.STORAGE, step="count waiting", error=str(error))

    def _count_partition(self, partition: str) -> Counter[str]:
        prefix = f"idx:{State.WAITING}:"
        rows = self.table.range(partition, prefix, after(prefix), limit=_COUNTED, columns=["owner"])
        return Counter(str(row.values.get("owner", "")) for row in rows)


@dataclass(slots=True)
class WaitingLimit:
    """Decides whether an owner may register more. Threads may share it."""

    table: Table
    clock: Clock
    #: The limit of waiting registrations per owner, if any.
    limit: int | None
    _counts: Mapping[str, int] = field(default_factory=dict)
    _created: Counter[str] = field(default_factory=Counter)
    _read_at: datetime | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def is_reached(self, owner: str) -> bool:
        """Return whether an owner has reached the limit. Never raises for storage failures."""
        if self.limit is None:
            return False
        now = self.clock()
        with self._lock:
            is_old = self._read_at is None or abs(now - self._read_at) >= READ_EVERY
            if is_old:
                self._read_at = now
        if is_old:
            self._read()
        return self._counts.get(owner, 0) + self._created[owner] >= self.limit

    def note(self, owner: str) -> None:
        """Count a new waiting registration of this instance."""
        if self.limit is not None:
            with self._lock:
                self._created[owner] += 1

    def _read(self) -> None:
        try:
            row = self.table.get(WAITING_PARTITION, WAITING_KEY)
        except StorageUnavailable as error:
            log(Event.STORAGE, step="read waiting", error=str(error))
            return
        with self._lock:
            self._counts, self._created = _owners(row), Counter()


def _owners(row: Row | None) -> Mapping[str, int]:
    """Decode the counts. A row that the bridge did not write has none."""
    try:
        read = json.loads(str(row.values.get("owners", "{}"))) if row is not None else {}
    except ValueError:
        return {}
    if not isinstance(read, dict):
        return {}
    return {str(owner): count for owner, count in read.items() if isinstance(count, int)}
