"""A storage of which the next commits go wrong in the ways that a test chooses."""

from collections.abc import Callable, Mapping

from bridge.storage.table import Table, Transaction
from tests.support.forwarding import FailingTable


class Flaky(FailingTable):
    """A table that takes a list of effects, one for each of the next commits."""

    def __init__(self, inner: Table) -> None:
        super().__init__(inner)
        #: Called instead of the next commits, one each.
        self.instead: list[Callable[[Transaction], Mapping[str, str]]] = []

    def commit(self, transaction: Transaction) -> Mapping[str, str]:
        """Commit, or go wrong."""
        return self.instead.pop(0)(transaction) if self.instead else super().commit(transaction)
