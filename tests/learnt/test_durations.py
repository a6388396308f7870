"""The duration model: hazards remain valid after any observation."""

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.errors import UnreadableRow
from bridge.learnt.durations import EDGES, HALF_LIFE, DurationModel, Observations, bucket_at
from bridge.storage.records import decode, for_insert, for_merge

AGES = st.floats(0, 100_000, allow_nan=False)

#: An observation of an operation: from one age to another, and whether the operation ended between them.
SIGHTS = st.tuples(AGES, AGES, st.booleans()).filter(lambda sight: sight[0] != sight[1])

COUNTS = st.lists(st.floats(0, 1e12), min_size=len(EDGES), max_size=len(EDGES)).map(tuple)
SMALLER_COUNTS = st.tuples(*[st.floats(0, 1e9)] * len(EDGES))
SMALLER = st.builds(DurationModel, exposure=SMALLER_COUNTS, completions=SMALLER_COUNTS)
ANY_MODEL = st.builds(DurationModel, exposure=COUNTS, completions=COUNTS)


def seen(model: DurationModel, *sights: tuple[float, float, bool]) -> DurationModel:
    """Update a duration model with observations of one sweep."""
    observations, curve = Observations(), model.curve()
    for one, other, ended in sights:
        (observations.end if ended else observations.running)(curve, min(one, other), max(one, other))
    return model.learn(observations)


@given(st.lists(st.lists(SIGHTS, max_size=5), max_size=8))
def test_hazards_and_survival_stay_valid_after_any_observation(sweeps: list[list[tuple[float, float, bool]]]) -> None:
    """Covers any history, forgetting and censoring."""
    model = DurationModel()
    for sights in sweeps:
        model = seen(model, *sights)
    curve = model.curve()

    assert all(0 < hazard < math.inf for hazard in curve.hazards)
    alive = [curve.survival(age) for age in (0, 1, *EDGES, 200_000)]
    assert alive[0] == 1
    assert all(0 <= each <= 1 for each in alive)
    assert [curve.survival(edge) for edge in EDGES] == sorted((curve.survival(edge) for edge in EDGES), reverse=True)
    assert sum(curve.shares()) == pytest.approx(1)


@given(AGES, AGES)
def test_a_completion_counts_once_and_is_exposed_at_most_to_its_end(one: float, other: float) -> None:
    """The rule holds for any spread over the interval between two polls."""
    low, high = min(one, other), max(one, other) + 0.001
    observations = Observations()

    observations.end(DurationModel().curve(), low, high)

    assert sum(observations.completions) == pytest.approx(1)
    assert 0 <= sum(observations.exposure) <= (high - low) * (1 + 1e-6)


def test_an_end_between_two_close_polls_is_spread_evenly() -> None:
    """The end falls mostly into one bucket. Exposure covers the possible running time.

    The end is uniform over (a, b). A piece of length s with r left to b has an average exposure of s * (r - s / 2) / (b
    - a).
    """
    edge = EDGES[41]
    observations = Observations()
    curve = DurationModel().curve()

    for _ in range(2):
        observations.end(curve, edge - 0.0003, edge + 0.0001)

    assert observations.ended == 2
    assert [each for each in observations.completions if each] == pytest.approx([1.5, 0.5])
    assert [each for each in observations.exposure if each] == pytest.approx(
        [2 * 0.0003 * 0.00025 / 0.0004, 2 * 0.0001 * 0.00005 / 0.0004]
    )


def test_a_completion_is_spread_in_proportion_to_known_ends() -> None:
    """Buckets with more known ends get a larger part."""
    model = seen(DurationModel(), *[(30.0, 32.0, True)] * 100, *[(0.0, 30.0, False)] * 100)
    observations = Observations()

    observations.end(model.curve(), 0.0, 1000.0)

    assert max(observations.completions) == observations.completions[EDGES.index(4 * 2**2.75)]


def test_old_observations_count_for_half_after_a_thousand_completions() -> None:
    """The model therefore follows a change."""
    model = seen(DurationModel(), (100.0, 101.0, True))
    observations = Observations()
    observations.ended = HALF_LIFE

    assert model.learn(observations).weight == pytest.approx(model.weight / 2)


def test_an_expired_operation_adds_only_exposure() -> None:
    """The end of an expired operation is unknown (a censored observation)."""
    model = seen(DurationModel(), (0.0, 1000.0, False))

    assert model.weight == 0
    assert sum(model.exposure) == pytest.approx(1000)


def test_observations_add_up_in_any_order() -> None:
    """Two writers merge their observations. Only the forgetting between them can differ."""
    one, other = Observations(), Observations()
    one.end(DurationModel().curve(), 20.0, 30.0)
    other.end(DurationModel().curve(), 200.0, 300.0)

    assert DurationModel().learn(one).learn(other).completions == pytest.approx(
        DurationModel().learn(other).learn(one).completions, rel=1e-2
    )


