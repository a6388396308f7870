"""Telemetry with OpenTelemetry's SDK: one trace from the client to the receiver, and the metrics."""

import logging
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import DataPointT, HistogramDataPoint, InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from bridge.adapters.telemetry.opentelemetry import OpenTelemetry
from bridge.app import compose
from bridge.dependencies import instrumented
from bridge.domain.errors import StorageUnavailable
from bridge.domain.ids import Kind
from bridge.domain.outcome import Failure, Unreachable
from bridge.domain.upstream import Reply
from bridge.log import Event
from bridge.storage.queue_message import read_task, write_task
from bridge.telemetry import Metric, Step
from tests.support.factories import NOON, job_reply
from tests.support.harness import Harness, harness
from tests.support.http import Client
from tests.support.log_lines import lines_of

ROOT = Path(__file__).parents[3]
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
HOOK = "https://receiver.example.com:8443/secret-path?code=secret"
BODY = {"operationId": "operation-1", "callbackUrl": HOOK}

#: Data that only the client and the receiver may see.
SECRETS = ["secret", "whsec", "speech-key"]


class Collected:
    """A bridge with telemetry, and the collected data."""

    def __init__(self, bridge: Harness) -> None:
        self.bridge = bridge
        self._spans = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracers, self.meters = TracerProvider(), MeterProvider([self._reader])
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        watch = count()
        dependencies = instrumented(
            bridge.dependencies, bridge.settings, OpenTelemetry(self.tracers, self.meters), lambda: float(next(watch))
        )
        bridge.bridge = compose(bridge.settings, dependencies)

    def spans(self, step: Step) -> list[ReadableSpan]:
        """Return the spans of a step, oldest first."""
        return [span for span in self._spans.get_finished_spans() if span.name == step.value]

    def points(self) -> Mapping[str, list[DataPointT]]:
        """Return every metric by name."""
        data = self._reader.get_metrics_data()
        metrics = (
            [
                metric
                for resource in data.resource_metrics
                for scope in resource.scope_metrics
                for metric in scope.metrics
            ]
            if data
            else []
        )
        return {metric.name: [*metric.data.data_points] for metric in metrics}

    def counts(self, metric: Metric, attribute: str) -> dict[object, float]:
        """Return a counter by one attribute."""
        return {
            (point.attributes or {}).get(attribute): point.value
            for point in self.points().get(metric.value, [])
            if isinstance(point, NumberDataPoint)
        }


@pytest.fixture
def collected() -> Iterator[Collected]:
    """Return a harness with telemetry in memory."""
    made = Collected(harness(BRIDGE_CALLBACK_ALLOWED_PORTS="*"))
    yield made
    made.tracers.shutdown()
    made.meters.shutdown()


def traceparent_of(span: ReadableSpan) -> str:
    """Return a span as a header."""
    assert span.context is not None
    return f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-01"


def parent_of(span: ReadableSpan) -> str:
    """Return the parent of a span as a header."""
    assert span.context is not None
    assert span.parent is not None
    return f"00-{span.context.trace_id:032x}-{span.parent.span_id:016x}-01"


def life(collected: Collected, traceparent: str | None = TRACE) -> None:
    """Register, run and end the operation, and deliver with messages in the queue's format."""
    bridge = collected.bridge
    headers = {} if traceparent is None else {"traceparent": traceparent}
    assert Client.of(bridge).register(BODY, **headers).status == 201
    bridge.upstream.script("operation-1", "Running", "Succeeded")
    bridge.sweep()
    bridge.clock.advance(60)
    bridge.sweep()
    for task in bridge.queue.take():
        bridge.deliver(read_task(write_task(task).encode()))


def test_one_trace_leads_from_the_client_to_the_receiver(collected: Collected) -> None:
    """The trace passes through the row, the queue message and the header. Each span is the parent of the next."""
    life(collected)

    [register], [send], [deliver] = (collected.spans(step) for step in (Step.REGISTER, Step.SEND, Step.DELIVER))
    [posted] = collected.bridge.sender.posted
    assert parent_of(register) == TRACE
    assert parent_of(send) == traceparent_of(register)
    assert parent_of(deliver) == traceparent_of(send)
    assert posted.headers["traceparent"] == traceparent_of(deliver)


