"""Spans and metrics by OpenTelemetry, exported to Azure Monitor or to a collector by OTLP.

Imported only if `BRIDGE_TELEMETRY` enables it. OpenTelemetry's own variables (`OTEL_EXPORTER_OTLP_ENDPOINT`,
`OTEL_TRACES_SAMPLER`, `OTEL_RESOURCE_ATTRIBUTES` and the rest) apply to both exporters.

Both exporters have separate threads and drop data that they cannot send in time, so that a hanging exporter delays
neither a sweep nor a delivery. A crash loses the data that is not sent yet: at most five seconds of spans and a minute
of metrics. The log and the table are the records that count. Telemetry is for observation.
"""

import importlib
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

from opentelemetry import metrics, trace
from opentelemetry.metrics import Counter, Histogram, Meter
from opentelemetry.metrics import _Gauge as Gauge
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from bridge.adapters.azure.clients import credential
from bridge.domain.errors import Misconfigured
from bridge.domain.text import read_traceparent
from bridge.settings import Exporter, Settings
from bridge.telemetry import Attribute, Metric, Span, Step

_NAME = "bridge"

_KINDS = {
    Step.REGISTER: SpanKind.INTERNAL,
    Step.SWEEP: SpanKind.INTERNAL,
    Step.POLL: SpanKind.CLIENT,
    Step.SEND: SpanKind.PRODUCER,
    Step.DELIVER: SpanKind.CONSUMER,
}

#: The recommendation of the semantic conventions for `http.client.request.duration`, in seconds.
_REQUEST_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)

#: From a sweep to an hour, in seconds.
_DELAY_BOUNDS = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)


class OpenTelemetry:
    """Passes spans and metrics to OpenTelemetry's providers, which sample, batch and export them."""

    def __init__(self, tracers: TracerProvider, meters: MeterProvider) -> None:
        """Wrap the providers. `close` shuts them down."""
        self._providers = (tracers, meters)
        self._tracer = tracers.get_tracer(_NAME)
        self._instruments = _instruments(meters.get_meter(_NAME))

    @property
    def is_on(self) -> bool:
        """Always true."""
        return True

    @contextmanager
    def span(self, step: Step, /, parent: str | None = None, **attributes: Attribute | None) -> Iterator[Span]:
        """Open a span. A span that fails has the class of the exception, never its text."""
        above = _context(parent)
        opened = self._tracer.start_span(
            step.value,
            context=set_span_in_context(NonRecordingSpan(above)) if above else None,
            kind=_KINDS[step],
        )
        span = Span(_traceparent(opened.get_span_context()) or parent, attributes)
        try:
            yield span
        except Exception as error:
            span.error = type(error).__name__
            raise
        finally:
            opened.set_attributes(_named(span.attributes))
            if span.error is not None:
                opened.set_attribute("error.type", span.error)
                opened.set_status(Status(StatusCode.ERROR))
            opened.end()

    def close(self) -> None:
        """Send the remaining data and stop. A regular end of the process does the same without this call."""
        for provider in self._providers:
            provider.shutdown()

    def measure(self, metric: Metric, value: float = 1, **attributes: Attribute | None) -> None:
        """Record a measurement."""
        named, instrument = _named(attributes), self._instruments[metric]
        match instrument:
            case Counter():
                instrument.add(value, named)
            case Histogram():
                instrument.record(value, named)
            case _:
                instrument.set(value, named)


def _instruments(meter: Meter) -> Mapping[Metric, Counter | Histogram | Gauge]:
    """Create the instrument of each metric."""

    def seconds(metric: Metric, what: str, bounds: tuple[float, ...]) -> Histogram:
        return meter.create_histogram(metric.value, "s", what, explicit_bucket_boundaries_advisory=bounds)

    return {
        Metric.REQUEST: seconds(Metric.REQUEST, "Duration of HTTP client requests", _REQUEST_BOUNDS),
        Metric.WAITING: meter.create_gauge(Metric.WAITING.value, "{registration}", "Registrations that wait"),
        Metric.OVERDUE: meter.create_gauge(Metric.OVERDUE.value, "s", "Lateness of the oldest due row"),
        Metric.DETECTION: seconds(Metric.DETECTION, "From the last running poll to the observed end", _DELAY_BOUNDS),
        Metric.DELAY: seconds(Metric.DELAY, "From the observed end, or a redelivery, to the delivery", _DELAY_BOUNDS),
        Metric.ATTEMPTS: meter.create_counter(Metric.ATTEMPTS.value, "{attempt}", "Attempts, by outcome"),
        Metric.ASKED: meter.create_counter(Metric.ASKED.value, "{request}", "Requests charged to the budget"),
        Metric.THROTTLED: meter.create_counter(Metric.THROTTLED.value, "{answer}", "Answers of 429"),
        Metric.STORAGE: meter.create_counter(Metric.STORAGE.value, "{call}", "Calls to table and queue"),
    }


def _named(attributes: Mapping[str, Attribute | None]) -> dict[str, Attribute]:
    """Convert names to OpenTelemetry's form, and drop unknown values."""
    return {name.replace("__", "."): value for name, value in attributes.items() if value is not None}


def _context(traceparent: str | None) -> SpanContext | None:
    read = read_traceparent(traceparent)
    if read is None:
        return None
    _, trace, span, flags = read.split("-")
    return SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16) & 1))


def _traceparent(context: SpanContext) -> str | None:
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


#: The service name in telemetry, unless `OTEL_SERVICE_NAME` sets another.
SERVICE = "speech-webhook-bridge"

_CONNECTION = "APPLICATIONINSIGHTS_CONNECTION_STRING"

#: Libraries that the distribution would instrument by default. Their spans and metrics would contain URLs with paths.
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
    """Create the telemetry of the settings. Sends nothing yet.

    Raises ImportError if its packages are not installed, and Misconfigured if a setting is missing.
    """
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)  # its warnings repeat while a collector is away
    return _to_azure(settings) if settings.telemetry is Exporter.AZURE else _to_a_collector()


def _to_azure(settings: Settings) -> OpenTelemetry:
    """Export by the distribution of Azure Monitor. The Functions host still collects the log."""
    azure = importlib.import_module("azure.monitor.opentelemetry")
    if not os.environ.get(_CONNECTION):
        raise Misconfigured({_CONNECTION: "is not set, and BRIDGE_TELEMETRY is azure"})
    os.environ.setdefault("OTEL_LOGS_EXPORTER", "none")  # the only way to keep it from sending the log as well
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
    # The distribution installs the providers globally, and returns nothing.
    return OpenTelemetry(
        cast("TracerProvider", trace.get_tracer_provider()), cast("MeterProvider", metrics.get_meter_provider())
    )


def _to_a_collector() -> OpenTelemetry:
    """Export by OTLP over HTTP. OpenTelemetry's own variables give the destination."""
    exporters = "opentelemetry.exporter.otlp.proto.http"
    spans = importlib.import_module(f"{exporters}.trace_exporter").OTLPSpanExporter()
    measures = importlib.import_module(f"{exporters}.metric_exporter").OTLPMetricExporter()
    tracers = TracerProvider(resource=_resource())
    tracers.add_span_processor(BatchSpanProcessor(spans))
    meters = MeterProvider([PeriodicExportingMetricReader(measures)], resource=_resource())
    return OpenTelemetry(tracers, meters)


def _resource() -> Resource:
    """Describe the process. The variables of OpenTelemetry take precedence."""
    name = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": SERVICE}
    return Resource.create(name)
