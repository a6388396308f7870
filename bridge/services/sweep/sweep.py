"""One pass of the timer: enqueues due deliveries, polls due operations, and purges old ones.

    read       the due rows of all partitions; a crash costs nothing
    enqueue    deliveries first: a crash after the commit delays a message until the due row is due again
    poll       one GET for each due operation; a crash before the commit polls again
    finish     an end is committed at once, and the tasks of callbacks are sent right after
    purge      operations that ended long ago are deleted, if time is left

A due row is the handle of its step: each step deletes it under its ETag, so of two concurrent sweeps only one
succeeds. Steps that are left when the time budget ends are due at the next sweep.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bridge.domain.errors import Conflict, StorageRefused, StorageUnavailable, UnreadableRow
from bridge.domain.time import Clock
from bridge.log import Event, log
from bridge.services.dispatch import Dispatcher
from bridge.services.sweep.due_reader import Reader, first_due
from bridge.services.sweep.enqueueing import Enqueuer, MessageShares
from bridge.services.sweep.heartbeat import Heartbeat
from bridge.services.sweep.poller import Poller
from bridge.services.sweep.rescheduler import Rescheduler
from bridge.storage.due import DuePurge
from bridge.storage.keys import due_reference, operation_partitions
from bridge.storage.repository import Repository
from bridge.storage.table import Row
from bridge.storage.writes import purge
from bridge.storage.writes.poll import NOT_FOUND_WAIT
from bridge.telemetry import Metric, Telemetry


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


#: How often deliveries that fall due during polls are enqueued.
_MEANWHILE = timedelta(seconds=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """The use case."""

    repository: Repository
    clock: Clock
    dispatcher: Dispatcher
    enqueuer: Enqueuer
    #: Enqueues during polls, in threads without polls.
    meanwhile: Enqueuer
    #: The messages of the current sweep, by host.
    shares: MessageShares
    reader: Reader
    heartbeat: Heartbeat
    poller: Poller
    purges: Purges
    #: No poll begins after this time.
    budget: timedelta
    telemetry: Telemetry

    def sweep(self) -> None:
        """Perform the due steps within the time budget. Never raises for failures of storage or the upstream."""
        began = self.clock()
        until = began + self.budget
        self.dispatcher.prepare()
        self.shares.begin()
        deliveries = self.reader.deliveries(began)
        sources = self._sources()
        has_heartbeat = sources is not None and self.heartbeat.write(sources, began, self.dispatcher.problem)
        enqueued = self.enqueuer.enqueue(deliveries, self.shares, until)
        runs = self.poller.begin(sources or ())
        due = self.reader.operations(began, runs.room, until=until)
        enqueued += self.enqueuer.enqueue(due.deliveries, self.shares, until)
        meanwhile = Meanwhile(self, until)
        self.heartbeat.counter.saw(len(due.polls))
        counts = self.poller.run(due.polls, runs, until=until, meanwhile=meanwhile.enqueue)
        purged = self.purges.run(due.purges, until=until)
        enqueued += meanwhile.enqueued
        oldest = min((at for at in (due.oldest, first_due(deliveries)) if at is not None), default=began)
        overdue = (began - oldest) // timedelta(seconds=1)
        worth_a_line = has_heartbeat or enqueued or due.polls or purged or due.postponed
        log(
            Event.SWEPT if worth_a_line else Event.IDLE,
            enqueued=enqueued,
            due=len(due.polls),
            asked=counts.asked,
            finished=counts.finished,
            faults=counts.faults,
            left=counts.left,
            purged=purged,
            postponed=due.postponed,
            overdue=overdue,
            ms=(self.clock() - began) // timedelta(milliseconds=1),
        )
        self.telemetry.measure(Metric.OVERDUE, overdue)
        if has_heartbeat:
            self.heartbeat.count()

    def _sources(self) -> Sequence[Row] | None:
        try:
            return self.repository.sources(self.poller.sources.schedule.plan)
        except StorageRefused as error:
            log(Event.STORAGE_REFUSED, step="read sources", code=error.code, error=str(error))
        except StorageUnavailable as error:
            log(Event.STORAGE, step="read sources", error=str(error))
        return None

    def enqueue_meanwhile(self, until: datetime) -> int:
        """Enqueue deliveries that fell due since the start. Reads partitions in sequence, since threads may be busy."""
        now = self.clock()
        due = [each for name in operation_partitions() for each in self.reader.deliveries_of(now, name)]
        return self.meanwhile.enqueue(due, self.shares, until) if due else 0


class Meanwhile:
    """Enqueues deliveries that fall due during polls. Called often, from several threads, but rarely acts."""

    def __init__(self, sweep: Sweep, until: datetime) -> None:
        self._sweep = sweep
        self._until = until
        self._at = sweep.clock() + _MEANWHILE
        self._lock = threading.Lock()
        #: The number of sent messages.
        self.enqueued = 0

    def enqueue(self) -> None:
        """Enqueue due deliveries, if enough time has passed and no other thread is doing the same."""
        if self._sweep.clock() < self._at or not self._lock.acquire(blocking=False):
            return
        try:
            self._at = self._sweep.clock() + _MEANWHILE
            self.enqueued += self._sweep.enqueue_meanwhile(self._until)
        finally:
            self._lock.release()
