"""Purges operations that ended long ago."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bridge.domain.errors import Conflict, StorageUnavailable, UnreadableRow
from bridge.domain.time import Clock
from bridge.log import Event, log
from bridge.services.sweep.rescheduler import Rescheduler
from bridge.storage.due import DuePurge
from bridge.storage.keys import due_reference
from bridge.storage.repository import Repository
from bridge.storage.writes import purge
from bridge.storage.writes.poll import NOT_FOUND_WAIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Purges:
    """Performs purges."""

    repository: Repository
    rescheduler: Rescheduler
    clock: Clock
    #: How long an operation is kept after its end.
    retention: timedelta

    def run(self, due: Sequence[DuePurge], *, until: datetime) -> int:
        """Purge operations that are due. None begins after `until`. Returns the number of purged operations."""
        purged = 0
        for each in due:
            if self.clock() >= until:
                break
            purged += self._purge(each)
        return purged

    def _purge(self, due: DuePurge) -> bool:
        """Purge one operation, its attempts first. After a crash in between the next sweep continues."""
        try:
            aggregate = self.repository.aggregate(due.ref)
            now = self.clock()
            if aggregate is None:  # the write to the row shows whether it is gone
                self.rescheduler.commit([purge.look_again(due.handle, due.ref, now + NOT_FOUND_WAIT)])
                return False
            keep_until = purge.keep_until(aggregate, now, self.retention)
            if keep_until is not None:
                self.rescheduler.commit([purge.look_again(due.handle, due.ref, keep_until)])
                return False
            for transaction in purge.forget_attempts(due.handle.partition, self.repository.attempt_keys(due.ref)):
                self.repository.commit(transaction)
            self.repository.commit(purge.forget(due.handle, aggregate))
        except (Conflict, StorageUnavailable, UnreadableRow) as error:
            log(Event.STORAGE, step="purge", operation=due_reference(due.ref), error=str(error))
            return False
        except Exception as error:  # noqa: BLE001 - a bug, or columns that no version of the bridge writes
            log(Event.FAILED, step="purge", operation=due_reference(due.ref), error=type(error).__name__)
            return False
        log(Event.PURGED, operation=due_reference(due.ref))
        return True