def test_a_group_uses_the_data_of_its_source_until_it_has_enough() -> None:
    """With enough data, a group uses only its own."""
    source = seen(DurationModel(), *[(30.0, 32.0, True)] * 100).curve()

    assert DurationModel().curve(source).hazards == pytest.approx(source.hazards)
    ran_on, ended = (0.0, 300.0, False), (300.0, 302.0, True)
    own = seen(DurationModel(), *[ran_on, ended] * 100).curve(source)
    assert own.survival(300) > 0.3
    assert source.survival(300) < 0.01


@given(ANY_MODEL)
def test_a_model_is_restored_from_its_row(model: DurationModel) -> None:
    """Inserted or merged, values keep the stored number of digits."""
    for row in (for_insert(model), for_merge(model)):
        assert decode(DurationModel, None, row).exposure == pytest.approx(model.exposure, rel=1e-5)


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"exposure": "1,2,3"},
        {"exposure": ",".join(["nan"] * len(EDGES))},
        {"exposure": ",".join(["inf"] * len(EDGES))},
        {"completions": ",".join(["-1"] * len(EDGES))},
        {"completions": ",".join(["1e300"] * len(EDGES))},
        {"completions": "x"},
        {"completions": 7},
    ],
)
def test_an_invalid_row_is_skipped(columns: dict[str, str | int]) -> None:
    """An empty row gives an empty model as well."""
    row = {"v": 1, **columns}

    if columns:
        with pytest.raises(UnreadableRow):
            decode(DurationModel, None, row)
    else:
        assert decode(DurationModel, None, row) == DurationModel()


@given(SMALLER, st.floats(0.001, 0.999))
def test_age_of_a_share_is_the_inverse_of_survival(model: DurationModel, share: float) -> None:
    """The inverse of survival."""
    curve = model.curve()

    assert curve.survival(curve.outlived_by(share)) == pytest.approx(share)


@given(AGES, st.lists(AGES, max_size=6))
def test_an_exact_end_is_learnt_alike_after_any_polls(age: float, polls: list[float]) -> None:
    """One completion in the bucket of the end, and the exposure up to the end. Polls add no bias."""
    observations, curve, seen = Observations(), DurationModel().curve(), 0.0
    for poll in sorted(poll for poll in polls if poll < age):
        observations.running(curve, seen, poll)
        seen = poll

    observations.end_at(curve, seen, age)

    assert observations.ended == 1
    assert [number for number, count in enumerate(observations.completions) if count] == [bucket_at(age)]
    assert sum(observations.completions) == 1
    assert sum(observations.exposure) == pytest.approx(age)
    assert all(seconds == 0 for seconds in observations.exposure[bucket_at(age) + 1 :])


@given(AGES, AGES)
def test_an_end_before_the_last_poll_counts_once_without_exposure(seen: float, age: float) -> None:
    """The clock of the upstream can differ, and the job was already observed for longer."""
    observations = Observations()

    observations.end_at(DurationModel().curve(), max(seen, age), min(seen, age))

    assert (sum(observations.completions), sum(observations.exposure)) == (1, 0)


@pytest.mark.parametrize("median", [20, 100, 600])
@pytest.mark.parametrize("gap", [0.5, 2, 8])
def test_exact_ends_are_learnt_better_than_intervals(median: float, gap: float) -> None:
    """200 lognormal durations, polled at a gap relative to the median. The error is that of the survival function."""
    drawn = random.Random(f"{median} {gap}")
    exact, between = DurationModel(), DurationModel()
    for _ in range(200):
        age = drawn.lognormvariate(math.log(median), 0.8)
        polls = [number * gap * median for number in range(int(age / (gap * median)) + 2)]
        sights = [(low, high, high >= age) for low, high in pairwise(polls)]
        between = seen(between, *sights)
        observations = Observations()
        observations.end_at(exact.curve(), 0.0, age)
        exact = exact.learn(observations)

    assert error(exact, median) < 0.05
    assert error(exact, median) < error(between, median)


def error(model: DurationModel, median: float) -> float:
    """Return the mean error of the survival function of a lognormal duration, up to two deviations from the median."""
    ages = [median * math.exp(0.8 * step / 4) for step in range(-8, 9)]
    curve = model.curve()
    truth = [math.erfc(math.log(age / median) / 0.8 / math.sqrt(2)) / 2 for age in ages]
    return sum(abs(curve.survival(age) - share) for age, share in zip(ages, truth, strict=True)) / len(ages)
