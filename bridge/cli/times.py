"""Writes the times of answers: exact for pipes and programs, relative to now for people at a terminal."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from bridge.cli.client import other_version
from bridge.domain.time import parse_instant

_SECOND, _MINUTE, _HOUR, _DAY = (
    timedelta(seconds=1),
    timedelta(minutes=1),
    timedelta(hours=1),
    timedelta(days=1),
)
#: The units, each with the shortest length that is written in it: "110 s" says more than "1 min".
_UNITS = ((2 * _DAY, _DAY, "days"), (2 * _HOUR, _HOUR, "h"), (2 * _MINUTE, _MINUTE, "min"))


def span(length: timedelta) -> str:
    """Write a length of time in one unit, rounded down: `45 s`, `12 min`, `3 h` or `5 days`."""
    for least, unit, name in _UNITS:
        if length >= least:
            return f"{length // unit} {name}"
    return f"{max(timedelta(0), length) // _SECOND} s"


def instant(text: object) -> datetime:
    """Parse a time of an answer. Raises Refused for anything else: this version of the bridge sends valid times."""
    read = parse_instant(text)
    if read is None:
        raise other_version(f"{str(text)[:40]!r} is not a time")
    return read


@dataclass(frozen=True, slots=True)
class Times:
    """Writes times as parts of a sentence. Each method raises Refused for a text that is not a time."""

    #: The current time, or None to write exact times only.
    now: datetime | None = None
    #: Whether the exact time follows the relative one.
    with_exact: bool = False

    def at(self, text: str) -> str:
        """Write a past time: `at 2026-11-23T12:00:00.000Z` or `4 min ago`."""
        return self._write(text, f"at {text}", _ago)

    def due(self, text: str) -> str:
        """Write a planned time: `at …`, `in 4 min`, or `now` once the time has come."""
        return self._write(text, f"at {text}", _in)

    def since(self, text: str) -> str:
        """Write the beginning of a state: `since …` or `for 4 min`."""
        return self._write(text, f"since {text}", lambda away: f"for {span(-away)}")

    def until(self, text: str) -> str:
        """Write the end of a state: `until …` or `for another 4 min`."""
        return self._write(text, f"until {text}", lambda away: f"for another {span(away)}")

    def past_cell(self, text: str) -> str:
        """Write a past time that stands alone: `2026-11-23T12:00:00.000Z` or `4 min ago`."""
        return self._write(text, text, _ago)

    def due_cell(self, text: str) -> str:
        """Write a planned time that stands alone."""
        return self._write(text, text, _in)

    def _write(self, text: str, exact: str, relative: Callable[[timedelta], str]) -> str:
        if self.now is None:
            return exact
        words = relative(instant(text) - self.now)
        return f"{words} ({text})" if self.with_exact else words


def _ago(away: timedelta) -> str:
    return f"{span(-away)} ago" if away <= -_SECOND else "just now"


def _in(away: timedelta) -> str:
    return f"in {span(away)}" if away >= _SECOND else "now"
