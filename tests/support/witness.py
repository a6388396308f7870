"""A table in memory that remembers the sizes of its transactions."""

from collections.abc import Mapping

from bridge.storage.transaction import Transaction
from bridge.testing import MemoryTable


class Witness(MemoryTable):
    """Remembers how many rows each transaction that went through had."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def commit(self, transaction: Transaction) -> Mapping[str, str]:
        """Commit, and remember."""
        etags = super().commit(transaction)
        self.sizes.append(len(transaction.writes))
        return etags

    def taken(self) -> list[int]:
        """Take what was remembered and begin again."""
        taken, self.sizes = self.sizes, []
        return taken
