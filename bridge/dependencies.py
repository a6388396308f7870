"""The external dependencies of the bridge as one object, created from the settings, or by a test."""

import random
import secrets
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from bridge.adapters.azure.clients import authorisations, credential, queue_client, table_client
from bridge.adapters.azure.queue import DELIVERIES_QUEUE, AzureQueue
from bridge.adapters.azure.storage_calls import storage_guard
from bridge.adapters.azure.table import AzureTable
from bridge.adapters.entra.tokens import EntraTokens
from bridge.adapters.net.guard import Guard
from bridge.adapters.speech import SpeechService
from bridge.adapters.telemetry.instrumented import (
    InstrumentedQueue,
    InstrumentedTable,
    InstrumentedUpstream,
    InstrumentedWebhookSender,
    Stopwatch,
)
from bridge.adapters.webhook_sender import HttpWebhookSender
from bridge.domain.errors import Misconfigured
from bridge.domain.header_cipher import NONCE_BYTES
from bridge.domain.principal import Tenant
from bridge.domain.time import Clock, whole_millis
from bridge.ports import DeliveryQueue, Tokens, Upstream, WebhookSender
from bridge.settings import Exporter, Settings
from bridge.storage.table import Table
from bridge.telemetry import OFF, Telemetry

#: The setting that enables telemetry, and the package that each value needs.
TELEMETRY = "BRIDGE_TELEMETRY"
_NEEDS = {Exporter.AZURE: "azure-monitor-opentelemetry", Exporter.OTLP: "opentelemetry-exporter-otlp-proto-http"}

#: Threads that read for lists and the status, and threads that send messages between two sweeps.
_READERS = _SENDERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The services and receivers that the bridge calls."""

    upstream: Upstream
    sender: WebhookSender
    #: Creates the verifier of a tenant's tokens.
    tokens: Callable[[Tenant], Tokens]


@dataclass(frozen=True, slots=True, kw_only=True)
class Randomness:
    """All that differs from call to call."""

    #: Returns a random id, different for each call.
    new_id: Callable[[], str]
    #: Returns NONCE_BYTES random bytes.
    nonce: Callable[[], bytes]
    #: Returns a number in [0, 1) that spreads retries.
    random: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Pools:
    """One pool of threads for each kind of work, so that waiting in one pool does not delay the others."""

    #: Runs the parts of a sweep.
    sweep: Executor
    #: Runs the reads of lists and the status.
    reads: Executor
    #: Sends messages between two sweeps. Its threads never wait for the upstream.
    sends: Executor


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """All external dependencies. Tests create their own."""

    table: Table
    queue: DeliveryQueue
    network: Network
    clock: Clock
    #: Waits for a number of seconds.
    sleep: Callable[[float], None]
    randomness: Randomness
    pools: Pools
    #: Records spans and metrics.
    telemetry: Telemetry = OFF


def build_dependencies(settings: Settings) -> Dependencies:
    """Create the clients. Makes no call yet."""
    guard = storage_guard()
    identity = credential(settings, guard) if settings.storage_connection is None else None
    dependencies = Dependencies(
        table=AzureTable(table_client(settings, identity, guard), guard),
        queue=AzureQueue(queue_client(settings, identity, DELIVERIES_QUEUE, guard), guard),
        network=Network(
            upstream=SpeechService(settings.sources, authorisations(settings)),
            sender=HttpWebhookSender(Guard(settings.callback_rules), real_clock),
            tokens=lambda tenant: EntraTokens(tenant, real_clock),
        ),
        clock=real_clock,
        sleep=real_sleep,
        randomness=Randomness(
            new_id=lambda: f"{random.getrandbits(64):016x}",  # seeded by the system, unique but not secret
            nonce=lambda: secrets.token_bytes(NONCE_BYTES),
            random=random.random,
        ),
        pools=Pools(
            sweep=ThreadPoolExecutor(settings.sweep_threads, thread_name_prefix="sweep"),
            reads=ThreadPoolExecutor(_READERS, thread_name_prefix="read"),
            sends=ThreadPoolExecutor(_SENDERS, thread_name_prefix="send"),
        ),
    )
    return (
        dependencies
        if settings.telemetry is Exporter.OFF
        else instrumented(dependencies, settings, _telemetry(settings), time.perf_counter)
    )


def instrumented(
    dependencies: Dependencies, settings: Settings, telemetry: Telemetry, stopwatch: Stopwatch
) -> Dependencies:
    """Add spans and metrics to the dependencies."""
    network, sources = dependencies.network, {each.name: each for each in settings.sources}
    return replace(
        dependencies,
        table=InstrumentedTable(dependencies.table, telemetry),
        queue=InstrumentedQueue(dependencies.queue, telemetry),
        network=replace(
            network,
            upstream=InstrumentedUpstream(network.upstream, telemetry, stopwatch, sources),
            sender=InstrumentedWebhookSender(network.sender, telemetry, stopwatch),
        ),
        telemetry=telemetry,
    )


def _telemetry(settings: Settings) -> Telemetry:
    """Create the exporter. Imports packages only here, so that a cold start without telemetry is fast."""
    try:
        from bridge.adapters.telemetry.opentelemetry import telemetry

        return telemetry(settings)
    except ImportError as error:
        why = f"{_NEEDS[settings.telemetry]} is not installed: name it in requirements.in, then `make lock`"
        raise Misconfigured({TELEMETRY: why}) from error


def real_sleep(seconds: float) -> None:
    """Wait for a number of seconds."""
    time.sleep(seconds)


def real_clock() -> datetime:
    """Return the current time."""
    return whole_millis(datetime.now(UTC))


def random_uuid() -> str:
    """Return a random UUID."""
    return str(uuid.uuid4())
