"""Schedules of polls for sweeps."""

from datetime import timedelta
from itertools import count

from bridge.domain.poll_schedule import ExponentialSchedule
from bridge.learnt.duration_store import DurationStore
from bridge.learnt.schedule import LearntSchedule
from bridge.storage.repository import Repository
from bridge.storage.table import Table
from bridge.testing import MemoryTable
from tests.support.harness import FakeClock

SHORTEST = timedelta(seconds=10)


def learnt_schedule(table: Table | None = None, *, shortest: timedelta = SHORTEST) -> LearntSchedule:
    """Return a learnt schedule without data."""
    numbers = count(1)
    repository = Repository(
        table=table or MemoryTable(),
        clock=FakeClock(),
        new_id=lambda: f"learnt-{next(numbers)}",
        sleep=lambda _: None,
        random=lambda: 0.5,
    )
    return LearntSchedule(durations=DurationStore(repository), polls_per_operation=12, shortest=shortest)


def exponential_schedule(*, shortest: timedelta = SHORTEST) -> ExponentialSchedule:
    """Return an exponential schedule."""
    return ExponentialSchedule(shortest)
