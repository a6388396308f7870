"""Queue triggers, on Azurite."""

import base64
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError
from azure.core.paging import ItemPaged
from azure.storage.queue import QueueClient, QueueMessage

from bridge.dependencies import real_clock
from local.azurite import Azurite
from local.host.configuration import QueueOptions
from local.host.host import Host
from local.host.index import index
from local.host.queue_listener import QueueListener
from local.host.worker import Worker
from local.record import MAX_WAIT
from tests.local.conftest import Probe

DELIVER = """
@app.queue_trigger("message", queue_name="%QUEUE%", connection="AzureWebJobsStorage")
def deliver(message: func.QueueMessage) -> None:
    probe.seen.add(message)
    probe.fail()
"""

WAITING = DELIVER.replace("probe.fail()", "probe.wait()")

FAST = {"maxPollingInterval": "00:00:00.1", "visibilityTimeout": "00:00:00"}


class SignallingQueue(QueueClient):
    """A queue client that signals the calls of the listener, and can make calls fail."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.polled = threading.Semaphore(0)
        self.updated = threading.Semaphore(0)
        self.deleted = threading.Semaphore(0)
        self.hidden_for: list[int] = []
        self.failing = False

    def receive_messages(self, **options: Any) -> ItemPaged[QueueMessage]:
        """Receive, or fail like a refused connection."""
        self.polled.release()
        if self.failing:
            raise ServiceRequestError("connection refused")
        return super().receive_messages(**options)

    def update_message(self, *args: Any, **options: Any) -> QueueMessage:
        """Update and signal."""
        updated = super().update_message(*args, **options)
        self.hidden_for.append(options["visibility_timeout"])
        self.updated.release()
        return updated

    def delete_message(self, *args: Any, **options: Any) -> None:
        """Delete and signal, even after a failure."""
        try:
            super().delete_message(*args, **options)
        finally:
            self.deleted.release()


@pytest.fixture
def queue(azurite: Azurite) -> Iterator[SignallingQueue]:
    """Create a queue for one test."""
    with SignallingQueue.from_connection_string(azurite.connection_string, f"q-{uuid.uuid4()}") as queue:
        queue.create_queue()
        yield queue


@pytest.fixture
def poison(azurite: Azurite, queue: QueueClient) -> Iterator[QueueClient]:
    """Return a client of the poison queue, which does not exist yet."""
    name = f"{queue.queue_name}-poison"
    with SignallingQueue.from_connection_string(azurite.connection_string, name) as poison:
        yield poison


@pytest.fixture
def listen(
    make_app: Callable[..., Path], azurite: Azurite, queue: QueueClient, poison: QueueClient
) -> Iterator[Callable[..., QueueListener]]:
    """Return a function that lets an app listen to the queue with the test's clients."""
    worker = Worker(threads=None)
    listeners: list[QueueListener] = []

    def listen(code: str, *, hidden: timedelta = timedelta(minutes=10), **options: object) -> QueueListener:
        settings = {"AzureWebJobsStorage": azurite.connection_string, "QUEUE": queue.queue_name}
        (function,) = index(make_app(code), settings, prefix="api")
        chosen = QueueOptions.model_validate({**FAST, **options})
        listeners.append(QueueListener(function, chosen, worker, queue=queue, poison=poison, hidden=hidden))
        return listeners[-1]

    yield listen
    for listener in listeners:
        listener.stop()
        assert listener.join(MAX_WAIT)
    worker.stop()


def encoded(body: str) -> str:
    """Encode a body in host.json's default encoding."""
    return base64.b64encode(body.encode()).decode()


def acquire(semaphore: threading.Semaphore, times: int = 1) -> None:
    """Wait until an event happened `times` times."""
    for _ in range(times):
        assert semaphore.acquire(timeout=MAX_WAIT)


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the levels of the host's log lines."""
    return [record.levelname for record in caplog.records if record.name == "host"]


