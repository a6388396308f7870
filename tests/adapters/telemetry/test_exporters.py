"""Destinations of telemetry: an OTLP collector and Azure Monitor's ingestion, both fakes on loopback."""

import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bridge.adapters.telemetry.opentelemetry import telemetry
from bridge.app import App
from bridge.dependencies import build_dependencies
from bridge.domain.errors import Misconfigured
from bridge.settings import read_settings
from bridge.telemetry import Metric, Step
from tests.support.harness import ENVIRONMENT
from tests.support.http import Client

ROOT = Path(__file__).parents[3]

#: A program that sends two spans and a metric to Azure Monitor, and makes another HTTP call.
TO_AZURE = """
import logging
import os
from contextlib import suppress
import requests
from urllib3 import PoolManager
from urllib3.exceptions import HTTPError
from bridge.adapters.telemetry.opentelemetry import telemetry
from bridge.settings import read_settings
from bridge.telemetry import Metric, Step
made = telemetry(read_settings(dict(os.environ)))
with made.span(Step.SWEEP, bridge__source="default") as sweep, made.span(Step.POLL, sweep.traceparent):
    made.measure(Metric.ATTEMPTS, 3, bridge__attempt__outcome="2xx")
    with suppress(requests.RequestException):
        requests.post("http://127.0.0.1:1/a-path-that-is-a-secret")
    with suppress(HTTPError):
        PoolManager(retries=False).request("GET", "http://127.0.0.1:1/a-path-that-is-a-secret")
logging.getLogger("bridge").error("a line of the log")
made.close()
"""


@dataclass(slots=True)
class Collector:
    """Accepts all posts."""

    endpoint: str = ""
    #: Paths and unpacked bodies.
    taken: list[tuple[str, bytes]] = field(default_factory=list)
    #: Answers wait until this event is set.
    answering: threading.Event = field(default_factory=threading.Event)
    #: Set when an answer waits.
    asked: threading.Event = field(default_factory=threading.Event)

    def bodies(self, path: str) -> list[bytes]:
        """Return the bodies that were posted to a path."""
        return [body for each, body in self.taken if each == path]


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Start a collector that answers at once."""
    made = Collector()
    made.answering.set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            unpacked = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            made.taken.append((self.path, unpacked))
            made.asked.set()
            made.answering.wait()
            answer = b'{"itemsReceived": 1, "itemsAccepted": 1, "errors": []}' if "track" in self.path else b""
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield made
        made.answering.set()
        server.shutdown()
        thread.join()


def test_a_collector_gets_spans_and_metrics(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """The collector's address comes from OpenTelemetry's variables."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
    made = telemetry(read_settings({**ENVIRONMENT, "BRIDGE_TELEMETRY": "otlp"}))

    with made.span(Step.DELIVER, bridge__attempt=1):
        made.measure(Metric.REQUEST, 0.2, server__port=443)
    made.close()

    [spans] = [ExportTraceServiceRequest.FromString(body) for body in collector.bodies("/v1/traces")]
    [measures] = [ExportMetricsServiceRequest.FromString(body) for body in collector.bodies("/v1/metrics")]
    assert [span.name for each in spans.resource_spans for scope in each.scope_spans for span in scope.spans] == [
        "deliver"
    ]
    assert [
        metric.name for each in measures.resource_metrics for scope in each.scope_metrics for metric in scope.metrics
    ] == ["http.client.request.duration"]
    [resource] = spans.resource_spans
    assert {each.key: each.value.string_value for each in resource.resource.attributes}["service.name"] == (
        "speech-webhook-bridge"
    )


def test_a_silent_collector_delays_nothing(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans that exceed the queue are dropped. Spans continue while the collector is silent."""
    collector.answering.clear()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "16")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8")
    made = telemetry(read_settings({**ENVIRONMENT, "BRIDGE_TELEMETRY": "otlp"}))

    for _ in range(200):
        with made.span(Step.POLL):
            made.measure(Metric.STORAGE)

    assert collector.asked.wait(30)  # the collector was called, and 200 spans ended nevertheless
    collector.answering.set()
    made.close()


def test_azure_monitor_gets_spans_and_metrics(collector: Collector) -> None:
    """The distribution changes the whole process, so the test uses a separate one."""
    key = "InstrumentationKey=00000000-0000-0000-0000-000000000000"
    environment = {
        **os.environ,
        **ENVIRONMENT,
        "BRIDGE_TELEMETRY": "azure",
        "APPLICATIONINSIGHTS_CONNECTION_STRING": f"{key};IngestionEndpoint={collector.endpoint}/",
        "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
        "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
        "OTEL_TRACES_SAMPLER": "always_on",
    }

    subprocess.run([sys.executable, "-c", TO_AZURE], cwd=ROOT, env=environment, check=True, timeout=120)

    told: list[dict[str, Any]] = []
    for path, body in collector.taken:
        assert path.endswith("/track")
        told += json.loads(body) if body.startswith(b"[") else [json.loads(line) for line in body.splitlines()]
    data = [each["data"]["baseData"] for each in told]
    assert {each["name"] for each in data if "name" in each} >= {"sweep", "poll"}
    measures = {metric["name"]: metric["value"] for each in data for metric in each.get("metrics", [])}
    assert measures["bridge.attempts"] == 3
    assert [each["message"] for each in data if "message" in each] == []  # the host sends the log
    assert "secret" not in json.dumps(told)  # no library reveals its calls


def test_azure_without_a_connection_string_is_misconfigured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error has the name of the missing setting."""
    monkeypatch.delenv("APPLICATIONINSIGHTS_CONNECTION_STRING", raising=False)

    with pytest.raises(Misconfigured) as raised:
        telemetry(read_settings({**ENVIRONMENT, "BRIDGE_TELEMETRY": "azure"}))

    assert list(raised.value.problems) == ["APPLICATIONINSIGHTS_CONNECTION_STRING"]


@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        ("otlp", "opentelemetry.sdk.trace"),
        ("otlp", "opentelemetry.exporter.otlp.proto.http.trace_exporter"),
        ("azure", "azure.monitor.opentelemetry"),
    ],
)
def test_a_missing_exporter_is_reported(kind: str, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the command to install.

    Meanwhile the app answers 503, like after any wrong setting, and loses nothing.
    """
    for name in ("bridge.adapters.telemetry.exporters", "bridge.adapters.telemetry.opentelemetry"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, missing, None)

    with pytest.raises(Misconfigured, match="BRIDGE_TELEMETRY"):
        build_dependencies(read_settings({**ENVIRONMENT, "BRIDGE_TELEMETRY": kind}))

    assert Client(App.from_environment({**ENVIRONMENT, "BRIDGE_TELEMETRY": kind})).health().status == 503
