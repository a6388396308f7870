"""How receivers are kept apart: the delay of callbacks to healthy receivers while others are slow or silent.

The use cases are the shipped ones, and the receivers are real sockets on loopback. Each call to the table, which is in
memory, takes 5 ms, about as much as the service. The places are those of `host.json` (`bench/host_places.py`).
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from itertools import count
from statistics import median
from typing import Any, Self

from bench.composed import Composed, Instant, composed
from bench.host_places import Places, Queue
from bench.loopback import Loopback
from bench.measuring import Figures
from bench.report import Goal
from bridge.adapters.net.guard import Guard
from bridge.adapters.webhook_sender import HttpWebhookSender
from bridge.app import App
from bridge.dependencies import real_clock
from bridge.domain.delivery import DeliveryTask
from bridge.domain.errors import Misconfigured
from bridge.domain.outcome import Delivered, Outcome
from bridge.storage.keys import due_at, due_deliveries, operation_partitions
from bridge.storage.queue_message import write_task
from bridge.storage.table import Row, Table, Transaction
from bridge.testing import MemoryTable

#: Seconds of one call to storage.
_STORAGE = 0.005

#: Seconds between two sweeps.
_TICK = 10.0

#: Silent receivers at addresses of their own, and names at one address.
_SILENT = 300
_NAMES = 209

#: Deliveries that are pending at one host, and at one that is dead.
_PENDING = 1000
_PENDING_AT_DEAD = 100

#: Callbacks to healthy receivers beside a fault: so many, so many seconds apart.
_HEALTHY = 40
_APART = 0.4

#: Seconds that a healthy receiver takes, where many deliveries to one are timed.
_ANSWER = 0.02

#: Callbacks of one operation; it takes up to twenty.
_PER_OPERATION = 18

#: Seconds after which a measurement is given up.
_MAX_WAIT = 600.0


class SlowTable:
    """A table that takes a while for each call."""

    def __init__(self, inner: Table) -> None:
        self._inner = inner

    def get(self, partition: str, key: str) -> Row | None:
        """Read one row."""
        time.sleep(_STORAGE)
        return self._inner.get(partition, key)

    def range(
        self, partition: str, start: str, stop: str, *, limit: int | None = None, columns: Sequence[str] = ()
    ) -> Sequence[Row]:
        """Read rows."""
        time.sleep(_STORAGE)
        return self._inner.range(partition, start, stop, limit=limit, columns=columns)

    def commit(self, transaction: Transaction) -> Mapping[str, str]:
        """Do all writes or none."""
        time.sleep(_STORAGE)
        return self._inner.commit(transaction)


class Arrivals:
    """The sender, with a note of when each callback was delivered."""

    def __init__(self, inner: HttpWebhookSender) -> None:
        self._inner = inner
        self._at: dict[str, float] = {}
        self._changed = threading.Condition()

    def address_of(self, origin: str) -> str | None:
        """Look up an address."""
        return self._inner.address_of(origin)

    def check_destination(self, url: str) -> str | None:
        """Look as ever."""
        return self._inner.check_destination(url)

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Post, and note the end."""
        outcome = self._inner.post(url, headers, body)
        if isinstance(outcome, Delivered):
            with self._changed:
                self._at.setdefault(url, time.monotonic())
                self._changed.notify_all()
        return outcome

    def wait(self, urls: Sequence[str], timeout: float) -> Mapping[str, float]:
        """Wait until all were delivered, and return when. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: all(url in self._at for url in urls), timeout):
                missing = sum(url not in self._at for url in urls)
                raise TimeoutError(f"{missing} of {len(urls)} callbacks did not arrive within {timeout} s")
            return {url: self._at[url] for url in urls}


class Instance:
    """A bridge over a queue, with the places of a host and a timer."""

    def __init__(self) -> None:
        self.queue = Queue()
        self.arrivals = Arrivals(HttpWebhookSender(Guard(composed().settings.callback_rules), real_clock))
        self.bridge: Composed = composed(
            table=SlowTable(MemoryTable()),
            queue=self.queue,
            upstream=Instant("Succeeded"),
            sender=self.arrivals,
            environment={"BRIDGE_SWEEP_BUDGET": "8s"},
            requests_per_second=1e5,
        )
        self._numbers = count()

    def follow(self, task: DeliveryTask) -> None:
        """Do what the queue trigger does."""
        self.bridge.bridge.deliver.deliver(task)

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Sweep every ten seconds, from now on."""
        stopped = threading.Event()

        def tick() -> None:
            while not stopped.wait(_TICK):
                self.bridge.bridge.sweep.sweep()

        timer = threading.Thread(target=tick, daemon=True)
        timer.start()
        try:
            with Places(self.queue, self.follow):
                yield self
        finally:
            stopped.set()
            timer.join()
            self.arrivals.close()

    def end(self, urls: Sequence[str]) -> float:
        """Register a callback to each URL, let all their operations end, and return when the sweep began."""
        for url in urls:
            self.bridge.register(f"operation-{next(self._numbers):06d}", url)
        began = time.monotonic()
        self.bridge.bridge.sweep.sweep()
        return began

    def notify(self, urls: Sequence[str], apart: float) -> list[float]:
        """Register callbacks for operations whose end is known, so that a message is sent at once.

        Returns the seconds until each was delivered.
        """
        began: dict[str, float] = {}
        for number, url in enumerate(urls):
            began[url] = time.monotonic()
            self.bridge.register(f"known-{number // _PER_OPERATION:04d}", url)
            time.sleep(apart)
        return [at - began[url] for url, at in self.arrivals.wait(urls, _MAX_WAIT).items()]

    def know(self, url: str, number: int) -> None:
        """Let operations end whose ends `notify` can tell, and one callback of each be delivered to `url`."""
        urls = [f"{url}/known/{each}" for each in range(number)]
        for each, known in enumerate(urls):
            self.bridge.register(f"known-{each:04d}", known)
        self.bridge.bridge.sweep.sweep()
        self.arrivals.wait(urls, _MAX_WAIT)


