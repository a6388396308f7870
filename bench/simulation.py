"""Operations that live and are asked for, sweep by sweep, by one policy or another."""

import heapq
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from bench.policies import Operation, Policy
from bench.workloads import Floats, Load
from bridge.domain.poll_schedule import Sale
from bridge.domain.rate_limit import Budget, fresh, reserve

_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)

_Due = tuple[float, int, Operation]


@dataclass(frozen=True, slots=True)
class Result:
    """What each operation came to, in the order of their birth."""

    requests: Floats
    delays: Floats
    #: How many were waiting for their end or for its detection, by sweep.
    waiting: Floats

    def of(self, first: int, last: int | None = None) -> "Result":
        """Look at some operations."""
        return Result(self.requests[first:last], self.delays[first:last], self.waiting)

    @property
    def mean_requests(self) -> float:
        """Requests for an operation."""
        return float(self.requests.mean())

    @property
    def mean_delay(self) -> float:
        """Seconds from the end to its detection."""
        return float(self.delays.mean())

    @property
    def p99(self) -> float:
        """Seconds from the end to its detection that one in a hundred exceeds."""
        return float(np.percentile(self.delays, 99))

    def cost(self, shadow_price: float) -> float:
        """Weigh both, in seconds."""
        return shadow_price * self.mean_requests + self.mean_delay


@dataclass(slots=True)
class _Run:
    """One simulation under way."""

    policy: Policy
    load: Load
    #: Requests a second; None is as many as are wanted.
    rate: float | None
    requests: Floats
    delays: Floats
    asleep: list[_Due] = field(default_factory=list)
    due: list[_Due] = field(default_factory=list)
    born: int = 0
    budget: Budget = field(default_factory=lambda: fresh(_BEGIN, highest=1.0))

    def sweep(self, now: float) -> None:
        """Ask for those that are due, as far as the budget goes; the others wait."""
        while self.born < len(self.load.births) and self.load.births[self.born] <= now:
            number = self.born
            born, duration, group = (each[number] for each in (self.load.births, self.load.durations, self.load.groups))
            op = Operation(number, float(born), float(duration), int(group))
            heapq.heappush(self.asleep, (op.born + self.policy.first(op), number, op))
            self.born += 1
        while self.asleep and self.asleep[0][0] <= now:
            self.due.append(heapq.heappop(self.asleep))
        asked = self.due
        if self.rate is not None and self.due:
            asked = self._granted(now, self.rate)
        self.due = self.due[len(asked) :]
        for _, _, op in asked:
            self._ask(op, now - op.born)
        self.policy.swept()

    def _granted(self, now: float, rate: float) -> list[_Due]:
        """Take what the budget grants; if that is not all, those are the most urgent ones."""
        wanted, at = len(self.due), _BEGIN + timedelta(seconds=now)
        after, granted = reserve(self.budget, wanted, at, highest=rate)
        if not granted:
            return []
        urgency = 0.0
        if granted < wanted:
            ranked = sorted(
                ((self.policy.urgency(each[2], now - each[2].born, each[0]), each) for each in self.due),
                key=lambda each: -each[0],
            )
            urgency, self.due = ranked[granted - 1][0], [each for _, each in ranked]
        elapsed = after.at - self.budget.at
        self.policy.sold(Sale(wanted=wanted, granted=granted, left=after.tokens, worth=urgency, elapsed=elapsed))
        self.budget = after
        return self.due[:granted]

    def _ask(self, op: Operation, age: float) -> None:
        op.polls += 1
        if age >= op.duration:
            self.policy.ended(op, age)
            self.requests[op.number], self.delays[op.number] = op.polls, age - op.duration
            return
        at = op.born + self.policy.again(op, age)
        op.seen = age
        heapq.heappush(self.asleep, (at, op.number, op))


def simulate(policy: Policy, load: Load, *, sweep: float, rate: float | None = None, last: int | None = None) -> Result:
    """Let operations be born at their times and ask for each until its end is seen: none is cut off.

    With `last`, only until the end of the first so many is seen: those after them are there to be in the way.
    """
    count = len(load.births)
    run = _Run(policy, load, rate, np.zeros(count), np.zeros(count))
    run.budget = fresh(_BEGIN, highest=rate or 1.0)
    waiting = []
    tick = 0
    while not run.requests[:last].all():
        tick += 1
        run.sweep(tick * sweep)
        waiting.append(len(run.asleep) + len(run.due))
    return Result(run.requests, run.delays, np.array(waiting, dtype=np.float64))
