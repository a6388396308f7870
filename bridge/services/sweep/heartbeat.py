"""The heartbeat of the timer. All timers of an app were seen to stop while HTTP kept working."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bridge.domain.errors import Conflict, StorageRefused, StorageUnavailable
from bridge.domain.time import CLOCK_SKEW
from bridge.log import Event, log
from bridge.services.dispatch import QueueProblem
from bridge.services.owner_quota import WaitingCounter
from bridge.services.repair import Repair
from bridge.storage.keys import HEARTBEAT_KEY, SOURCES_PARTITION
from bridge.storage.records import SCHEMA_VERSION, VERSION_COLUMN
from bridge.storage.repository import Repository
from bridge.storage.table import ANY, Insert, Merge, Row, Transaction, Value
from bridge.telemetry import Metric, Telemetry

_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """The work of a sweep that is due once a minute: the heartbeat, the check for missing due rows, and the counts."""

    repository: Repository
    #: Restores missing due rows.
    repair: Repair
    #: Counts the waiting registrations of each owner.
    counter: WaitingCounter
    #: Counts the waiting registrations. Raises StorageUnavailable.
    waiting: Callable[[], int]
    telemetry: Telemetry

    def write(self, sources: Sequence[Row], now: datetime, problem: QueueProblem | None) -> bool:
        """Check for missing due rows, and write the heartbeat with the position of the next check.

        Returns whether the heartbeat was written. A crash between the two repeats the check.
        """
        if not is_heartbeat_due(sources, now):
            return False
        checked = self.repair.check(last_checked(sources))
        return write_heartbeat(self.repository, sources, now, checked=checked, problem=problem)

    def count(self) -> None:
        """Count the waiting registrations, of owners if there is a limit, and of all for telemetry.

        The second is a read of each partition. Never raises for storage failures.
        """
        self.counter.count()
        if not self.telemetry.is_on:
            return
        try:
            self.telemetry.measure(Metric.WAITING, self.waiting())
        except StorageUnavailable as error:
            log(Event.STORAGE, step="count", error=str(error))


def last_heartbeat_at(sources: Sequence[Row]) -> datetime | None:
    """Return when a sweep last wrote the heartbeat, to about a minute, from the rows of the sources' partition."""
    times = [row.values.get("at") for row in sources if row.key == HEARTBEAT_KEY]
    return times[0] if times and isinstance(times[0], datetime) else None


def is_heartbeat_due(sources: Sequence[Row], now: datetime) -> bool:
    """Return whether the last heartbeat is a minute old, missing, or of a broken clock."""
    last = last_heartbeat_at(sources)
    if last is not None and last > now + CLOCK_SKEW:
        log(Event.CLOCK_AHEAD, row=HEARTBEAT_KEY, columns=["at"])
        return True
    return last is None or now - last >= _EVERY


def last_checked(sources: Sequence[Row]) -> str:
    """Return where the next check of due rows continues. Empty if there was no check."""
    places = [row.values.get("checked") for row in sources if row.key == HEARTBEAT_KEY]
    return str(places[0] or "") if places else ""


def queue_problem(sources: Sequence[Row]) -> QueueProblem | None:
    """Return the problem of the queue at the time of the last heartbeat, if any."""
    for row in sources:
        code, since = row.values.get("queue_code"), row.values.get("queue_since")
        if row.key == HEARTBEAT_KEY and code and isinstance(since, datetime):
            return QueueProblem(code=str(code), is_refusal=row.values.get("queue_refuses") is True, since=since)
    return None


def write_heartbeat(
    repository: Repository,
    sources: Sequence[Row],
    now: datetime,
    *,
    checked: str = "",
    problem: QueueProblem | None = None,
) -> bool:
    """Write the heartbeat, the position of the check of due rows, and the problem of the queue.

    Returns whether the row was written. Never fails a sweep.
    """
    columns: dict[str, Value] = {VERSION_COLUMN: SCHEMA_VERSION, "at": now, "checked": checked}
    columns |= {"queue_code": problem.code if problem else "", "queue_since": problem.since if problem else ""}
    columns |= {"queue_refuses": problem is not None and problem.is_refusal}
    is_first = all(row.key != HEARTBEAT_KEY for row in sources)
    write = Insert(HEARTBEAT_KEY, columns) if is_first else Merge(HEARTBEAT_KEY, columns, ANY)
    try:
        repository.commit(Transaction(SOURCES_PARTITION, (write,)))
    except Conflict:
        return False  # another sweep has just written one
    except StorageRefused as error:
        log(Event.STORAGE_REFUSED, step="heartbeat", code=error.code, error=str(error))
        return False
    except StorageUnavailable as error:
        log(Event.STORAGE, step="heartbeat", error=str(error))
        return False
    return True
