"""The policies that are compared: constants, what was planned knowing the durations, and the shipped functions."""

from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from bench.workloads import Floats
from bridge.domain.poll_schedule import Sale
from bridge.learnt.durations import DurationModel, HazardCurve, Observations
from bridge.learnt.plan import base_price, lost, next_age, update_price

#: What an operation may cost where no price is given: the default of BRIDGE_POLLS_PER_OPERATION.
_POLLS_PER_OPERATION = 12

#: The key of the duration model of a source, beside those of its groups.
SOURCE = -1


@dataclass(slots=True)
class Operation:
    """One operation, in seconds."""

    number: int
    born: float
    duration: float
    group: int
    seen: float = 0.0
    polls: int = 0


class Policy(Protocol):
    """Decides when to ask."""

    def first(self, op: Operation) -> float:
        """Choose the age of the first poll."""

    def again(self, op: Operation, age: float) -> float:
        """Choose the age of the next poll, for one that was just seen running at `age`."""

    def ended(self, op: Operation, age: float) -> None:
        """Learn that one ended."""

    def urgency(self, op: Operation, age: float, due: float) -> float:
        """Rank those that are due, the largest first."""

    def sold(self, sale: Sale) -> None:
        """Begin to ask for those that were granted."""

    def swept(self) -> None:
        """End a sweep."""


@dataclass(slots=True)
class Fixed:
    """A constant from one poll to the next; first come, first served."""

    interval: float
    wait: float = 0.0

    def first(self, op: Operation) -> float:
        """Wait once, then by the interval."""
        return self.wait or self.interval

    def again(self, op: Operation, age: float) -> float:
        """Ask by the interval."""
        return age + self.interval

    def ended(self, op: Operation, age: float) -> None:
        """Learn nothing."""

    def urgency(self, op: Operation, age: float, due: float) -> float:
        """Serve who came first."""
        return -due

    def sold(self, sale: Sale) -> None:
        """Learn nothing."""

    def swept(self) -> None:
        """Learn nothing."""


@dataclass(slots=True)
class Google(Fixed):
    """1 s, half as much again each time, up to 20 s."""

    interval: float = 1.0

    def again(self, op: Operation, age: float) -> float:
        """Grow."""
        return age + min(1.5**op.polls, 20.0)


@dataclass(slots=True)
class Planned(Fixed):
    """Ages that were found beforehand, by group (or for all) and by where in a sweep the operation was born."""

    interval: float = 60.0
    sweep: float = 5.0
    plans: dict[int, list[Floats]] = field(default_factory=dict)

    def first(self, op: Operation) -> float:
        """Look it up."""
        return self.again(op, -self.sweep)

    def again(self, op: Operation, age: float) -> float:
        """Look it up; half a sweep early, so that the sweep that was meant asks."""
        phases = self.plans[op.group if op.group in self.plans else SOURCE]
        until_sweep = self.sweep - op.born % self.sweep
        ages = phases[min(int(until_sweep / self.sweep * len(phases)), len(phases) - 1)]
        place = int(np.searchsorted(ages, age + self.sweep / 2))
        return float(ages[place]) - self.sweep / 2 if place < len(ages) else age + self.interval


@dataclass(slots=True)
class Learned:
    """The shipped functions: models that learn, a price, and the largest loss first."""

    #: None is the base price that the bridge sets.
    shadow_price: float | None
    shortest: float
    by_group: bool = False
    learns: bool = True
    source: DurationModel = field(default_factory=DurationModel)
    groups: dict[int, DurationModel] = field(default_factory=dict)
    #: How many times the price, while more is due than may be asked.
    dearer: float = 1.0
    _observed: dict[int, Observations] = field(default_factory=dict)
    _curves: dict[int, HazardCurve] = field(default_factory=dict)
    _first: float | None = None

    def first(self, op: Operation) -> float:
        """Ask when it is worth it."""
        return self._next(op, 0.0)

    def again(self, op: Operation, age: float) -> float:
        """Ask when it is worth it."""
        if self.learns:
            for key in self._keys(op):
                self._observations(key).running(self.curve(key), op.seen, age)
        return self._next(op, age)

    def _next(self, op: Operation, age: float) -> float:
        curve = self.curve(self._keys(op)[-1])
        return next_age(curve, seen=age, now=age, shadow_price=self._base_price() * self.dearer, shortest=self.shortest)

    def _base_price(self) -> float:
        if self.shadow_price is not None:
            return self.shadow_price
        if self._first is None:
            self._first = base_price(self.curve(SOURCE), _POLLS_PER_OPERATION)
        return self._first

    def ended(self, op: Operation, age: float) -> None:
        """Learn it."""
        if self.learns:
            for key in self._keys(op):
                self._observations(key).end(self.curve(key), op.seen, age)

    def urgency(self, op: Operation, age: float, due: float) -> float:
        """Ask first where most is lost."""
        return lost(self.curve(self._keys(op)[-1]), op.seen, age)

    def sold(self, sale: Sale) -> None:
        """Let the shadow price follow."""
        self.dearer = update_price(self.dearer, replace(sale, worth=sale.worth / self._base_price()))

    def swept(self) -> None:
        """Write down what was seen."""
        for key, observations in self._observed.items():
            if key == SOURCE:
                self.source = self.source.learn(observations)
            else:
                self.groups[key] = self.groups.get(key, DurationModel()).learn(observations)
        if self._observed:
            self._observed, self._curves, self._first = {}, {}, None

    def curve(self, key: int) -> HazardCurve:
        """Read a duration model; a group leans on its source."""
        if key not in self._curves:
            model = self.source if key == SOURCE else self.groups.get(key, DurationModel())
            self._curves[key] = model.curve(None if key == SOURCE else self.curve(SOURCE))
        return self._curves[key]

    def _keys(self, op: Operation) -> list[int]:
        return [SOURCE, op.group] if self.by_group else [SOURCE]

    def _observations(self, key: int) -> Observations:
        if key not in self._observed:
            self._observed[key] = Observations()
        return self._observed[key]
