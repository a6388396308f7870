"""Purges operations that ended long ago."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bridge.domain.errors import Conflict, StorageUnavailable, UnreadableRow
from bridge.domain.time import Clock
from bridge.log import Event, log
from bridge.services.sweep.rescheduler import Rescheduler
from bridge.storage.aggregate import OperationAggregate
from bridge.storage.due import DuePurge
from bridge.storage.keys import after, due_reference, row_key
from bridge.storage.table import Table
from bridge.storage.writes import purge
from bridge.storage.writes.poll import NOT_FOUND_WAIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Purges:
    """Performs purges."""

    table: Table
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
            aggregate = OperationAggregate.read(
                due.ref, self.table.range(due.handle.partition, row_key(due.ref), after(row_key(due.ref)))
            )
            now = self.clock()
            if aggregate is None:  # the write to the row shows whether it is gone
                self.rescheduler.commit([purge.look_again(due.handle, due.ref, now + NOT_FOUND_WAIT)])
                return False
            keep_until = purge.keep_until(aggregate, now, self.retention)
            if keep_until is not None:
                self.rescheduler.commit([purge.look_again(due.handle, due.ref, keep_until)])
                return False
            self._forget_attempts(due)
            self.table.commit(purge.forget(due.handle, aggregate))
        except (Conflict, StorageUnavailable, UnreadableRow) as error:
            log(Event.STORAGE, step="purge", operation=due_reference(due.ref), error=str(error))
            return False
        except Exception as error:  # noqa: BLE001 - a bug, or columns that no version of the bridge writes
            log(Event.FAILED, step="purge", operation=due_reference(due.ref), error=type(error).__name__)
            return False
        log(Event.PURGED, operation=due_reference(due.ref))
        return True

    def _forget_attempts(self, due: DuePurge) -> None:
        prefix = f"att:{due_reference(due.ref)}:"
        rows = self.table.range(due.handle.partition, prefix, after(prefix), columns=["number"])
        for transaction in purge.forget_attempts(due.handle.partition, [row.key for row in rows]):
            self.table.commit(transaction)
