"""A bridge to measure: composed as it is deployed, with the settings that loopback needs and another storage."""

import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from bridge.app import Bridge, compose
from bridge.dependencies import build_dependencies, real_clock
from bridge.domain.callback_url import normalise
from bridge.domain.ids import OperationRef, RegistrationRef
from bridge.domain.operation import FinalStatus
from bridge.domain.outcome import Outcome, answered
from bridge.domain.registration import Registration
from bridge.domain.upstream import Reply
from bridge.ports import DeliveryQueue, Upstream, WebhookSender
from bridge.settings import Settings, read_settings
from bridge.storage.keys import due_deliveries, due_operations, operation_partitions
from bridge.storage.table import Table
from bridge.testing import MemoryQueue, MemoryTable

#: 32 bytes, for measuring only.
SIGNING_KEY = "3gibjTY9/mnGQPP8YVyJCAeEsKwdAzQFEMaLgNIR224="

#: Settings that loopback needs.
ENVIRONMENT = {
    "AzureWebJobsStorage": "UseDevelopmentStorage=true",
    "SPEECH_ENDPOINT": "http://127.0.0.1:9",
    "SPEECH_KEY": "benchmark",
    "SPEECH_REQUESTS_PER_SECOND": "100",
    "BRIDGE_SIGNING_KEYS": SIGNING_KEY,
    "BRIDGE_POLL_SCHEDULE": "*/10 * * * * *",
    "BRIDGE_SWEEP_BUDGET": "4m",
    "BRIDGE_CALLBACK_ALLOW_HTTP": "true",
    "BRIDGE_CALLBACK_ALLOWED_NETWORKS": "127.0.0.0/8",
    "BRIDGE_CALLBACK_ALLOWED_PORTS": "*",
}


class _Handed(logging.Handler):
    """Formats a line and hands it on in memory, as the worker of Azure Functions does, which writes no file."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[str] = deque(maxlen=1000)

    def emit(self, record: logging.LogRecord) -> None:
        """Hand it on."""
        self._lines.append(self.format(record))


class Later:
    """The real clock plus an offset. A measurement moves the offset to make later due times come."""

    def __init__(self) -> None:
        self._ahead = timedelta(0)

    def __call__(self) -> datetime:
        """Tell the time."""
        return real_clock() + self._ahead

    def skip(self, by: timedelta) -> None:
        """Move the clock forward."""
        self._ahead += by


class Instant:
    """An upstream without a network: every operation has the same status, at once."""

    def __init__(self, status: str = "Running") -> None:
        self.status = status

    def fetch_operation(self, ref: OperationRef) -> Reply:
        """Answer."""
        return Reply(status=200, body=f'{{"id": "{ref.id}", "status": "{self.status}"}}'.encode())

    def fetch_failure(self, ref: OperationRef) -> Reply:
        """Know nothing."""
        return Reply(status=404)


class Taker:
    """Receivers without a network: every callback is taken, at once."""

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Take it."""
        return answered(200, address="127.0.0.1")

    def address_of(self, origin: str) -> str | None:
        """Know no address."""

    def check_destination(self, url: str) -> str | None:
        """Have nothing against anybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """A bridge, and what a measurement moves."""

    settings: Settings
    clock: Later
    queue: MemoryQueue
    bridge: Bridge

    def register(self, operation_id: str, url: str = "http://127.0.0.1:9/") -> None:
        """Register a callback, as the API does once a request is read."""
        self.bridge.handlers.registrations.register(self.request(operation_id, url))

    def request(self, operation_id: str, url: str) -> Registration:
        """Say what a client would register."""
        operation, now = OperationRef("default", operation_id), self.clock()
        callback_url = normalise(url, self.settings.callback_rules)
        ref = RegistrationRef.of(operation, owner="shared", callback_url=callback_url)
        return Registration(
            ref=ref, owner="shared", callback_url=callback_url, events=tuple(FinalStatus), since=now, generation=now
        )

    def due(self) -> bool:
        """Tell whether anything is due."""
        table, now = self.bridge.sweep.repository.table, self.clock()
        ranges = (due_deliveries(now), due_operations(now))
        return any(table.range(name, *each, limit=1) for name in operation_partitions() for each in ranges)

    def has_deliveries(self) -> bool:
        """Tell whether a delivery is due at any time."""
        latest = due_deliveries(datetime(9999, 1, 1, tzinfo=UTC))
        return any(self.bridge.sweep.repository.table.range(name, *latest, limit=1) for name in operation_partitions())

    def sweep_later(self, by: timedelta = timedelta(hours=1)) -> None:
        """Sweep after so much time."""
        self.clock.skip(by)
        self.bridge.sweep.sweep()


def composed(
    *,
    table: Table | None = None,
    queue: DeliveryQueue | None = None,
    upstream: Upstream | None = None,
    sender: WebhookSender | None = None,
    environment: Mapping[str, str] | None = None,
    requests_per_second: float | None = None,
) -> Composed:
    """Compose a bridge, with storage in memory unless another is given. Its log lines are written, to nowhere.

    `requests_per_second` can be more than the settings allow.
    """
    _log_to_nowhere()
    settings = read_settings({**ENVIRONMENT, **(environment or {})})
    clock, sent = Later(), MemoryQueue()
    dependencies = replace(build_dependencies(settings), table=table or MemoryTable(), queue=queue or sent, clock=clock)
    network = dependencies.network
    network = replace(network, upstream=upstream or network.upstream, sender=sender or network.sender)
    dependencies = replace(dependencies, network=network)
    bridge = compose(settings, dependencies)
    if requests_per_second is not None:
        poller = bridge.sweep.poller
        known = poller.sources.by_name.items()
        quicker = {name: replace(source, requests_per_second=requests_per_second) for name, source in known}
        sources = replace(poller.sources, by_name=quicker)
        bridge = replace(bridge, sweep=replace(bridge.sweep, poller=replace(poller, sources=sources)))
    return Composed(settings=settings, clock=clock, queue=sent, bridge=bridge)


def _log_to_nowhere() -> None:
    """Let lines be written at the level of the deployed app, so that what they cost is in the figures."""
    logger = logging.getLogger("bridge")
    if not logger.handlers:
        logger.addHandler(_Handed())
        logger.setLevel(logging.INFO)
        logger.propagate = False
