"""What the schedule makes of one operation, in one sweep: its model and the shadow price of a request."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from bridge.domain.learnt.durations import HazardCurve
from bridge.domain.learnt.schedule import lost, next_age
from bridge.domain.operation import PollState


@dataclass(frozen=True, slots=True)
class PollPlan:
    """Knows how long operations like this one take, and what asking costs at present."""

    curve: HazardCurve
    #: How many seconds of expected delay one request is worth.
    shadow_price: float
    #: Two polls of an operation are never nearer to each other.
    shortest: timedelta

    def next_poll(self, poll_state: PollState, now: datetime) -> datetime:
        """Choose when to ask again for one that was asked for just now."""
        age = next_age(
            self.curve,
            seen=seen_age(poll_state),
            now=_seconds(now - poll_state.registered_at),
            shadow_price=self.shadow_price,
            shortest=self.shortest.total_seconds(),
        )
        return poll_state.registered_at + timedelta(seconds=age)

    def ages(self, count: int) -> Iterator[float]:
        """Tell the ages, in seconds, at which one that does not end is asked for: at once, then when it is worth it."""
        age = 0.0
        for _ in range(count):
            yield age
            shortest = self.shortest.total_seconds()
            age = next_age(self.curve, seen=age, now=age, shadow_price=self.shadow_price, shortest=shortest)


def lost_by(curve: HazardCurve, poll_state: PollState, now: datetime) -> float:
    """Tell how many seconds of delay are lost, on average, if it is asked for now."""
    return lost(curve, seen_age(poll_state), _seconds(now - poll_state.registered_at))


def seen_age(poll_state: PollState) -> float:
    """Tell the age in seconds at which it was last seen running; 0 before that."""
    return (
        0.0 if poll_state.seen_running_at is None else _seconds(poll_state.seen_running_at - poll_state.registered_at)
    )


def _seconds(age: timedelta) -> float:
    return max(age.total_seconds(), 0.0)
