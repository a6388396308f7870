"""Attempts at delivering against bare POSTs: what claiming, signing, guarding and recording cost beside sending."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from statistics import median
from typing import TypeVar

import requests

from bench.composed import Composed, Instant, composed
from bench.loopback import Loopback
from bench.measuring import Figures, Pair, Scale, seconds
from bridge.domain.delivery import DeliveryTask
from bridge.domain.host_limits import MAX_IN_FLIGHT
from bridge.services.delivery import Deliver
from bridge.storage.keys import partition_of, row_key

_T = TypeVar("_T")

#: Like the headers of a callback, in number and length.
_HEADERS: Mapping[str, str] = {
    "webhook-id": "msg_a41971dbe1c4443a4d49fc381ee17057",
    "webhook-timestamp": "1795524205",
    "webhook-signature": f"v1,{'A' * 44} v1a,{'B' * 88}",
    "Content-Type": "application/json",
}


def measure(scale: Scale) -> Figures:
    """Compare attempts per second with bare POSTs of the same size, over as many connections that are kept.

    An attempt reads, claims, signs by both schemes, posts with guard and deadline, and records; storage is in memory.
    Both have as many threads as a host may have attempts in flight, and the bare ones a session each.
    """
    with Loopback.start() as receiver:
        bridge = composed(upstream=Instant("Succeeded"))
        numbers = iter(range(10**9))
        body = b""
        # A host that has never answered gets one attempt at a time.
        _deliver_all(bridge.bridge.deliver, iter(_called_for(bridge, receiver.url, [next(numbers)])))

        def ours() -> float:
            nonlocal body
            tasks = _called_for(bridge, receiver.url, [next(numbers) for _ in range(scale.attempts)])
            body = body or _body(bridge, tasks[0])
            took = seconds(partial(_in_threads, partial(_deliver_all, bridge.bridge.deliver), tasks))
            _check_delivered(bridge, tasks)
            return took

        def bare() -> float:
            post = partial(_post_all, f"{receiver.url}/callback", body)
            return seconds(partial(_in_threads, post, range(scale.attempts)))

        pair = Pair.alternating(ours, bare, scale.rounds)
    return {
        "deliver.vs_requests": 1 / pair.ratio,
        "deliver.attempts_per_second": scale.attempts / median(pair.first),
        "deliver.requests_per_second": scale.attempts / median(pair.second),
    }


def _called_for(bridge: Composed, url: str, numbers: Iterable[int]) -> list[DeliveryTask]:
    """Register, let all of them end, and take the tasks that the sweep sent."""
    for number in numbers:
        bridge.register(f"operation-{number:08d}", f"{url}/callback")
    bridge.sweep_later(timedelta(seconds=20))
    return bridge.queue.take()


def _body(bridge: Composed, task: DeliveryTask) -> bytes:
    row = bridge.bridge.deliver.repository.table.get(partition_of(task.ref), row_key(task.ref))
    return bytes(row.values["message_body"]) if row and isinstance(row.values["message_body"], bytes) else b""


def _check_delivered(bridge: Composed, tasks: Sequence[DeliveryTask]) -> None:
    """Raise RuntimeError if one was not: a failure can be quick."""
    rows = [bridge.bridge.deliver.repository.table.get(partition_of(task.ref), row_key(task.ref)) for task in tasks]
    if not tasks or any(row is None or row.values["state"] != "delivered" for row in rows):
        raise RuntimeError("not every attempt was delivered")


def _in_threads(do: Callable[[Iterator[_T]], None], things: Sequence[_T]) -> None:
    """Let each thread take the next thing by itself: a future for each would be measured too."""
    left = iter(things)
    with ThreadPoolExecutor(MAX_IN_FLIGHT) as pool:
        for _ in pool.map(do, [left] * MAX_IN_FLIGHT):
            pass


def _deliver_all(deliver: Deliver, tasks: Iterator[DeliveryTask]) -> None:
    for task in tasks:
        deliver.deliver(task)


def _post_all(url: str, body: bytes, times: Iterator[int]) -> None:
    with requests.Session() as session:
        session.trust_env = False
        for _ in times:
            session.post(url, data=body, headers=_HEADERS, timeout=15).raise_for_status()
