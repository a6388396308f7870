"""The external dependencies of the bridge as one object, created from the settings, or by a test."""

import random
import secrets
import time
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

#: Threads that read for lists and the status. They never wait for the upstream.
_READERS = 8

#: Threads that send messages between two sweeps.
_SENDERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """All external dependencies. Tests create their own."""

    table: Table
    queue: DeliveryQueue
    upstream: Upstream
    sender: WebhookSender
    #: Creates the verifier of a tenant's tokens.
    tokens: Callable[[Tenant], Tokens]
    clock: Clock
    #: Returns a random id, different for each call.
    new_id: Callable[[], str]
    #: Returns NONCE_BYTES random bytes.
    nonce: Callable[[], bytes]
    #: Returns a number in [0, 1) that spreads retries.
    random: Callable[[], float]
    #: Waits for a number of seconds.
    sleep: Callable[[float], None]
    #: Runs the parts of a sweep.
    executor: Executor
    #: Runs the reads of lists and the status.
    readers: Executor
    #: Sends messages between two sweeps. Its threads never wait for the upstream.
    senders: Executor
    #: Records spans and metrics.
    telemetry: Telemetry = OFF


def build_dependencies(settings: Settings) -> Dependencies:
    """Create the clients. Makes no call yet."""
    guard = storage_guard()
    identity = credential(settings, guard) if settings.storage_connection is None else None
    dependencies = Dependencies(
        table=AzureTable(table_client(settings, identity, guard), guard),
        queue=AzureQueue(queue_client(settings, identity, DELIVERIES_QUEUE, guard), guard),
        upstream=SpeechService(settings.sources, authorisations(settings)),
        sender=HttpWebhookSender(Guard(settings.callback_rules), real_clock),
        tokens=lambda tenant: EntraTokens(tenant, real_clock),
        clock=real_clock,
        new_id=lambda: f"{random.getrandbits(64):016x}",  # seeded by the system, unique but not secret
        nonce=lambda: secrets.token_bytes(NONCE_BYTES),
        random=random.random,
        sleep=real_sleep,
        executor=ThreadPoolExecutor(settings.sweep_threads, thread_name_prefix="sweep"),
        readers=ThreadPoolExecutor(_READERS, thread_name_prefix="read"),
        senders=ThreadPoolExecutor(_SENDERS, thread_name_prefix="send"),
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
    return replace(
        dependencies,
        table=InstrumentedTable(dependencies.table, telemetry),
        queue=InstrumentedQueue(dependencies.queue, telemetry),
        upstream=InstrumentedUpstream(
            dependencies.upstream, telemetry, stopwatch, {each.name: each for each in settings.sources}
        ),
        sender=InstrumentedWebhookSender(dependencies.sender, telemetry, stopwatch),
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
