"""Rate limits: the budget of requests of each source, the pings of the whole app, and windows of recent events.

A budget is a token bucket that adapts to the responses of its source. The source's quota is documented loosely, and
other clients share it, so the budget is learnt: a 429 halves the rate and stops the source for a while, and each quiet
minute restores a part. A fault of the credential pauses the source. Faults without any answer open the source's circuit
breaker. After a pause, and while the circuit is open, one operation at a time probes the source.

One instance's clock writes the times of past events, and another instance reads them. `clamped` corrects times that a
correct clock cannot have written.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta

from bridge.domain.operation import PollError
from bridge.domain.retry import Backoff
from bridge.domain.time import CLOCK_SKEW, from_millis, to_millis
from bridge.domain.upstream import LONGEST_NAMED_STOP

#: In the year 2286. A later time comes from a broken clock.
_LAST_MILLIS = 10**13


def check_times(recent: tuple[int, ...]) -> None:
    """Refuse implausible times. Raises ValueError."""
    if not all(0 <= each < _LAST_MILLIS for each in recent):
        raise ValueError("a time out of range")


def take(recent: tuple[int, ...], now: datetime, *, most: int, within: timedelta) -> tuple[int, ...] | timedelta:
    """Add an event at `now` to the window, or return how long to wait until one more is allowed.

    At most `most` events fall into any period of length `within`. Times are milliseconds since 1970, oldest first.
    Times of a clock that is ahead count as `now`, so that no wait is longer than `within`.
    """
    counted = [at for at in (min(from_millis(each), now) for each in recent) if now - at < within]
    if len(counted) >= most:
        return counted[-most] + within - now
    return tuple(to_millis(at) for at in (*counted, now))


#: The lowest rate: one request a minute.
LOWEST_RATE = 1 / 60

#: Each minute without a 429 restores this share of the highest rate.
WON_BACK = 0.05
_MINUTE = timedelta(minutes=1)

#: How long 429s in a row without a time stop the source.
STOP_BACKOFF = Backoff(timedelta(seconds=30), timedelta(minutes=5))

#: How long faults of the credential pause the source.
PAUSE_BACKOFF = Backoff(timedelta(minutes=1), timedelta(minutes=15))

#: The number of faults in a row, without any answer, that opens the circuit.
FAULTS_TO_OPEN = 10

#: The wait until the next probe.
PROBE_BACKOFF = Backoff(timedelta(seconds=15), timedelta(minutes=1))

#: A source is reported as unreachable after this long, and at least three faults, without any answer.
UNREACHABLE_AFTER = timedelta(minutes=3)
_FAULTS_TO_REPORT = 3

#: The time between sweeps. A bucket holds the tokens of one sweep.
SWEEP = timedelta(seconds=10)

#: Larger stored numbers are damaged.
_LARGEST = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """One row per source, read once per sweep and written after changes."""

    #: Requests per second, currently.
    rate: float
    #: The requests that are available at `at`.
    tokens: float
    at: datetime
    #: When the rate was last changed, by a 429 or by a quiet minute.
    changed_at: datetime
    #: The price of a request, in base prices. Rises while more polls are due than the budget allows.
    shadow_price: float = 1.0
    #: No polls before this time, by the source's 429.
    stopped_until: datetime | None = None
    #: When the source last answered 429.
    stopped_at: datetime | None = None
    #: The length of that stop in seconds, so that a clock that was ahead cannot lengthen the stop.
    stopped_for: float = 0.0
    #: 429s in a row that named no time.
    stops: int = 0
    #: No polls before this time, since the source refused the credential.
    paused_until: datetime | None = None
    #: When the source last refused the credential.
    denied_at: datetime | None = None
    #: The length of that pause in seconds, likewise.
    paused_for: float = 0.0
    #: Pauses in a row. While there are any, one operation at a time probes the source.
    pauses: int = 0
    #: The error of the refused credential.
    denied: PollError | None = None
    #: When the last poll with an answer about its operation was sent. Written only together with other changes.
    answered_at: datetime | None = None
    #: Faults in a row since the last answer, the time of the first one, and the last one's description.
    faults: int = 0
    silent_since: datetime | None = None
    fault: PollError | None = None
    #: If the circuit is open: no request before this time, then one probe.
    probe_at: datetime | None = None
    #: Failed probes in a row, counting the faults that opened the circuit as the first. 0 while the circuit is closed.
    probes: int = 0
    #: When the source was reported as unreachable.
    unreachable_at: datetime | None = None
    #: The id of the transaction that last wrote the row.
    tx: str = ""

    def __post_init__(self) -> None:
        """Refuse damaged numbers. Raises ValueError."""
        numbers = (self.rate, self.tokens, self.shadow_price, self.stopped_for, self.paused_for)
        if not all(math.isfinite(each) and abs(each) <= _LARGEST for each in numbers):
            raise ValueError("a budget has sane numbers")

    def free_at(self) -> datetime | None:
        """Return when the source may be polled again, if it is stopped, paused or silent."""
        ends = (self.stopped_until, self.paused_until, self.probe_at)
        return max((at for at in ends if at is not None), default=None)

    @property
    def is_probed(self) -> bool:
        """Whether only one operation at a time is polled: after a pause, and while the circuit is open."""
        return self.pauses > 0 or self.probes > 0

    @property
    def is_suspect(self) -> bool:
        """Whether the source has refused or failed a request and has not answered a later one."""
        return self.is_probed or self.stopped_at is not None or self.denied_at is not None


def fresh(now: datetime, *, highest: float) -> Budget:
    """Create a budget with a full bucket at the highest rate, in requests per second."""
    return Budget(rate=highest, tokens=_burst(highest), at=now, changed_at=now)


def refill(budget: Budget, now: datetime, *, highest: float) -> Budget:
    """Apply elapsed time: add tokens, and restore the rate after quiet minutes. A clock set back adds nothing."""
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
    """Reserve tokens for up to `wanted` requests. Returns the new budget and the number of granted requests.

    Grants 0 while the source is stopped, paused or silent. A probed source grants 1 and gets its next wait at once, so
    that no other sweep probes as well.
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


