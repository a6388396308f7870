"""Number every call from the bridge to the outside. A fault can be placed at each number.

A plan maps numbers to faults. A run without a plan has no fault, and leaves a trace of all calls to place faults at.
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
    """A kind of call."""

    GET = "get"
    RANGE = "range"
    COMMIT = "commit"
    SEND = "send"
    POLL = "poll"
    FETCH_FAILURE = "fetch failure"
    POST = "post"


class Mode(StrEnum):
    """A fault of a call."""

    DIE_BEFORE = "die before"
    DIE_AFTER = "die after"
    REQUEST_LOST = "request lost"  #: no reply and no effect
    REPLY_LOST = "reply lost"  #: no reply, but the call took effect
    REFUSED = "refused"  #: an error reply: nothing changed, and the caller knows
    LATE = "late"  #: no reply, and the effect comes after the next call
    LATER = "later"  #: no reply, and the effect comes after the next two calls


_DEATHS = (Mode.DIE_BEFORE, Mode.DIE_AFTER)
_SILENCES = (Mode.REQUEST_LOST, Mode.REPLY_LOST)

#: The faults to try with each kind. Dying after a read equals dying before the next call.
MODES: Mapping[Call, tuple[Mode, ...]] = {
    Call.GET: (Mode.DIE_BEFORE, Mode.REQUEST_LOST),
    Call.RANGE: (Mode.DIE_BEFORE, Mode.REQUEST_LOST),
    Call.COMMIT: tuple(Mode),
    Call.SEND: (*_DEATHS, *_SILENCES, Mode.LATE),
    Call.POLL: (*_DEATHS, *_SILENCES),
    Call.FETCH_FAILURE: (Mode.DIE_BEFORE, Mode.REQUEST_LOST),
    Call.POST: (*_DEATHS, *_SILENCES),
}

#: The fault at each number.
Plan = Mapping[int, Mode]


class Died(BaseException):
    """The process died. No handler of the bridge may catch this exception, since none would run."""


@dataclass(slots=True)
class Invocation:
    """One invocation of the bridge by the host: a request, a timer tick or a queue message."""

    #: Number of faulty calls.
    faults: int = 0
    died: bool = False


@dataclass(slots=True)
class Caller:
    """A process that makes calls."""

    #: The current invocation, or the last one.
    invocation: Invocation = field(default_factory=Invocation)
    alive: bool = True
    #: Seconds that calls of the next invocation take, keyed by the number of calls before each.
    slow: dict[int, float] = field(default_factory=dict)
    made: int = 0

    def die(self) -> Died:
        """Kill the process. Work in other threads ends as well."""
        self.alive = False
        self.invocation.died = True
        return Died()


class Calls:
    """Counts the calls of all callers and injects the faults of the plan."""

    def __init__(self, clock: FakeClock, plan: Plan | None = None) -> None:
        self.clock = clock
        self.plan = plan or {}
        #: The kinds of all calls so far.
        self.trace: list[Call] = []
        #: Called before each call. May let other invocations run first.
        self.turn: Callable[[], None] = lambda: None
        self._under_way: list[tuple[int, Callable[[], object]]] = []

    def make(self, caller: Caller, kind: Call, do: Callable[[], _T], without_reply: Callable[[bool], _T]) -> _T:
        """Make a call. `without_reply` gives the result for no reply (False) or for an error reply (True)."""
        self.turn()
        if not caller.alive:
            raise Died
        self.trace.append(kind)
        self._land()
        mode = self.plan.get(len(self.trace))
        caller.invocation.faults += mode is not None
        self.clock.advance(caller.slow.pop(caller.made, 0))
        caller.made += 1
        return do() if mode is None else self._go_wrong(caller, mode, do, without_reply)

    def _go_wrong(self, caller: Caller, mode: Mode, do: Callable[[], _T], without_reply: Callable[[bool], _T]) -> _T:
        if mode in (Mode.DIE_AFTER, Mode.REPLY_LOST):
            with suppress(BridgeError):  # a conflict has no reply either
                do()
        if mode in _DEATHS:
            raise caller.die()
        if mode in (Mode.LATE, Mode.LATER):
            self._under_way.append((len(self.trace) + (2 if mode is Mode.LATE else 3), do))
        return without_reply(mode is Mode.REFUSED)

    def _land(self) -> None:
        """Let delayed calls take effect once enough other calls were made. Some fail by then."""
        for at, do in list(self._under_way):
            if at <= len(self.trace):
                self._under_way.remove((at, do))
                with suppress(BridgeError):
                    do()
