"""The queue trigger of a function host, as much of it as deliveries meet: one queue, and the places of each instance.

A host takes a batch of messages as soon as no more than `newBatchThreshold` of those that it took are being worked on.
A message whose function raised is visible again after `visibilityTimeout`, until it was taken `maxDequeueCount` times.
The numbers are those of the project's `host.json`. The time that a host needs to look at an idle queue is left out.
"""

import heapq
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Self

from bridge.domain.delivery import DeliveryTask

_HOST_JSON = Path(__file__).parent.parent / "host.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueOptions:
    """What `host.json` says of queue triggers."""

    batch_size: int
    new_batch_threshold: int
    #: In seconds.
    visibility_timeout: float
    max_dequeue_count: int

    @classmethod
    def read(cls) -> Self:
        """Read the project's own."""
        queues = json.loads(_HOST_JSON.read_text(encoding="utf-8"))["extensions"]["queues"]
        hours, minutes, seconds = map(int, queues["visibilityTimeout"].split(":"))
        return cls(
            batch_size=queues["batchSize"],
            new_batch_threshold=queues["newBatchThreshold"],
            visibility_timeout=timedelta(hours=hours, minutes=minutes, seconds=seconds).total_seconds(),
            max_dequeue_count=queues["maxDequeueCount"],
        )


class Queue:
    """Messages in the order in which they become visible. It is the queue of a bridge too."""

    def __init__(self) -> None:
        self._messages: list[tuple[float, int, DeliveryTask, int]] = []
        self._numbers = count()
        self._changed = threading.Condition()
        self._closed = False
        #: Messages that were taken too often.
        self.poison = 0
        #: Messages that were sent.
        self.sent = 0

    def send(self, task: DeliveryTask, *, ttl: timedelta) -> None:
        """Add a message."""
        self.sent += 1
        self.put(task, after=0.0, dequeued=0)

    def create(self) -> None:
        """Be there already."""

    def put(self, task: DeliveryTask, *, after: float, dequeued: int) -> None:
        """Add a message that is visible after so many seconds."""
        with self._changed:
            heapq.heappush(self._messages, (time.monotonic() + after, next(self._numbers), task, dequeued))
            self._changed.notify_all()

    def take(self, most: int) -> list[tuple[DeliveryTask, int]]:
        """Wait until a message is visible, and take at most so many; none if the queue was closed."""
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                if self._messages and self._messages[0][0] <= now:
                    taken: list[tuple[DeliveryTask, int]] = []
                    while self._messages and self._messages[0][0] <= now and len(taken) < most:
                        _, _, task, dequeued = heapq.heappop(self._messages)
                        taken.append((task, dequeued + 1))
                    return taken
                self._changed.wait(self._messages[0][0] - now if self._messages else None)
            return []

    def close(self) -> None:
        """Let everyone who waits go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Places:
    """One instance: takes messages from the queue to a function, with as many at once as `host.json` allows."""

    def __init__(
        self, queue: Queue, function: Callable[[DeliveryTask], None], options: QueueOptions | None = None
    ) -> None:
        self._queue = queue
        self._function = function
        self._options = options or QueueOptions.read()
        self._in_flight = 0
        self._changed = threading.Condition()
        self._stopping = False
        self._pool = ThreadPoolExecutor(self._options.batch_size + self._options.new_batch_threshold)
        self._listener = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        self._listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._queue.close()
        self._listener.join()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _listen(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._in_flight <= self._options.new_batch_threshold)
                if self._stopping:
                    return
            batch = self._queue.take(self._options.batch_size)
            with self._changed:
                self._in_flight += len(batch)
            for task, dequeued in batch:
                self._pool.submit(self._handle, task, dequeued)

    def _handle(self, task: DeliveryTask, dequeued: int) -> None:
        done = False
        with suppress(Exception):
            self._function(task)
            done = True
        with self._changed:
            self._in_flight -= 1
            self._changed.notify_all()
        if not done and dequeued >= self._options.max_dequeue_count:
            self._queue.poison += 1
        elif not done:
            self._queue.put(task, after=self._options.visibility_timeout, dequeued=dequeued)