def give_back(budget: Budget, unused: int) -> Budget:
    """Return reserved but unused tokens."""
    return replace(budget, tokens=min(budget.tokens + unused, _burst(budget.rate)))


def throttle(budget: Budget, wait: timedelta | None, now: datetime, *, asked_at: datetime) -> Budget:
    """Apply a 429: halve the rate, and stop for the named time, or with each unnamed one for a longer time.

    A 429 for a request from before the last stop belongs to the same event, and can only lengthen the stop.
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


def deny(budget: Budget, error: PollError, now: datetime, *, asked_at: datetime) -> Budget:
    """Apply a refused credential: pause, each time longer. A request from before the last refusal changes nothing."""
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
        denied=error,
    )


def fail(budget: Budget, error: PollError, now: datetime) -> Budget:
    """Count a request without an answer. Enough of them in a row open the circuit.

    Requests that were under way when the circuit opened do not lengthen the wait. A source that has not answered for
    UNREACHABLE_AFTER is marked as unreachable.
    """
    faults, since = budget.faults + 1, budget.silent_since or now
    after = replace(budget, faults=faults, silent_since=since, fault=error)
    if now - since >= UNREACHABLE_AFTER and faults >= _FAULTS_TO_REPORT and budget.unreachable_at is None:
        after = replace(after, unreachable_at=now)
    opened = budget.probe_at is None and faults >= FAULTS_TO_OPEN
    if not opened:
        return after
    return replace(after, probes=1, probe_at=now + PROBE_BACKOFF.first)


def fail_probe(budget: Budget, error: PollError, now: datetime) -> Budget:
    """Count a probe without an answer. The wait for the next probe doubles."""
    probes = budget.probes + 1
    return replace(fail(budget, error, now), probes=probes, probe_at=now + PROBE_BACKOFF.wait(probes))


def answered(budget: Budget) -> Budget:
    """Apply any answer: the source is not silent."""
    return replace(budget, faults=0, silent_since=None, fault=None, probe_at=None, probes=0, unreachable_at=None)


def accept(budget: Budget, *, asked_at: datetime) -> Budget:
    """Apply an answer about an operation: the source accepts the credential and the rate.

    An answer to a request from before the last 429 or refusal does not prove that.
    """
    budget = answered(replace(budget, answered_at=max(asked_at, budget.answered_at or asked_at)))
    last = max((at for at in (budget.stopped_at, budget.denied_at) if at is not None), default=None)
    if last is None or asked_at <= last:
        return budget
    cleared = replace(budget, pauses=0, paused_until=None, paused_for=0.0, denied=None, denied_at=None, stops=0)
    return replace(cleared, stopped_until=None, stopped_at=None, stopped_for=0.0)


def clamped(budget: Budget, now: datetime) -> tuple[Budget, Sequence[str]]:
    """Correct times that no correct clock has written. Returns the budget and the names of the corrected columns.

    A time of a past event is at most CLOCK_SKEW ahead. A stop or a pause ends at most its own length from now, plus
    CLOCK_SKEW, and is never longer than the longest possible one.
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
    """Return the length of a stop or a pause: the longest one for a row of the previous version, which lacks it."""
    return min(timedelta(seconds=seconds), longest) if seconds > 0 else longest


def _burst(rate: float) -> float:
    return max(rate * SWEEP.total_seconds(), 1.0)


# Pings reach servers of third parties, so their number is limited.

#: The most pings per minute, over all instances.
PINGS_A_MINUTE = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Pings:
    """One row: the times of the last pings."""

    #: Milliseconds since 1970, oldest first.
    recent: tuple[int, ...] = ()
    #: The id of the transaction that last wrote the row.
    tx: str = ""

    def __post_init__(self) -> None:
        """Refuse implausible times. Raises ValueError."""
        check_times(self.recent)


def take_ping(pings: Pings, now: datetime, *, tx: str) -> Pings | timedelta:
    """Count one ping at `now`, or return the wait until a ping is allowed."""
    taken = take(pings.recent, now, most=PINGS_A_MINUTE, within=_MINUTE)
    return taken if isinstance(taken, timedelta) else replace(pings, recent=taken, tx=tx)
