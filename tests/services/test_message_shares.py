"""How a sweep divides messages between hosts."""

from collections import Counter
from collections.abc import Iterator
from itertools import count, islice

from bridge.domain.callback_url import origin_of
from bridge.domain.delivery import DeliveryTask
from bridge.domain.ids import OperationRef, RegistrationRef
from bridge.domain.outcome import Failure, Unreachable
from bridge.domain.registration import State
from bridge.services.sweep.due_reader import ROWS_PER_PARTITION
from bridge.services.sweep.enqueueing import MANY_DUE, MESSAGES_PER_HOST, MORE_FROM, MessageShares, in_turns
from bridge.storage.due import DueDelivery, DueHandle
from bridge.storage.keys import partition_of
from tests.support.harness import NOON, Harness

BUSY = "https://busy.example.com/hook"
OTHER = "https://other.example.com/hook"


def end(bridge: Harness, count: int, url: str, prefix: str) -> None:
    for number in range(count):
        bridge.register(f"{prefix}-{number}", url)
        bridge.upstream.script(f"{prefix}-{number}", "Succeeded")


def hosts_of(tasks: list[DeliveryTask]) -> Counter[str | None]:
    return Counter(task.origin for task in tasks)


def test_a_sweep_with_many_final_statuses_sends_a_share_per_host(bridge: Harness) -> None:
    end(bridge, 250, BUSY, "busy")
    end(bridge, 20, OTHER, "other")

    bridge.sweep()

    assert hosts_of(bridge.queue.tasks) == {origin_of(BUSY): MESSAGES_PER_HOST, origin_of(OTHER): 20}


def test_the_next_sweep_sends_the_next_share(bridge: Harness) -> None:
    end(bridge, 250, BUSY, "busy")
    shares = []
    for _ in range(4):
        bridge.sweep()
        shares.append(len(bridge.queue.take()))
        bridge.clock.advance(10)

    assert shares == [MESSAGES_PER_HOST, MESSAGES_PER_HOST, 50, 0]


def test_a_quick_host_gets_all_of_its_deliveries_without_another_sweep(bridge: Harness) -> None:
    end(bridge, 450, BUSY, "busy")
    bridge.sweep()

    while bridge.deliver_all():
        bridge.clock.advance(1)

    registrations = [bridge.registration(bridge.request(f"busy-{number}", BUSY).ref) for number in range(450)]
    assert {each.state for each in registrations} == {State.DELIVERED}
    assert len(bridge.sender.posted) == 450


def test_a_silent_host_gets_no_messages_before_the_next_sweep(bridge: Harness) -> None:
    end(bridge, 250, BUSY, "busy")
    bridge.sender.script(BUSY, Unreachable(error=Failure.TIMEOUT))
    bridge.sweep()

    bridge.deliver_all()

    assert bridge.queue.take() == []


def test_messages_alternate_between_hosts() -> None:
    def due(origin: str, number: int) -> DueDelivery:
        return DueDelivery(DueHandle(partition="op0", key=f"{origin}-{number}", etag="e"), task_to(origin))

    ordered = in_turns([due("a", 1), due("a", 2), due("a", 3), due("b", 1), due("c", 1), due("b", 2)])

    assert [each.handle.key for each in ordered] == ["a-1", "b-1", "c-1", "a-2", "b-2", "a-3"]


def task_to(origin: str | None) -> DeliveryTask:
    ref = RegistrationRef.of(OperationRef("default", "one"), owner="shared", callback_url="https://a.example.com/")
    return DeliveryTask(ref=ref, generation=NOON, number=1, origin=origin)


def test_tasks_of_a_former_version_name_no_host_and_are_all_sent() -> None:
    shares = MessageShares()

    sent = [shares.take(task_to(None)) for _ in range(2 * MESSAGES_PER_HOST)]

    assert None not in sent


def test_later_messages_of_a_share_call_for_more() -> None:
    shares = MessageShares()

    sent = [shares.take(task_to("https://a.example.com")) for _ in range(MESSAGES_PER_HOST + 1)]

    assert [task is not None and task.has_more for task in sent] == (
        [None] * (MORE_FROM - 1) + [True] * (MESSAGES_PER_HOST - MORE_FROM + 1) + [False]
    )
    shares.begin()
    assert shares.take(task_to("https://a.example.com")) is not None


def ids_of_one_partition(prefix: str) -> Iterator[str]:
    ids = (f"{prefix}-{number}" for number in count())
    return (name for name in ids if partition_of(OperationRef("default", name)) == "op0")


def end_in_one_partition(bridge: Harness, number: int, url: str, prefix: str) -> None:
    """End operations, and lose the sent messages."""
    for name in islice(ids_of_one_partition(prefix), number):
        bridge.register(name, url)
        bridge.upstream.script(name, "Succeeded")
    while any(key.startswith("poll:") for key in bridge.due_keys()):
        bridge.sweep()
        bridge.clock.advance(10)
    bridge.queue.take()


def test_a_backlog_that_fills_a_partition_does_not_hide_other_hosts(bridge: Harness) -> None:
    """The first host has more earlier due rows than a sweep reads."""
    end_in_one_partition(bridge, ROWS_PER_PARTITION + 500, BUSY, "busy")
    bridge.sender.script(OTHER, 500)
    [other] = bridge.register(next(ids_of_one_partition("other")), OTHER)
    bridge.upstream.script(other.operation.id, "Succeeded")
    bridge.sweep()
    for task in bridge.queue.take():
        if task.ref == other:
            bridge.deliver(task)

    sweeps, sent = 0, list[DeliveryTask]()
    while other not in [task.ref for task in sent]:
        bridge.clock.advance(10)
        bridge.sweep()
        sent, sweeps = bridge.queue.take(), sweeps + 1
        assert sweeps <= 2


def test_postponed_deliveries_are_all_delivered(bridge: Harness) -> None:
    end_in_one_partition(bridge, MANY_DUE + 300, BUSY, "busy")

    for _ in range(40):
        bridge.clock.advance(10)
        bridge.sweep()
        while bridge.deliver_all():
            pass

    assert len(bridge.sender.posted) == MANY_DUE + 300
