"""The learnt schedule as sweeps and the API use it: models, timing and price put together."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import product
from typing import ClassVar

from bridge.domain.ids import Kind, OperationRef
from bridge.domain.operation import PollState
from bridge.domain.poll_schedule import Forecast, PollPlan, Sale, polls_ahead
from bridge.domain.upstream import PollResult
from bridge.learnt.duration_store import DurationStore
from bridge.learnt.durations import EDGES
from bridge.learnt.plan import base_price, lost_by, next_age, seconds, seen_age, update_price
from bridge.storage.table import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class LearntSchedule:
    """Polls an operation when the expected delay reaches the price of a request. Threads may share one schedule."""

    durations: DurationStore
    #: About how many polls an operation may cost while the budget is not short.
    polls_per_operation: float
    #: The shortest gap between two polls of an operation.
    shortest: timedelta
    plan: ClassVar[PollPlan] = PollPlan.LEARNT

    def next_poll(self, poll_state: PollState, now: datetime, *, price: float) -> datetime:
        """Return the time at which a poll is worth its price."""
        collection = poll_state.ref.collection
        age = next_age(
            self.durations.curve(collection, poll_state.group),
            seen=seen_age(poll_state),
            now=seconds(now - poll_state.began_at),
            shadow_price=price * self.base_price(poll_state.ref),
            shortest=self.shortest.total_seconds(),
        )
        return poll_state.began_at + timedelta(seconds=age)

    def urgency(self, poll_state: PollState, now: datetime) -> float:
        """Return the expected delay at `now`, in seconds."""
        return lost_by(self.durations.curve(poll_state.ref.collection, poll_state.group), poll_state, now)

    def base_price(self, ref: OperationRef) -> float:
        """Return the price at which an operation of the collection costs about the polls that it may cost."""
        return base_price(self.durations.curve(ref.collection, None), self.polls_per_operation)

    def update_price(self, price: float, sale: Sale) -> float:
        """Move the price towards the worth of the last poll granted."""
        return update_price(price, sale)

    def begin(self, rows: Sequence[Row]) -> None:
        """Take the models as a sweep has read them."""
        self.durations.begin(rows)

    def observe(self, poll_state: PollState, result: PollResult, now: datetime) -> None:
        """Learn from the result of a poll."""
        self.durations.observe(poll_state, result, now)

    def end(self) -> None:
        """Write the observations of the sweep. Never raises for storage failures."""
        self.durations.end()

    def forecasts(self, rows: Sequence[Row], prices: Mapping[str, float], *, polls: int) -> Iterator[Forecast]:
        """Return a forecast for each source and then for each of its groups, from the models in `rows`."""
        durations = self.durations.read(rows)
        schedule = replace(self, durations=durations)
        for source, kind in product(prices, Kind):
            collection = OperationRef(source, "", kind).collection
            if kind is Kind.JOB and not durations.model(collection, None).weight:
                continue  # most sources have operations only
            for group in (None, *durations.groups(collection)):
                model, curve = durations.model(collection, group), durations.curve(collection, group)
                shares = curve.shares() if model.weight else ()
                yield Forecast(
                    source=source,
                    kind=kind,
                    group=group,
                    completions=model.weight,
                    shares=list(zip(EDGES, shares, strict=False)),
                    median=curve.outlived_by(0.5) if model.weight else None,
                    polls_at=polls_ahead(schedule, source, group, price=prices[source], count=polls, kind=kind),
                )
