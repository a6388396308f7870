"""Queue triggers: messages in batches, hidden while in work, and moved away after too many failures.

receive (hidden for 10 minutes, renewed at half time) → run → delete
                                                        └─ failed: visible again after visibilityTimeout,
                                                           or to {queue}-poison after maxDequeueCount
"""

import logging
import random
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import timedelta

from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from azure.functions.meta import Datum
from azure.storage.queue import QueueClient, QueueMessage

from local.host.configuration import QueueOptions
from local.host.index import Function
from local.host.queue_rules import polling_delay, read_body, trigger_metadata
from local.host.worker import Worker

#: How long a message is hidden at a time. After a crash the message stays hidden for the remaining time.
_HIDDEN = timedelta(minutes=10)

_log = logging.getLogger("host")


class QueueListener:
    """Passes the messages of one queue to one function. Waits for unavailable storage."""

    def __init__(
        self,
        function: Function,
        options: QueueOptions,
        worker: Worker,
        *,
        queue: QueueClient,
        poison: QueueClient,
        hidden: timedelta = _HIDDEN,
    ) -> None:
        self._function = function
        self._options = options
        self._worker = worker
        self._queue = queue
        self._poison = poison
        self._hidden = hidden
        self._stopping = threading.Event()
        self._in_flight = 0
        self._changed = threading.Condition()
        self._storage_down = False
        self._handlers = ThreadPoolExecutor(options.threshold + options.batch_size)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def stop(self) -> None:
        """Receive nothing more. Received messages are finished."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()

    def join(self, timeout: float) -> bool:
        """Wait until all received messages are finished. Returns False if that takes longer."""
        self._thread.join(timeout)
        self._handlers.shutdown(wait=False)
        with self._changed:
            idle = self._changed.wait_for(lambda: self._in_flight == 0, timeout)
        return idle and not self._thread.is_alive()

    def _listen(self) -> None:
        empty_polls = 0
        while not self._stopping.is_set():
            batch = self._receive()
            for message in batch:
                with self._changed:
                    self._in_flight += 1
                self._handlers.submit(self._handle, message)
            if batch:
                empty_polls = 0
                self._wait_for_room()
            else:
                empty_polls += 1
                spread = random.uniform(0.8, 1.2)
                delay = polling_delay(empty_polls, self._options.max_polling_interval, spread)
                self._stopping.wait(delay.total_seconds())

    def _receive(self) -> list[QueueMessage]:
        """Request one batch. A missing or unreachable queue counts as empty."""
        try:
            pages = self._queue.receive_messages(
                messages_per_page=self._options.batch_size,
                visibility_timeout=int(self._hidden.total_seconds()),
            ).by_page()
            batch = list(next(pages, []))
        except ResourceNotFoundError:
            batch = []
        except AzureError as error:
            if not self._storage_down:
                _log.warning("queue %s is out of reach, trying on: %s", self._queue.queue_name, _short(error))
            self._storage_down = True
            return []
        if self._storage_down:
            _log.info("queue %s is in reach again", self._queue.queue_name)
        self._storage_down = False
        return batch

    def _wait_for_room(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._in_flight <= self._options.threshold or self._stopping.is_set())

    def _handle(self, message: QueueMessage) -> None:
        try:
            self._process(message)
        except AzureError as error:
            _log.warning("message %s stays in its queue, to come again: %s", message.id, _short(error))
        finally:
            with self._changed:
                self._in_flight -= 1
                self._changed.notify_all()

    def _process(self, message: QueueMessage) -> None:
        if (message.dequeue_count or 0) > self._options.max_dequeue_count:
            self._put_aside(message)
            return
        try:
            body = read_body(message.content, self._options.message_encoding).decode()
        except ValueError:
            _log.warning("message %s is not in the encoding that host.json declares", message.id)
            self._put_aside(message)
            return
        done = self._worker.submit(self._function, Datum(body, "string"), trigger_metadata(message, body))
        self._keep_hidden(message, done)
        if done.exception() is None:
            self._delete(message)
        elif (message.dequeue_count or 0) >= self._options.max_dequeue_count:
            self._put_aside(message)
        else:
            self._hide(message, self._options.visibility_timeout)

    def _keep_hidden(self, message: QueueMessage, done: Future[None]) -> None:
        """Wait for the function, and renew the hiding of the message at half of the time."""
        while not wait([done], self._hidden.total_seconds() / 2).done:
            try:
                message.pop_receipt = self._hide(message, self._hidden)
            except AzureError as error:
                _log.warning("message %s may come twice: %s", message.id, _short(error))

    def _hide(self, message: QueueMessage, duration: timedelta) -> str | None:
        seconds = int(duration.total_seconds())
        hidden = self._queue.update_message(message.id, message.pop_receipt, visibility_timeout=seconds)
        return hidden.pop_receipt

    def _put_aside(self, message: QueueMessage) -> None:
        """Move a message to the poison queue. After a crash in between, the message is in both queues."""
        _log.warning("message %s goes to queue %s", message.id, self._poison.queue_name)
        try:
            self._poison.send_message(message.content)
        except ResourceNotFoundError:
            _create(self._poison)
            self._poison.send_message(message.content)
        self._delete(message)

    def _delete(self, message: QueueMessage) -> None:
        """Delete a message. One that has expired, or that another instance took over, is already gone or not ours."""
        try:
            self._queue.delete_message(message.id, message.pop_receipt)
        except ResourceNotFoundError:
            _log.debug("message %s was gone", message.id)


def _create(queue: QueueClient) -> None:
    try:
        queue.create_queue()
    except ResourceExistsError:
        _log.debug("queue %s was made meanwhile", queue.queue_name)


def _short(error: AzureError) -> str:
    return str(error.message).partition("\n")[0]
