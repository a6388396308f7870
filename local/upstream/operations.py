"""What the fake Speech service knows of operations: their lives, and the answers that it was told to give instead."""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from local.answer import Answer
from local.upstream.catalogue import PLACEHOLDER
from local.upstream.lives import Durations, Life, life_of, status_at


@dataclass(frozen=True, slots=True)
class Standing:
    """An answer that is given again and again."""

    answer: Answer
    #: The second on the fake Speech service's clock at which it ends; None is never.
    until: float | None


@dataclass(slots=True, kw_only=True)
class _Operation:
    """What the fake Speech service knows of an operation."""

    #: Its statuses over time.
    life: Life
    #: When that life began.
    since: float
    #: Scripted answers, each given once and before anything else.
    answers: deque[Answer] = field(default_factory=deque)
    #: Given in the place of any status.
    always: Standing | None = None


class Operations:
    """All operations, by id. An operation begins to live when it is first asked for, submitted or told about."""

    def __init__(self, clock: Callable[[], float], durations: Durations, seed: int) -> None:
        self._clock = clock
        self._durations = durations
        self._seed = seed
        self._lock = threading.Lock()
        self._known: dict[str, _Operation] = {}
        self._for_all: Standing | None = None

    def begin(self, operation_id: str) -> None:
        """Let an operation live from now on, if it does not already."""
        with self._lock:
            self._find(operation_id)

    def tell(
        self, operation_id: str, life: Life, answers: Iterable[Answer], always: Answer | None, seconds: float | None
    ) -> None:
        """Say how an operation goes from now on; without a life, it goes on as it was."""
        with self._lock:
            operation = self._find(operation_id)
            operation.answers.extend(answers)
            operation.always = self._standing(always, seconds)
            if life:
                operation.life, operation.since = life, self._clock()

    def tell_all(self, always: Answer | None, seconds: float | None) -> None:
        """Answer every request alike for so many seconds, or for ever; None ends that."""
        with self._lock:
            self._for_all = self._standing(always, seconds)

    def answer_for_all(self, operation_id: str) -> Answer | None:
        """Return what every request is answered now, if anything."""
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
        """Return the status that an operation has come to."""
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
