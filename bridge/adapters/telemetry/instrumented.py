"""The ports with spans and metrics. Used only if telemetry is on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from http import HTTPStatus
from urllib.parse import urlsplit

from bridge.domain.callback_url import DEFAULT_PORTS
from bridge.domain.delivery import DeliveryTask
from bridge.domain.ids import OperationRef
from bridge.domain.outcome import Outcome, Unreachable
from bridge.domain.upstream import NoReply, Reply, Source
from bridge.ports import DeliveryQueue, Upstream, WebhookSender
from bridge.storage.table import Row, Table, Transaction
from bridge.telemetry import Attribute, Metric, Step, Telemetry

#: Returns the seconds of a monotonic clock.
Stopwatch = Callable[[], float]


@dataclass(frozen=True, slots=True)
class InstrumentedTable:
    """A table that counts its calls, including failed ones."""

    inner: Table
    telemetry: Telemetry

    def get(self, partition: str, key: str) -> Row | None:
        """Read one row."""
        self._count("get")
        return self.inner.get(partition, key)

    def range(
        self, partition: str, start: str, stop: str, *, limit: int | None = None, columns: Sequence[str] = ()
    ) -> Sequence[Row]:
        """Read a range. Counts as one call, however many pages there are."""
        self._count("range")
        return self.inner.range(partition, start, stop, limit=limit, columns=columns)

    def commit(self, transaction: Transaction) -> Mapping[str, str]:
        """Commit a transaction."""
        self._count("commit")
        return self.inner.commit(transaction)

    def _count(self, operation: str) -> None:
        self.telemetry.measure(Metric.STORAGE, bridge__storage__operation=operation)


@dataclass(frozen=True, slots=True)
class InstrumentedQueue:
    """A queue with spans of sends. Each message carries the trace context of the send."""

    inner: DeliveryQueue
    telemetry: Telemetry

    def create(self) -> None:
        """Create the queue if it is missing, and count the call."""
        self.telemetry.measure(Metric.STORAGE, bridge__storage__operation="create")
        self.inner.create()

    def send(self, task: DeliveryTask, *, ttl: timedelta) -> None:
        """Send a task with the trace context of this send, which the delivery continues."""
        self.telemetry.measure(Metric.STORAGE, bridge__storage__operation="send")
        registration, number = task.ref.public_id, task.number
        with self.telemetry.span(
            Step.SEND, task.traceparent, bridge__registration__id=registration, bridge__attempt=number
        ) as span:
            self.inner.send(replace(task, traceparent=span.traceparent), ttl=ttl)


@dataclass(frozen=True, slots=True)
class InstrumentedUpstream:
    """The Speech service with metrics of the durations of its requests."""

    inner: Upstream
    telemetry: Telemetry
    stopwatch: Stopwatch
    sources: Mapping[str, Source]

    def fetch_operation(self, ref: OperationRef) -> Reply | NoReply:
        """Fetch an operation once."""
        return self._timed(ref, self.inner.fetch_operation)

    def fetch_failure(self, ref: OperationRef) -> Reply | NoReply:
        """Fetch the job of an operation once."""
        return self._timed(ref, self.inner.fetch_failure)

    def _timed(self, ref: OperationRef, fetch_operation: Callable[[OperationRef], Reply | NoReply]) -> Reply | NoReply:
        source = self.sources.get(ref.source)
        with _timing(self.telemetry, self.stopwatch, "GET", source.endpoint if source else "") as came:
            reply = fetch_operation(ref)
            match reply:
                case Reply(status=status):
                    came.update(_status(status))
                case NoReply(error=error):
                    came["error__type"] = error.kind.value
        return reply


@dataclass(frozen=True, slots=True)
class InstrumentedWebhookSender:
    """A sender with metrics of the durations of its requests."""

    inner: WebhookSender
    telemetry: Telemetry
    stopwatch: Stopwatch

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Make one POST."""
        with _timing(self.telemetry, self.stopwatch, "POST", url) as came:
            outcome = self.inner.post(url, headers, body)
            if isinstance(outcome, Unreachable):
                came["error__type"] = outcome.error.value
            else:
                came.update(_status(outcome.status))
        return outcome

    def address_of(self, origin: str) -> str | None:
        """Return the address that an attempt would connect to."""
        return self.inner.address_of(origin)

    def check_destination(self, url: str) -> str | None:
        """Return an early reason to refuse a callback URL."""
        return self.inner.check_destination(url)


@contextmanager
def _timing(telemetry: Telemetry, stopwatch: Stopwatch, method: str, url: str) -> Iterator[dict[str, Attribute | None]]:
    """Measure a request by the semantic conventions of HTTP clients, without its path."""
    where, came, begun = urlsplit(url), dict[str, Attribute | None](), stopwatch()
    yield came
    telemetry.measure(
        Metric.REQUEST,
        stopwatch() - begun,
        http__request__method=method,
        server__address=where.hostname,
        server__port=where.port or DEFAULT_PORTS.get(where.scheme),
        **came,
    )


def _status(status: int) -> dict[str, Attribute | None]:
    failed = {"error__type": str(status)} if status >= HTTPStatus.BAD_REQUEST else {}
    return {"http__response__status_code": status, **failed}
