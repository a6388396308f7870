"""How the use cases do a step: commit, and find out what became of it where no reply came."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bridge.domain.errors import CommitUnknown, Conflict, ConflictKind, Contended
from bridge.storage.table import Table
from bridge.storage.transaction import Transaction

_T = TypeVar("_T")

#: So often a step is decided again after somebody else was faster.
_ROUNDS = 6

#: The longest wait before the second round, in seconds; the later ones double.
_FIRST_WAIT = 0.02

#: And so often after a silence, which can take long.
_UNKNOWN_ROUNDS = 2


def commit(table: Table, transaction: Transaction) -> Mapping[str, str]:
    """Commit; returns the new ETags, or after an unknown outcome that turned out well just the stamped row's.

    Raises Conflict if a row is not as a write demands, and CommitUnknown if the outcome cannot be determined. A later
    read finds `tx` if the commit did succeed.
    """
    try:
        return table.commit(transaction)
    except CommitUnknown:
        if transaction.stamp is None:
            raise
        row = table.get(transaction.partition, transaction.stamp)
        if row is None or row.values.get("tx") != transaction.tx:
            raise
        return {row.key: row.etag}


def commit_first(table: Table, ways: Sequence[Transaction]) -> Mapping[str, str]:
    """Commit the first of some ways of one step, or the next one where a row was not there that one does not need.

    Raises like `commit`.
    """
    *others, last = ways
    for way in others:
        try:
            return commit(table, way)
        except Conflict as conflict:
            if conflict.kind is not ConflictKind.MISSING:
                raise
    return commit(table, last)


@dataclass(frozen=True, slots=True)
class Waits:
    """Makes the random waits between the rounds of a step that others were faster at."""

    #: Waits, in seconds.
    sleep: Callable[[float], None]
    #: A number in [0, 1).
    random: Callable[[], float]

    def before(self, number: int) -> None:
        """Wait before round `number`, counted from 0: nothing, then a random part of 20 ms, doubling."""
        if number:
            self.sleep(_FIRST_WAIT * 2 ** (number - 1) * self.random())


def transact(step: Callable[[], _T], waits: Waits, *, missing: Callable[[], object] = lambda: None) -> _T:
    """Read, decide and commit, in rounds, as long as others are faster. Writers that met once wait apart.

    Calls `missing` after a conflict about a row that is not there: it can be a due row that was deleted. Raises
    Contended after the last round (0.6 s of waits at most), StorageUnavailable if storage does not answer.
    """
    unknown = 0
    for number in range(_ROUNDS):
        waits.before(number)
        try:
            return step()
        except Conflict as conflict:
            if conflict.kind is ConflictKind.MISSING:
                missing()
        except CommitUnknown:
            unknown += 1
            if unknown >= _UNKNOWN_ROUNDS:
                raise
    raise Contended("the same rows were changed by others again and again")
