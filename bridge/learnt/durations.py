"""A model of the durations of operations, learnt from polls.

The age of an operation is the time since its registration, or since the creation of a job. Age is divided into
logarithmic buckets, four per octave from 4 s to 15 h. For each bucket the model keeps the observed time at risk
(exposure, in seconds) and the number of ends (completions). Their quotient is the hazard, the probability of ending in
the next second. A completion of an operation is only known to lie between two polls, so it is spread over that interval
in proportion to the current hazards (a step of EM; Dempster, Laird and Rubin, 1977). A completion of a job is exact.
Old observations lose weight, so the model adapts when operations become slower.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate, pairwise

#: The starts of the buckets in seconds. The last bucket has no end.
EDGES = (0.0, *(4.0 * 2 ** (step / 4) for step in range(56)))

#: The number of completions after which the weight of an observation is halved.
HALF_LIFE = 1000

#: The weight of the prior in each bucket, in completions.
PRIOR_WEIGHT = 0.3

#: Larger stored numbers are damaged.
_LARGEST = 1e12

#: Below this hazard of an interval, completions are spread evenly, since the quotients would lose precision.
_EVEN = 1e-6

_BUCKETS = len(EDGES)
_NOTHING = (0.0,) * _BUCKETS

#: The representative age of each bucket for the prior, a hazard of 1/t at age t.
_TYPICAL = (EDGES[1], *(math.sqrt(low * high) for low, high in pairwise(EDGES[1:])), EDGES[-1])


def bucket_at(age: float) -> int:
    """Return the bucket of an age in seconds."""
    return bisect_right(EDGES, age) - 1


@dataclass(frozen=True, slots=True)
class HazardCurve:
    """The hazards of a duration model per bucket, and derived values."""

    hazards: tuple[float, ...]
    #: For each bucket with an end: its length in seconds, the mean time in seconds that an operation that enters the
    #: bucket spends there, and the share of these operations that outlive the bucket.
    whole: tuple[tuple[float, float, float], ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Compute the derived values of each bucket once."""
        whole = (
            (high - low, -math.expm1(-hazard * (high - low)) / hazard, math.exp(-hazard * (high - low)))
            for (low, high), hazard in zip(pairwise(EDGES), self.hazards, strict=False)
        )
        object.__setattr__(self, "whole", tuple(whole))

    def pieces(self, begin: float, end: float) -> Iterator[tuple[int, float, float]]:
        """Iterate between two ages: the bucket, its hazard and the seconds within the bucket."""
        bucket = bucket_at(begin)
        while begin < end:
            stop = EDGES[bucket + 1] if bucket + 1 < _BUCKETS else math.inf
            yield bucket, self.hazards[bucket], min(stop, end) - begin
            begin, bucket = stop, bucket + 1

    def survival(self, age: float) -> float:
        """Return the share of operations that take longer than `age`."""
        return math.exp(-sum(hazard * seconds for _, hazard, seconds in self.pieces(0.0, age)))

    def outlived_by(self, share: float) -> float:
        """Return the age, in seconds, that this share of operations outlives. 0.5 gives the median."""
        alive, age = 1.0, 0.0
        for _, hazard, seconds in self.pieces(0.0, math.inf):
            left = alive * math.exp(-hazard * seconds)
            if left <= share:
                return age + math.log(alive / share) / hazard
            alive, age = left, age + seconds
        return age

    def shares(self) -> tuple[float, ...]:
        """Return the share of operations that end in each bucket."""
        alive = [self.survival(edge) for edge in EDGES]
        return tuple(now - then for now, then in pairwise((*alive, 0.0)))


