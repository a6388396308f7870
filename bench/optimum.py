"""The best that can be done where durations are known: when to ask, by dynamic programming, and a model of them."""

import numpy as np

from bench.policies import SOURCE
from bench.workloads import Floats, Integers
from bridge.learnt.durations import EDGES, DurationModel

#: An operation is born at so many places within a sweep.
_PHASES = 5

#: The longest gap that is looked at, in seconds.
_LONGEST_GAP = 1800.0

#: A known model weighs so many times its sample: the prior is nothing beside it.
_WEIGHT = 20


def known_models(durations: Floats, groups: Integers) -> dict[int, DurationModel]:
    """Make the duration models, of all and of each group, that somebody would hold who has seen every duration."""
    return {key: _model(some) for key, some in _by_group(durations, groups).items()}


def plans(durations: Floats, groups: Integers | None, *, sweep: float, shadow_price: float) -> dict[int, list[Floats]]:
    """Find the ages to ask at which cost least, price times requests plus delay; by group if there are groups."""
    samples = {SOURCE: durations} if groups is None else _by_group(durations, groups)
    return {key: _plan(np.sort(some), sweep, shadow_price) for key, some in samples.items()}


def _by_group(durations: Floats, groups: Integers) -> dict[int, Floats]:
    apart = {int(key): durations[groups == key] for key in np.unique(groups)}
    return {SOURCE: durations, **apart}


def _model(durations: Floats) -> DurationModel:
    lengths = np.diff([*EDGES, np.inf])
    spent = [float(np.clip(durations - low, 0, length).sum()) for low, length in zip(EDGES, lengths, strict=True)]
    ended, _ = np.histogram(durations, bins=[*EDGES, np.inf])
    return DurationModel(
        exposure=tuple(_WEIGHT * seconds for seconds in spent),
        completions=tuple(_WEIGHT * float(count) for count in ended),
    )


def _plan(ordered: Floats, sweep: float, shadow_price: float) -> list[Floats]:
    """Go backwards from the age that nothing exceeds; one row for each place in a sweep.

    With F the share that has ended and M the mean of what that took, asking at age t after age s costs
    t (F(t) - F(s)) - (M(t) - M(s)) of delay, and the request is paid for by those that were alive at s.
    """
    steps = int(ordered[-1] / sweep) + 2
    phases = (np.arange(_PHASES) + 0.5) / _PHASES * sweep
    ages = np.hstack([np.zeros((_PHASES, 1)), phases[:, None] + sweep * np.arange(steps)])
    places = np.searchsorted(ordered, ages, side="right")
    ended = places / len(ordered)
    mean = np.concatenate([[0.0], np.cumsum(ordered)])[places] / len(ordered)
    later = ages * ended - mean  # and what is best from there on, once that is known
    chosen = np.zeros(ages.shape, dtype=np.int64)
    window = int(_LONGEST_GAP / sweep)
    rows = np.arange(_PHASES)
    for step in range(steps - 1, -1, -1):
        within = slice(step + 1, step + 1 + window)
        costs = later[:, within] - ages[:, within] * ended[:, step, None]
        best = costs.argmin(axis=1)
        chosen[:, step] = step + 1 + best
        later[:, step] += costs[rows, best] + mean[:, step] + shadow_price * (1 - ended[:, step])
    return [_followed(ages[row], chosen[row], ended[row]) for row in rows]


def _followed(ages: Floats, chosen: Integers, ended: Floats) -> Floats:
    found, step = [], 0
    while ended[step] < 1:
        step = int(chosen[step])
        found.append(ages[step])
    return np.array(found)
