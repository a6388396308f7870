"""How receivers are kept apart: one that is slow or silent costs the others nothing.

Each instance keeps count for itself, by host and port. A host has so many attempts in flight and no more; one that
was silent several times in a row rests, ever longer, and is then tried with one attempt at a time until it answers.
What may not be attempted now is held back: its due time moves, and no attempt is used up.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

#: Attempts in flight at one host.
MAX_IN_FLIGHT = 4

#: Attempts without an answer in a row, after which a host rests.
SILENT_IN_A_ROW = 5

#: The first rest; each further one is twice as long, up to the longest.
FIRST_REST = timedelta(seconds=30)
LONGEST_REST = timedelta(minutes=10)

#: An attempt that finds a host busy is held back for this long, up to twice that.
BUSY_WAIT = timedelta(seconds=5)

#: Before it is, it waits this long for a place: longer at a host that is known to answer, not at all at a silent one.
PATIENCE_WITH_KNOWN = timedelta(seconds=1)
PATIENCE_WITH_UNKNOWN = timedelta(milliseconds=100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What one instance knows of a host."""

    in_flight: int = 0
    #: Whether the last attempt that ended got an answer.
    answers: bool = False
    #: Attempts without an answer since the last one with an answer.
    silent: int = 0
    #: Rests since the last answer.
    rests: int = 0
    resting_until: datetime | None = None

    def is_resting(self, now: datetime) -> bool:
        """Whether it is left alone."""
        return self.resting_until is not None and now < self.resting_until

    @property
    def is_idle(self) -> bool:
        """Whether nothing is lost if it is forgotten."""
        return self.in_flight == 0 and self.silent == 0

    @property
    def patience(self) -> timedelta:
        """How long an attempt that finds it busy waits for a place."""
        if self.silent:
            return timedelta(0)
        return PATIENCE_WITH_KNOWN if self.answers else PATIENCE_WITH_UNKNOWN


@dataclass(frozen=True, slots=True)
class HeldBack:
    """Not now."""

    until: datetime
    #: `busy` or `resting`.
    why: str


def admit(host: Host, now: datetime, *, chance: float) -> Host | HeldBack:
    """Let an attempt in, or hold it back; `chance` in [0, 1) spreads those who find a host busy."""
    if host.is_resting(now) and host.resting_until is not None:
        return HeldBack(host.resting_until, "resting")
    if host.in_flight >= (MAX_IN_FLIGHT if host.silent < SILENT_IN_A_ROW else 1):
        return HeldBack(now + BUSY_WAIT * (1 + chance), "busy")
    return replace(host, in_flight=host.in_flight + 1)


def leave(host: Host, now: datetime, *, answered: bool | None) -> Host:
    """Note that an attempt is over: whether it got an answer, or None if it was not made."""
    in_flight = max(host.in_flight - 1, 0)
    if answered:
        return Host(in_flight=in_flight, answers=True)
    if answered is None:
        return replace(host, in_flight=in_flight)
    silent = replace(host, in_flight=in_flight, answers=False, silent=host.silent + 1)
    if silent.silent < SILENT_IN_A_ROW or silent.is_resting(now):
        return silent
    rest = min(FIRST_REST * (1 << min(silent.rests, 10)), LONGEST_REST)
    return replace(silent, rests=silent.rests + 1, resting_until=now + rest)