@dataclass(frozen=True, slots=True, kw_only=True)
class DurationModel:
    """One row: the observations of one source, or of one of its groups."""

    #: Seconds at risk, by bucket.
    exposure: tuple[float, ...] = _NOTHING
    #: Operations that ended, by bucket. Fractions, since the exact time is unknown.
    completions: tuple[float, ...] = _NOTHING
    #: When the model was last updated. None if only former versions without this column have updated it.
    observed_at: datetime | None = None
    #: The id of the transaction that last wrote the row.
    tx: str = ""

    def __post_init__(self) -> None:
        """Refuse damaged counts. Raises ValueError."""
        for counts in (self.exposure, self.completions):
            if len(counts) != _BUCKETS or not all(0 <= count <= _LARGEST for count in counts):
                raise ValueError("a duration model has one sane count for each bucket")

    @property
    def weight(self) -> float:
        """The number of completions behind the model."""
        return sum(self.completions)

    def curve(self, lean_on: HazardCurve | None = None) -> HazardCurve:
        """Return the hazards: near those of `lean_on`, or 1/t, with few observations, and the model's own with many."""
        prior = lean_on.hazards if lean_on else tuple(1 / age for age in _TYPICAL)
        return HazardCurve(
            tuple(
                (ended + PRIOR_WEIGHT) / (seconds + PRIOR_WEIGHT / hazard)
                for ended, seconds, hazard in zip(self.completions, self.exposure, prior, strict=True)
            )
        )

    def learn(self, observations: "Observations", now: datetime | None = None) -> "DurationModel":
        """Add the observations up to `now`. Old observations lose weight with each completion."""
        kept = 0.5 ** (observations.ended / HALF_LIFE)
        return DurationModel(
            exposure=_added(self.exposure, observations.exposure, kept),
            completions=_added(self.completions, observations.completions, kept),
            observed_at=now or self.observed_at,
            tx=self.tx,
        )


@dataclass(slots=True)
class Observations:
    """The observations of one sweep. They can be added to any later state of the model, so two writers merge."""

    exposure: list[float] = field(default_factory=lambda: [0.0] * _BUCKETS)
    completions: list[float] = field(default_factory=lambda: [0.0] * _BUCKETS)
    #: The number of operations that ended.
    ended: int = 0

    def running(self, curve: HazardCurve, since: float, until: float) -> None:
        """Add a right-censored observation: the operation was still running between two ages, or was then given up."""
        for bucket, _, seconds in curve.pieces(since, until):
            self.exposure[bucket] += seconds

    def end(self, curve: HazardCurve, since: float, until: float) -> None:
        """Add an interval-censored observation: the operation ended between two ages."""
        self.ended += 1
        pieces = list(curve.pieces(since, until))
        if sum(hazard * seconds for _, hazard, seconds in pieces) < _EVEN:
            self._end_evenly(pieces, until - since)
            return
        alive = list(accumulate((-hazard * seconds for _, hazard, seconds in pieces), initial=0.0))
        last = math.exp(alive[-1])
        total = -math.expm1(alive[-1])
        for (bucket, hazard, seconds), log_alive in zip(pieces, alive, strict=False):
            ended = -math.exp(log_alive) * math.expm1(-hazard * seconds)
            self.completions[bucket] += ended / total
            self.exposure[bucket] += max((ended / hazard - last * seconds) / total, 0.0)

    def end_at(self, curve: HazardCurve, since: float, age: float) -> None:
        """Add an exact observation: the operation, last seen running at the age `since`, ended at `age`."""
        self.ended += 1
        self.completions[bucket_at(age)] += 1.0
        for bucket, _, seconds in curve.pieces(since, max(since, age)):
            self.exposure[bucket] += seconds

    def _end_evenly(self, pieces: list[tuple[int, float, float]], length: float) -> None:
        left = length
        for bucket, _, seconds in pieces:
            self.completions[bucket] += seconds / length
            self.exposure[bucket] += seconds * (left - seconds / 2) / length
            left -= seconds


def _added(known: tuple[float, ...], seen: list[float], kept: float) -> tuple[float, ...]:
    return tuple(min(kept * old + new, _LARGEST) for old, new in zip(known, seen, strict=True))
