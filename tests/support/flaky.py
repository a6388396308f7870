"""Storage with failures that a test chooses."""

from collections.abc import Callable, Mapping, Sequence

from bridge.domain.errors import CommitUnknown, Conflict, ConflictKind, StorageUnavailable
from bridge.storage.table import Table
from bridge.storage.transaction import Row, Transaction
from tests.support.harness import Harness, harness


class Flaky:
    """A table with failing commits."""

    def __init__(self, inner: Table) -> None:
        self.inner = inner
        #: Called in place of the next commits, one each.
        self.instead: list[Callable[[Transaction], Mapping[str, str]]] = []
        #: Requests in flight, as long as the test needs.
        self.late = Transaction("", ())

    def get(self, partition: str, key: str) -> Row | None:
        return self.inner.get(partition, key)

    def range(
        self, partition: str, start: str, stop: str, *, limit: int | None = None, columns: Sequence[str] = ()
    ) -> Sequence[Row]:
        return self.inner.range(partition, start, stop, limit=limit, columns=columns)

    def commit(self, transaction: Transaction) -> Mapping[str, str]:
        """Commit, or fail."""
        return self.instead.pop(0)(transaction) if self.instead else self.inner.commit(transaction)

    def silent_commit(self, transaction: Transaction) -> Mapping[str, str]:
        """Commit, and lose the reply."""
        self.inner.commit(transaction)
        raise CommitUnknown("no reply")

    def silent_loss(self, transaction: Transaction) -> Mapping[str, str]:
        """Lose the request."""
        raise CommitUnknown("no reply")

    def lands_late(self, transaction: Transaction) -> Mapping[str, str]:
        """Keep the request in flight, and give no reply."""
        self.late = transaction
        raise CommitUnknown("no reply yet")

    def late_lands_first(self, transaction: Transaction) -> Mapping[str, str]:
        """Apply the request in flight before this one."""
        self.inner.commit(self.late)
        return self.inner.commit(transaction)

    def conflict(self, transaction: Transaction) -> Mapping[str, str]:
        """Raise a conflict."""
        raise Conflict(ConflictKind.STALE, 0)

    def down(self, transaction: Transaction) -> Mapping[str, str]:
        """Raise StorageUnavailable."""
        raise StorageUnavailable("down")


def flaky() -> tuple[Harness, Flaky]:
    """Return a harness with a flaky table."""
    tables: list[Flaky] = []

    def wrap(inner: Table) -> Table:
        tables.append(Flaky(inner))
        return tables[0]

    return harness(wrap), tables[0]