def test_message_arrives_with_its_metadata_and_is_deleted(
    listen: Callable[..., QueueListener], queue: SignallingQueue, probe: Probe
) -> None:
    """Covers every attribute of azure.functions.QueueMessage."""
    sent = queue.send_message(encoded("grüße"), time_to_live=120)
    listen(DELIVER)

    (message,) = probe.seen.wait_for(1)

    assert message.get_body() == "grüße".encode()
    assert message.id == sent.id
    assert message.dequeue_count == 1
    assert message.pop_receipt
    assert message.insertion_time == sent.inserted_on
    assert message.expiration_time == sent.expires_on
    assert message.time_next_visible > message.insertion_time
    acquire(queue.deleted)
    assert queue.get_queue_properties().approximate_message_count == 0


def test_plain_text_is_read_if_host_json_declares_it(
    listen: Callable[..., QueueListener], queue: SignallingQueue, probe: Probe
) -> None:
    """The setting is `messageEncoding: none`."""
    queue.send_message('{"a": "<ü>"}')
    listen(DELIVER, messageEncoding="none")

    (message,) = probe.seen.wait_for(1)

    assert message.get_json() == {"a": "<ü>"}


def test_message_that_fails_comes_again_and_counts(
    listen: Callable[..., QueueListener], queue: SignallingQueue, probe: Probe
) -> None:
    """The message is visible again after visibilityTimeout, which is zero here."""
    probe.failures = 2
    queue.send_message(encoded("again"))
    listen(DELIVER)

    messages = probe.seen.wait_for(3)

    assert [message.dequeue_count for message in messages] == [1, 2, 3]
    acquire(queue.deleted)
    assert queue.get_queue_properties().approximate_message_count == 0


def test_failed_message_stays_hidden_for_the_visibility_timeout(
    listen: Callable[..., QueueListener], queue: SignallingQueue, probe: Probe
) -> None:
    """The ten minutes of the lease do not apply."""
    probe.failures = 1
    queue.send_message(encoded("later"))
    before = real_clock()
    listen(DELIVER, visibilityTimeout="00:00:30")

    acquire(queue.updated)

    assert queue.hidden_for == [30]
    assert probe.seen.entries[0].time_next_visible - before > timedelta(minutes=9)


def test_message_that_fails_too_often_goes_to_the_poison_queue(
    listen: Callable[..., QueueListener], queue: SignallingQueue, poison: QueueClient, probe: Probe
) -> None:
    """The message is unchanged, after maxDequeueCount tries. The poison queue is created on demand."""
    probe.failures = 99
    queue.send_message(encoded("bad"))
    listen(DELIVER, maxDequeueCount=2)

    acquire(queue.deleted)

    assert len(probe.seen.entries) == 2
    (aside,) = poison.receive_messages()
    assert aside.content == encoded("bad")
    assert queue.get_queue_properties().approximate_message_count == 0


def test_message_beyond_the_dequeue_count_is_not_tried_again(
    listen: Callable[..., QueueListener], queue: SignallingQueue, poison: QueueClient, probe: Probe
) -> None:
    """The function never ended, not even with an exception, since each try killed the host."""
    queue.send_message(encoded("deadly"))
    for _ in range(2):
        taken = next(queue.receive_messages())
        queue.update_message(taken.id, taken.pop_receipt, visibility_timeout=0)
    listen(DELIVER, maxDequeueCount=2)

    acquire(queue.deleted)

    assert probe.seen.entries == ()
    assert [message.content for message in poison.receive_messages()] == [encoded("deadly")]


def test_message_in_the_wrong_encoding_goes_to_the_poison_queue_at_once(
    listen: Callable[..., QueueListener], queue: SignallingQueue, poison: QueueClient, probe: Probe
) -> None:
    """The function does not run, since another try cannot help."""
    queue.send_message('{"plain": "text"}')
    listen(DELIVER)

    acquire(queue.deleted)

    assert probe.seen.entries == ()
    assert [message.content for message in poison.receive_messages()] == ['{"plain": "text"}']


