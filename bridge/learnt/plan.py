"""The learnt schedule: when a poll of an operation is worth its price. The aim is early detection with few requests.

For an operation last seen running at age `a`, the expected delay already lost if the next poll is at age `b` is

    D(a, b) = (b - a) - ∫ₐᵇ S(u) du / S(a)        S: the survival function of durations

The next poll is at the first `b` at which that reaches the *shadow price*: how many seconds of expected delay one
request is worth. The exact condition for an optimal schedule of inspections is Barlow, Hunter and Proschan's (1963).
"""

import math
from datetime import datetime, timedelta
from functools import lru_cache

from bridge.domain import poll_schedule
from bridge.domain.operation import PollState
from bridge.domain.poll_schedule import Sale
from bridge.domain.rate_limit import SWEEP
from bridge.learnt.durations import EDGES, HazardCurve, bucket_at

#: The longest gap between two polls, in seconds.
LONGEST_GAP = poll_schedule.LONGEST_GAP.total_seconds()

#: A gap is at most this part of the operation's age and GAP_ON_TOP seconds, so that no rare late end waits for long.
GAP_OF_AGE = 0.25
GAP_ON_TOP = 60.0

#: The number of halvings of the last bucket, which give a precision of a millisecond in an hour.
_HALVINGS = 22


def lost(curve: HazardCurve, seen: float, asked: float) -> float:
    """Return the expected lost delay, in seconds, between the ages `seen` (still running) and `asked` (of the poll)."""
    if asked <= seen:
        return 0.0
    first, last = bucket_at(seen), bucket_at(asked)
    if first == last:
        return _lost_within(1.0, curve.hazards[first], asked - seen)
    seconds = EDGES[first + 1] - seen
    total, alive = _lost_within(1.0, curve.hazards[first], seconds), math.exp(-curve.hazards[first] * seconds)
    for length, spent, outlived in curve.whole[first + 1 : last]:
        total += length - alive * spent
        alive *= outlived
    return total + _lost_within(alive, curve.hazards[last], asked - EDGES[last])


def worth_polling(curve: HazardCurve, seen: float, shadow_price: float) -> float:
    """Return the age in seconds at which polling an operation seen running at age `seen` is worth the shadow price."""
    total, alive, age = 0.0, 1.0, seen
    for _, hazard, seconds in curve.pieces(seen, seen + LONGEST_GAP):
        within = _lost_within(alive, hazard, seconds)
        if total + within >= shadow_price:
            return age + _bisect(alive, hazard, seconds, shadow_price - total)
        total += within
        alive *= math.exp(-hazard * seconds)
        age += seconds
    return seen + LONGEST_GAP


def next_age(curve: HazardCurve, *, seen: float, now: float, shadow_price: float, shortest: float) -> float:
    """Return the age of the next poll, for an operation that was seen running at age `seen` and polled at age `now`.

    The gap from `now` is at least `shortest` (a sweep), and at most the longest gap for the operation's age.
    """
    longest = max(min(LONGEST_GAP, now * GAP_OF_AGE + GAP_ON_TOP), shortest)
    return min(max(worth_polling(curve, seen, shadow_price), now + shortest), now + longest)


@lru_cache(maxsize=64)  # computed for every poll of a sweep
def base_price(curve: HazardCurve, polls_per_operation: float) -> float:
    """Return the price at which an operation needs about `polls_per_operation` polls, if gaps had no bounds.

    With polling at rate √(h/2c), the polls of one operation are ½ + ∫√h·S dt / √(2c).
    """
    total, alive = 0.0, 1.0
    for _, hazard, seconds in curve.pieces(0.0, math.inf):
        total += alive * -math.expm1(-hazard * seconds) / math.sqrt(hazard)
        alive *= math.exp(-hazard * seconds)
    return total * total / (2 * (polls_per_operation - 0.5) ** 2)


def _lost_within(alive: float, hazard: float, seconds: float) -> float:
    return seconds + alive * math.expm1(-hazard * seconds) / hazard


def _bisect(alive: float, hazard: float, seconds: float, missing: float) -> float:
    low, high, scale = 0.0, seconds, alive / hazard
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if middle + scale * math.expm1(-hazard * middle) >= missing:
            high = middle
        else:
            low = middle
    return high


def lost_by(curve: HazardCurve, poll_state: PollState, now: datetime) -> float:
    """Return the mean delay, in seconds, that is lost if the operation is polled now."""
    return lost(curve, seen_age(poll_state), seconds(now - poll_state.began_at))


def seen_age(poll_state: PollState) -> float:
    """Return the age in seconds at which the operation was last seen running, or 0 if it never was."""
    return 0.0 if poll_state.seen_running_at is None else seconds(poll_state.seen_running_at - poll_state.began_at)


def seconds(age: timedelta) -> float:
    """Return an age in seconds; 0 if a clock was ahead."""
    return max(age.total_seconds(), 0.0)


#: The price changes by at most these factors from one sweep to the next. It is never above HIGHEST_PRICE.
PRICE_RISES, PRICE_FALLS, HIGHEST_PRICE = 1.1, 0.9, 1e4


def update_price(shadow_price: float, sale: Sale) -> float:
    """Move the shadow price towards the price at which as many polls fall due as the budget allows.

    The price is in base prices, and so is `sale.worth`. The base price is the lowest. If more polls were wanted than
    granted, the aim is the worth of the last poll granted. With a higher price, polls that are worth that much would
    wait for the bounds of their gaps. Otherwise the price falls with the tokens left, and with sweeps without polls.
    """
    idle = max(sale.elapsed / SWEEP - 1, 0.0)
    fallen = shadow_price * math.pow(PRICE_FALLS, idle)
    aim = sale.worth if sale.granted < sale.wanted else fallen * sale.wanted / (sale.granted + sale.left)
    shadow_price = min(max(aim, fallen * PRICE_FALLS), shadow_price * PRICE_RISES)
    return min(max(shadow_price, 1.0), HIGHEST_PRICE)
