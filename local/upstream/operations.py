"""The operations of the fake Speech service: their lives, and their scripted answers."""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from local.answer import Answer
from local.upstream.catalogue import PLACEHOLDER
from local.upstream.lives import Durations, Life, life_of, status_at


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
    """All operations, by id. A life begins with the first request, submission or script."""

    def __init__(self, clock: Callable[[], float], durations: Durations, seed: int) -> None:
        self._clock = clock
        self._durations = durations
        self._seed = seed
        self._lock = threading.Lock()
        self._known: dict[str, _Operation] = {}
        self._for_all: Standing | None = None

    def begin(self, operation_id: str) -> None:
        """Begin the life of an operation, unless begun before."""
        with self._lock:
            self._find(operation_id)

    def tell(
        self, operation_id: str, life: Life, answers: Iterable[Answer], always: Answer | None, seconds: float | None
    ) -> None:
        """Script an operation from now on. Without a life, the current one continues."""
        with self._lock:
            operation = self._find(operation_id)
            operation.answers.extend(answers)
            operation.always = self._standing(always, seconds)
            if life:
                operation.life, operation.since = life, self._clock()

    def tell_all(self, always: Answer | None, seconds: float | None) -> None:
        """Give every request the same answer for a number of seconds, or forever. None ends the repetition."""
        with self._lock:
            self._for_all = self._standing(always, seconds)

    def answer_for_all(self, operation_id: str) -> Answer | None:
        """Return the current answer for every request, if any."""
        with self._lock:
            return self._given(self._for_all, operation_id)

    def answer(self, operation_id: str) -> Answer:
        """Return the next answer to a request for an operation."""
        with self._lock:
            operation = self._find(operation_id)
            if operation.answers:
                return _about(operation.answers.popleft(), operation_id)
            given = self._given(operation.always, operation_id)
        return given or Answer.of({"id": operation_id, "status": self.status(operation_id)})

    def status(self, operation_id: str) -> str:
        """Return the current status of an operation."""
        with self._lock:
            operation = self._find(operation_id)
            return status_at(operation.life, self._clock() - operation.since)

    def _find(self, operation_id: str) -> _Operation:
        if operation_id not in self._known:
            life = life_of(operation_id, self._durations.of(operation_id, self._seed))
            self._known[operation_id] = _Operation(life=life, since=self._clock())
        return self._known[operation_id]

    def _standing(self, answer: Answer | None, seconds: float | None) -> Standing | None:
        until = None if seconds is None else self._clock() + seconds
        return None if answer is None else Standing(answer, until)

    def _given(self, standing: Standing | None, operation_id: str) -> Answer | None:
        if standing is None or (standing.until is not None and self._clock() >= standing.until):
            return None
        return _about(standing.answer, operation_id)


def _about(answer: Answer, operation_id: str) -> Answer:
    return replace(answer, body=answer.body.replace(PLACEHOLDER.encode(), operation_id.encode()))
