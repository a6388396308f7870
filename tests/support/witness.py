"""A table in memory that records the sizes of transactions."""

from collections.abc import Mapping

from bridge.storage.table import Transaction
from bridge.testing import MemoryTable


class Witness(MemoryTable):
    """Records the number of rows of each successful transaction."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def commit(self, transaction: Transaction) -> Mapping[str, str]:
        """Commit and record."""
        etags = super().commit(transaction)
        self.sizes.append(len(transaction.writes))
        return etags

    def taken(self) -> list[int]:
        """Return the recorded sizes and reset them."""
        taken, self.sizes = self.sizes, []
        return taken
