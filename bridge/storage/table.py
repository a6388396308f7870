"""What storage needs of a table. Azure Table storage has it, and a table in memory has it for tests."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from bridge.storage.transaction import Row, Transaction


class Table(Protocol):
    """One table of rows in partitions, with transactions of one partition.

    Every method raises StorageUnavailable where the storage does not answer or refuses. Reads are repeated inside;
    a transaction never is, since its repetition would turn a commit into a conflict.
    """

    def get(self, partition: str, key: str) -> Row | None:
        """Read one row; None where it is not there."""

    def range(
        self, partition: str, start: str, stop: str, *, limit: int | None = None, columns: Sequence[str] = ()
    ) -> Sequence[Row]:
        """Read the rows with `start <= key < stop` in the order of their keys, at most `limit` of them.

        With `columns`, only those are read.
        """

    def commit(self, transaction: Transaction) -> Mapping[str, str]:
        """Do all writes or none; returns the new ETags by row key.

        Raises Conflict if a row is not as a write demands, and CommitUnknown if no reply came.
        """
