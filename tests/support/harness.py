"""A bridge with fakes: storage in memory, a stopped clock, scripted upstream and receivers."""

import base64
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextvars import Context
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from typing import ParamSpec, TypeVar

from bench.inline import InlineExecutor
from bridge.adapters.entra.tokens import EntraTokens
from bridge.app import Bridge, compose
from bridge.dependencies import Dependencies, Network, Pools, Randomness
from bridge.domain.delivery import DeliveryTask
from bridge.domain.header_cipher import NONCE_BYTES, HeaderCipher
from bridge.domain.ids import Kind, OperationRef, RegistrationRef
from bridge.domain.operation import FinalStatus
from bridge.domain.outcome import Outcome, answered
from bridge.domain.registration import Registration
from bridge.domain.upstream import NoReply, Reply
from bridge.ports import DeliveryQueue, Upstream, WebhookSender
from bridge.services.bulk_redelivery import Redeliver
from bridge.services.delivery import Deliver
from bridge.services.queries import Queries
from bridge.services.registrations import Register
from bridge.services.sweep.sweep import Sweep
from bridge.settings import Settings, read_settings
from bridge.storage.aggregate import OperationAggregate
from bridge.storage.keys import after, due_parts, operation_partitions, partition_of, row_key
from bridge.storage.table import Row, Table, Transaction
from bridge.testing import MemoryQueue, MemoryTable
from tests.support import factories
from tests.support.description import hold_event
from tests.support.forwarding import ForwardingTable
from tests.support.log_guard import in_pool

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: The start time of every test.
NOON = factories.NOON


def new_signing_key() -> str:
    """Return a random key. Keys in a repository are public, so they are no secrets."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


SIGNING_KEY = new_signing_key()

ENVIRONMENT = {
    "AzureWebJobsStorage": "UseDevelopmentStorage=true",
    "SPEECH_ENDPOINT": "https://speech.example.com",
    "SPEECH_KEY": "speech-key",
    "BRIDGE_SIGNING_KEYS": SIGNING_KEY,
    "BRIDGE_POLL_SCHEDULE": "*/10 * * * * *",
    "SPEECH_REQUESTS_PER_SECOND": "100",
    "BRIDGE_POLL_INTERVAL": "15s",
}


class FakeClock:
    """A clock that only tests advance."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now

    def advance(self, by: timedelta | float) -> None:
        """Advance the clock. A number means seconds."""
        self.now += by if isinstance(by, timedelta) else timedelta(seconds=by)


