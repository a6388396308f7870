"""The last day and the learnt schedule: counts, reads and visibility."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest

from bridge.domain.registration import State
from bridge.learnt.durations import DurationModel
from bridge.ports import StoredSchedule
from bridge.services.reports import HOURS, NEWEST, Overview, by_hour, day_before
from bridge.storage.index import IndexEntry
from bridge.storage.keys import duration_key, partition_of
from bridge.storage.records import for_insert
from bridge.storage.repository import Repository
from bridge.storage.table import Insert, Row, Transaction
from bridge.testing import MemoryTable
from tests.support.factories import registration
from tests.support.harness import NOON
from tests.support.schedules import exponential_schedule, learnt_schedule

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


class Counting(MemoryTable):
    """A table that counts the rows of reads."""

    def __init__(self) -> None:
        super().__init__()
        self.ranges = 0

    def range(
        self, partition: str, start: str, stop: str, *, limit: int | None = None, columns: Sequence[str] = ()
    ) -> Sequence[Row]:
        """Read rows."""
        self.ranges += 1
        return super().range(partition, start, stop, limit=limit, columns=columns)


@pytest.fixture
def executor() -> Iterator[Executor]:
    """Run reads in threads, like the app."""
    with ThreadPoolExecutor(4) as running:
        yield running


def ended(
    number: int, at: datetime, *, took: timedelta | None = SECOND, state: State = State.DELIVERED, owner: str = "shared"
) -> IndexEntry:
    """Return the index entry of an ended registration."""
    began = None if took is None else at - took
    return IndexEntry.of(registration(f"operation-{number}", owner=owner, at=at, state=state, run_began_at=began))


def stored(*entries: IndexEntry) -> Counting:
    """Return a table with the entries."""
    table = Counting()
    for each in entries:
        insert = Insert(each.key, for_insert(each))
        table.commit(Transaction(partition_of(each.ref), (insert,), stamp=None, tx=""))
    return table


def overview(
    table: MemoryTable, executor: Executor, now: datetime = NOON, schedule: StoredSchedule | None = None
) -> Overview:
    """Make the use case."""
    return Overview(
        repository=Repository(
            table=table, clock=lambda: now, new_id=lambda: "tx", sleep=lambda _: None, random=lambda: 0.5
        ),
        clock=lambda: now,
        executor=executor,
        sources=["default", "other"],
        schedule=learnt_schedule() if schedule is None else schedule,
    )


def test_an_end_is_counted_in_its_hour() -> None:
    """The current hour is the last. An entry from a clock ahead belongs to the current hour."""
    now = NOON + 20 * MINUTE
    hours = by_hour(
        [
            ended(1, NOON + MINUTE),
            ended(2, NOON - MINUTE, state=State.DEAD),
            ended(3, NOON - 23 * HOUR),
            ended(4, NOON - 23 * HOUR - MINUTE),
            ended(5, NOON + HOUR + MINUTE),
        ],
        now,
    )

    assert [each.begins for each in hours] == [NOON - (23 - number) * HOUR for number in range(HOURS)]
    assert [
        (number, each.delivered, each.dead) for number, each in enumerate(hours) if each.delivered or each.dead
    ] == [
        (0, 1, 0),
        (22, 0, 1),
        (23, 2, 0),
    ]


def test_delays_count_from_the_start_of_the_run() -> None:
    """The percentile uses the nearest rank. Dead registrations and rows of former versions have no delay."""
    taken = [ended(number, NOON, took=number * SECOND) for number in range(1, 21)]
    others = [ended(21, NOON, took=None), ended(22, NOON, took=HOUR, state=State.DEAD)]

    hour = by_hour([*taken, *others], NOON)[-1]

    assert (hour.delivered, hour.dead) == (21, 1)
    assert [hour.within(share) for share in (0.5, 0.95, 1.0)] == [10, 19, 20]


def test_delay_of_a_job_counts_from_its_end() -> None:
    """The bridge saw the end 10 s before the delivery, and the job had ended 30 s before that."""
    job = registration(at=NOON, state=State.DELIVERED, run_began_at=NOON - 10 * SECOND, delay_from=NOON - 40 * SECOND)

    assert by_hour([IndexEntry.of(job), ended(2, NOON, took=20 * SECOND)], NOON)[-1].delays == [20, 40]


def test_a_first_run_begins_with_the_completion_and_a_redelivery_at_its_own_start() -> None:
    """A redelivery weeks later does not count as a delay of weeks."""
    first = ended(1, NOON, took=None)

    assert first.run_began_at is None
    assert by_hour([first], NOON)[-1].delays == []


def test_day_is_read_in_a_bounded_number_of_calls(executor: Executor) -> None:
    """Beyond the limit of rows, the answer has the time from which the data is complete."""
    table = stored(*(ended(number, NOON - number * SECOND) for number in range(8 * NEWEST + 2000)))
    use_case = overview(table, executor)
    table.ranges = 0

    day = use_case.day()

    assert table.ranges == 16
    assert day.begins == day_before(NOON)
    assert NOON - 3 * HOUR < day.whole_from < NOON - HOUR
    whole = [each for each in day.hours if each.begins >= day.whole_from]
    assert [each.delivered for each in whole][:-1] == [3600] * (len(whole) - 1)


def test_day_of_an_owner_contains_only_their_registrations(executor: Executor) -> None:
    """Registrations of others are not counted."""
    table = stored(ended(1, NOON, owner="ann"), ended(2, NOON, owner="bob"), ended(3, NOON, owner="bob"))

    day = overview(table, executor).day("ann")

    assert sum(each.delivered for each in day.hours) == 1
    assert sum(each.delivered for each in overview(table, executor).day().hours) == 3


def test_schedules_are_of_each_source_and_its_groups(executor: Executor) -> None:
    """A source without data has the prior's schedule."""
    table = Counting()
    models = {
        duration_key("default", None): DurationModel(),
        duration_key("default", "short"): DurationModel(),
        duration_key("gone", None): DurationModel(),
    }
    for key, model in models.items():
        table.commit(Transaction("sources", (Insert(key, for_insert(model)),), stamp=None, tx=""))

    expected = list(overview(table, executor).forecasts())

    assert [(each.source, each.group) for each in expected] == [
        ("default", None),
        ("default", "short"),
        ("other", None),
    ]


def test_the_exponential_schedule_has_one_forecast_for_each_source_and_reads_no_model(executor: Executor) -> None:
    table = Counting()
    table.commit(
        Transaction(
            "sources", (Insert(duration_key("default", None), {"v": "no row of the bridge"}),), stamp=None, tx=""
        )
    )

    forecasts = list(overview(table, executor, schedule=exponential_schedule()).forecasts())

    assert [(each.source, each.group, each.completions, each.shares, each.median) for each in forecasts] == [
        ("default", None, 0, (), None),
        ("other", None, 0, (), None),
    ]
    assert forecasts[0].polls_at[:6] == [0, 10, 20, 30, 40, 50]
    assert len(forecasts[0].polls_at) == 40
