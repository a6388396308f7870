"""The whole bridge among faults: processes die and start again, and clients repeat their requests.

Real use cases run behind the real HTTP routes and queue messages. Storage is in memory with the contract of the real
one, the clock jumps, and upstream and receivers follow scripts. Every run is deterministic.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from http import HTTPStatus
from itertools import count

from bridge.adapters.entra.tokens import EntraTokens
from bridge.api.handlers import Handlers
from bridge.app import App, compose
from bridge.dependencies import Dependencies, Network, Pools, Randomness
from bridge.domain.delivery import is_last_lost
from bridge.domain.errors import BridgeError, Contended, StorageUnavailable
from bridge.domain.header_cipher import NONCE_BYTES
from bridge.domain.ids import Kind
from bridge.domain.operation import MAX_REGISTRATIONS
from bridge.domain.registration import Registration, Sharing, State
from bridge.domain.time import from_millis, to_millis
from bridge.settings import read_settings
from bridge.storage.keys import due_at, operation_partitions
from bridge.testing import MemoryTable
from tests.proof import rows
from tests.proof.calls import Caller, Calls, Died, Plan
from tests.proof.instance import Instance, Parts
from tests.proof.outside import (
    OutsideQueue,
    OutsideTable,
    OutsideUpstream,
    OutsideWebhookSender,
    Poll,
    Post,
    TimedUpstream,
)
from tests.proof.queue import Message, Queue
from tests.support.harness import ENVIRONMENT, FakeClock, FakeSender, PoolExecutor
from tests.support.http import Answer, Client

SETTINGS = read_settings(
    {
        **ENVIRONMENT,
        "BRIDGE_ENRICH": "errors",
        "BRIDGE_SOURCES": '[{"name": "voices", "endpoint": "https://voices.example.com", "path": "customvoice", '
        '"keyVariable": "SPEECH_KEY", "requestsPerSecond": 100}]',
    }
)

#: The interval of the timer.
TICK = timedelta(seconds=10)

#: A client repeats a call without an answer, or with a 503, this often. After that the call counts as lost.
_MAX_TRIES = 200


class Loss(AssertionError):
    """A broken promise."""


@dataclass(slots=True)
class Expectation:
    """The promises to a client about one registration."""

    events: Sequence[str] | None = None
    #: Number of requests to cancel, answered or not.
    cancels: int = 0


class Simulation:
    """One or more instances of the bridge with everything around them."""

    def __init__(
        self,
        plan: Plan | None = None,
        *,
        offsets: Sequence[timedelta] = (timedelta(0),),
        parts: Parts | None = None,
        places: int = MAX_REGISTRATIONS,
    ) -> None:
        self.clock = FakeClock()
        self.calls = Calls(self.clock, plan)
        self.memory = MemoryTable()
        self.queue = Queue(self.clock)
        self.upstream = TimedUpstream(self.clock)
        self.receivers = FakeSender()
        self.posts: list[Post] = []
        self.polls: list[Poll] = []
        #: By public id.
        self.expectations: dict[str, Expectation] = {}
        #: Number of redeliver requests per registration, whatever the answers.
        self.redeliveries: Counter[str] = Counter()
        #: Ordered attempts by public id and number: each is made, and never counted as failed without a callback.
        self.ordered: set[tuple[str, int]] = set()
        #: Greatest number of registrations per operation.
        self.places = places
        self._parts = parts or Parts()
        self._tokens = count(1)
        self._ticks = 0
        self.instances = [self._start(offset) for offset in offsets]

    def register(
        self,
        operation_id: str,
        url: str,
        *,
        kind: Kind = Kind.OPERATION,
        source: str = "default",
        events: Sequence[str] | None = None,
        on: int = 0,
    ) -> str:
        """Register until an answer arrives. Returns the public id. Raises Loss if the operation has no place."""
        name = self.try_to_register(operation_id, url, kind=kind, source=source, events=events, on=on)
        if name is None:
            raise Loss(f"{operation_id} has no place for {url}")
        return name

    def try_to_register(
        self,
        operation_id: str,
        url: str,
        *,
        kind: Kind = Kind.OPERATION,
        source: str = "default",
        events: Sequence[str] | None = None,
        on: int = 0,
    ) -> str | None:
        """Register until an answer arrives. Returns the public id, or None if the operation has no place.

        After a lost answer, a 200 can stand for a 201.
        """
        body: dict[str, object] = {f"{kind}Id": operation_id, "callbackUrl": url, "source": source}
        if events is not None:
            body |= {"events": list(events)}
        answer, tries = self._until_answered(on, lambda client: client.register(body), {200, 201, 409})
        if answer.status == HTTPStatus.CONFLICT:
            if answer.error["code"] != "TooManyRegistrations":
                raise Loss(f"registering was answered {answer.body}")
            return None
        name = str(answer.body["id"])
        if answer.status == 201 or tries > 1:
            self.expectations.setdefault(name, Expectation(events))
        return name

    def limit_places(self, places: int) -> None:
        """Restart every instance with a limit on the registrations per operation."""
        self.places = places
        self.instances = [self._start(instance.offset) for instance in self.instances]

    def names(self) -> set[str]:
        """Return the public ids of all stored registrations."""
        return {name for partition in operation_partitions() for name in rows.states(self.memory.rows(partition))}

    def cancel(self, name: str, *, on: int = 0) -> None:
        """Cancel until an answer arrives."""

        def cancel(client: Client) -> Answer:
            self.expectations[name].cancels += 1
            self.ordered = {order for order in self.ordered if order[0] != name}
            return client.call(Handlers.cancel_registration, f"/registrations/{name}", method="DELETE", id=name)

        self._until_answered(on, cancel, {204})

    def purge(self, name: str, *, on: int = 0) -> int:
        """Purge a registration until an answer arrives: 204, 409 before its end, 404 if it is purged already."""
        expectation = self.expectations.pop(name, None)

        def purge(client: Client) -> Answer:
            path = f"/registrations/{name}?purge=true"
            return client.call(Handlers.cancel_registration, path, method="DELETE", id=name)

        answer, _ = self._until_answered(on, purge, {204, 404, 409})
        if answer.status == 409 and expectation is not None:
            self.expectations[name] = expectation
        if answer.status == 204:
            self.ordered = {order for order in self.ordered if order[0] != name}
        return answer.status

    def redeliver(self, name: str, *, on: int = 0) -> int:
        """Redeliver or retry until an answer arrives: 202, 409 before the first message, 404 after a purge, 429."""
        expectation, before = self.expectations.get(name, Expectation()), self._registration(name)

        def redeliver(client: Client) -> Answer:
            self.redeliveries[name] += 1
            return client.call(Handlers.redeliver, f"/registrations/{name}/redeliver", method="POST", id=name)

        gone = set() if name in self.expectations else {404}
        answer, _ = self._until_answered(on, redeliver, {202, 409, 429} | gone)
        if answer.status == 202:
            self.expectations[name] = expectation
            self._note_order(name, before, on)
        return answer.status

    def redeliver_many(self, *, on: int = 0) -> None:
        """Redeliver all dead registrations and retry all pending ones, until an answer arrives."""

        def redeliver(client: Client) -> Answer:
            self.redeliveries.update(self.expectations.keys())
            headers = {"Content-Type": "application/json"}
            return client.call(Handlers.redeliver_many, "/redeliver", method="POST", body=b"{}", headers=headers)

        self._until_answered(on, redeliver, {202})

    def _note_order(self, name: str, before: Registration | None, on: int) -> None:
        """Note the attempt that a retry ordered. Raises Loss if the registration does not keep the order."""
        after = self._registration(name)
        if after is not None and after.is_forced:
            self.ordered.add((name, after.forced_attempt))
        elif before is not None and after is not None and before.state is after.state is State.PENDING:
            now = self.clock() + self.instances[on].offset
            # Another invocation can be faster: it claims the attempt, or cancels and begins another run.
            same = (before.run_start, before.last_attempt) == (after.run_start, after.last_attempt)
            # An attempt in flight is the ordered one, even if its record comes before the answer to the order.
            is_under_way = before.is_in_flight(now) or after.is_in_flight(now)
            if same and not (is_under_way or is_last_lost(after)):
                raise Loss(f"the retry of {name} is not kept")

    def _registration(self, name: str) -> Registration | None:
        return {
            name: registration
            for partition in operation_partitions()
            for name, registration in rows.states(self.memory.rows(partition)).items()
        }.get(name)

    def tick(self, on: int = 0) -> None:
        """Tick the timer of an instance. A sweep never raises."""
        try:
            self._run(on, lambda instance: instance.app.sweep())
        except BridgeError as error:
            raise Loss(f"a sweep ended with {error!r}") from error

    def drain(self, on: int = 0) -> None:
        """Run an instance's queue trigger for all visible messages."""
        for message in self.queue.visible():
            self.follow(message, on)

    def follow(self, message: Message, on: int = 0) -> None:
        """Run an instance's queue trigger for one message. Failed messages come back."""

        def deliver(body: bytes) -> bool:
            try:
                return self._run(on, lambda instance: instance.app.deliver(body))
            except (StorageUnavailable, Contended):
                return False

        self.queue.work(message, deliver)

    def live(self, time: timedelta | float) -> None:
        """Run timer and queue for a while, without idle ticks."""
        end = self.clock() + (time if isinstance(time, timedelta) else timedelta(seconds=time))
        while self.clock() < end:
            self._work()
            self.clock.now = min(end, self._next_tick())

    def settle(self, limit: timedelta = timedelta(days=8)) -> None:
        """Run timer and queue until only purges are due."""
        end = self.clock() + limit
        self._work()
        while self._next_event(":purge:") is not None:
            if self.clock() > end:
                raise Loss(f"not quiet after {limit}: {self._due()}")
            self.clock.now = self._next_tick()
            self._work()

    def forget(self) -> None:
        """Run timer and queue until nothing is due. By then, every row should be purged."""
        for _ in range(12):
            if self._next_event() is None:
                return
            self.clock.now = self._next_tick()
            self._work()
        raise Loss(f"never purged: {self._due()}")

    def check_rows(self) -> None:
        """Raise Loss if a row breaks an invariant between two commits."""
        found = [problem for name in operation_partitions() for problem in rows.problems(self.memory.rows(name))]
        if found:
            raise Loss("; ".join(found))

    def left(self) -> list[str]:
        """Return the keys of all rows that belong to operations."""
        return [row.key for name in operation_partitions() for row in self.memory.rows(name)]

    def _start(self, offset: timedelta) -> Instance:
        caller = Caller()
        dependencies = Dependencies(
            table=self._parts.table(OutsideTable(self.memory, self.calls, caller)),
            queue=self._parts.queue(OutsideQueue(self.queue, self.calls, caller)),
            network=Network(
                upstream=OutsideUpstream(self.upstream, self.calls, caller, self.polls),
                sender=self._parts.sender(OutsideWebhookSender(self.receivers, self.calls, caller, self.posts)),
                tokens=lambda tenant: EntraTokens(tenant, self.clock),
            ),
            clock=lambda: self.clock() + offset,
            sleep=lambda seconds: self.clock.advance(timedelta(seconds=seconds)),
            randomness=Randomness(
                new_id=lambda: f"token-{next(self._tokens)}",
                nonce=lambda: next(self._tokens).to_bytes(NONCE_BYTES),
                random=lambda: 0.5,
            ),
            pools=Pools(PoolExecutor(), PoolExecutor(), PoolExecutor()),
        )
        bridge = compose(SETTINGS, dependencies)
        registrations = replace(
            bridge.handlers.registrations, sharing=Sharing(places=self.places, places_of_owner=self.places)
        )
        handlers = replace(bridge.handlers, registrations=registrations)
        return Instance(App(replace(bridge, handlers=handlers)), caller, offset)

    def _run(self, on: int, what: Callable[[Instance], object]) -> bool:
        """Run one invocation. Returns whether the process survived. A dead process is started again."""
        instance = self.instances[on]
        instance.begin()
        try:
            what(instance)
        except Died:
            self.instances[on] = self._start(instance.offset)
            return False
        except (BridgeError, Loss):
            raise
        except Exception as error:
            raise Loss(f"the bridge failed: {error!r}") from error
        finally:
            if len(self.calls.trace) > min(self.calls.plan, default=0):
                self.check_rows()
        return True

    def _until_answered(self, on: int, call: Callable[[Client], Answer], wanted: set[int]) -> tuple[Answer, int]:
        answers: list[Answer] = []
        for tries in range(1, _MAX_TRIES + 1):
            answered = self._run(on, lambda instance: answers.append(call(instance.client)))
            if answered and answers[-1].status in wanted:
                return answers[-1], tries
            if answered and answers[-1].status != 503:
                break
        raise Loss(f"answered {[each.status for each in answers]}, and wanted {wanted}")

    def _work(self) -> None:
        self._ticks += 1
        on = self._ticks % len(self.instances)
        self.tick(on)
        self.drain(on)

    def _next_tick(self) -> datetime:
        """Return the time of the next tick that has work."""
        soon = self._next_event()
        at = max(self.clock() + timedelta(milliseconds=1), soon or self.clock())
        step = TICK // timedelta(milliseconds=1)
        return from_millis(-(-to_millis(at) // step) * step)

    def _next_event(self, but: str = "purge only nothing") -> datetime | None:
        events = [at for key in self._due() if but not in key and (at := due_at(key)) is not None]
        return min([*events, *(each.visible_at for each in self.queue.messages)], default=None)

    def _due(self) -> list[str]:
        return [key for key in self.left() if key.startswith("due:")]
