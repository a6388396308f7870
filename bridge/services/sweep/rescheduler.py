"""Reschedules due rows, many in one transaction, so that a poll without news costs a fraction of a call.

The batches are committed early, so that a crash loses few results.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bridge.domain.errors import CommitUnknown, Conflict, ConflictKind, StorageUnavailable
from bridge.domain.time import Clock
from bridge.log import Event, log
from bridge.storage.repository import Repository
from bridge.storage.table import Delete, Transaction
from bridge.storage.writes.poll import (
    RESCHEDULES_PER_TRANSACTION,
    TARGET,
    WRITES_PER_RESCHEDULE,
    Reschedule,
    reschedule_all,
)


@dataclass(frozen=True, slots=True)
class Rescheduler:
    """Commits reschedules of one partition, up to 33 at once, and returns those that succeeded."""

    repository: Repository

    def commit(self, reschedules: Sequence[Reschedule]) -> Sequence[Reschedule]:
        """Commit as many reschedules as possible.

        If another sweep took a due row, its reschedule is dropped without a further poll or message, and the rest is
        committed. A batch that fails for another reason is committed one by one, so that one bad row blocks no other.
        Reschedules with an unknown outcome are left to the next sweep. Never raises for storage failures.
        """
        left = list(reschedules)
        while left:
            try:
                self.repository.commit(reschedule_all(left, tx=self.repository.new_id()))
            except Conflict as conflict:
                if conflict.index is None:
                    return self._one_by_one(left)
                self._drop(left.pop(conflict.index // WRITES_PER_RESCHEDULE), conflict)
            except CommitUnknown as error:
                log(Event.STORAGE, step="move due rows", partition=left[0].handle.partition, error=str(error))
                return []
            except StorageUnavailable as error:
                return self._one_by_one(left, error)
            else:
                return left
        return []

    def _one_by_one(
        self, reschedules: Sequence[Reschedule], error: StorageUnavailable | None = None
    ) -> Sequence[Reschedule]:
        if len(reschedules) > 1:
            return [rescheduled for reschedule in reschedules for rescheduled in self.commit([reschedule])]
        if error is not None:
            log(Event.STORAGE, step="move due row", key=reschedules[0].handle.key, error=str(error))
        return []

    def _drop(self, lost: Reschedule, conflict: Conflict) -> None:
        """Delete a due row without a target: the service has answered 404 to the write to the target."""
        if conflict.kind is ConflictKind.MISSING and (conflict.index or 0) % WRITES_PER_RESCHEDULE == TARGET:
            with suppress(Conflict, StorageUnavailable):  # another sweep was faster, or the next one deletes the row
                gone = Delete(lost.handle.key, lost.handle.etag)
                self.repository.commit(Transaction(lost.handle.partition, (gone,)))
                log(Event.DELETED, key=lost.handle.key)


#: Results are committed at least this often, so that a crash repeats few polls.
_FLUSH_AFTER = timedelta(seconds=5)


@dataclass(slots=True)
class _Batch:
    since: datetime
    reschedules: list[Reschedule] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RescheduleBatches:
    """The reschedules that are not committed yet, by partition."""

    rescheduler: Rescheduler
    clock: Clock
    by_partition: dict[str, _Batch] = field(default_factory=dict)

    def add(self, reschedule: Reschedule) -> None:
        """Add a reschedule."""
        self.by_partition.setdefault(reschedule.handle.partition, _Batch(self.clock())).reschedules.append(reschedule)

    def flush(self, *, everything: bool = False) -> None:
        """Commit full batches and old ones, and at the end all."""
        now = self.clock()
        for partition, batch in list(self.by_partition.items()):
            if everything or len(batch.reschedules) >= RESCHEDULES_PER_TRANSACTION or now - batch.since >= _FLUSH_AFTER:
                self.rescheduler.commit(self.by_partition.pop(partition).reschedules)
