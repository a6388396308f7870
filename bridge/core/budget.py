"""How often a source may be asked: a token bucket that adapts to what the source says, and the pause of a source.

Its quota is documented loosely, and other clients share it, so the budget is learnt: a 429 halves the rate and stops
the source for a while, each quiet minute wins some of it back. A fault of the credential pauses the source; after
the pause one operation probes it.
"""

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pydantic import FiniteFloat

#: The rate never falls below one request a minute.
LOWEST_RATE = 1 / 60

#: Each minute without a 429 wins this part of the highest rate back.
WON_BACK = 0.05
_MINUTE = timedelta(minutes=1)

#: A 429 that names no time stops the source for this long, doubling with each further one.
FIRST_STOP = timedelta(seconds=30)
LONGEST_STOP = timedelta(minutes=5)

#: A fault of the credential pauses the source for this long, doubling with each probe that meets another.
FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(minutes=15)

#: By so much the price of a request changes from one sweep to the next, and so far.
PRICE_RISES, PRICE_FALLS, HIGHEST_PRICE = 1.1, 0.9, 1e4

#: What an operator does about a credential that the source does not take.
ADVICE = "check SPEECH_KEY, or the identity's role Cognitive Services Speech User and the custom subdomain"

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
    #: How many times the first price a request costs: it rises while more is due than may be asked.
    price: float = 1.0
    #: Nobody asks before this: the source said so.
    stopped_until: datetime | None = None
    #: When it said so last.
    stopped_at: datetime | None = None
    #: 429s in a row that named no time.
    stops: int = 0
    #: Nobody asks before this: the source did not take the credential.
    paused_until: datetime | None = None
    #: When it was denied last.
    denied_at: datetime | None = None
    #: Pauses in a row; while there are any, one operation at a time probes.
    pauses: int = 0
    #: What the source said of the credential.
    denied: str | None = None
    #: Stamped by the transaction that wrote the row last.
    tx: str = ""

    def __post_init__(self) -> None:
        """Refuse what no bridge has counted; raises ValueError."""
        if not all(math.isfinite(each) and abs(each) <= _LARGEST for each in (self.rate, self.tokens, self.price)):
            raise ValueError("a budget has sane numbers")

    def free_at(self) -> datetime | None:
        """When the source may be asked again, if it is stopped or paused."""
        return max((at for at in (self.stopped_until, self.paused_until) if at is not None), default=None)


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

    None while the source is stopped or paused; one after a pause, and the next pause is put down at once, so that
    another sweep does not probe as well.
    """
    full = refill(budget, now, highest=highest)
    free_at = full.free_at()
    granted = 0 if free_at is not None and now < free_at else min(wanted, int(full.tokens))
    if granted and full.pauses:
        return replace(full, tokens=full.tokens - 1, paused_until=now + _pause(full.pauses)), 1
    return replace(full, tokens=full.tokens - granted), granted


def repriced(price: float, *, wanted: int, granted: int, left: float, worth: float, elapsed: timedelta) -> float:
    """Move the price towards the one at which as much falls due as may be asked; the first price is the lowest.

    Where more was wanted than granted, that is what the last one granted is worth, in first prices. A higher one
    would let those that are worth it wait for the bounds of their gaps. Otherwise it falls with the tokens that are
    `left`, and with the sweeps that had nothing to ask.
    """
    idle = max(elapsed / SWEEP - 1, 0.0)
    fallen = price * math.pow(PRICE_FALLS, idle)
    aim = worth if granted < wanted else fallen * wanted / (granted + left)
    price = min(max(aim, fallen * PRICE_FALLS), price * PRICE_RISES)
    return min(max(price, 1.0), HIGHEST_PRICE)


def give_back(budget: Budget, unused: int) -> Budget:
    """Put back what was reserved and not used."""
    return replace(budget, tokens=min(budget.tokens + unused, _burst(budget.rate)))


def throttle(budget: Budget, wait: timedelta | None, now: datetime, *, asked_at: datetime) -> Budget:
    """Take a 429: halve the rate, and stop for as long as the source said, or ever longer if it said nothing.

    One that was asked for before the last stop tells of the same moment: it can only lengthen the stop.
    """
    if budget.stopped_at is not None and asked_at <= budget.stopped_at:
        told = now + (wait or timedelta(0))
        return replace(budget, stopped_until=max(told, budget.stopped_until or told))
    stops = budget.stops + 1 if wait is None else budget.stops
    own = min(FIRST_STOP * (1 << min(max(stops - 1, 0), 10)), LONGEST_STOP)
    return replace(
        budget,
        rate=max(budget.rate / 2, LOWEST_RATE),
        tokens=0.0,
        changed_at=now,
        stopped_at=now,
        stopped_until=now + (own if wait is None else wait),
        stops=stops,
    )


def deny(budget: Budget, what: str, now: datetime, *, asked_at: datetime) -> Budget:
    """Take a fault of the credential: pause, ever longer. One that was asked for before the last says nothing new."""
    if budget.denied_at is not None and asked_at <= budget.denied_at:
        return budget
    pauses = budget.pauses + 1
    return replace(budget, pauses=pauses, paused_until=now + _pause(pauses), denied_at=now, denied=what)


def accept(budget: Budget, *, asked_at: datetime) -> Budget:
    """Take an answer about an operation: the credential is good, and the source does not mind being asked.

    Unless it was asked for before a 429 or a denial came.
    """
    last = max((at for at in (budget.stopped_at, budget.denied_at) if at is not None), default=None)
    if last is None or asked_at <= last:
        return budget
    cleared = replace(budget, pauses=0, paused_until=None, denied=None, denied_at=None, stops=0)
    return replace(cleared, stopped_until=None, stopped_at=None)


def _pause(pauses: int) -> timedelta:
    return min(FIRST_PAUSE * (1 << min(max(pauses - 1, 0), 10)), LONGEST_PAUSE)


def _burst(rate: float) -> float:
    return max(rate * SWEEP.total_seconds(), 1.0)
