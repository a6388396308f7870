"""Where spans and measures go: to Azure Monitor, or to a collector by OTLP. Asks nobody anything yet.

Both send from threads of their own. OpenTelemetry's own variables (`OTEL_EXPORTER_OTLP_ENDPOINT`,
`OTEL_TRACES_SAMPLER`, `OTEL_RESOURCE_ATTRIBUTES` and the rest) hold for both.
"""

import importlib
import logging
import os
from typing import cast

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from bridge.adapters.azure.clients import credential
from bridge.adapters.telemetry.opentelemetry import OpenTelemetry
from bridge.domain.errors import Misconfigured
from bridge.settings import Settings

#: What the bridge calls itself where `OTEL_SERVICE_NAME` says nothing else.
SERVICE = "speech-webhook-bridge"

_CONNECTION = "APPLICATIONINSIGHTS_CONNECTION_STRING"

#: Libraries that the distribution would measure by itself: their spans and measures would carry URLs with paths.
_INSTRUMENTED = (
    "azure_sdk",
    "django",
    "fastapi",
    "flask",
    "httpx",
    "httpx2",
    "psycopg2",
    "requests",
    "urllib",
    "urllib3",
)


def telemetry(settings: Settings) -> OpenTelemetry:
    """Make what the settings ask for.

    Raises ImportError where its packages are not installed, and Misconfigured where something is not said.
    """
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)  # its warnings repeat while a collector is away
    return _to_azure(settings) if settings.telemetry == "azure" else _to_a_collector()


def _to_azure(settings: Settings) -> OpenTelemetry:
    """Export by the distribution of Azure Monitor; the function host goes on collecting the log by itself."""
    azure = importlib.import_module("azure.monitor.opentelemetry")
    if not os.environ.get(_CONNECTION):
        raise Misconfigured({_CONNECTION: "is not set, and BRIDGE_TELEMETRY is azure"})
    os.environ.setdefault("OTEL_LOGS_EXPORTER", "none")  # nothing else keeps it from sending the log as well
    identity = {} if settings.storage_connection is not None else {"credential": credential(settings)}
    try:
        azure.configure_azure_monitor(
            **identity,
            resource=_resource(),
            enable_live_metrics=False,
            enable_performance_counters=False,
            instrumentation_options={name: {"enabled": False} for name in _INSTRUMENTED},
        )
    except ValueError as error:
        raise Misconfigured({_CONNECTION: f"is not usable ({type(error).__name__})"}) from error
    # The distribution makes them the process's own, and gives them to nobody.
    return OpenTelemetry(
        cast("TracerProvider", trace.get_tracer_provider()), cast("MeterProvider", metrics.get_meter_provider())
    )


def _to_a_collector() -> OpenTelemetry:
    """Export by OTLP over HTTP; where to is said by OpenTelemetry's own variables."""
    exporters = "opentelemetry.exporter.otlp.proto.http"
    spans = importlib.import_module(f"{exporters}.trace_exporter").OTLPSpanExporter()
    measures = importlib.import_module(f"{exporters}.metric_exporter").OTLPMetricExporter()
    tracers = TracerProvider(resource=_resource())
    tracers.add_span_processor(BatchSpanProcessor(spans))
    meters = MeterProvider([PeriodicExportingMetricReader(measures)], resource=_resource())
    return OpenTelemetry(tracers, meters)


def _resource() -> Resource:
    """Say who tells all this; the variables of OpenTelemetry go before."""
    name = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": SERVICE}
    return Resource.create(name)
