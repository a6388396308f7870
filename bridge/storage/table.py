"""The interface of a table. Azure Table storage implements it, and for tests a table in memory."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from bridge.storage.transaction import Row, Transaction


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
