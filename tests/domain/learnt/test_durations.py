"""What is learnt of durations: hazards stay valid whatever is seen."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.errors import ForeignRow
from bridge.domain.learnt.durations import EDGES, HALF_LIFE, Law, Lesson
from bridge.storage.records import decode, for_insert, for_merge

AGES = st.floats(0, 100_000, allow_nan=False)

#: What can be seen of an operation: from one age to another, whether it ended there.
SIGHTS = st.tuples(AGES, AGES, st.booleans()).filter(lambda sight: sight[0] != sight[1])

COUNTS = st.lists(st.floats(0, 1e12), min_size=len(EDGES), max_size=len(EDGES)).map(tuple)
ANY_LAW = st.builds(Law, exposure=COUNTS, completions=COUNTS)


def seen(law: Law, *sights: tuple[float, float, bool]) -> Law:
    """Teach a law what was seen, all in one sweep."""
    lesson, curve = Lesson(), law.curve()
    for one, other, ended in sights:
        (lesson.end if ended else lesson.running)(curve, min(one, other), max(one, other))
    return law.learn(lesson)


@given(st.lists(st.lists(SIGHTS, max_size=5), max_size=8))
def test_hazards_and_survival_stay_valid_whatever_is_seen(sweeps: list[list[tuple[float, float, bool]]]) -> None:
    """Any history, forgetting and censoring."""
    law = Law()
    for sights in sweeps:
        law = seen(law, *sights)
    curve = law.curve()

    assert all(0 < hazard < math.inf for hazard in curve.hazards)
    alive = [curve.survival(age) for age in (0, 1, *EDGES, 200_000)]
    assert alive[0] == 1
    assert all(0 <= each <= 1 for each in alive)
    assert [curve.survival(edge) for edge in EDGES] == sorted((curve.survival(edge) for edge in EDGES), reverse=True)
    assert sum(curve.shares()) == pytest.approx(1)


@given(AGES, AGES)
def test_a_completion_counts_once_and_is_exposed_at_most_to_its_end(one: float, other: float) -> None:
    """However it is spread over the interval between two polls."""
    low, high = min(one, other), max(one, other) + 0.001
    lesson = Lesson()

    lesson.end(Law().curve(), low, high)

    assert sum(lesson.completions) == pytest.approx(1)
    assert 0 <= sum(lesson.exposure) <= (high - low) * (1 + 1e-6)


def test_what_ended_between_two_looks_close_together_is_spread_evenly() -> None:
    """Most of it into one bucket and some into the next; exposed for the time that it may have run.

    Uniform over (a, b): a piece of length s with r left to b is run through for s * (r - s / 2) / (b - a) on average.
    """
    edge = EDGES[41]
    lesson = Lesson()
    curve = Law().curve()

    for _ in range(2):
        lesson.end(curve, edge - 0.0003, edge + 0.0001)

    assert lesson.ended == 2
    assert [each for each in lesson.completions if each] == pytest.approx([1.5, 0.5])
    assert [each for each in lesson.exposure if each] == pytest.approx(
        [2 * 0.0003 * 0.00025 / 0.0004, 2 * 0.0001 * 0.00005 / 0.0004]
    )


def test_a_completion_is_spread_in_proportion_to_what_is_known() -> None:
    """Most of it where most end."""
    law = seen(Law(), *[(30.0, 32.0, True)] * 100, *[(0.0, 30.0, False)] * 100)
    lesson = Lesson()

    lesson.end(law.curve(), 0.0, 1000.0)

    assert max(lesson.completions) == lesson.completions[EDGES.index(4 * 2**2.75)]


def test_what_is_old_counts_for_half_after_a_thousand_completions() -> None:
    """So the law follows a change."""
    law = seen(Law(), (100.0, 101.0, True))
    lesson = Lesson()
    lesson.ended = HALF_LIFE

    assert law.learn(lesson).weight == pytest.approx(law.weight / 2)


def test_what_is_given_up_teaches_exposure_only() -> None:
    """Nobody knows when it would have ended."""
    law = seen(Law(), (0.0, 1000.0, False))

    assert law.weight == 0
    assert sum(law.exposure) == pytest.approx(1000)


def test_two_lessons_add_up_in_whatever_order() -> None:
    """Two writers merge, give or take what is forgotten between them."""
    one, other = Lesson(), Lesson()
    one.end(Law().curve(), 20.0, 30.0)
    other.end(Law().curve(), 200.0, 300.0)

    assert Law().learn(one).learn(other).completions == pytest.approx(
        Law().learn(other).learn(one).completions, rel=1e-2
    )


def test_a_group_leans_on_its_source_until_it_has_data() -> None:
    """And stands by itself after that."""
    source = seen(Law(), *[(30.0, 32.0, True)] * 100).curve()

    assert Law().curve(source).hazards == pytest.approx(source.hazards)
    ran_on, ended = (0.0, 300.0, False), (300.0, 302.0, True)
    own = seen(Law(), *[ran_on, ended] * 100).curve(source)
    assert own.survival(300) > 0.3
    assert source.survival(300) < 0.01


@given(ANY_LAW)
def test_a_law_comes_back_from_its_row(law: Law) -> None:
    """Inserted or merged, to the digits that it keeps."""
    for row in (for_insert(law), for_merge(law)):
        assert decode(Law, None, row).exposure == pytest.approx(law.exposure, rel=1e-5)


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
def test_a_row_that_nobody_counted_is_set_aside(columns: dict[str, str | int]) -> None:
    """Or is empty, which is a law that knows nothing."""
    row = {"v": 1, **columns}

    if columns:
        with pytest.raises(ForeignRow):
            decode(Law, None, row)
    else:
        assert decode(Law, None, row) == Law()