def healthy() -> Figures:
    """Time many deliveries to one healthy host, from the begin of the sweep that sees the ends."""
    with Loopback.start(delay=_ANSWER) as receiver, Instance().running() as instance:
        instance.know(receiver.url, 1)
        urls = [f"{receiver.url}/callback/{number}" for number in range(_PENDING)]
        began = instance.end(urls)
        arrived = instance.arrivals.wait(urls, _MAX_WAIT)
    return {"healthy.seconds": max(arrived.values()) - began}


def slow() -> Figures:
    """Many deliveries are pending at one host that answers after ten seconds."""
    with Loopback.start(delay=10.0) as receiver:
        return _beside("slow", [f"{receiver.url}/callback/{number}" for number in range(_PENDING)])


def silent() -> Figures:
    """Many hosts, at addresses of their own, take connections and never answer."""
    with ExitStack() as stack:
        urls = [f"{stack.enter_context(_silent(_address(number)))}/callback" for number in range(_SILENT)]
        return _beside("silent", urls)


def names() -> Figures:
    """Many names lead to one address that takes connections and never answers."""
    with _silent("127.0.1.1") as origin, _resolving("silent.example.com", "127.0.1.1"):
        port = origin.rpartition(":")[2]
        return _beside("names", [f"http://{each}.silent.example.com:{port}/" for each in range(_NAMES)])


def swallow() -> Figures:
    """One of two instances is misconfigured."""
    return {"swallow.p50": _swallow(broken=True), "swallow.p50.calm": _swallow(broken=False)}


def dead() -> Figures:
    """Many deliveries are pending at one host that refuses connections."""
    return {"dead.hours": _dead(_PENDING_AT_DEAD), "dead.hours.calm": _dead(1)}


def _beside(name: str, faulty: Sequence[str]) -> Figures:
    """Measure callbacks to healthy receivers beside faulty ones, and without them.

    `new` are receivers that had never answered before, each at a port of its own.
    """
    took, calm = _callbacks(faulty), _callbacks([])
    known, new = took[::2], took[1::2]
    return {
        f"{name}.p50": median(known),
        f"{name}.p50.calm": median(calm[::2]),
        f"{name}.worst": max(known),
        f"{name}.worst.calm": max(calm[::2]),
        f"{name}.new.p50": median(new),
        f"{name}.new.p50.calm": median(calm[1::2]),
        f"{name}.new.worst": max(new),
        f"{name}.new.worst.calm": max(calm[1::2]),
    }


