"""A failing queue delays neither registrations nor sweeps, and unsent messages follow soon after."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from bridge.api.handlers import Handlers
from bridge.domain.delivery import DeliveryTask
from bridge.domain.errors import StorageRefused, StorageUnavailable
from bridge.domain.registration import State
from bridge.log import Event
from bridge.storage.table import Delete, Insert, Merge, Table, Transaction
from tests.support.forwarding import ForwardingTable
from tests.support.harness import NOON, Harness, harness
from tests.support.http import Client
from tests.support.log_lines import lines_of

BODY = {"operationId": "operation-1", "callbackUrl": "https://receiver.example.com/hook"}


@dataclass
class Queue:
    """A queue that a test can make fail."""

    failure: Exception | None = None
    #: The number of successful sends before `failure`.
    good: int = 0
    sent: list[DeliveryTask] = field(default_factory=list)
    tried: int = 0
    created: int = 0

    def create(self) -> None:
        self.created += 1
        if self.failure is not None:
            raise self.failure

    def send(self, task: DeliveryTask, *, ttl: timedelta) -> None:
        self.tried += 1
        if self.failure is not None and self.good <= 0:
            raise self.failure
        self.good -= 1
        self.sent.append(task)


def down() -> tuple[Harness, Queue]:
    queue = Queue(StorageUnavailable("queue storage: ServerBusy, HTTP status 503", "ServerBusy"))
    return harness(queue=queue), queue


def deliver(bridge: Harness, queue: Queue) -> None:
    sent, queue.sent = queue.sent, []
    for task in sent:
        bridge.deliver(task)


def pending(bridge: Harness, count: int) -> None:
    """Make deliveries due that require another message."""
    for number in range(count):
        bridge.register(f"operation-{number}")
        bridge.upstream.script(f"operation-{number}", "Succeeded")
    bridge.sweep()
    bridge.clock.advance(timedelta(minutes=3))


def test_a_new_registration_is_answered_201_while_the_queue_is_down() -> None:
    bridge, queue = down()
    client = Client.of(bridge)
    bridge.upstream.script("operation-1", "Succeeded")
    client.register(BODY)
    bridge.sweep()

    answer = client.register({**BODY, "callbackUrl": "https://other.example.com/hook"})

    assert answer.status == 201
    assert answer.body["state"] == "pending"
    assert queue.tried == 2


@pytest.mark.parametrize("minutes", [1, 10, 120])
def test_unsent_messages_are_delivered_soon_after_the_queue_is_back(minutes: int) -> None:
    bridge, queue = down()
    refs = [bridge.register(f"operation-{number}")[0] for number in range(40)]
    for number in range(40):
        bridge.upstream.script(f"operation-{number}", "Succeeded")
    for _ in range(6 * minutes):
        bridge.sweep()
        bridge.clock.advance(10)

    queue.failure = None
    for _ in range(3):
        bridge.sweep()
        deliver(bridge, queue)
        bridge.clock.advance(10)

    assert {bridge.registration(ref).state for ref in refs} == {State.DELIVERED}


def test_a_send_that_failed_does_not_count() -> None:
    bridge, queue = down()
    bridge.register()
    bridge.upstream.script("operation-1", "Succeeded")
    for _ in range(60):
        bridge.sweep()
        bridge.clock.advance(10)

    [row] = [row for row in bridge.memory.rows() if ":deliver:" in row.key]

    assert row.values["sends"] == 0
    assert queue.tried > 20


def test_a_batch_is_given_up_at_its_first_failure_and_later_batches_soon_after() -> None:
    bridge, queue = down()
    pending(bridge, 500)
    queue.tried = 0

    bridge.sweep()

    assert queue.tried == 2


def test_sent_messages_of_a_failed_batch_stay_sent() -> None:
    bridge, queue = down()
    pending(bridge, 8)
    queue.good = 3

    bridge.sweep()

    sends = sorted(row.values["sends"] for row in bridge.memory.rows() if ":deliver:" in row.key)
    assert len(queue.sent) == 3
    assert sends == [0] * 5 + [1] * 3


def test_a_queue_that_is_down_delays_no_poll() -> None:
    bridge, _ = down()
    pending(bridge, 100)
    bridge.register("another")

    bridge.sweep()

    assert [ref.id for ref in bridge.upstream.asked].count("another") == 1


def test_no_message_is_sent_after_the_time_of_the_sweep() -> None:
    bridge, queue = down()
    pending(bridge, 60)
    queue.failure = None

    def slow(task: DeliveryTask, *, ttl: timedelta) -> None:
        queue.sent.append(task)
        bridge.clock.advance(timedelta(seconds=10))

    queue.send = slow  # type: ignore[method-assign]
    bridge.sweep()

    took = timedelta(seconds=10) * len(queue.sent)
    assert took <= bridge.settings.sweep_budget + timedelta(seconds=10)
    assert all(row.values["sends"] <= 1 for row in bridge.memory.rows() if ":deliver:" in row.key)  # type: ignore[operator]


def test_a_failed_send_is_one_line_with_the_code_of_the_service(caplog: pytest.LogCaptureFixture) -> None:
    bridge, _ = down()
    pending(bridge, 5)
    caplog.set_level(logging.INFO)
    caplog.clear()

    bridge.sweep()

    lines = [line for line in lines_of(caplog, Event.QUEUE) if line["registration"] is not None]
    assert {line["code"] for line in lines} == {"ServerBusy"}
    assert sum(int(line["unsent"]) for line in lines) >= 2
    assert len(lines) <= 2


def test_the_problem_of_the_queue_is_shown_until_a_message_is_sent() -> None:
    bridge, queue = down()
    dispatcher = bridge.sweeper.enqueuer.dispatcher
    task = DeliveryTask(ref=bridge.request().ref, generation=NOON, number=1, sends=1)

    queue.failure = StorageRefused("queue storage: AuthorizationFailure, HTTP status 403", "AuthorizationFailure")
    dispatcher.send(task)
    bridge.clock.advance(60)
    dispatcher.send(task)
    first = dispatcher.problem
    queue.failure = None
    dispatcher.send(task)

    assert first is not None
    assert (first.code, first.is_refusal, first.since) == ("AuthorizationFailure", True, NOON)
    assert dispatcher.problem is None


def test_a_failure_long_past_is_no_problem_of_the_present() -> None:
    bridge, _ = down()
    dispatcher = bridge.sweeper.enqueuer.dispatcher
    dispatcher.send(DeliveryTask(ref=bridge.request().ref, generation=NOON, number=1, sends=1))

    bridge.clock.advance(timedelta(minutes=11))

    assert dispatcher.problem is None


def test_the_status_shows_a_rejection_by_the_queue_with_advice() -> None:
    bridge, queue = down()
    client = Client.of(bridge)
    queue.failure = StorageRefused("queue storage: AuthorizationFailure, HTTP status 403", "AuthorizationFailure")
    pending(bridge, 1)

    bridge.sweep()
    refused = client.call(Handlers.status, "/status").body["queue"]
    queue.failure = None
    bridge.clock.advance(60)
    bridge.sweep()
    bridge.clock.advance(60)
    bridge.sweep()
    mended = client.call(Handlers.status, "/status").body["queue"]

    assert refused["problem"] == "the queue refuses the bridge, so no callback is sent (AuthorizationFailure)"
    assert "Queue Data Contributor" in refused["advice"]
    assert refused["since"] == "2026-11-23T12:00:00.000Z"
    assert mended == {"problem": None, "advice": None, "since": None}


class Stuck(ForwardingTable):
    """A table that rejects a change of a due row."""

    refused = 0

    def commit(self, transaction: Transaction) -> Mapping[str, str]:
        kinds = [type(write) for write in transaction.writes]
        if kinds == [Merge, Delete, Insert] and ":deliver:" in transaction.writes[1].key:
            self.refused += 1
            raise StorageUnavailable("down")
        return super().commit(transaction)


def test_a_due_row_that_cannot_be_brought_forward_sends_later() -> None:
    tables: list[Stuck] = []
    queue = Queue(StorageUnavailable("down"))

    def wrap(inner: Table) -> Table:
        tables.append(Stuck(inner))
        return tables[0]

    bridge = harness(wrap, queue=queue)
    ref = bridge.register()[0]
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()
    queue.failure = None
    bridge.clock.advance(timedelta(minutes=3))
    bridge.sweep()
    deliver(bridge, queue)

    assert tables[0].refused == 1
    assert bridge.registration(ref).state is State.DELIVERED


def test_first_sweep_of_an_instance_creates_the_queue() -> None:
    """The host looks for the queue from the start, and logs a warning each second without one."""
    queue = Queue()
    bridge = harness(queue=queue)

    bridge.sweep()
    bridge.sweep()
    first_instance = queue.created
    bridge.restart()
    bridge.sweep()

    assert (first_instance, queue.created) == (1, 2)


def test_failed_creation_of_the_queue_is_one_line_and_the_sweep_continues(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "bridge")
    queue = Queue(StorageUnavailable("queue storage: AuthorizationFailure, HTTP status 403", "AuthorizationFailure"))
    bridge = harness(queue=queue)
    bridge.register()

    bridge.sweep()
    lines = lines_of(caplog, Event.QUEUE)
    queue.failure = None
    bridge.sweep()
    bridge.sweep()

    assert lines == [
        {
            "event": "queue.unavailable",
            "code": "AuthorizationFailure",
            "error": "queue storage: AuthorizationFailure, HTTP status 403",
            "registration": None,
            "unsent": 0,
        }
    ]
    assert len(bridge.upstream.asked) == 1
    assert queue.created == 2
