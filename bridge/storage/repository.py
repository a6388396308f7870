"""Commits of steps: retries after conflicts, and checks after a commit without a reply."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bridge.domain.errors import CommitUnknown, Conflict, ConflictKind, Contended
from bridge.storage.table import Table
from bridge.storage.transaction import Transaction

_T = TypeVar("_T")

#: How often a step is read and decided, at most, if other writers cause conflicts.
_ROUNDS = 6

#: The longest wait before the second round, in seconds. Each later wait doubles.
_FIRST_WAIT = 0.02

#: The limit of rounds with an unknown outcome, which can take long.
_UNKNOWN_ROUNDS = 2


def commit(table: Table, transaction: Transaction) -> Mapping[str, str]:
    """Commit a transaction and return the new ETags. After a lost reply the result has only the stamped row's ETag.

    Raises Conflict if the condition of a write does not hold, and CommitUnknown if the outcome cannot be determined. A
    later read finds `tx` if the commit did succeed.
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
    """Commit the first of several variants of a step. After a conflict about a missing row, try the next variant.

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
    """Creates the random waits between the rounds of a step after conflicts."""

    #: Waits for a number of seconds.
    sleep: Callable[[float], None]
    #: Returns a number in [0, 1).
    random: Callable[[], float]

    def before(self, number: int) -> None:
        """Wait before round `number`, from 0: first nothing, then a random part of 20 ms, doubling each time."""
        if number:
            self.sleep(_FIRST_WAIT * 2 ** (number - 1) * self.random())


def transact(step: Callable[[], _T], waits: Waits, *, missing: Callable[[], object] = lambda: None) -> _T:
    """Read, decide and commit, again after each conflict. Random waits separate writers that have conflicted.

    Calls `missing` after a conflict about a missing row, which can be a deleted due row. Raises Contended after the
    last round (at most 0.6 s of waits), and StorageUnavailable if storage does not answer.
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
    raise Contended("other writers changed the same rows again and again")
