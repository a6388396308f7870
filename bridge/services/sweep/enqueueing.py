"""Sends messages for due deliveries, in turns by host and limited per host, in a sweep and between two sweeps."""

import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from bridge.domain.delivery import DeliveryTask
from bridge.domain.time import Clock
from bridge.pool import imap_unordered
from bridge.services.dispatch import Dispatcher
from bridge.services.sweep.due_reader import Reader
from bridge.services.sweep.rescheduler import Rescheduler
from bridge.storage.due import DueDelivery
from bridge.storage.writes import poll
from bridge.storage.writes.poll import Reschedule

#: The most messages of a sweep for one host. Further deliveries stay due.
MESSAGES_PER_HOST = 100

#: From this message on, a delivery requests more messages as soon as its host answers, before the next sweep.
MORE_FROM = MESSAGES_PER_HOST // 2


class MessageShares:
    """Shares the messages of a sweep between hosts, so that a host with many deliveries does not fill the queue.

    Safe to call from any thread.
    """

    def __init__(self) -> None:
        self._sent: Counter[str] = Counter()
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Begin a sweep."""
        with self._lock:
            self._sent.clear()

    def take(self, task: DeliveryTask) -> DeliveryTask | None:
        """Return the task to send, or None if the host has used its share."""
        if task.origin is None:  # written by a former version
            return task
        with self._lock:
            self._sent[task.origin] += 1
            number = self._sent[task.origin]
        if number > MESSAGES_PER_HOST:
            return None
        return replace(task, has_more=True) if number >= MORE_FROM else task


def in_turns(due: Iterable[DueDelivery]) -> Iterator[DueDelivery]:
    """Order deliveries so that hosts take turns. Those of one host stay in their order."""
    by_host: dict[str, deque[DueDelivery]] = {}
    for each in due:
        by_host.setdefault(each.task.origin or each.task.ref.public_id, deque()).append(each)
    hosts = deque(by_host.values())
    while hosts:
        of_host = hosts.popleft()
        yield of_host.popleft()
        if of_host:
            hosts.append(of_host)


#: A rescheduled batch is sent for at least this long, even if the time of the sweep is over.
_LAST_BATCH = timedelta(seconds=5)

#: A sweep begins no further batch of messages after this many failed batches.
_FAILED_BATCHES = 2

#: In a partition with this many due deliveries, those of hosts that have used their share are postponed, so that they
#: do not hide the others. Each further share of a host is due one turn later.
MANY_DUE = 1_000
TURN = timedelta(seconds=2)

#: The time limit of a refill between two sweeps, and the shortest time between two refills of an instance.
REFILL_TIME = timedelta(seconds=10)
REFILLS_APART = timedelta(milliseconds=500)


@dataclass(frozen=True, slots=True, kw_only=True)
class Enqueuer:
    """Moves the due rows of deliveries on, in batches, and sends a message for each."""

    dispatcher: Dispatcher
    rescheduler: Rescheduler
    clock: Clock
    executor: Executor

    def enqueue(self, due: Sequence[DueDelivery], shares: MessageShares, until: datetime) -> int:
        """Send messages within the shares of the hosts. No batch begins after `until`. Returns the number of sends."""
        taken: list[DueDelivery] = []
        left: list[DueDelivery] = []
        for each in in_turns(due):
            task = shares.take(each.task)
            taken += [replace(each, task=task)] if task is not None else []
            left += [each] if task is None else []
        sent = self._send_all(_batches(taken), until)
        self._make_way(left, due, until)
        return sent

    def _send_all(self, batches: Sequence[Sequence[DueDelivery]], until: datetime) -> int:
        failures: list[Sequence[DeliveryTask]] = []  # append is atomic
        send = partial(self._enqueue_batch, until, failures)

        def may_begin() -> bool:
            return len(failures) < _FAILED_BATCHES

        return sum(imap_unordered(self.executor, send, batches, while_=may_begin))

    def _make_way(self, left: Sequence[DueDelivery], due: Sequence[DueDelivery], until: datetime) -> None:
        """Postpone deliveries of hosts that have used their share.

        Only in a partition with more due rows than may have been read, where the backlog of one host would hide others.
        The turn of a host's next share decides when its deliveries are due again.
        """
        read = Counter(each.handle.partition for each in due)
        hiding = [each for each in left if read[each.handle.partition] >= MANY_DUE]
        turns, now = Counter[str](), self.clock()
        reschedules: list[Reschedule] = []
        for each in hiding:
            origin = each.task.origin or ""
            turns[origin] += 1
            at = now + TURN * (1 + turns[origin] // MESSAGES_PER_HOST)
            reschedules.append(poll.due_later(each.handle, each.task, at))
        list(
            imap_unordered(
                self.executor, self.rescheduler.commit, _batches(reschedules), while_=lambda: self.clock() < until
            )
        )

    def _enqueue_batch(
        self, until: datetime, failures: list[Sequence[DeliveryTask]], batch: Sequence[DueDelivery]
    ) -> int:
        """Move a batch on and send its messages. Unsent ones move back to a short wait. Returns the number of sends."""
        now = self.clock()
        if now >= until:
            return 0
        before = {each.handle.key: each.task for each in batch}
        steps = {each.handle.key: poll.enqueue(each.handle, each.task, now) for each in batch}
        rescheduled = self.rescheduler.commit([reschedule for reschedule, _ in steps.values()])
        tasks = [steps[reschedule.handle.key][1] for reschedule in rescheduled]
        last = max(until, self.clock() + _LAST_BATCH)
        unsent = self.dispatcher.send_until_failure(tasks, while_=lambda: self.clock() < last)
        if unsent:
            failures.append(unsent)
            back = rescheduled[len(rescheduled) - len(unsent) :]
            self.rescheduler.commit(
                [poll.not_sent(reschedule, before[reschedule.handle.key], self.clock()) for reschedule in back]
            )
        return len(tasks) - len(unsent)


_Each = TypeVar("_Each", DueDelivery, Reschedule)


def _batches(rows: Sequence[_Each]) -> Sequence[Sequence[_Each]]:
    """Group rows into transactions, each of one partition, in the given order."""
    by_partition: dict[str, list[_Each]] = {}
    for each in rows:
        by_partition.setdefault(each.handle.partition, []).append(each)
    return [
        of_partition[start : start + poll.RESCHEDULES_PER_TRANSACTION]
        for of_partition in by_partition.values()
        for start in range(0, len(of_partition), poll.RESCHEDULES_PER_TRANSACTION)
    ]


class Refill:
    """Sends further messages between two sweeps, once a host with a long backlog answers."""

    def __init__(self, reader: Reader, enqueuer: Enqueuer) -> None:
        self.reader = reader
        self.enqueuer = enqueuer
        self._lock = threading.Lock()
        self._next_at: datetime | None = None

    def __call__(self) -> None:
        """Enqueue like a sweep, unless that was done just now. Never raises for storage failures."""
        now = self.enqueuer.clock()
        with self._lock:
            if self._next_at is not None and now < self._next_at:
                return
            self._next_at = now + REFILLS_APART
        due = self.reader.deliveries(now)
        self.enqueuer.enqueue(due, MessageShares(), now + REFILL_TIME)
