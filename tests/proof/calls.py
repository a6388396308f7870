"""Every call from the bridge to the outside, numbered: each is a point where things can go wrong.

A plan says what goes wrong at which number. Without one everything goes well, and the trace says which calls there
are, so that all of them can be tried one after the other.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from bridge.domain.errors import BridgeError
from tests.support.harness import FakeClock

_T = TypeVar("_T")


class Call(StrEnum):
    """Which kinds of calls there are."""

    GET = "get"
    RANGE = "range"
    COMMIT = "commit"
    SEND = "send"
    ASK = "ask"
    WHY = "ask why"
    POST = "post"


class Mode(StrEnum):
    """What can go wrong with a call."""

    DIE_BEFORE = "die before"
    DIE_AFTER = "die after"
    REQUEST_LOST = "request lost"  #: no reply, and no effect
    REPLY_LOST = "reply lost"  #: no reply, but it took effect
    REFUSED = "refused"  #: a reply that says no: nothing has changed, and the caller knows
    LATE = "late"  #: no reply, and the effect comes after the next call
    LATER = "later"  #: likewise, after the next two


_DEATHS = (Mode.DIE_BEFORE, Mode.DIE_AFTER)
_SILENCES = (Mode.REQUEST_LOST, Mode.REPLY_LOST)

#: What is tried with each kind. Dying after a read is dying before the next call.
MODES: Mapping[Call, tuple[Mode, ...]] = {
    Call.GET: (Mode.DIE_BEFORE, Mode.REQUEST_LOST),
    Call.RANGE: (Mode.DIE_BEFORE, Mode.REQUEST_LOST),
    Call.COMMIT: tuple(Mode),
    Call.SEND: (*_DEATHS, *_SILENCES, Mode.LATE),
    Call.ASK: (*_DEATHS, *_SILENCES),
    Call.WHY: (Mode.DIE_BEFORE, Mode.REQUEST_LOST),
    Call.POST: (*_DEATHS, *_SILENCES),
}

#: Which mode at which call.
Plan = Mapping[int, Mode]


class Died(BaseException):
    """The process is gone. No handler of the bridge may catch it, as none would run."""


@dataclass(slots=True)
class Invocation:
    """One time that the host called the bridge: a request, a tick of the timer, a queue message."""

    #: How many of its calls went wrong.
    faults: int = 0
    died: bool = False


@dataclass(slots=True)
class Caller:
    """A process that makes calls."""

    #: What the host asked it to do last.
    invocation: Invocation = field(default_factory=Invocation)
    alive: bool = True
    #: Seconds that calls of its next invocation take, by how many come before each.
    slow: dict[int, float] = field(default_factory=dict)
    made: int = 0

    def die(self) -> Died:
        """End; what it has under way in other threads ends with it."""
        self.alive = False
        self.invocation.died = True
        return Died()


class Calls:
    """Counts the calls of all callers together, and lets them go wrong as the plan says."""

    def __init__(self, clock: FakeClock, plan: Plan | None = None) -> None:
        self.clock = clock
        self.plan = plan or {}
        #: The kind of each call that was made.
        self.trace: list[Call] = []
        #: Called before each call; may let others go first.
        self.turn: Callable[[], None] = lambda: None
        self._under_way: list[tuple[int, Callable[[], object]]] = []

    def make(self, caller: Caller, kind: Call, do: Callable[[], _T], unheard: Callable[[bool], _T]) -> _T:
        """Make a call; `unheard` is what the caller gets without a reply, or, if its argument says so, for a no."""
        self.turn()
        if not caller.alive:
            raise Died
        self.trace.append(kind)
        self._land()
        mode = self.plan.get(len(self.trace))
        caller.invocation.faults += mode is not None
        self.clock.advance(caller.slow.pop(caller.made, 0))
        caller.made += 1
        return do() if mode is None else self._go_wrong(caller, mode, do, unheard)

    def _go_wrong(self, caller: Caller, mode: Mode, do: Callable[[], _T], unheard: Callable[[bool], _T]) -> _T:
        if mode in (Mode.DIE_AFTER, Mode.REPLY_LOST):
            with suppress(BridgeError):  # nobody hears of a conflict either
                do()
        if mode in _DEATHS:
            raise caller.die()
        if mode in (Mode.LATE, Mode.LATER):
            self._under_way.append((len(self.trace) + (2 if mode is Mode.LATE else 3), do))
        return unheard(mode is Mode.REFUSED)

    def _land(self) -> None:
        """Let what was under way for long enough take effect, if it still can."""
        for at, do in list(self._under_way):
            if at <= len(self.trace):
                self._under_way.remove((at, do))
                with suppress(BridgeError):
                    do()
