"""An answer about a registration shows one moment, despite concurrent writes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType

import pytest

from bridge.api.handlers import Handlers
from bridge.domain.attempt import KEPT_ATTEMPTS
from bridge.domain.delivery import DeliveryTask
from bridge.domain.ids import RegistrationRef
from bridge.domain.outcome import Failure, Outcome, Unreachable, answered
from bridge.domain.registration import State
from bridge.storage.table import Row, Table, Transaction
from bridge.storage.writes.deliver import Claimed
from tests.support.harness import Harness, harness
from tests.support.http import Answer, Client

HOOK = "https://receiver.example.com/hook"
OTHER = "https://other.example.com/hook"
BODY = {"operationId": "operation-1", "callbackUrl": HOOK}


class Interleaved:
    """A table that lets a writer run before a chosen read."""

    def __init__(self, inner: Table) -> None:
        self.inner = inner
        #: The writer runs before reads of a row or range with this key prefix.
        self.before_reads_of: str | None = None
        self.writer: Callable[[], object] = lambda: None
        #: The reads since the writer was set.
        self.reads: list[str] = []

    def get(self, partition: str, key: str) -> Row | None:
        self._let_write(key)
        return self.inner.get(partition, key)

    def range(
        self, partition: str, start: str, stop: str, *, limit: int | None = None, columns: Sequence[str] = ()
    ) -> Sequence[Row]:
        self._let_write(start)
        return self.inner.range(partition, start, stop, limit=limit, columns=columns)

    def commit(self, transaction: Transaction) -> Mapping[str, str]:
        return self.inner.commit(transaction)

    def _let_write(self, key: str) -> None:
        self.reads.append(key)
        if self.before_reads_of is not None and key.startswith(self.before_reads_of):
            self.before_reads_of = None  # once, and not for the writer's reads
            self.writer()


@dataclass(slots=True)
class Scene:
    """A bridge with one registration, and the actions of a writer."""

    bridge: Harness
    table: Interleaved
    ref: RegistrationRef

    def read(self) -> Answer:
        """Read the registration like a client."""
        return Client.of(self.bridge).call(Handlers.read_registration, id=self.ref.public_id)

    def read_while(self, writer: Callable[[], object]) -> Answer:
        """Read the registration, with a writer between the read of the registration and the read of the attempts."""
        self.table.writer, self.table.before_reads_of = writer, "att:"
        answer = self.read()
        assert self.table.before_reads_of is None, "the writer never worked"
        return answer

    def wait(self, hours: float) -> None:
        """Let time pass."""
        self.bridge.clock.advance(timedelta(hours=hours))

    def claim(self) -> Claimed:
        """Claim the next attempt. Its POST is in flight then."""
        claimed = self.bridge.deliverer.claims.claim(DeliveryTask.next_of(self.bridge.registration(self.ref)))
        assert claimed is not None
        return claimed

    def record(self, claimed: Claimed, outcome: Outcome) -> None:
        """End the POST of a claim."""
        attempt = claimed.attempt.with_outcome(outcome, timedelta(milliseconds=7))
        self.bridge.deliverer.recorder.record(claimed, attempt, outcome)

    def deliver(self) -> None:
        """Send due tasks, and attempt them."""
        self.bridge.sweep()
        self.bridge.deliver_all()

    def fail_often(self, runs: int) -> None:
        """Make whole runs against a failing receiver, and begin another run."""
        for _ in range(runs):
            while self.bridge.registration(self.ref).state is State.PENDING:
                self.wait(30)
                self.deliver()
            self.bridge.registrations.redeliver(self.ref)

    def purge(self) -> None:
        """Purge everything."""
        self.wait(24 * 31)
        self.deliver()
        self.deliver()

    def end(self) -> None:
        """End the operation, and send its message."""
        self.bridge.upstream.script("operation-1", "Succeeded")
        self.wait(1)
        self.bridge.sweep()


def scene() -> Scene:
    """Register."""
    tables: list[Interleaved] = []

    def interleaved(inner: Table) -> Table:
        tables.append(Interleaved(inner))
        return tables[0]

    bridge = harness(interleaved)
    [ref] = bridge.register("operation-1", HOOK)
    return Scene(bridge, tables[0], ref)


TAKEN, FAILED, SILENT = answered(204, address=None), answered(500, address=None), Unreachable(error=Failure.TIMEOUT)
Writer = Callable[[], object]


def delivered(at: Scene) -> Writer:
    """Claim, POST and record in between."""
    at.end()
    return at.bridge.deliver_all


def recorded(at: Scene, outcome: Outcome) -> Writer:
    """Record an attempt that was in flight."""
    at.end()
    claimed = at.claim()
    return lambda: at.record(claimed, outcome)


def recorded_and_attempted_again(at: Scene) -> Writer:
    """Record a failure, and make the next attempt."""
    at.end()
    claimed = at.claim()

    def write() -> None:
        at.record(claimed, FAILED)
        at.wait(0.002)
        at.deliver()

    return write


def lost_and_taken_late(at: Scene) -> Writer:
    """Record a success after the end of its lease, during the next attempt."""
    at.end()
    lost = at.claim()
    at.wait(0.05)
    at.claim()
    return lambda: at.record(lost, TAKEN)


def lost_and_taken_before_the_next(at: Scene) -> Writer:
    """Record the success before the next attempt is claimed."""
    at.end()
    lost = at.claim()
    at.wait(0.05)
    return lambda: at.record(lost, TAKEN)


def canceled_under_way(at: Scene) -> Writer:
    """Cancel during a POST, and record its outcome."""
    at.end()
    claimed = at.claim()

    def write() -> None:
        at.bridge.registrations.cancel(at.ref)
        at.record(claimed, TAKEN)

    return write


def run_again(at: Scene) -> Writer:
    """Redeliver a delivered registration."""
    delivered(at)()

    def write() -> None:
        at.bridge.registrations.redeliver(at.ref)
        at.bridge.deliver_all()

    return write


def given_up(at: Scene) -> Writer:
    """Make the last attempt of a run."""
    at.end()
    at.bridge.sender.script(HOOK, 500)
    while at.bridge.registration(at.ref).last_attempt < 9:
        at.deliver()
        at.wait(30)
    claimed = at.claim()
    return lambda: at.record(claimed, SILENT)


def dropped(at: Scene) -> Writer:
    """Make attempts until the oldest kept ones are dropped."""
    at.end()
    at.bridge.sender.script(HOOK, 500)
    at.fail_often(5)
    at.bridge.sender.script(HOOK, 500, 500, 204)

    def write() -> None:
        for _ in range(3):
            at.wait(30)
            at.deliver()

    return write


def purged(at: Scene) -> Writer:
    """Purge everything."""
    delivered(at)()
    return at.purge


def born_again(at: Scene) -> Writer:
    """Cancel, register again, deliver."""
    at.end()

    def write() -> None:
        at.bridge.registrations.cancel(at.ref)
        at.bridge.register("operation-1", HOOK)
        at.bridge.deliver_all()

    return write


WRITERS: Mapping[str, Callable[[Scene], Writer]] = MappingProxyType(
    {
        "delivered": delivered,
        "taken": lambda at: recorded(at, TAKEN),
        "failed": lambda at: recorded(at, FAILED),
        "gone": lambda at: recorded(at, answered(410, address=None)),
        "silent": lambda at: recorded(at, SILENT),
        "failed, attempted again": recorded_and_attempted_again,
        "lost, taken while the next is under way": lost_and_taken_late,
        "lost, taken before the next": lost_and_taken_before_the_next,
        "canceled under way": canceled_under_way,
        "run again": run_again,
        "given up": given_up,
        "purged": purged,
        "born again": born_again,
    }
)


@pytest.mark.parametrize("name", WRITERS)
def test_an_answer_is_the_one_from_before_a_write_or_the_one_from_after_it(name: str) -> None:
    at = scene()
    writer = WRITERS[name](at)
    before = at.read()

    answer = at.read_while(writer)

    after = at.read()
    assert before.body != after.body
    assert answer.body in (before.body, after.body)


def test_attempts_dropped_during_the_read_are_counted() -> None:
    """The oldest attempts are gone. The registration refers to the others."""
    at = scene()
    writer = dropped(at)
    before = at.read().body

    answer = at.read_while(writer).body

    assert len(before["attempts"]) == KEPT_ATTEMPTS
    assert answer["attempts"] == before["attempts"][3:]
    assert answer["earlierAttempts"]["count"] == 3
    others = before.keys() - {"attempts", "earlierAttempts"}
    assert {name: answer[name] for name in others} == {name: before[name] for name in others}


def test_registering_again_shows_one_moment_too() -> None:
    """The answer 200 shows attempts, which are read after the registration."""
    at = scene()
    writer = delivered(at)
    client = Client.of(at.bridge)
    before = client.register(BODY)
    at.table.writer, at.table.before_reads_of = writer, "att:"

    answer = client.register(BODY)

    assert before.body["state"] == "pending"
    assert (answer.status, answer.body) == (200, before.body)


def test_a_consistent_answer_has_no_extra_call() -> None:
    """One read is for the operation with its registrations, and one for the attempts."""
    at = scene()
    delivered(at)()
    at.bridge.table.taken()

    at.read()

    assert at.bridge.table.taken() == {"range": 2}
