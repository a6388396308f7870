"""Scenarios of a sweep: bad operations, paused and silent sources, made-up ids, and a clock that was ahead.

Storage is in memory and time is simulated: a sweep every ten seconds. Only a source that never answers takes real
threads, since it is threads that it holds; each of its requests takes 0.3 s of a sweep's 1 s, as 15 s are of 45 s.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from bench.composed import ENVIRONMENT, Taker
from bench.inline import InlineExecutor
from bench.measuring import Figures
from bench.report import Goal
from bridge.app import Bridge, compose
from bridge.dependencies import Pools, build_dependencies
from bridge.domain.callback_url import normalise
from bridge.domain.ids import OperationRef, RegistrationRef
from bridge.domain.operation import FinalStatus
from bridge.domain.outcome import Outcome, answered
from bridge.domain.registration import Registration
from bridge.domain.upstream import Reply
from bridge.settings import Settings, read_settings
from bridge.storage.keys import partition_of
from bridge.testing import MemoryQueue, MemoryTable

_BEGIN = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
_SWEEP = timedelta(seconds=10)

#: A scenario that has not come to its end after this many sweeps is over.
_LONGEST = 40

_CALLBACK = "http://127.0.0.1:9/"
_SECOND_SOURCE = json.dumps(
    [{"name": "second", "endpoint": "http://127.0.0.1:8", "path": "avatar", "keyVariable": "SECOND_KEY"}]
)

Answer = Callable[[OperationRef], Reply]


@dataclass(slots=True)
class Clock:
    """A clock that stands still until it is moved."""

    now: datetime = _BEGIN

    def __call__(self) -> datetime:
        """Return the present time."""
        return self.now

    def advance(self, by: timedelta = _SWEEP) -> None:
        """Let time pass."""
        self.now += by


@dataclass(slots=True)
class Speech:
    """Sources that answer by a function, and keep which operations were polled."""

    answer: Answer
    polled: list[OperationRef] = field(default_factory=list)

    def fetch_operation(self, ref: OperationRef) -> Reply:
        """Answer a poll."""
        self.polled.append(ref)
        return self.answer(ref)

    def fetch_failure(self, ref: OperationRef) -> Reply:
        """Have no job of that id."""
        return Reply(status=404)


@dataclass(slots=True)
class Failing(Taker):
    """Receivers that fail at first, so that their deliveries wait for a retry."""

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Answer 500 to every callback."""
        return answered(500, address="127.0.0.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """A bridge over storage in memory, with a clock of its own."""

    settings: Settings
    clock: Clock
    table: MemoryTable
    queue: MemoryQueue
    speech: Speech
    bridge: Bridge

    @classmethod
    def of(
        cls,
        answer: Answer,
        *,
        table: MemoryTable | None = None,
        clock: Clock | None = None,
        threads: bool = False,
        **environment: str,
    ) -> "Rig":
        """Compose one; with `threads` its sweep runs in real ones."""
        settings = read_settings({**ENVIRONMENT, "SECOND_KEY": "benchmark", **environment})
        clock, speech, queue = clock or Clock(), Speech(answer), MemoryQueue()
        real = build_dependencies(settings)
        network = replace(real.network, upstream=speech, sender=Failing())
        dependencies = replace(real, table=table or MemoryTable(), queue=queue, network=network, clock=clock)
        if not threads:
            dependencies = replace(
                dependencies, pools=Pools(InlineExecutor(), InlineExecutor(), dependencies.pools.sends)
            )
        assert isinstance(dependencies.table, MemoryTable)
        return cls(
            settings=settings,
            clock=clock,
            table=dependencies.table,
            queue=queue,
            speech=speech,
            bridge=compose(settings, dependencies),
        )

    def register(self, operation_id: str, *, source: str = "default", owner: str = "shared") -> RegistrationRef:
        """Register a callback of an owner."""
        operation, now = OperationRef(source, operation_id), self.clock()
        url = normalise(_CALLBACK, self.settings.callback_rules)
        ref = RegistrationRef.of(operation, owner=owner, callback_url=url)
        self.bridge.handlers.registrations.register(
            Registration(ref=ref, owner=owner, callback_url=url, events=tuple(FinalStatus), since=now, generation=now)
        )
        return ref

    def sweep(self) -> None:
        """Sweep, and let ten seconds pass."""
        self.bridge.sweep.sweep()
        self.clock.advance()

    def sweeps_until(self, reached: Callable[[], bool]) -> float:
        """Sweep until something is reached; returns how many sweeps it took, or one more than the longest."""
        for number in range(1, _LONGEST + 1):
            self.sweep()
            if reached():
                return number
        return _LONGEST + 1

    def was_polled(self, operation_id: str) -> bool:
        """Say whether an operation was polled."""
        return any(ref.id == operation_id for ref in self.speech.polled)


def succeeded(ref: OperationRef) -> Reply:
    """Answer that an operation has succeeded."""
    return Reply(status=200, body=json.dumps({"id": ref.id, "status": "Succeeded"}).encode())


def ids_of_partition(partition: str, count: int, *, source: str, prefix: str) -> list[str]:
    """Find operation ids whose rows live in one partition."""
    found: list[str] = []
    number = 0
    while len(found) < count:
        operation_id = f"{prefix}-{number:06d}"
        if partition_of(OperationRef(source, operation_id)) == partition:
            found.append(operation_id)
        number += 1
    return found


def poison(refusal: Reply) -> Figures:
    """Measure which share of 40 operations is seen to end within a sweep while a 41st is always refused.

    One is registered before each sweep. Others that came in the first three minutes do not count.
    """
    key = f"poison.{refusal.status}"
    return {key: _poison(refusal), f"{key}.calm": _poison(None)}


def _poison(refusal: Reply | None) -> float:
    def answer(ref: OperationRef) -> Reply:
        return refusal if refusal is not None and ref.id == "poison" else succeeded(ref)

    rig = Rig.of(answer, SPEECH_REQUESTS_PER_SECOND="10")
    rig.register("poison")
    early, measured, seen = 18, 40, 0
    for number in range(early + measured):
        rig.register(f"operation-{number}")
        rig.sweep()
        seen += number >= early and rig.was_polled(f"operation-{number}")
    return seen / measured


def paused() -> Figures:
    """Count the sweeps until operations and retries of one source go on beside 2,600 due rows of a paused one."""
    return {"paused.sweeps": _paused(2600), "paused.sweeps.calm": _paused(0)}


def _paused(rows: int) -> float:
    rig = Rig.of(
        lambda ref: Reply(status=401) if ref.source == "default" else succeeded(ref), BRIDGE_SOURCES=_SECOND_SOURCE
    )
    for operation_id in ids_of_partition("op0", rows, source="default", prefix="denied"):
        rig.register(operation_id)
    rig.sweep()
    ended, waiting = ids_of_partition("op0", 2, source="second", prefix="healthy")
    rig.register(ended, source="second")
    rig.bridge.sweep.sweep()
    retried = 0

    def reached() -> bool:
        nonlocal retried
        for task in rig.queue.take():
            retried += task.number > 1
            rig.bridge.deliver.deliver(task)
        return rig.was_polled(waiting) and retried > 0

    reached()  # the first attempt, which fails
    rig.clock.advance(timedelta(seconds=6))
    rig.register(waiting, source="second")
    return rig.sweeps_until(reached)


def hang() -> Figures:
    """Count the sweeps until a source is polled beside 300 operations of one that never answers."""
    return {"hang.sweeps": _hang(300), "hang.sweeps.calm": _hang(0)}


def _hang(waiting: int) -> float:
    def answer(ref: OperationRef) -> Reply:
        if ref.source == "default":
            time.sleep(0.3)
            return Reply(status=504)
        return succeeded(ref)

    clock = _Running()
    rig = Rig.of(
        answer,
        clock=clock,
        threads=True,
        BRIDGE_SOURCES=_SECOND_SOURCE,
        BRIDGE_SWEEP_BUDGET="1s",
        SPEECH_REQUESTS_PER_SECOND="10",
    )
    for number in range(waiting):
        rig.register(f"silent-{number}")
    rig.sweep()
    rig.register("healthy", source="second")
    return rig.sweeps_until(lambda: rig.was_polled("healthy"))


class _Running(Clock):
    """A clock that runs, and can be moved on as well."""

    def __call__(self) -> datetime:
        """Return the present time."""
        return self.now + timedelta(seconds=time.monotonic())


def junk(*, key: str, owner: str, honest: str) -> Figures:
    """Count the sweeps until a real end is seen beside 3,000 registrations of made-up ids, at 10 requests a second."""
    return {key: _junk(3000, owner, honest), f"{key}.calm": _junk(0, owner, honest)}


def _junk(count: int, owner: str, honest: str) -> float:
    rig = Rig.of(
        lambda ref: succeeded(ref) if ref.id == "honest" else Reply(status=404), SPEECH_REQUESTS_PER_SECOND="10"
    )
    for number in range(count):
        rig.register(f"junk-{number}", owner=owner)
        rig.clock.advance(timedelta(milliseconds=10))
    rig.sweep()
    rig.register("honest", owner=honest)
    return rig.sweeps_until(lambda: rig.was_polled("honest"))


def clock() -> Figures:
    """Measure the seconds until polling goes on after an instance whose clock is an hour ahead swept for 20 s."""
    return {"clock.seconds": _clock(timedelta(hours=1)), "clock.seconds.calm": _clock(timedelta(0))}


def _clock(ahead: timedelta) -> float:
    right = Rig.of(succeeded, SPEECH_REQUESTS_PER_SECOND="1")
    wrong = Rig.of(succeeded, table=right.table, clock=Clock(_BEGIN + ahead), SPEECH_REQUESTS_PER_SECOND="1")
    for number in range(40):
        wrong.register(f"early-{number}")
    for _ in range(2):
        wrong.sweep()
        right.clock.advance()
    for number in range(20):
        right.register(f"late-{number}")
    return 10 * (right.sweeps_until(lambda: right.was_polled("late-0")) - 1)


SCENARIOS: Mapping[str, Callable[[], Figures]] = {
    "poison.503": partial(poison, Reply(status=503, retry_after="5")),
    "poison.429": partial(poison, Reply(status=429)),
    "poison.403": partial(poison, Reply(status=403)),
    "paused": paused,
    "hang": hang,
    "junk": partial(junk, key="junk.sweeps", owner="junk", honest="honest"),
    "junk.key": partial(junk, key="junk.key.sweeps", owner="shared", honest="shared"),
    "clock": clock,
}

GOALS: Mapping[str, Goal] = {
    "poison.503": Goal(1.0, at_least=True),
    "poison.429": Goal(1.0, at_least=True),
    "poison.403": Goal(1.0, at_least=True),
    "paused.sweeps": Goal(2),
    "hang.sweeps": Goal(2),
    "junk.sweeps": Goal(3),
    "clock.seconds": Goal(60),
}

_POISON = "share of 40 operations that are seen to end within a sweep, beside one that is always answered {}"
MEANINGS: Mapping[str, str] = {
    "poison.503": _POISON.format("503 with `Retry-After`"),
    "poison.429": _POISON.format("429"),
    "poison.403": _POISON.format("403"),
    "paused.sweeps": "sweeps until others are polled and retried, beside 2,600 due rows of a paused source",
    "hang.sweeps": "sweeps until a source is polled, beside 300 operations of one that never answers",
    "junk.sweeps": "sweeps until a real end is seen, beside 3,000 made-up ids of another owner",
    "junk.key.sweeps": "the same, if one owner registered both",
    "clock.seconds": "seconds until polling goes on, after an instance with a clock an hour ahead",
}