def test_number_of_messages_respects_batch_and_threshold(
    listen: Callable[..., QueueListener], queue: SignallingQueue, probe: Probe
) -> None:
    """Two messages run at a time. The next two follow when at most one runs, so there are never more than three."""
    for number in range(8):
        queue.send_message(encoded(str(number)))
    listen(WAITING, batchSize=2, newBatchThreshold=1)

    probe.seen.wait_for(2)

    assert len(list(queue.peek_messages(max_messages=32))) == 6
    probe.go.set()
    assert len(probe.seen.wait_for(8)) == 8


def test_threshold_lets_a_second_batch_begin_beside_the_first(
    listen: Callable[..., QueueListener], queue: SignallingQueue, probe: Probe
) -> None:
    """With a threshold equal to the batch size, two batches run at once, but no third."""
    for number in range(6):
        queue.send_message(encoded(str(number)))
    listen(WAITING, batchSize=2, newBatchThreshold=2)

    probe.seen.wait_for(4)

    assert len(list(queue.peek_messages(max_messages=32))) == 2
    probe.go.set()
    probe.seen.wait_for(6)


def test_long_function_keeps_its_message_hidden(
    listen: Callable[..., QueueListener], queue: SignallingQueue, probe: Probe
) -> None:
    """The lease is renewed at half time. The message is deleted with the last receipt."""
    queue.send_message(encoded("long"))
    listen(WAITING, hidden=timedelta(seconds=2))

    acquire(queue.updated, times=3)

    assert list(queue.peek_messages()) == []
    probe.go.set()
    acquire(queue.deleted)
    assert len(probe.seen.entries) == 1
    assert queue.get_queue_properties().approximate_message_count == 0


def test_message_that_vanished_during_its_function_is_ignored(
    listen: Callable[..., QueueListener],
    queue: SignallingQueue,
    poison: QueueClient,
    probe: Probe,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An example is a message that expired during its function. The next one is processed as usual."""
    queue.send_message(encoded("gone"))
    listen(WAITING)
    probe.seen.wait_for(1)
    queue.clear_messages()

    probe.go.set()

    acquire(queue.deleted)
    queue.send_message(encoded("next"))
    assert len(probe.seen.wait_for(2)) == 2
    assert logged(caplog) == []
    with pytest.raises(HttpResponseError, match="does not exist"):
        poison.get_queue_properties()


def test_missing_queue_is_waited_for(
    listen: Callable[..., QueueListener], queue: SignallingQueue, probe: Probe, caplog: pytest.LogCaptureFixture
) -> None:
    """The listener looks for the queue without logging."""
    queue.delete_queue()
    listen(DELIVER)
    acquire(queue.polled, times=3)

    queue.create_queue()

    queue.send_message(encoded("first"))
    probe.seen.wait_for(1)
    assert logged(caplog) == []


def test_storage_that_is_down_is_waited_for(
    listen: Callable[..., QueueListener], queue: SignallingQueue, probe: Probe, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has one line at the start of the outage, and one at the end."""
    caplog.set_level("INFO", logger="host")
    queue.failing = True
    listen(DELIVER)
    acquire(queue.polled, times=4)

    queue.failing = False

    queue.send_message(encoded("hello again"))
    probe.seen.wait_for(1)
    acquire(queue.deleted)
    assert logged(caplog) == ["WARNING", "INFO"]


def test_stop_finishes_messages_in_flight(run: Callable[..., Host], queue: SignallingQueue, probe: Probe) -> None:
    """Messages in flight are completed and deleted, and no further one starts."""
    queue.send_message(encoded("one"))
    host = run(WAITING, settings={"QUEUE": queue.queue_name}, **FAST)
    probe.seen.wait_for(1)
    stopping = threading.Thread(target=host.stop, args=(MAX_WAIT,))
    stopping.start()

    probe.go.set()
    stopping.join()
    queue.send_message(encoded("two"))

    assert [message.content for message in queue.peek_messages(max_messages=32)] == [encoded("two")]
    assert len(probe.seen.entries) == 1
