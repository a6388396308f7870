"""The base of the tables that tests put before another table."""

from collections.abc import Mapping, Sequence

from bridge.domain.errors import CommitUnknown, Conflict, ConflictKind, StorageUnavailable
from bridge.storage.table import Row, Table, Transaction


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


class FailingTable(ForwardingTable):
    """A table with the ways in which a commit can go wrong. A double chooses the commits."""

    def __init__(self, inner: Table) -> None:
        super().__init__(inner)
        #: The transaction that is under way.
        self.late = Transaction("", ())

    def reply_lost(self, transaction: Transaction) -> Mapping[str, str]:
        """Commit, and lose the reply."""
        self.inner.commit(transaction)
        raise CommitUnknown("no reply")

    def request_lost(self, transaction: Transaction) -> Mapping[str, str]:
        """Lose the request."""
        raise CommitUnknown("no reply")

    def lands_late(self, transaction: Transaction) -> Mapping[str, str]:
        """Keep the request under way, and give no reply."""
        self.late = transaction
        raise CommitUnknown("no reply yet")

    def late_lands_first(self, transaction: Transaction) -> Mapping[str, str]:
        """Let the request that was under way land before this one."""
        self.inner.commit(self.late)
        return self.inner.commit(transaction)

    def conflict(self, transaction: Transaction) -> Mapping[str, str]:
        """Be too late."""
        raise Conflict(ConflictKind.STALE, 0)

    def down(self, transaction: Transaction) -> Mapping[str, str]:
        """Refuse."""
        raise StorageUnavailable("down")