def test_a_registration_without_a_trace_begins_one(collected: Collected) -> None:
    """The client sends no header."""
    life(collected, None)

    [register], [deliver] = collected.spans(Step.REGISTER), collected.spans(Step.DELIVER)
    assert register.parent is None
    assert register.context is not None
    assert deliver.context is not None
    assert deliver.context.trace_id == register.context.trace_id


def test_each_retry_continues_the_same_trace(collected: Collected) -> None:
    """The message comes from a due row, which has the trace too."""
    collected.bridge.sender.script(HOOK, 500, 200)
    life(collected)
    collected.bridge.clock.advance(30)
    collected.bridge.sweep()
    collected.bridge.deliver_all()

    first, second = collected.spans(Step.DELIVER)
    assert {span.context.trace_id for span in (first, second) if span.context} == {int(TRACE[3:35], 16)}
    assert second.attributes is not None
    assert second.attributes["bridge.attempt"] == 2


def test_polls_are_within_the_sweep_of_their_source(collected: Collected) -> None:
    """A sweep has a separate trace, since one poll serves all waiting registrations."""
    life(collected)

    sweeps, polls = collected.spans(Step.SWEEP), collected.spans(Step.POLL)
    assert [parent_of(poll) for poll in polls] == [traceparent_of(sweep) for sweep in sweeps]
    assert [dict(sweep.attributes or {}) for sweep in sweeps] == [
        {"bridge.source": "default", "bridge.due": 1, "bridge.asked": 1}
    ] * 2
    assert [(poll.attributes or {})["bridge.status"] for poll in polls] == ["Running", "Succeeded"]
    assert {(poll.attributes or {})["bridge.operation.id"] for poll in polls} == {"default:operation-1"}


def test_a_span_of_a_failure_has_the_class_of_the_failure(collected: Collected) -> None:
    """The status of the span is an error."""
    collected.bridge.sender.script(HOOK, Unreachable(error=Failure.TLS))
    life(collected)

    [deliver] = collected.spans(Step.DELIVER)
    assert (deliver.attributes or {})["error.type"] == "tls"
    assert not deliver.status.is_ok


def test_an_unexpected_error_passes_through_a_span(collected: Collected) -> None:
    """The span has the class of the error. The error reaches the caller as without telemetry."""
    with pytest.raises(RuntimeError, match="a bug"), collected.bridge.deliverer.telemetry.span(Step.SEND):
        raise RuntimeError("a bug")

    [span] = collected.spans(Step.SEND)
    assert (span.attributes or {})["error.type"] == "RuntimeError"


def test_a_delivery_span_has_its_ids_and_its_result(collected: Collected) -> None:
    """The ids equal those of the log."""
    life(collected)

    [deliver] = collected.spans(Step.DELIVER)
    [registration] = collected.bridge.aggregate("operation-1").registrations.values()
    assert dict(deliver.attributes or {}) == {
        "bridge.operation.id": "default:operation-1",
        "bridge.registration.id": registration.record.ref.public_id,
        "bridge.attempt": 1,
        "http.response.status_code": 200,
    }


def test_a_delivered_registration_updates_each_metric(collected: Collected) -> None:
    """Each metric is present with its attributes."""
    life(collected)

    points = collected.points()
    assert set(points) == {metric.value for metric in Metric} - {Metric.THROTTLED.value}
    requests = [dict(point.attributes or {}) for point in points[Metric.REQUEST.value]]
    assert {
        "http.request.method": "POST",
        "server.address": "receiver.example.com",
        "server.port": 8443,
        "http.response.status_code": 200,
    } in requests
    assert {
        "http.request.method": "GET",
        "server.address": "speech.example.com",
        "server.port": 443,
        "http.response.status_code": 200,
    } in requests
    assert collected.counts(Metric.ATTEMPTS, "bridge.attempt.outcome") == {"2xx": 1}
    assert collected.counts(Metric.ASKED, "bridge.source") == {"default": 2}
    assert collected.counts(Metric.WAITING, "nothing") == {None: 0}
    assert set(collected.counts(Metric.STORAGE, "bridge.storage.operation")) == {
        "get",
        "range",
        "commit",
        "create",
        "send",
    }
    [detection] = points[Metric.DETECTION.value]
    assert isinstance(detection, HistogramDataPoint)
    assert detection.sum == 60


