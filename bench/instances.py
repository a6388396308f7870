"""Instances that share the deliveries of one queue: how much faster two and four are than one.

Each is a started app over the same Azurite. The messages become visible at one moment, when all apps run and all
messages are there; the rate is that between the first and the last tenth of the attempts, by their rows. Callbacks go
to 24 receivers that answer after 50 ms: as many as an instance takes messages at once, so that none waits for a place.

At full speed it is the machine that is shared. So they are measured with two attempts at once for each instance too,
which leaves it room: then it shows what sharing a queue costs.
"""

import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime
from functools import partial

from azure.data.tables import TableClient
from azure.storage.queue import QueueClient, TextBase64EncodePolicy

from bench.composed import Composed, Instant, composed
from bench.loopback import Loopback
from bench.measuring import Figures, Scale
from bench.started import environment
from bridge.adapters.azure.clients import TABLE
from bridge.adapters.azure.queue import DELIVERIES_QUEUE
from bridge.adapters.azure.table import AzureTable
from bridge.domain.delivery import DeliveryTask
from bridge.storage.keys import operation_partitions
from bridge.storage.queue_message import write_task
from local.azurite import Azurite
from local.host.process import HostProcess

_DELAY, _RECEIVERS = 0.05, 24
_SENDERS = 8
#: Attempts at once for each instance: as deployed, and few enough for the machine.
_FULL, _FEW = 32, 2
#: Seconds for sending one message, on a machine that has other work, and for all to begin.
_TO_SEND, _TO_BEGIN = 0.01, 2.0
_LOOK, _MAX_WAIT = 0.25, 300.0


def measure(scale: Scale) -> Figures:
    """Compare deliveries per second of two and four instances with one's; each has as many to make."""
    one, two, four = (_rate(instances, scale.shared * instances, _FULL) for instances in (1, 2, 4))
    few = scale.shared // 3
    slow_one, slow_two, slow_four = (_rate(instances, few * instances, _FEW) for instances in (1, 2, 4))
    return {
        "instances.speedup.two": two / one,
        "instances.speedup.four": four / one,
        "instances.deliveries_per_second": one,
        "instances.with_room.speedup.two": slow_two / slow_one,
        "instances.with_room.speedup.four": slow_four / slow_one,
        "instances.with_room.deliveries_per_second": slow_one,
    }


def _rate(instances: int, deliveries: int, at_once: int) -> float:
    """Let so many instances make so many deliveries; returns how many a second they made together."""
    with ExitStack() as running:
        azurite = running.enter_context(Azurite.start())
        receiver = running.enter_context(Loopback.start(delay=_DELAY, ports=_RECEIVERS))
        table = running.enter_context(TableClient.from_connection_string(azurite.connection_string, TABLE))
        queue = running.enter_context(
            QueueClient.from_connection_string(
                azurite.connection_string, DELIVERIES_QUEUE, message_encode_policy=TextBase64EncodePolicy()
            )
        )
        queue.create_queue()
        bridge = composed(table=AzureTable(table), upstream=Instant("Succeeded"), requests_per_second=1e5)
        with ThreadPoolExecutor(_SENDERS) as pool:
            list(pool.map(partial(_register, bridge, receiver.urls), range(deliveries)))
        bridge.bridge.sweep.sweep()
        settings = environment(
            azurite,
            BRIDGE_POLL_SCHEDULE="*/5 * * * * *",  # sends again what the limits of a host deferred
            PYTHON_THREADPOOL_THREAD_COUNT=str(at_once),
        )
        for _ in range(instances):
            running.enter_context(HostProcess.start(settings))
        _send(queue, bridge.queue.take())
        return _rate_of(_attempts(AzureTable(table), deliveries))


def _register(bridge: Composed, urls: Sequence[str], number: int) -> None:
    bridge.register(f"operation-{number:06d}", f"{urls[number % len(urls)]}/{number}")


def _send(queue: QueueClient, tasks: list[DeliveryTask]) -> None:
    """Send all; they become visible together."""
    visible = time.monotonic() + _TO_BEGIN + _TO_SEND * len(tasks)

    def send(task: DeliveryTask) -> None:
        queue.send_message(write_task(task), visibility_timeout=max(0, math.ceil(visible - time.monotonic())))

    with ThreadPoolExecutor(_SENDERS) as pool:
        list(pool.map(send, tasks))


def _attempts(table: AzureTable, deliveries: int) -> list[datetime]:
    """Wait for all, and return when each was begun. Raises TimeoutError."""
    end = time.monotonic() + _MAX_WAIT
    while time.monotonic() < end:
        rows = [row for name in operation_partitions() for row in table.range(name, "att:", "att;")]
        if len([row for row in rows if row.values.get("status") == 200]) >= deliveries:
            return sorted(at for row in rows if isinstance(at := row.values["at"], datetime))
        time.sleep(_LOOK)
    raise TimeoutError(f"fewer than {deliveries} were delivered")


def _rate_of(attempts: list[datetime]) -> float:
    """Leave out the first tenth and the last, when not all instances are busy."""
    first, last = len(attempts) // 10, len(attempts) * 9 // 10
    return (last - first) / (attempts[last] - attempts[first]).total_seconds()
