"""Moves due rows, many in one transaction, so that a poll that finds nothing new costs a fraction of a call."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from bridge.domain.errors import CommitUnknown, Conflict, ConflictKind, StorageUnavailable
from bridge.log import Event, log
from bridge.storage.repository import commit
from bridge.storage.table import Table
from bridge.storage.transaction import Delete, Transaction
from bridge.storage.writes.poll import TARGET, WRITES_PER_MOVE, DueMove, move_all


@dataclass(frozen=True, slots=True)
class Mover:
    """Commits moves of one partition, up to 33 at once; says which of them happened."""

    table: Table
    #: Makes a random text that no other call makes.
    token: Callable[[], str]

    def move(self, moves: Sequence[DueMove]) -> Sequence[DueMove]:
        """Commit what can be committed.

        A move whose token somebody else took is dropped, the rest is committed; nothing is asked or sent again for
        it. A batch that fails for another reason is committed one by one, so that one bad row holds up nobody. What
        is not known to have happened is left to the next sweep. Never raises for what storage does.
        """
        left = list(moves)
        while left:
            try:
                commit(self.table, move_all(left, tx=self.token()))
            except Conflict as conflict:
                if conflict.index is None:
                    return self._one_by_one(left)
                self._drop(left.pop(conflict.index // WRITES_PER_MOVE), conflict)
            except CommitUnknown as error:
                log(Event.STORAGE, step="move due rows", partition=left[0].token.partition, error=str(error))
                return []
            except StorageUnavailable as error:
                return self._one_by_one(left, error)
            else:
                return left
        return []

    def _one_by_one(self, moves: Sequence[DueMove], error: StorageUnavailable | None = None) -> Sequence[DueMove]:
        if len(moves) > 1:
            return [moved for move in moves for moved in self.move([move])]
        if error is not None:
            log(Event.STORAGE, step="move due row", key=moves[0].token.key, error=str(error))
        return []

    def _drop(self, lost: DueMove, conflict: Conflict) -> None:
        """Delete a due row whose target is gone: the service has answered 404 to the write to the target."""
        if conflict.kind is ConflictKind.MISSING and (conflict.index or 0) % WRITES_PER_MOVE == TARGET:
            with suppress(Conflict, StorageUnavailable):  # another sweep was faster, or the next one deletes the row
                self.table.commit(Transaction(lost.token.partition, (Delete(lost.token.key, lost.token.etag),)))
                log(Event.DELETED, key=lost.token.key)
