"""The schedule of a timer: NCRONTAB expressions, and the time of the next invocation. Pure: time is an argument."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from croniter import CroniterError, croniter

_VALUE = r"(?:\*|\d+|[A-Za-z]{3,})"
_PART = rf"{_VALUE}(?:-{_VALUE})?(?:/\d+)?"
_FIELD = re.compile(rf"{_PART}(?:,{_PART})*")
_FIELDS = (5, 6)
_LAST_WEEKDAY = 6
_ANY_MOMENT = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Schedule:
    """An NCRONTAB expression: five fields from the minute on, or six from the second on, in UTC."""

    #: The expression as written.
    expression: str

    @classmethod
    def parse(cls, expression: str) -> Self:
        """Validate an expression. Raises ValueError for one outside of NCRONTAB, even if other crons accept it."""
        fields = expression.split()
        if len(fields) not in _FIELDS or not all(map(_FIELD.fullmatch, fields)):
            raise ValueError(f"{expression!r} is not an NCRONTAB expression of five or six fields")
        weekdays = re.sub(r"/\d+", "", fields[-1])
        if any(int(day) > _LAST_WEEKDAY for day in re.findall(r"\d+", weekdays)):
            raise ValueError(f"{expression!r}: days of the week go from 0, Sunday, to 6")
        schedule = cls(expression)
        try:
            schedule.after(_ANY_MOMENT)
        except CroniterError as error:
            raise ValueError(f"{expression!r} never comes: {error}") from error
        return schedule

    def after(self, moment: datetime) -> datetime:
        """Return the first occurrence later than `moment`.

        A day must match both its day of the month and its day of the week, unlike in other crons.
        """
        occurrences = croniter(self.expression, moment, ret_type=datetime, second_at_beginning=True, day_or=False)
        occurrence: datetime = occurrences.get_next()
        return occurrence

    def following(self, due: datetime, started: datetime) -> datetime:
        """Return when the next invocation follows the one that was due at `due` and began at `started`.

        That time has already passed if the invocation took longer than the interval. The next one then begins at once,
        and the one after that counts from its start, so all missed ticks collapse into one. A timer that fires slightly
        early does not fire twice for the same occurrence.
        """
        return self.after(max(due, started))