@pytest.mark.parametrize(("ended", "detection"), [(80, 20), (-3600, 100), (110, 0)])
def test_delays_of_a_job_count_from_its_exact_end(
    collected: Collected, ended: float, detection: float, caplog: pytest.LogCaptureFixture
) -> None:
    """At the earliest from the registration. A clock of the upstream that is ahead gives no negative value.

    The delivery follows 7 s after the poll that saw the end.
    """
    caplog.set_level(logging.INFO)
    bridge = collected.bridge
    bridge.register("deck-1", kind=Kind.JOB)
    ended_at = NOON + timedelta(seconds=ended)
    bridge.upstream.script(
        "deck-1",
        job_reply("deck-1", "Succeeded", created_at=NOON - timedelta(days=1), ended_at=ended_at),
        kind=Kind.JOB,
    )
    bridge.clock.advance(100)
    bridge.sweep()
    bridge.clock.advance(7)
    bridge.deliver_all()

    points = collected.points()
    for metric, event, delay in (
        (Metric.DETECTION, Event.FINISHED, detection),
        (Metric.DELAY, Event.ATTEMPTED, detection + 7),
    ):
        [point] = points[metric.value]
        assert isinstance(point, HistogramDataPoint)
        [line] = lines_of(caplog, event)
        assert (point.sum, line["delay"]) == (delay, delay)


def test_waiting_registrations_are_counted_once_a_minute(collected: Collected) -> None:
    """The count happens with the heartbeat, since the count reads each partition."""
    collected.bridge.register("operation-1", "https://a.example.com/", "https://b.example.com/")
    collected.bridge.sweep()
    collected.bridge.register("operation-2")
    collected.bridge.clock.advance(30)
    collected.bridge.sweep()

    assert collected.counts(Metric.WAITING, "nothing") == {None: 2}

    collected.bridge.clock.advance(30)
    collected.bridge.sweep()

    assert collected.counts(Metric.WAITING, "nothing") == {None: 3}


def test_a_failed_count_is_one_line(collected: Collected, caplog: pytest.LogCaptureFixture) -> None:
    """The sweep has finished by then."""

    def waiting() -> int:
        raise StorageUnavailable("down")

    sweeper = collected.bridge.sweeper
    sweep = replace(sweeper, heartbeat=replace(sweeper.heartbeat, waiting=waiting))

    sweep.sweep()

    assert lines_of(caplog, Event.STORAGE) == [{"event": "storage.unavailable", "step": "count", "error": "down"}]
    assert Metric.WAITING.value not in collected.points()


def test_a_429_is_counted(collected: Collected) -> None:
    """The counter has the source."""
    collected.bridge.register()
    collected.bridge.upstream.script("operation-1", Reply(status=429))
    collected.bridge.sweep()

    assert collected.counts(Metric.THROTTLED, "bridge.source") == {"default": 1}


def test_failed_attempts_are_counted_by_their_class(collected: Collected) -> None:
    """The names equal those of the log."""
    collected.bridge.sender.script(HOOK, Unreachable(error=Failure.DNS), 503, 200)
    life(collected)
    collected.bridge.clock.advance(30)
    collected.bridge.sweep()
    collected.bridge.deliver_all()

    assert collected.counts(Metric.ATTEMPTS, "bridge.attempt.outcome") == {"dns": 1, "5xx": 1}


def test_telemetry_has_no_path_header_or_body(collected: Collected) -> None:
    """Covers spans and metrics."""
    life(collected)

    told = [span.to_json() for step in Step for span in collected.spans(step)]
    told += [str(points) for points in collected.points().values()]
    assert [text for text in told for secret in SECRETS if secret in text] == []


def test_disabled_telemetry_is_not_imported() -> None:
    """A cold start must not wait for an unused library."""
    code = "import sys, function_app; print([name for name in sys.modules if name.startswith('opentelemetry')])"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "[]"


def test_a_task_of_a_former_version_is_read(collected: Collected) -> None:
    """The message has no trace."""
    [ref] = collected.bridge.register()
    body = b'{"v": 1, "registration": "%s", "generation": 0, "attempt": 1}' % ref.public_id.encode()

    assert read_task(body).traceparent is None


def test_an_invalid_trace_in_a_message_is_ignored(collected: Collected) -> None:
    """Queue content is not trusted."""
    collected.bridge.register()
    collected.bridge.upstream.script("operation-1", "Succeeded")
    collected.bridge.sweep()
    [task] = collected.bridge.queue.take()
    text = write_task(replace(task, traceparent="00-nonsense\r\nX: y"))

    assert read_task(text.encode()).traceparent is None
