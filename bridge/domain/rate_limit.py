"""Limits of rates: the budget of requests of each source, and the number of pings that the whole app sends.

A budget is a token bucket that adapts to the responses of its source. The source's quota is documented loosely, and
other clients share it, so the budget is learnt: a 429 halves the rate and stops the source for a while, each quiet
minute wins some of it back. A fault of the credential pauses the source. A source that gives nothing but faults opens
its circuit breaker. After a pause, and while the circuit is open, one operation at a time probes the source.

Times that record the past are written by the clock of one instance and read by another. `clamped` corrects those that
an honest clock cannot have written.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta

from pydantic import FiniteFloat

from bridge.domain.backoff import Backoff
from bridge.domain.sliding_window import check_times, take
from bridge.domain.time import CLOCK_SKEW
from bridge.domain.upstream import LONGEST_NAMED_STOP

#: The rate never falls below one request a minute.
LOWEST_RATE = 1 / 60

#: Each minute without a 429 wins this part of the highest rate back.
WON_BACK = 0.05
_MINUTE = timedelta(minutes=1)

#: How long 429s in a row that name no time stop the source.
STOP_BACKOFF = Backoff(timedelta(seconds=30), timedelta(minutes=5))

#: How long faults of the credential pause the source.
PAUSE_BACKOFF = Backoff(timedelta(minutes=1), timedelta(minutes=15))

#: After this many faults in a row without any answer, the circuit is open: one probe at a time.
FAULTS_TO_OPEN = 10

#: The wait until the next probe.
PROBE_BACKOFF = Backoff(timedelta(seconds=15), timedelta(minutes=1))

#: A source that has given nothing but faults for this long, and at least three of them, is reported as unreachable.
UNREACHABLE_AFTER = timedelta(minutes=3)
_FAULTS_TO_REPORT = 3

#: By so much the shadow price of a request changes from one sweep to the next, and so far.
PRICE_RISES, PRICE_FALLS, HIGHEST_PRICE = 1.1, 0.9, 1e4

#: A bucket holds what one sweep may ask: the tokens of this time.
SWEEP = timedelta(seconds=10)

#: A stored number above this is nobody's honest count.
_LARGEST = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """One row for each source; read once a sweep, written when it changed."""

    #: Requests a second, at present.
    rate: FiniteFloat
    #: Requests that may be made at `at`.
    tokens: FiniteFloat
    at: datetime
    #: The rate was last changed, by a 429 or by a quiet minute.
    changed_at: datetime
    #: How many times the base price a request costs: it rises while more is due than may be asked.
    shadow_price: float = 1.0
    #: Nobody asks before this: the source said so.
    stopped_until: datetime | None = None
    #: When it said so last.
    stopped_at: datetime | None = None
    #: How long that stop is, in seconds: a clock that was ahead cannot lengthen it.
    stopped_for: FiniteFloat = 0.0
    #: 429s in a row that named no time.
    stops: int = 0
    #: Nobody asks before this: the source did not take the credential.
    paused_until: datetime | None = None
    #: When it was denied last.
    denied_at: datetime | None = None
    #: How long that pause is, in seconds: likewise.
    paused_for: FiniteFloat = 0.0
    #: Pauses in a row; while there are any, one operation at a time probes.
    pauses: int = 0
    #: What the source said of the credential.
    denied: str | None = None
    #: When the last poll was sent that got an answer about its operation, if that was written with something else.
    answered_at: datetime | None = None
    #: Faults in a row since the last answer of any kind, when the first of them came, and what the last one was.
    faults: int = 0
    silent_since: datetime | None = None
    fault: str | None = None
    #: The circuit is open: no request before this, then one probe.
    probe_at: datetime | None = None
    #: Probes in a row that failed, with the faults that opened the circuit as the first; 0 while it is closed.
    probes: int = 0
    #: When the source was reported as unreachable.
    unreachable_at: datetime | None = None
    #: Stamped by the transaction that wrote the row last.
    tx: str = ""

    def __post_init__(self) -> None:
        """Refuse what no bridge has counted; raises ValueError."""
        numbers = (self.rate, self.tokens, self.shadow_price, self.stopped_for, self.paused_for)
        if not all(math.isfinite(each) and abs(each) <= _LARGEST for each in numbers):
            raise ValueError("a budget has sane numbers")

    def free_at(self) -> datetime | None:
        """When the source may be asked again, if it is stopped, paused or silent."""
        untils = (self.stopped_until, self.paused_until, self.probe_at)
        return max((at for at in untils if at is not None), default=None)

    @property
    def is_probed(self) -> bool:
        """Whether one operation at a time is polled: after a pause, and while the circuit is open."""
        return self.pauses > 0 or self.probes > 0

    @property
    def is_suspect(self) -> bool:
        """Whether the source has refused or failed a request and no later one was answered."""
        return self.is_probed or self.stopped_at is not None or self.denied_at is not None


def fresh(now: datetime, *, highest: float) -> Budget:
    """Begin with a full bucket at the highest rate, in requests a second."""
    return Budget(rate=highest, tokens=_burst(highest), at=now, changed_at=now)


def refill(budget: Budget, now: datetime, *, highest: float) -> Budget:
    """Let time pass: tokens come in, quiet minutes win the rate back. A clock that goes backwards brings nothing."""
    quiet = max((now - budget.changed_at) // _MINUTE, 0)
    rate = min(max(budget.rate, LOWEST_RATE) + quiet * WON_BACK * highest, highest)
    elapsed = max((now - budget.at).total_seconds(), 0)
    return replace(
        budget,
        rate=rate,
        tokens=min(budget.tokens + elapsed * budget.rate, _burst(rate)),
        at=max(now, budget.at),
        changed_at=budget.changed_at + quiet * _MINUTE,
    )


def reserve(budget: Budget, wanted: int, now: datetime, *, highest: float) -> tuple[Budget, int]:
    """Take tokens for up to `wanted` requests; returns how many were granted.

    None while the source is stopped, paused or silent. A source that is probed grants one, and the next wait is put
    down at once, so that another sweep does not probe as well.
    """
    full = refill(budget, now, highest=highest)
    free_at = full.free_at()
    granted = 0 if free_at is not None and now < free_at else min(wanted, int(full.tokens))
    if not granted or not full.is_probed:
        return replace(full, tokens=full.tokens - granted), granted
    probed = replace(full, tokens=full.tokens - 1)
    if full.pauses:
        wait = PAUSE_BACKOFF.wait(full.pauses)
        probed = replace(probed, paused_until=now + wait, paused_for=wait.total_seconds())
    if full.probes:
        probed = replace(probed, probe_at=now + PROBE_BACKOFF.wait(full.probes))
    return probed, 1


def update_price(
    shadow_price: float, *, wanted: int, granted: int, left: float, worth: float, elapsed: timedelta
) -> float:
    """Move the shadow price towards the one at which as much falls due as may be asked; the base price is the lowest.

    Where more was wanted than granted, that is what the last one granted is worth, in base prices. A higher one
    would let those that are worth it wait for the bounds of their gaps. Otherwise it falls with the tokens that are
    `left`, and with the sweeps that had nothing to ask.
    """
    idle = max(elapsed / SWEEP - 1, 0.0)
    fallen = shadow_price * math.pow(PRICE_FALLS, idle)
    aim = worth if granted < wanted else fallen * wanted / (granted + left)
    shadow_price = min(max(aim, fallen * PRICE_FALLS), shadow_price * PRICE_RISES)
    return min(max(shadow_price, 1.0), HIGHEST_PRICE)


def give_back(budget: Budget, unused: int) -> Budget:
    """Put back what was reserved and not used."""
    return replace(budget, tokens=min(budget.tokens + unused, _burst(budget.rate)))


def throttle(budget: Budget, wait: timedelta | None, now: datetime, *, asked_at: datetime) -> Budget:
    """Take a 429: halve the rate, and stop for as long as the source said, or ever longer if it said nothing.

    A 429 to a request of before the last stop is about the same moment: it can only lengthen the stop.
    """
    budget = answered(budget)
    if budget.stopped_at is not None and asked_at <= budget.stopped_at:
        until, before = now + (wait or timedelta(0)), budget.stopped_until
        if before is not None and before >= until:
            return budget
        return replace(budget, stopped_until=until, stopped_for=(wait or timedelta(0)).total_seconds())
    stops = budget.stops + 1 if wait is None else budget.stops
    stop = STOP_BACKOFF.wait(stops) if wait is None else wait
    return replace(
        budget,
        rate=max(budget.rate / 2, LOWEST_RATE),
        tokens=0.0,
        changed_at=now,
        stopped_at=now,
        stopped_until=now + stop,
        stopped_for=stop.total_seconds(),
        stops=stops,
    )


def deny(budget: Budget, what: str, now: datetime, *, asked_at: datetime) -> Budget:
    """Take a fault of the credential: pause, ever longer. A request of before the last one says nothing new."""
    budget = answered(budget)
    if budget.denied_at is not None and asked_at <= budget.denied_at:
        return budget
    pauses = budget.pauses + 1
    wait = PAUSE_BACKOFF.wait(pauses)
    return replace(
        budget,
        pauses=pauses,
        paused_until=now + wait,
        paused_for=wait.total_seconds(),
        denied_at=now,
        denied=what,
    )


def fail(budget: Budget, what: str, now: datetime) -> Budget:
    """Count a request that got no answer. Enough of them in a row open the circuit, and a failed probe keeps it open.

    Requests that were under way when the circuit opened do not lengthen the wait. A source that has given nothing
    but faults for UNREACHABLE_AFTER is marked as unreachable.
    """
    faults, since = budget.faults + 1, budget.silent_since or now
    after = replace(budget, faults=faults, silent_since=since, fault=what)
    if now - since >= UNREACHABLE_AFTER and faults >= _FAULTS_TO_REPORT and budget.unreachable_at is None:
        after = replace(after, unreachable_at=now)
    opened = budget.probe_at is None and faults >= FAULTS_TO_OPEN
    if not opened:
        return after
    return replace(after, probes=1, probe_at=now + PROBE_BACKOFF.first)


def fail_probe(budget: Budget, what: str, now: datetime) -> Budget:
    """Count a probe that got no answer: the wait for the next one doubles."""
    probes = budget.probes + 1
    return replace(fail(budget, what, now), probes=probes, probe_at=now + PROBE_BACKOFF.wait(probes))


def answered(budget: Budget) -> Budget:
    """Note that the source has answered something: it is not silent."""
    return replace(budget, faults=0, silent_since=None, fault=None, probe_at=None, probes=0, unreachable_at=None)


def accept(budget: Budget, *, asked_at: datetime) -> Budget:
    """Take an answer about an operation: the credential is good, and the source does not mind being asked.

    Unless its request was sent before a 429 or a denial came.
    """
    budget = answered(replace(budget, answered_at=max(asked_at, budget.answered_at or asked_at)))
    last = max((at for at in (budget.stopped_at, budget.denied_at) if at is not None), default=None)
    if last is None or asked_at <= last:
        return budget
    cleared = replace(budget, pauses=0, paused_until=None, paused_for=0.0, denied=None, denied_at=None, stops=0)
    return replace(cleared, stopped_until=None, stopped_at=None, stopped_for=0.0)


def clamped(budget: Budget, now: datetime) -> tuple[Budget, Sequence[str]]:
    """Correct the times of a row that no honest clock has written; returns the names of the columns that were wrong.

    A time that records the past is at most CLOCK_SKEW ahead. A stop or a pause ends at most its own length from now,
    give or take CLOCK_SKEW, and its length is at most the longest there is.
    """
    latest = now + CLOCK_SKEW

    def held(at: datetime | None, length: timedelta = timedelta(0)) -> datetime | None:
        return None if at is None else min(at, latest + length)

    after = replace(
        budget,
        at=min(budget.at, latest),
        changed_at=min(budget.changed_at, latest),
        stopped_at=held(budget.stopped_at),
        denied_at=held(budget.denied_at),
        answered_at=held(budget.answered_at),
        silent_since=held(budget.silent_since),
        unreachable_at=held(budget.unreachable_at),
        stopped_until=held(budget.stopped_until, _length(budget.stopped_for, LONGEST_NAMED_STOP)),
        paused_until=held(budget.paused_until, _length(budget.paused_for, PAUSE_BACKOFF.longest)),
        probe_at=held(budget.probe_at, PROBE_BACKOFF.longest),
    )
    return after, [each.name for each in fields(budget) if getattr(after, each.name) != getattr(budget, each.name)]


def _length(seconds: float, longest: timedelta) -> timedelta:
    """Read how long a stop or a pause is. A row of the version before does not say: it is the longest then."""
    return min(timedelta(seconds=seconds), longest) if seconds > 0 else longest


def _burst(rate: float) -> float:
    return max(rate * SWEEP.total_seconds(), 1.0)


# Pings: they reach strangers' servers, so their number is limited.

#: Pings in any minute, from all instances together.
PINGS_A_MINUTE = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Pings:
    """One row: when the last pings were sent."""

    #: Milliseconds since 1970, oldest first.
    recent: tuple[int, ...] = ()
    #: Stamped by the transaction that wrote the row last.
    tx: str = ""

    def __post_init__(self) -> None:
        """Refuse times that no clock has told; raises ValueError."""
        check_times(self.recent)


def take_ping(pings: Pings, now: datetime, *, tx: str) -> Pings | timedelta:
    """Take the right to one ping at `now`; returns the wait until there is one if the minute has none left."""
    taken = take(pings.recent, now, most=PINGS_A_MINUTE, within=_MINUTE)
    return taken if isinstance(taken, timedelta) else replace(pings, recent=taken, tx=tx)
