"""When an operation is polled next: the decisions of a schedule, and the simpler of the two schedules.

`BRIDGE_POLL_PLAN` chooses between the learnt schedule (`bridge/learnt/`, the default) and the exponential one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import accumulate, islice, repeat
from typing import ClassVar, Protocol

from bridge.domain.ids import Kind, OperationRef
from bridge.domain.operation import PollState
from bridge.domain.upstream import PollResult

#: The longest wait between two polls of an operation, unless the shortest is longer.
LONGEST_GAP = timedelta(minutes=30)


class PollPlan(StrEnum):
    """The schedules."""

    LEARNT = "learnt"
    EXPONENTIAL = "exponential"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sale:
    """The wanted and the granted polls of one source in a sweep."""

    wanted: int
    granted: int
    #: Tokens that are left in the budget.
    left: float
    #: The worth of the last poll granted; 0 if all were granted.
    worth: float
    #: The time since the sale before.
    elapsed: timedelta


class PollSchedule(Protocol):
    """Decides when operations are polled. Threads may share one schedule."""

    def next_poll(self, poll_state: PollState, now: datetime, *, price: float) -> datetime:
        """Return the time of the next poll of an operation that was polled at `now`.

        `price` is the price of a request to the source at present, 1 or more: it rises while the budget is short.
        """

    def urgency(self, poll_state: PollState, now: datetime) -> float:
        """Return the seconds of delay that a poll now would save. The largest goes first if the budget is short."""

    def base_price(self, ref: OperationRef) -> float:
        """Return the price of a request without a shortage, in seconds of delay. Operations and jobs have their own."""

    def update_price(self, price: float, sale: Sale) -> float:
        """Return the price of a request to a source after a sale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A schedule's expectations of the operations of a source, or of one group of the source."""

    source: str
    kind: Kind = Kind.OPERATION
    #: None for all operations of the source.
    group: str | None = None
    plan: PollPlan = PollPlan.LEARNT
    #: The completed operations that this was learnt from. Old ones count less.
    completions: float = 0.0
    #: Ages in seconds, each with the share of operations that end from there to the next age. Empty if unknown.
    shares: Sequence[tuple[float, float]] = ()
    #: The age in seconds by which half of the operations end.
    median: float | None = None
    #: The ages, in seconds, at which an operation that does not end is polled first.
    polls_at: Sequence[float] = ()


_BORN = PollState(ref=OperationRef("default", "forecast"), registered_at=datetime(2000, 1, 1, tzinfo=UTC))


def polls_ahead(
    schedule: PollSchedule, source: str, group: str | None, *, price: float, count: int, kind: Kind = Kind.OPERATION
) -> list[float]:
    """Return the ages, in seconds, of the first `count` polls of an operation that does not end."""
    state = replace(_BORN, ref=OperationRef(source, _BORN.ref.id, kind), group=group)

    def following(at: datetime, _: None) -> datetime:
        return schedule.next_poll(replace(state, seen_running_at=at), at, price=price)

    times = accumulate(repeat(None), following, initial=state.registered_at)
    return [(at - state.registered_at).total_seconds() for at in islice(times, count)]


#: Each gap is this part of the operation's age, so a gap is a quarter longer than the gap before.
_GAP_OF_AGE = 0.25


@dataclass(frozen=True, slots=True)
class ExponentialSchedule:
    """Waits longer from poll to poll, and learns nothing.

    The delay of an end is at most a quarter of the operation's duration, as far as the two bounds allow. Sweeps and
    the budgets of sources spread polls already, so the gaps have no jitter. The price of a request changes nothing.
    """

    #: The shortest gap between two polls. It wins over the longest.
    shortest: timedelta
    longest: timedelta = LONGEST_GAP
    plan: ClassVar[PollPlan] = PollPlan.EXPONENTIAL

    def next_poll(self, poll_state: PollState, now: datetime, *, price: float) -> datetime:
        """Return the time after the gap of the operation's age."""
        return now + max(min((now - poll_state.began_at) * _GAP_OF_AGE, self.longest), self.shortest)

    def urgency(self, poll_state: PollState, now: datetime) -> float:
        """Return for how many seconds the operation was not seen: operations take turns while the budget is short."""
        return max((now - (poll_state.seen_running_at or poll_state.registered_at)).total_seconds(), 0.0)

    def base_price(self, ref: OperationRef) -> float:
        """Return 1: there are no prices."""
        return 1.0

    def update_price(self, price: float, sale: Sale) -> float:
        """Keep the lowest price."""
        return 1.0

    def begin(self, rows: Sequence[object]) -> None:
        """Take no rows."""

    def observe(self, poll_state: PollState, result: PollResult, now: datetime) -> None:
        """Learn nothing."""

    def end(self) -> None:
        """Write nothing."""

    def forecasts(self, rows: Sequence[object], prices: Mapping[str, float], *, polls: int) -> Iterator[Forecast]:
        """Return one forecast for each source."""
        for source in prices:
            ages = polls_ahead(self, source, None, price=1.0, count=polls)
            yield Forecast(source=source, plan=self.plan, polls_at=ages)