def _callbacks(faulty: Sequence[str]) -> list[float]:
    """Send the messages to faulty receivers, and right after them callbacks to known and new ones in turns."""
    with Loopback.start(ports=_HEALTHY + 1) as receivers, Instance().running() as instance:
        known, *new = receivers.urls
        instance.know(known, 2 * _HEALTHY // _PER_OPERATION + 1)
        if faulty:
            instance.end(faulty)
        answering = [f"{known}/callback/{number}" for number in range(_HEALTHY)]
        strangers = [f"{url}/callback" for url in new]
        return instance.notify([url for pair in zip(answering, strangers, strict=True) for url in pair], _APART / 2)


def _swallow(*, broken: bool) -> float:
    """Return the median time of callbacks over one queue and two instances."""
    app = App(Misconfigured({"BRIDGE_SIGNING_KEYS": "is missing"}))
    with ExitStack() as stack:
        receiver = stack.enter_context(Loopback.start())
        instance = Instance()
        if broken:
            stack.enter_context(Places(instance.queue, lambda task: app.deliver(write_task(task).encode())))
        stack.enter_context(instance.running())
        instance.know(receiver.url, 2 * _HEALTHY // _PER_OPERATION + 1)
        return median(instance.notify([f"{receiver.url}/callback/{each}" for each in range(2 * _HEALTHY)], _APART))


def _dead(pending: int) -> float:
    """Return the hours until all deliveries at a dead host are dead, on a clock that goes from one due row to the next.

    Each step is as long as a sweep is apart from the next one, or longer if nothing is due.
    """
    with socket.create_server(("127.0.1.1", 0)) as listener:
        url = f"http://127.0.1.1:{listener.getsockname()[1]}/callback"  # refused once this block has ended
    sender = HttpWebhookSender(Guard(composed().settings.callback_rules), real_clock)
    bridge = composed(upstream=Instant("Succeeded"), sender=sender, requests_per_second=1e5)
    for number in range(pending):
        bridge.register(f"operation-{number:06d}", url)
    began = bridge.clock()
    bridge.bridge.sweep.sweep()
    while (due := _next_delivery(bridge)) is not None:
        for task in bridge.queue.take():
            bridge.bridge.deliver.deliver(task)
        bridge.clock.skip(max(due - bridge.clock(), timedelta(seconds=_TICK)))
        bridge.bridge.sweep.sweep()
    sender.close()
    return (bridge.clock() - began) / timedelta(hours=1)


def _next_delivery(bridge: Composed) -> datetime | None:
    """Find when the next delivery is due."""
    table, bounds = bridge.bridge.sweep.repository.table, due_deliveries(bridge.clock() + timedelta(days=14))
    keys = [row.key for name in operation_partitions() for row in table.range(name, *bounds)]
    return min((at for key in keys if (at := due_at(key)) is not None), default=None)


def _address(number: int) -> str:
    return f"127.0.{1 + number // 250}.{1 + number % 250}"


@contextmanager
def _silent(address: str) -> Iterator[str]:
    """Take connections at an address, as the kernel does for a listener that accepts none, and never answer."""
    with socket.create_server((address, 0), backlog=128) as listener:
        yield f"http://{address}:{listener.getsockname()[1]}"


@contextmanager
def _resolving(suffix: str, address: str) -> Iterator[None]:
    """Let all names below a suffix lead to one address."""
    resolve = socket.getaddrinfo

    def resolved(host: str, *args: Any, **kwargs: Any) -> object:
        return resolve(address if host.endswith(suffix) else host, *args, **kwargs)

    socket.getaddrinfo = resolved  # type: ignore[assignment]
    try:
        yield
    finally:
        socket.getaddrinfo = resolve


SCENARIOS: Mapping[str, Callable[[], Figures]] = {
    "healthy": healthy,
    "slow": slow,
    "silent": silent,
    "names": names,
    "swallow": swallow,
    "dead": dead,
}

GOALS: Mapping[str, Goal] = {
    "slow.p50": Goal(1),
    "slow.worst": Goal(2),
    "silent.p50": Goal(2),
    "silent.worst": Goal(10),
    "names.worst": Goal(2),
    "swallow.p50": Goal(35),
    "dead.hours": Goal(92),
}

_SLOW = "beside 1,000 deliveries pending at a host that answers after 10 s"
_QUIET = "beside 300 hosts that never answer"
_NAMED = "beside 209 names of one address that never answers"
MEANINGS: Mapping[str, str] = {
    f"{name}.{key}": f"{measure} of a callback to {receivers}, {beside}"
    for name, beside in (("slow", _SLOW), ("silent", _QUIET), ("names", _NAMED))
    for key, measure, receivers in (
        ("p50", "median seconds", "a host that answered before"),
        ("worst", "most seconds", "a host that answered before"),
        ("new.p50", "median seconds", "hosts that are called for the first time"),
        ("new.worst", "most seconds", "hosts that are called for the first time"),
    )
} | {
    "healthy.seconds": "seconds of 1,000 deliveries to one host that answers within 20 ms (before there were limits: "
    "9.8 to 15.0)",
    "swallow.p50": "median seconds of a callback, if one of two instances is misconfigured",
    "dead.hours": "hours until 100 deliveries at one host that refuses connections are dead",
}
