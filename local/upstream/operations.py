"""The operations of the fake Speech service: their lives, and their scripted answers."""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from pydantic import TypeAdapter

from local.answer import Answer
from local.upstream.catalogue import PLACEHOLDER, named
from local.upstream.kept import Kept
from local.upstream.lives import DEFAULT_DURATIONS, Durations, Life, life_of, phase_at
from local.upstream.quota import Meter, Quota

_SECTION = "operations"
_ENTRY = TypeAdapter(tuple[float, Life])


class Unknown(StrEnum):
    """How a request for an operation is answered that was neither submitted nor described."""

    NOT_FOUND = "notFound"  #: with 404, as the real service does
    SUCCEED = "succeed"  #: the operation begins to live at its first request


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How operations go that were not described. By default unknown ones succeed, which saves tests a submission."""

    #: How long operations take.
    durations: Durations = DEFAULT_DURATIONS
    #: The seed of random durations, for repeatable runs.
    seed: int = 0
    #: The answer for an operation that was neither submitted nor described.
    unknown: Unknown = Unknown.SUCCEED
    #: How many requests are answered, PUT and GET together. None for any number.
    quota: Quota | None = None
    #: The file that remembers operations and jobs over a restart, if they are to be remembered.
    state: Path | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """An answer that is repeated."""

    answer: Answer
    #: When the repetition ends, in seconds on the fake's clock. None for never.
    until: float | None


@dataclass(slots=True, kw_only=True)
class _Operation:
    """One operation of the fake Speech service."""

    #: The statuses over time.
    life: Life
    #: When the life began.
    since: float
    #: Scripted answers, each for one request, before any status.
    answers: deque[Answer] = field(default_factory=deque)
    #: Repeated instead of any status.
    always: Standing | None = None


class Operations:
    """All operations, by id. An operation begins to live when it is submitted or described.

    `kept` remembers the lives of operations over a restart, not their scripted answers. `clock` gives the seconds
    that operations live by, and has to go on over a restart if something is kept.
    """

    def __init__(self, clock: Callable[[], float], rules: Rules, kept: Kept) -> None:
        self._clock = clock
        self._rules = rules
        self._kept = kept
        self._lock = threading.Lock()
        lives = {name: _ENTRY.validate_python(entry) for name, entry in kept.section(_SECTION).items()}
        self._known = {name: _Operation(life=life, since=since) for name, (since, life) in lives.items()}
        self._for_all: Standing | None = None
        self._meter = Meter(rules.quota) if rules.quota else None

    def wait_for_quota(self) -> float:
        """Count a request. Returns 0, or the seconds until the next request if the quota is used up."""
        return self._meter.take(self._clock()) if self._meter else 0.0

    def begin(self, operation_id: str) -> None:
        """Begin the life of an operation, unless begun before."""
        with self._lock:
            self._find(operation_id)

    def script(
        self, operation_id: str, life: Life, answers: Iterable[Answer], always: Answer | None, seconds: float | None
    ) -> None:
        """Script an operation from now on. Without a life, the current one continues."""
        with self._lock:
            operation = self._find(operation_id)
            operation.answers.extend(answers)
            operation.always = self._standing(always, seconds)
            if life:
                operation.life, operation.since = life, self._clock()
                self._keep(operation_id, operation)

    def script_all(self, always: Answer | None, seconds: float | None) -> None:
        """Give every request the same answer for a number of seconds, or forever. None ends the repetition."""
        with self._lock:
            self._for_all = self._standing(always, seconds)

    def answer_for_all(self, operation_id: str) -> Answer | None:
        """Return the current answer for every request, if any."""
        with self._lock:
            return self._given(self._for_all, operation_id)

    def knows(self, operation_id: str) -> bool:
        """Whether an operation was submitted, described or, if unknown ones succeed, requested."""
        with self._lock:
            return operation_id in self._known

    def answer(self, operation_id: str) -> Answer:
        """Return the next answer to a request for an operation."""
        with self._lock:
            if operation_id not in self._known and self._rules.unknown is Unknown.NOT_FOUND:
                return named("not found (from the schema)")
            operation = self._find(operation_id)
            if operation.answers:
                return _about(operation.answers.popleft(), operation_id)
            given = self._given(operation.always, operation_id)
        return given or Answer.of({"id": operation_id, "status": self.status(operation_id)})

    def status(self, operation_id: str) -> str:
        """Return the current status of an operation."""
        return self.status_and_age(operation_id)[0]

    def status_and_age(self, operation_id: str) -> tuple[str, float]:
        """Return the current status of an operation, and for how many seconds the operation has had it."""
        with self._lock:
            operation = self._find(operation_id)
            age = self._clock() - operation.since
        begins, status = phase_at(operation.life, age)
        return status, max(0.0, age - begins)

    def _find(self, operation_id: str) -> _Operation:
        if operation_id not in self._known:
            life = life_of(operation_id, self._rules.durations.of(operation_id, self._rules.seed))
            operation = self._known[operation_id] = _Operation(life=life, since=self._clock())
            self._keep(operation_id, operation)
        return self._known[operation_id]

    def _keep(self, operation_id: str, operation: _Operation) -> None:
        self._kept.add(_SECTION, operation_id, [operation.since, [list(each) for each in operation.life]])

    def _standing(self, answer: Answer | None, seconds: float | None) -> Standing | None:
        until = None if seconds is None else self._clock() + seconds
        return None if answer is None else Standing(answer, until)

    def _given(self, standing: Standing | None, operation_id: str) -> Answer | None:
        if standing is None or (standing.until is not None and self._clock() >= standing.until):
            return None
        return _about(standing.answer, operation_id)


def _about(answer: Answer, operation_id: str) -> Answer:
    return replace(answer, body=answer.body.replace(PLACEHOLDER.encode(), operation_id.encode()))
