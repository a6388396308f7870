"""A storage that goes wrong in the way that a test chooses."""

from collections.abc import Callable, Mapping, Sequence

from bridge.domain.errors import CommitUnknown, Conflict, ConflictKind, StorageUnavailable
from bridge.storage.table import Table
from bridge.storage.transaction import Row, Transaction


class Flaky:
    """A table of which some commits go wrong in a way that a test chooses."""

    def __init__(self, inner: Table) -> None:
        self.inner = inner
        #: Called instead of the next commits, one each.
        self.instead: list[Callable[[Transaction], Mapping[str, str]]] = []
        #: What is under way, for as long as a test likes.
        self.late = Transaction("", ())

    def get(self, partition: str, key: str) -> Row | None:
        """Read as ever."""
        return self.inner.get(partition, key)

    def range(
        self, partition: str, start: str, stop: str, *, limit: int | None = None, columns: Sequence[str] = ()
    ) -> Sequence[Row]:
        """Read as ever."""
        return self.inner.range(partition, start, stop, limit=limit, columns=columns)

    def commit(self, transaction: Transaction) -> Mapping[str, str]:
        """Commit, or go wrong."""
        return self.instead.pop(0)(transaction) if self.instead else self.inner.commit(transaction)

    def silent_commit(self, transaction: Transaction) -> Mapping[str, str]:
        """Commit, and lose the reply."""
        self.inner.commit(transaction)
        raise CommitUnknown("no reply")

    def silent_loss(self, transaction: Transaction) -> Mapping[str, str]:
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
