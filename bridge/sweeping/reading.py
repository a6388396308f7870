"""Reads what is due: one range of each partition, in parallel."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from bridge.core.due import Due, DueDelivery, DuePoll, DuePurge, read_due
from bridge.core.errors import ForeignRow, StorageUnavailable
from bridge.core.keys import due_at, due_until, operation_partitions
from bridge.log import Event, log
from bridge.pool import imap_unordered
from bridge.ports import Table

#: At most so many rows of a partition are read in one sweep, earliest due first; the rest is due at the next one.
ROWS_PER_PARTITION = 2_500


@dataclass(frozen=True, slots=True)
class DueRows:
    """What is due, each kind in the order of its times, so that what waited longest goes first."""

    deliveries: Sequence[DueDelivery]
    polls: Sequence[DuePoll]
    purges: Sequence[DuePurge]

    @property
    def oldest(self) -> datetime | None:
        """When that was due which has waited longest, or None where nothing is due."""
        firsts = [rows[0] for rows in (self.deliveries, self.polls, self.purges) if rows]
        return min((at for each in firsts if (at := due_at(each.token.key)) is not None), default=None)


def read_all_due(table: Table, executor: Executor, now: datetime) -> DueRows:
    """Read the due rows of all partitions. A partition that storage does not give is due again at the next sweep."""
    found = imap_unordered(executor, partial(_read_partition, table, now), operation_partitions())
    rows = sorted((due for partition in found for due in partition), key=lambda due: due.token.key)
    return DueRows(
        deliveries=[due for due in rows if isinstance(due, DueDelivery)],
        polls=[due for due in rows if isinstance(due, DuePoll)],
        purges=[due for due in rows if isinstance(due, DuePurge)],
    )


def _read_partition(table: Table, now: datetime, partition: str) -> Sequence[Due]:
    try:
        rows = table.range(partition, "due:0", due_until(now), limit=ROWS_PER_PARTITION)
    except StorageUnavailable as error:
        log(Event.STORAGE, step="read due rows", partition=partition, error=str(error))
        return []
    found: list[Due] = []
    for row in rows:
        try:
            found.append(read_due(row))
        except ForeignRow as error:
            log(Event.SET_ASIDE, partition=partition, key=row.key[:200], why=str(error))
    return found
