"""The base of the tables that tests put before another table."""

from collections.abc import Mapping, Sequence

from bridge.storage.table import Table
from bridge.storage.transaction import Row, Transaction


class ForwardingTable:
    """A table that hands each call on. A double overrides the calls that it is about."""

    def __init__(self, inner: Table) -> None:
        self.inner = inner

    def get(self, partition: str, key: str) -> Row | None:
        """Read one row."""
        return self.inner.get(partition, key)

    def range(
        self, partition: str, start: str, stop: str, *, limit: int | None = None, columns: Sequence[str] = ()
    ) -> Sequence[Row]:
        """Read a range."""
        return self.inner.range(partition, start, stop, limit=limit, columns=columns)

    def commit(self, transaction: Transaction) -> Mapping[str, str]:
        """Commit a transaction."""
        return self.inner.commit(transaction)
