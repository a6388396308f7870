"""How long operations take, as far as it was seen: a model of their durations, learnt poll by poll.

Time since registration is cut into logarithmic buckets, four an octave from 4 s to 15 h. In each the model keeps for
how long operations were seen at risk there (exposure, in seconds) and how many ended there (completions); their
quotient is the hazard, the probability of ending in the next second. A completion is only known to lie between two
polls: it is spread over that interval in proportion to what is known so far (a step of EM; Dempster, Laird and Rubin,
1977). What is old counts for less, so the duration model follows when operations become slower.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate, pairwise

#: Where the buckets begin, in seconds; the last one has no end.
EDGES = (0.0, *(4.0 * 2 ** (step / 4) for step in range(56)))

#: What was learnt counts for half after this many completions.
HALF_LIFE = 1000

#: In each bucket the prior has the weight of this many completions.
PRIOR_WEIGHT = 0.3

#: A stored number above this is nobody's honest count.
_LARGEST = 1e12

#: Below this hazard over an interval its completions are spread evenly: the quotients would lose their digits.
_EVEN = 1e-6

_BUCKETS = len(EDGES)
_NOTHING = (0.0,) * _BUCKETS

#: The age that stands for each bucket in the prior 'the hazard at age t is 1/t'.
_TYPICAL = (EDGES[1], *(math.sqrt(low * high) for low, high in pairwise(EDGES[1:])), EDGES[-1])


def bucket_at(age: float) -> int:
    """Find the bucket of an age in seconds."""
    return bisect_right(EDGES, age) - 1


@dataclass(frozen=True, slots=True)
class HazardCurve:
    """A duration model as the schedule reads it: the hazard in each bucket, and what follows from it."""

    hazards: tuple[float, ...]
    #: Of each bucket that has an end: its length, how much of it one that enters spends there on average, in seconds,
    #: and which share of those that enter outlives it.
    whole: tuple[tuple[float, float, float], ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Work out once what whoever walks over many buckets needs of each."""
        whole = (
            (high - low, -math.expm1(-hazard * (high - low)) / hazard, math.exp(-hazard * (high - low)))
            for (low, high), hazard in zip(pairwise(EDGES), self.hazards, strict=False)
        )
        object.__setattr__(self, "whole", tuple(whole))

    def pieces(self, begin: float, end: float) -> Iterator[tuple[int, float, float]]:
        """Walk from age to age: the bucket, the hazard in it and the seconds spent there."""
        bucket = bucket_at(begin)
        while begin < end:
            stop = EDGES[bucket + 1] if bucket + 1 < _BUCKETS else math.inf
            yield bucket, self.hazards[bucket], min(stop, end) - begin
            begin, bucket = stop, bucket + 1

    def survival(self, age: float) -> float:
        """Tell which share of operations takes longer than `age`."""
        return math.exp(-sum(hazard * seconds for _, hazard, seconds in self.pieces(0.0, age)))

    def outlived_by(self, share: float) -> float:
        """Tell the age, in seconds, that this share of operations outlives: 0.5 asks for the median."""
        alive, age = 1.0, 0.0
        for _, hazard, seconds in self.pieces(0.0, math.inf):
            left = alive * math.exp(-hazard * seconds)
            if left <= share:
                return age + math.log(alive / share) / hazard
            alive, age = left, age + seconds
        return age

    def shares(self) -> tuple[float, ...]:
        """Tell which share of operations ends in each bucket."""
        alive = [self.survival(edge) for edge in EDGES]
        return tuple(now - then for now, then in pairwise((*alive, 0.0)))


@dataclass(frozen=True, slots=True, kw_only=True)
class DurationModel:
    """One row: what is known of one source, or of one group of it."""

    #: Seconds at risk, by bucket.
    exposure: tuple[float, ...] = _NOTHING
    #: Operations that ended, by bucket; fractions, since nobody knows just when.
    completions: tuple[float, ...] = _NOTHING
    #: When something was learnt last; None if no version that knows this has learnt anything.
    observed_at: datetime | None = None
    #: Stamped by the transaction that wrote the row last.
    tx: str = ""

    def __post_init__(self) -> None:
        """Refuse what no bridge has counted; raises ValueError."""
        for counts in (self.exposure, self.completions):
            if len(counts) != _BUCKETS or not all(0 <= count <= _LARGEST for count in counts):
                raise ValueError("a duration model has one sane count for each bucket")

    @property
    def weight(self) -> float:
        """How many completions it stands on."""
        return sum(self.completions)

    def curve(self, lean_on: HazardCurve | None = None) -> HazardCurve:
        """Read it as hazards: of `lean_on`, or 1/t, where it knows nothing, and its own where it knows much."""
        prior = lean_on.hazards if lean_on else tuple(1 / age for age in _TYPICAL)
        return HazardCurve(
            tuple(
                (ended + PRIOR_WEIGHT) / (seconds + PRIOR_WEIGHT / hazard)
                for ended, seconds, hazard in zip(self.completions, self.exposure, prior, strict=True)
            )
        )

    def learn(self, observations: "Observations", now: datetime | None = None) -> "DurationModel":
        """Add what was seen by `now`; the more ended, the more of the old is forgotten."""
        kept = 0.5 ** (observations.ended / HALF_LIFE)
        return DurationModel(
            exposure=_added(self.exposure, observations.exposure, kept),
            completions=_added(self.completions, observations.completions, kept),
            observed_at=now or self.observed_at,
            tx=self.tx,
        )


@dataclass(slots=True)
class Observations:
    """What one sweep has seen: it can be added to whatever the model is by then, so that two writers merge."""

    exposure: list[float] = field(default_factory=lambda: [0.0] * _BUCKETS)
    completions: list[float] = field(default_factory=lambda: [0.0] * _BUCKETS)
    #: How many operations ended.
    ended: int = 0

    def running(self, curve: HazardCurve, since: float, until: float) -> None:
        """See an operation run on from one age to another; an operation that is given up shows that, and no more."""
        for bucket, _, seconds in curve.pieces(since, until):
            self.exposure[bucket] += seconds

    def end(self, curve: HazardCurve, since: float, until: float) -> None:
        """See that an operation ended after one age and not after another, which is later."""
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

    def _end_evenly(self, pieces: list[tuple[int, float, float]], length: float) -> None:
        left = length
        for bucket, _, seconds in pieces:
            self.completions[bucket] += seconds / length
            self.exposure[bucket] += seconds * (left - seconds / 2) / length
            left -= seconds


def _added(known: tuple[float, ...], seen: list[float], kept: float) -> tuple[float, ...]:
    return tuple(min(kept * old + new, _LARGEST) for old, new in zip(known, seen, strict=True))
