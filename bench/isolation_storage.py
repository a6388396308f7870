"""Scenarios of storage: wrong answers, a queue that is down, a table that is silent, and a flood of lists.

A proxy stands between the app and Azurite. Sweeps and registrations that are timed one by one run in this process,
with a clock that is moved on; what concerns the threads of an instance runs in a started app.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus

import requests
from azure.data.tables import TableClient

from bench.composed import ENVIRONMENT, Composed, Instant, Taker, composed
from bench.fault_proxy import BUSY, SILENCE, XML, Fault, FaultProxy, always, fault_proxy, sometimes
from bench.measuring import Figures
from bench.report import Goal
from bench.started import environment
from bridge.adapters.azure.clients import TABLE, queue_client
from bridge.adapters.azure.queue import DELIVERIES_QUEUE, AzureQueue
from bridge.adapters.azure.storage_calls import storage_guard
from bridge.adapters.azure.table import AzureTable
from bridge.domain.delivery import DeliveryTask
from bridge.domain.errors import BridgeError
from bridge.domain.registration import State
from bridge.ports import DeliveryQueue
from bridge.settings import read_settings
from bridge.storage.keys import operation_partitions
from local.azurite import Azurite
from local.host.process import HostProcess

_REGISTRATIONS = 120
_CLIENTS, _LISTS, _PROBE = 60, 200, 0.1
_URL = "http://127.0.0.1:9/"
#: Seconds that a client waits for an answer, and that a silent table is watched.
_TIMEOUT, _WATCHED = 120.0, 25.0


@dataclass(frozen=True, slots=True)
class Storage:
    """Azurite behind proxies."""

    azurite: Azurite
    connection: str
    table: FaultProxy
    queue: FaultProxy


@contextmanager
def storage() -> Iterator[Storage]:
    """Start Azurite, and a proxy before its table service and its queue service."""
    with ExitStack() as running:
        azurite = running.enter_context(Azurite.start())
        connection = azurite.connection_string
        proxies = []
        for name in ("TableEndpoint", "QueueEndpoint"):
            found = re.search(rf"{name}=(http://[^/;]+)", connection)
            if found is None:
                raise ValueError(f"Azurite names no {name}")
            proxies.append(running.enter_context(fault_proxy(found[1])))
            connection = connection.replace(found[1], proxies[-1].url)
        yield Storage(azurite, connection, *proxies)


def stranded() -> Figures:
    """Count the registrations that never end after a fifth of all reads was answered with XML for some sweeps."""
    return {"xml.stranded": _stranded(sometimes(XML, 0.2)), "xml.stranded.calm": _stranded(None)}


def _stranded(fault: Fault | None) -> float:
    with storage() as parts, TableClient.from_connection_string(parts.connection, TABLE, retry_total=0) as client:
        bridge = composed(table=AzureTable(client), upstream=Instant("Succeeded"), sender=Taker())
        for number in range(_REGISTRATIONS):
            bridge.register(f"operation-{number:03d}", _URL)
        parts.table.fault = fault
        _live(bridge, sweeps=20)
        parts.table.fault = None
        _live(bridge, sweeps=60)
        table = bridge.bridge.sweep.repository.table
        states = [
            row.values["state"]
            for name in operation_partitions()
            for row in table.range(name, "op:", "op;")
            if "state" in row.values
        ]
    return float(_REGISTRATIONS - states.count(State.DELIVERED.value))


def _live(bridge: Composed, *, sweeps: int) -> None:
    """Sweep every fifteen seconds of a moved clock, and follow what is sent. A message that fails is lost."""
    for _ in range(sweeps):
        bridge.sweep_later(timedelta(seconds=15))
        for task in bridge.queue.take():
            _followed(bridge, task)


def _followed(bridge: Composed, task: DeliveryTask) -> None:
    try:
        bridge.bridge.deliver.deliver(task)
    except BridgeError:
        return


def queue() -> Figures:
    """Time sweeps and registrations while the queue fails for three minutes of a clock that is moved on.

    It answers 503, or nothing at all; the longer figure of both counts.
    """
    calm, busy, silent = _queue(None), _queue(always(BUSY)), _queue(always(SILENCE))
    return {
        "queue.sweep": max(busy[0], silent[0]),
        "queue.register": max(busy[1], silent[1]),
        "queue.sweep.calm": calm[0],
        "queue.register.calm": calm[1],
    }


def _queue(fault: Fault | None) -> tuple[float, float]:
    """Return the longest sweep and the longest registration in seconds."""
    with storage() as parts, TableClient.from_connection_string(parts.connection, TABLE, retry_total=0) as client:
        guard = storage_guard()
        settings = read_settings({**ENVIRONMENT, "AzureWebJobsStorage": parts.connection})
        queue: DeliveryQueue = AzureQueue(queue_client(settings, None, DELIVERIES_QUEUE, guard), guard)
        bridge = composed(table=AzureTable(client), queue=queue, upstream=Instant("Succeeded"), sender=Taker())
        for number in range(150):
            bridge.register(f"operation-{number:03d}", _URL)
        bridge.sweep_later(timedelta(seconds=15))
        parts.queue.fault = fault
        bridge.clock.skip(timedelta(minutes=3))
        sweeps, registrations = [], []
        for number in range(18):
            bridge.register(f"another-{number:03d}", _URL)
            begun = time.perf_counter()
            bridge.sweep_later(timedelta(seconds=10))
            sweeps.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            bridge.register("operation-000", f"{_URL}{number}")
            registrations.append(time.perf_counter() - begun)
    return max(sweeps), max(registrations)


@dataclass(frozen=True, slots=True)
class Timed:
    """The longest answers in seconds, of health and of something else."""

    health: float
    other: float


def hole() -> Figures:
    """Time the answers of health and of 60 clients of all other routes while the table takes requests and is silent."""
    with_fault, calm = _hole(always(SILENCE)), _hole(None)
    return {
        "hole.health": with_fault.health,
        "hole.other": with_fault.other,
        "hole.health.calm": calm.health,
        "hole.other.calm": calm.other,
    }


def _hole(fault: Fault | None) -> Timed:
    with storage() as parts, HostProcess.start(_settings(parts)) as app, ThreadPoolExecutor(_CLIENTS) as clients:
        registration = {"operationId": "operation-1", "callbackUrl": _URL}
        _call(app, "POST", "registrations", registration)
        parts.table.fault = fault
        end = time.monotonic() + _WATCHED
        calls: list[Callable[[], float]] = [
            lambda: _call(app, "POST", "registrations", registration),
            lambda: _call(app, "GET", "registrations"),
            lambda: _call(app, "GET", "registrations/default~operation-1~0123456789abcdef"),
            lambda: _call(app, "GET", "operations/operation-1"),
            lambda: _call(app, "GET", "status"),
            lambda: _call(app, "GET", "overview"),
        ]

        def client(number: int) -> float:
            longest = 0.0
            while time.monotonic() < end:
                longest = max(longest, calls[number % len(calls)]())
            return longest

        others = [clients.submit(client, number) for number in range(_CLIENTS)]
        with _probed(app) as probed:
            other = max(each.result() for each in others)
        return Timed(max(probed), other)


def lists() -> Figures:
    """Time health and a registration while 200 clients read a list of 200 at once."""
    with_fault, calm = _lists(_LISTS), _lists(0)
    return {
        "lists.health": with_fault.health,
        "lists.register": with_fault.other,
        "lists.health.calm": calm.health,
        "lists.register.calm": calm.other,
    }


def _lists(count: int) -> Timed:
    with storage() as parts, HostProcess.start(_settings(parts)) as app, ThreadPoolExecutor(_LISTS) as clients:
        for number in range(200):
            _call(app, "POST", "registrations", {"operationId": f"operation-{number:03d}", "callbackUrl": _URL})
        with _probed(app) as probed:
            flood = [clients.submit(_call, app, "GET", "registrations?limit=100") for _ in range(count)]
            registered = [
                _call(app, "POST", "registrations", {"operationId": f"another-{number}", "callbackUrl": _URL})
                for number in range(5)
            ]
            for each in flood:
                each.result()
        return Timed(max(probed), max(registered))


def _settings(parts: Storage) -> dict[str, str]:
    return environment(parts.azurite, AzureWebJobsStorage=parts.connection, BRIDGE_POLL_SCHEDULE="*/10 * * * * *")


@contextmanager
def _probed(app: HostProcess) -> Iterator[list[float]]:
    """Ask for health again and again during this block; gives how long each answer took."""
    took, over = [_call(app, "GET", "health")], threading.Event()

    def probe() -> None:
        while not over.wait(_PROBE):
            took.append(_call(app, "GET", "health"))

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        yield took
    finally:
        over.set()
        thread.join()


def _call(app: HostProcess, method: str, path: str, body: Mapping[str, str] | None = None) -> float:
    """Make a call on a connection of its own; returns how long the answer took. Raises for a fault of the code."""
    begun = time.perf_counter()
    answer = requests.request(method, f"{app.url}/api/{path}", json=body, timeout=_TIMEOUT)
    took = time.perf_counter() - begun
    if answer.status_code == HTTPStatus.INTERNAL_SERVER_ERROR:
        raise RuntimeError(f"{method} {path} failed")
    return took


SCENARIOS: Mapping[str, Callable[[], Figures]] = {"xml": stranded, "queue": queue, "hole": hole, "lists": lists}

GOALS: Mapping[str, Goal] = {
    "xml.stranded": Goal(0),
    "queue.sweep": Goal(15),
    "queue.register": Goal(2),
    "hole.health": Goal(0.1),
    "hole.other": Goal(10),
    "lists.health": Goal(0.5),
    "lists.register": Goal(2),
}

MEANINGS: Mapping[str, str] = {
    "xml.stranded": "of 120 registrations, those that never end after XML was answered to a fifth of the reads",
    "queue.sweep": "longest sweep in seconds, while the queue fails for 180 s",
    "queue.register": "longest registration in seconds, while the queue fails",
    "hole.health": "longest answer of health in seconds, while the table is silent and 60 clients call",
    "hole.other": "longest answer of any other route in seconds, then",
    "lists.health": "longest answer of health in seconds, while 200 clients list at once",
    "lists.register": "longest registration in seconds, then",
}