class PoolExecutor(InlineExecutor):
    """Runs all work at once and in order, so tests read from top to bottom.

    Like a pool's thread, the work does not see the context variables of the caller.
    """

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Run `fn` now."""
        return super().submit(Context().run, _in_pool, partial(fn, *args, **kwargs))


def _in_pool(work: Callable[[], _T]) -> _T:
    with in_pool():
        return work()


def status_reply(operation_id: str, status: str) -> Reply:
    """Return an answer of the upstream."""
    return Reply(status=200, body=f'{{"id": "{operation_id}", "status": "{status}"}}'.encode())


class FakeUpstream:
    """Scripted upstream that records the polls. An operation and a job with the same id have separate scripts."""

    def __init__(self) -> None:
        self.asked: list[OperationRef] = []
        self.failures_fetched: list[OperationRef] = []
        #: The answer of a failed operation's job, by id.
        self.jobs: dict[str, Reply | NoReply] = {}
        self._scripts: dict[tuple[Kind, str], list[Reply | NoReply]] = {}

    def script(self, operation_id: str, *answers: str | Reply | NoReply, kind: Kind = Kind.OPERATION) -> None:
        """Script the answers for an operation or a job. The last answer repeats."""
        self._scripts[kind, operation_id] = [
            _reply(operation_id, kind, each) if isinstance(each, str) else each for each in answers
        ]

    def fetch_operation(self, ref: OperationRef) -> Reply | NoReply:
        """Return the next scripted answer, or `Running` without a script."""
        self.asked.append(ref)
        script = self._scripts.get((ref.kind, ref.id), [_reply(ref.id, ref.kind)])
        return script.pop(0) if len(script) > 1 else script[0]

    def fetch_failure(self, ref: OperationRef) -> Reply | NoReply:
        """Return the scripted answer, or 404 like for an id without a job."""
        self.failures_fetched.append(ref)
        return self.jobs.get(ref.id, Reply(status=404))


def _reply(id_: str, kind: Kind, status: str = "Running") -> Reply:
    return factories.job_reply(id_, status) if kind is Kind.JOB else status_reply(id_, status)


@dataclass(frozen=True, slots=True)
class Posted:
    """One callback as received."""

    url: str
    headers: Mapping[str, str]
    body: bytes


class FakeSender:
    """Scripted receivers, 200 by default. Each callback must match the description's webhooks."""

    def __init__(self) -> None:
        self.posted: list[Posted] = []
        self._scripts: dict[str, list[Outcome]] = {}
        #: Called with each POST before the answer.
        self.during: Callable[[], None] = lambda: None
        #: Objections of the network, by URL.
        self.refused_destinations: dict[str, str] = {}
        #: Addresses by origin.
        self.addresses: dict[str, str] = {}

    def address_of(self, origin: str) -> str | None:
        """Return the scripted address."""
        return self.addresses.get(origin)

    def check_destination(self, url: str) -> str | None:
        """Return the scripted objection."""
        return self.refused_destinations.get(url)

    def script(self, url: str, *outcomes: int | Outcome) -> None:
        """Script the answers of a receiver. The last answer repeats."""
        self._scripts[url] = [answered(each, address=None) if isinstance(each, int) else each for each in outcomes]

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Receive a callback."""
        hold_event(headers["Content-Type"], body)
        self.posted.append(Posted(url, headers, body))
        self.during()
        script = self._scripts.get(url, [answered(200, address="203.0.113.7")])
        return script.pop(0) if len(script) > 1 else script[0]


class CountingTable(ForwardingTable):
    """Counts the calls to a table, including pages of 1,000 rows."""

    def __init__(self, inner: Table) -> None:
        super().__init__(inner)
        self.calls: Counter[str] = Counter()

    def get(self, partition: str, key: str) -> Row | None:
        """Count a read of one row."""
        self.calls["get"] += 1
        return super().get(partition, key)

    def range(
        self, partition: str, start: str, stop: str, *, limit: int | None = None, columns: Sequence[str] = ()
    ) -> Sequence[Row]:
        """Count a read of a range."""
        rows = super().range(partition, start, stop, limit=limit, columns=columns)
        self.calls["range"] += max(1, -(-len(rows) // 1000))
        return rows

    def commit(self, transaction: Transaction) -> Mapping[str, str]:
        """Count a transaction."""
        self.calls["commit"] += 1
        return super().commit(transaction)

    @property
    def reads(self) -> int:
        """Return the number of point reads and ranges."""
        return self.calls["get"] + self.calls["range"]

    def taken(self) -> Counter[str]:
        """Return the counts and reset them."""
        taken, self.calls = self.calls, Counter()
        return taken


@dataclass(slots=True)
class Harness:
    """A composed bridge with its fakes."""

    settings: Settings
    clock: FakeClock
    memory: MemoryTable
    table: CountingTable
    queue: MemoryQueue
    upstream: FakeUpstream
    sender: FakeSender
    bridge: Bridge
    #: The dependencies of the bridge.
    dependencies: Dependencies
    #: Seconds of the bridge's waits.
    pauses: list[float] = field(default_factory=list)

    @property
    def registrations(self) -> Register:
        """The service that registers, cancels and redelivers."""
        return self.bridge.handlers.registrations

    @property
    def bulk_redelivery(self) -> Redeliver:
        """The service for bulk redelivery."""
        return self.bridge.handlers.bulk_redelivery

    @property
    def queries(self) -> Queries:
        """The service that reads registrations."""
        return self.bridge.handlers.queries

    @property
    def sweeper(self) -> Sweep:
        """The service behind the timer."""
        return self.bridge.sweep

    @property
    def deliverer(self) -> Deliver:
        """The service behind the queue trigger."""
        return self.bridge.deliver

    def restart(self, **environment: str) -> None:
        """Compose the bridge again with other settings. Stored rows and sent messages remain."""
        self.settings = read_settings({**ENVIRONMENT, **environment})
        self.bridge = compose(self.settings, self.dependencies)

    def request(
        self,
        operation_id: str = "operation-1",
        url: str = "https://receiver.example.com/hook",
        *,
        kind: Kind = Kind.OPERATION,
        events: Sequence[FinalStatus] = tuple(FinalStatus),
        metadata: str | None = None,
    ) -> Registration:
        """Return the registration that a client would request."""
        return factories.registration(
            operation_id,
            url,
            kind=kind,
            at=self.clock(),
            rules=self.settings.callback_rules,
            events=tuple(events),
            metadata=metadata,
        )

    def register(
        self, operation_id: str = "operation-1", *urls: str, kind: Kind = Kind.OPERATION
    ) -> list[RegistrationRef]:
        """Register callbacks. Returns their references."""
        hooks = urls or ("https://receiver.example.com/hook",)
        requests_made = [self.request(operation_id, url, kind=kind) for url in hooks]
        for request in requests_made:
            self.registrations.register(request)
        return [HeaderCipher(self.settings.keyring).tagged(request).ref for request in requests_made]

    def sweep(self) -> None:
        """Run one tick of the timer."""
        self.sweeper.sweep()

    def deliver(self, task: DeliveryTask) -> None:
        """Run the queue trigger for one task."""
        self.deliverer.deliver(task)

    def deliver_all(self) -> int:
        """Run the queue trigger for all sent tasks. Returns their number."""
        tasks = self.queue.take()
        for task in tasks:
            self.deliver(task)
        return len(tasks)

    def aggregate(self, operation_id: str = "operation-1", kind: Kind = Kind.OPERATION) -> OperationAggregate:
        """Read an operation or a job with its registrations."""
        ref = OperationRef("default", operation_id, kind)
        aggregate = OperationAggregate.read(
            ref, self.memory.range(partition_of(ref), row_key(ref), after(row_key(ref)))
        )
        assert aggregate is not None
        return aggregate

    def registration(self, ref: RegistrationRef) -> Registration:
        """Read one registration."""
        stored = self.aggregate(ref.operation.id, ref.operation.kind).get(ref)
        assert stored is not None
        return stored.record

    def due_keys(self) -> list[str]:
        """Return the keys of all due rows, without the time."""
        rows = [row for name in operation_partitions() for row in self.memory.rows(name)]
        return sorted(":".join(due_parts(row.key)) for row in rows if row.key.startswith("due:"))

    def index_keys(self) -> list[str]:
        """Return the states and references of all index rows."""
        rows = [row for name in operation_partitions() for row in self.memory.rows(name)]
        parts = [row.key.split(":", 3) for row in rows if row.key.startswith("idx:")]
        return sorted(f"{state}:{reference}" for _, state, _, reference in parts)


def harness(
    table: Callable[[Table], Table] | None = None,
    sender: WebhookSender | None = None,
    upstream: Callable[[Settings, FakeClock], Upstream] | None = None,
    queue: DeliveryQueue | None = None,
    **environment: str,
) -> Harness:
    """Return a harness.

    `table` can wrap the table in memory, for example with failures. `sender` and `upstream` can replace the fakes by
    real ones.
    """
    settings = read_settings({**ENVIRONMENT, **environment})
    memory = MemoryTable()
    counting = CountingTable(memory if table is None else table(memory))
    clock, scripted, receivers, sent = FakeClock(), FakeUpstream(), FakeSender(), MemoryQueue()
    numbers = count(1)
    pauses: list[float] = []
    dependencies = Dependencies(
        table=counting,
        queue=queue or sent,
        network=Network(
            upstream=upstream(settings, clock) if upstream else scripted,
            sender=sender or receivers,
            tokens=lambda tenant: EntraTokens(tenant, clock),
        ),
        clock=clock,
        sleep=pauses.append,
        randomness=Randomness(
            new_id=lambda: f"token-{next(numbers)}",
            nonce=lambda: next(numbers).to_bytes(NONCE_BYTES),
            random=lambda: 0.5,
        ),
        pools=Pools(PoolExecutor(), PoolExecutor(), PoolExecutor()),
    )
    return Harness(
        settings=settings,
        clock=clock,
        memory=memory,
        table=counting,
        queue=sent,
        upstream=scripted,
        sender=receivers,
        bridge=compose(settings, dependencies),
        dependencies=dependencies,
        pauses=pauses,
    )
