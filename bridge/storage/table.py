"""The interface of a table, and a step as one value: writes that are committed together or not at all.

Azure Table storage implements the interface, and for tests a table in memory. After its insert a row is only merged
into, so that columns of a newer version survive an older instance. Empty values are written as empty strings, since
the service drops None.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

#: The type of a column's value.
Value = str | int | float | bool | bytes | datetime

#: The service's limit of rows in one transaction.
MAX_WRITES = 100

#: Matches any ETag: the row must exist, in any state.
ANY = "*"


@dataclass(frozen=True, slots=True)
class Row:
    """A row as read."""

    partition: str
    key: str
    #: Identifies this state of the row.
    etag: str
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Insert:
    """The row must not exist."""

    key: str
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Merge:
    """The row must exist with this `etag`. Other columns stay unchanged."""

    key: str
    values: Mapping[str, Value]
    etag: str


@dataclass(frozen=True, slots=True)
class Upsert:
    """The row may exist or not. Other columns stay unchanged."""

    key: str
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Delete:
    """The row must exist with this `etag`."""

    key: str
    etag: str


Write = Insert | Merge | Upsert | Delete


@dataclass(frozen=True, slots=True)
class Transaction:
    """One entity-group transaction of at most 100 rows, each at most once."""

    partition: str
    writes: tuple[Write, ...]
    #: The row with `tx`, which shows after an unknown outcome whether this was committed. None without such a row.
    stamp: str | None = None
    tx: str = ""


class Table(Protocol):
    """One table of rows in partitions, with transactions within one partition.

    Every method raises StorageUnavailable if the storage does not answer or refuses. Reads are repeated internally. A
    transaction never is, since its repetition would turn a commit into a conflict.
    """

    def get(self, partition: str, key: str) -> Row | None:
        """Read one row, or return None if the row is missing."""

    def range(
        self, partition: str, start: str, stop: str, *, limit: int | None = None, columns: Sequence[str] = ()
    ) -> Sequence[Row]:
        """Read the rows with `start <= key < stop` in key order, at most `limit` of them.

        With `columns`, only those columns are read.
        """

    def commit(self, transaction: Transaction) -> Mapping[str, str]:
        """Commit all writes or none. Returns the new ETags by row key.

        Raises Conflict if the condition of a write does not hold, and CommitUnknown if no reply came.
        """
