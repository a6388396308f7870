"""Sends deliveries to the queue, and reschedules those that could not be sent.

The queue is transport, the table is truth: a due row sends its message again in any case. Alone, that would wait for
the redispatch interval, which doubles with each message, so an outage of the queue for an hour would delay deliveries
for another hour. A failed send therefore does not count, and its due row moves back to a short wait. The first failure
ends a series of sends, so that an unavailable queue delays neither sweeps nor registrations.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bridge.domain.delivery import REDISPATCH, DeliveryTask
from bridge.domain.errors import Conflict, StorageRefused, StorageUnavailable, UnreadableRow
from bridge.log import Event, log
from bridge.ports import DeliveryQueue
from bridge.storage.repository import Repository
from bridge.storage.writes import deliver

#: An older failure is no evidence of a current problem, if no message was sent since.
_REMEMBERED = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueProblem:
    """Why messages cannot be sent."""

    #: The service's error code, or the class of the failure.
    code: str
    #: Whether the queue refuses its caller, so that an operator must act.
    is_refusal: bool
    #: The time of the first failure in a row.
    since: datetime


class Dispatcher:
    """Sends tasks after the commit of their due rows. Threads may share it."""

    def __init__(self, repository: Repository, queue: DeliveryQueue) -> None:
        self._repository = repository
        self._queue = queue
        self._clock = repository.clock
        self._lock = threading.Lock()
        self._problem: QueueProblem | None = None
        self._failed_at: datetime | None = None
        self._is_prepared = False

    def prepare(self) -> None:
        """Create the queue, once per instance: the host would warn every second that the queue is missing.

        Never raises for storage failures. The next sweep tries again, and so does each send.
        """
        if self._is_prepared:
            return
        try:
            self._queue.create()
        except StorageUnavailable as error:
            self._failed(error, unsent=0)
        else:
            self._is_prepared = True

    def send(self, *tasks: DeliveryTask) -> None:
        """Send tasks, and reschedule those that could not be sent.

        Never raises for storage failures. A crash before a send costs the redispatch interval.
        """
        for task in self.send_until_failure(tasks):
            self._resend_soon(task)

    def send_until_failure(
        self, tasks: Sequence[DeliveryTask], *, while_: Callable[[], bool] = lambda: True
    ) -> Sequence[DeliveryTask]:
        """Send tasks in order until the first failure, while `while_` returns True. Returns the unsent tasks."""
        for number, task in enumerate(tasks):
            if not while_():
                return tasks[number:]
            try:
                self._queue.send(task, ttl=REDISPATCH.wait(task.sends))
            except StorageUnavailable as error:
                self._failed(error, registration=task.ref.public_id, unsent=len(tasks) - number)
                return tasks[number:]
            self._sent()
        return ()

    @property
    def problem(self) -> QueueProblem | None:
        """Why messages cannot be sent. None if the last one was sent, or if the last failure is long past."""
        with self._lock:
            is_recent = self._failed_at is not None and self._clock() - self._failed_at < _REMEMBERED
            return self._problem if is_recent else None

    def _sent(self) -> None:
        if self._problem is not None:
            with self._lock:
                self._problem = self._failed_at = None

    def _failed(self, error: StorageUnavailable, *, registration: str | None = None, unsent: int) -> None:
        with self._lock:
            now, before = self._clock(), self._problem
            self._failed_at = now
            self._problem = QueueProblem(
                code=error.code or "no answer",
                is_refusal=isinstance(error, StorageRefused),
                since=now if before is None else before.since,
            )
        log(Event.QUEUE, code=error.code, error=str(error), registration=registration, unsent=unsent)

    def _resend_soon(self, task: DeliveryTask) -> None:
        """Move the due row of an unsent task to a short wait. If that fails too, the task waits longer."""
        try:
            before = self._repository.registration(task.ref)
            moved = before and deliver.resend_soon(before, task, self._clock(), tx=self._repository.new_id())
            if moved:
                self._repository.commit(moved)
        except (Conflict, StorageUnavailable, UnreadableRow) as error:
            log(Event.STORAGE, step="resend soon", registration=task.ref.public_id, error=str(error))
