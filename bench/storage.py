"""Calls to storage, counted where they leave: what an operation, a poll and a million operations cost.

The requests of the table's and the queue's clients to Azurite are counted, from registering to the record of the
delivery, and with them those that the function host makes for each message.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count

from azure.core.pipeline import PipelineRequest
from azure.data.tables import TableClient
from azure.storage.queue import QueueClient, TextBase64DecodePolicy, TextBase64EncodePolicy

from bench.composed import Composed, Instant, Taker, composed
from bench.measuring import Figures, Scale
from bridge.adapters.azure.queue import AzureQueue
from bridge.adapters.azure.table import AzureTable
from bridge.storage.queue_message import read_task
from local.azurite import Azurite

#: US dollars for 10,000 calls, as infra/README.md has them.
_TABLE_PRICE, _QUEUE_PRICE = 0.00036, 0.004

#: Polls that an operation costs, by the default of BRIDGE_POLLS_PER_OPERATION; the last one sees the end.
POLLS = 12

#: Between sweeps. Every operation is due again by then, and none for so long that its due row is taken for lost.
_BETWEEN = timedelta(minutes=9)

_NAMES = count()


@dataclass(frozen=True, slots=True)
class Counted:
    """Storage whose calls are counted, by service."""

    table: AzureTable
    delivery_queue: AzureQueue
    queue: QueueClient
    calls: Counter[str] = field(default_factory=Counter)

    def taken(self) -> Counter[str]:
        """Take the counts and begin again."""
        taken = Counter(self.calls)
        self.calls.clear()
        return taken


@contextmanager
def counted(azurite: Azurite) -> Iterator[Counted]:
    """Open a table and a queue of their own."""
    calls: Counter[str] = Counter()

    def counting(service: str, _: PipelineRequest[object]) -> None:
        calls[service] += 1

    name = f"bench{next(_NAMES)}"
    with (
        TableClient.from_connection_string(
            azurite.connection_string, name, retry_total=0, raw_request_hook=lambda each: counting("table", each)
        ) as table,
        QueueClient.from_connection_string(
            azurite.connection_string,
            name,
            message_encode_policy=TextBase64EncodePolicy(),
            message_decode_policy=TextBase64DecodePolicy(),
            raw_request_hook=lambda each: counting("queue", each),
        ) as queue,
    ):
        table.create_table()
        queue.create_queue()
        calls.clear()
        yield Counted(AzureTable(table), AzureQueue(queue), queue, calls)


def measure(scale: Scale) -> Figures:
    """Follow many operations from registering to delivered: polled 12 times, the last time ended.

    All are due together, so a sweep's own calls are shared by as many as it asks for.
    """
    upstream = Instant()
    with Azurite.start() as azurite, counted(azurite) as storage:
        bridge = composed(table=storage.table, queue=storage.delivery_queue, upstream=upstream, sender=Taker())
        for number in range(scale.counted):
            bridge.register(f"operation-{number:06d}")
        calls = storage.taken()
        bridge.sweep_later(_BETWEEN)  # the first one, which also writes rows that are there from then on
        calls += storage.taken()
        bridge.sweep_later(_BETWEEN)
        poll = storage.taken()
        calls += _times(poll, POLLS - 2)
        upstream.status = "Succeeded"
        bridge.sweep_later(_BETWEEN)
        delivered = _deliver_all(bridge, storage)
        calls += storage.taken() - Counter(queue=1)  # the last look at the queue, which found nothing
    if delivered != scale.counted:
        raise RuntimeError(f"{delivered} of {scale.counted} were delivered")
    each = {service: number / scale.counted for service, number in calls.items()}
    return {
        "storage.calls_per_operation": sum(each.values()),
        "storage.calls_per_operation.table": each["table"],
        "storage.calls_per_operation.queue": each["queue"],
        "storage.calls_per_poll": poll.total() / scale.counted,
        "storage.dollars_per_million": 100 * (each["table"] * _TABLE_PRICE + each["queue"] * _QUEUE_PRICE),
    }


def _times(calls: Counter[str], times: int) -> Counter[str]:
    return Counter({service: number * times for service, number in calls.items()})


def _deliver_all(bridge: Composed, storage: Counted) -> int:
    """Take what was sent one by one, as the function host does where little comes; returns how many there were."""
    delivered = 0
    while message := storage.queue.receive_message(visibility_timeout=30):
        bridge.bridge.deliver.deliver(read_task(message.content.encode()))
        storage.queue.delete_message(message)
        delivered += 1
    return delivered
