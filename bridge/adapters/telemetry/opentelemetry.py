"""Spans and measures by OpenTelemetry, exported to Azure Monitor or to a collector by OTLP.

Imported only if `BRIDGE_TELEMETRY` asks for it. OpenTelemetry's own variables (`OTEL_EXPORTER_OTLP_ENDPOINT`,
`OTEL_TRACES_SAMPLER`, `OTEL_RESOURCE_ATTRIBUTES` and the rest) hold for both.

Both exporters work in threads of their own and drop what they cannot send in time, so that one that hangs delays
neither a sweep nor a delivery. A crash loses what was not sent yet: at most five seconds of spans and a minute of
measures. The log and the table are what counts; this is for looking on.
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
from bridge.settings import Settings
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
    """Hands spans and measures to OpenTelemetry's providers, which sample, batch and export them."""

    def __init__(self, tracers: TracerProvider, meters: MeterProvider) -> None:
        """Make one; it is what shuts the providers down."""
        self._providers = (tracers, meters)
        self._tracer = tracers.get_tracer(_NAME)
        self._instruments = _instruments(meters.get_meter(_NAME))

    @property
    def is_on(self) -> bool:
        """Say yes."""
        return True

    @contextmanager
    def span(self, step: Step, parent: str | None = None, **attributes: Attribute | None) -> Iterator[Span]:
        """Open a span; one that fails carries the class of the exception, never its text."""
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
        """Send what was not sent yet, and stop; a process that ends in order does so by itself."""
        for provider in self._providers:
            provider.shutdown()

    def measure(self, metric: Metric, value: float = 1, **attributes: Attribute | None) -> None:
        """Take a measure."""
        named, instrument = _named(attributes), self._instruments[metric]
        match instrument:
            case Counter():
                instrument.add(value, named)
            case Histogram():
                instrument.record(value, named)
            case _:
                instrument.set(value, named)


def _instruments(meter: Meter) -> Mapping[Metric, Counter | Histogram | Gauge]:
    """Make what measures are taken with."""

    def seconds(metric: Metric, what: str, bounds: tuple[float, ...]) -> Histogram:
        return meter.create_histogram(metric.value, "s", what, explicit_bucket_boundaries_advisory=bounds)

    return {
        Metric.REQUEST: seconds(Metric.REQUEST, "Duration of HTTP client requests", _REQUEST_BOUNDS),
        Metric.WAITING: meter.create_gauge(Metric.WAITING.value, "{registration}", "Registrations that wait"),
        Metric.OVERDUE: meter.create_gauge(Metric.OVERDUE.value, "s", "How long the oldest due thing has waited"),
        Metric.DETECTION: seconds(Metric.DETECTION, "From the last time seen running to the end seen", _DELAY_BOUNDS),
        Metric.DELAY: seconds(Metric.DELAY, "From the end seen, or a redelivery, to delivered", _DELAY_BOUNDS),
        Metric.ATTEMPTS: meter.create_counter(Metric.ATTEMPTS.value, "{attempt}", "Attempts, by what came of them"),
        Metric.ASKED: meter.create_counter(Metric.ASKED.value, "{request}", "Requests of the budget that were used"),
        Metric.THROTTLED: meter.create_counter(Metric.THROTTLED.value, "{answer}", "Answers of 429"),
        Metric.STORAGE: meter.create_counter(Metric.STORAGE.value, "{call}", "Calls to table and queue"),
    }


def _named(attributes: Mapping[str, Attribute | None]) -> dict[str, Attribute]:
    """Write names as OpenTelemetry has them, and leave out what is not known."""
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
    """Make what the settings ask for. Sends nothing yet.

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
