"""Follows registrations to their ends: with a live table on a terminal, with a line per change in a pipe."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from rich.console import Group
from rich.live import Live
from rich.text import Text

from bridge.cli.client import Api, Json
from bridge.cli.context import CliContext
from bridge.cli.errors import BridgeUnreachable, Refused, WaitTimeout
from bridge.cli.output import Output, Times, table_of
from bridge.cli.showing import ended_attempts, has_ended, in_short, operation_or_job, tone_of

#: How long following continues if the bridge is silent or unavailable, in seconds.
SILENCE = 60.0

_COLUMNS = ("registration", "state", "")


class Display(Protocol):
    """Shows the progress."""

    def show(self, seen: Mapping[str, Json]) -> None:
        """Show the current registrations, by id."""


@dataclass(slots=True)
class LinesDisplay:
    """One line per change, as text or as JSON."""

    output: Output
    _told: dict[str, object] = field(default_factory=dict)

    def show(self, seen: Mapping[str, Json]) -> None:
        """Write the changes."""
        for name, shown in seen.items():
            change = (
                shown["state"],
                operation_or_job(shown)["status"],
                in_short(shown, Times()),
                len(ended_attempts(shown)),
            )
            if self._told.get(name) == change:
                continue
            self._told[name] = change
            if self.output.as_json:
                self.output.json(shown, compact=True)
            else:
                self.output.say(f"{name}  {shown['state']}  {in_short(shown, Times())}", tone_of(shown))


@dataclass(slots=True)
class TableDisplay:
    """A table that is redrawn in place, with an empty line below.

    A terminal echoes `^C` where the cursor stands. On a full last line the echo would begin another line, and the next
    drawing would leave the top of the previous one behind.
    """

    live: Live
    output: Output

    def show(self, seen: Mapping[str, Json]) -> None:
        """Redraw the table."""
        times = self.output.times()
        rows = [(name, shown["state"], in_short(shown, times)) for name, shown in seen.items()]
        self.live.update(Group(table_of(_COLUMNS, rows, width=self.live.console.width), Text()), refresh=True)


@dataclass(slots=True, kw_only=True)
class Follow:
    """Polls the bridge for registrations until they end."""

    api: Api
    around: CliContext
    #: The time between two polls.
    interval: timedelta
    #: The time limit, or None for no limit.
    timeout: timedelta | None

    def until_ended(self, ids: Sequence[str], output: Output) -> Sequence[Json]:
        """Follow registrations until all have ended, and return their last views.

        A silent bridge is polled again for SILENCE seconds. Raises WaitTimeout, BridgeUnreachable and Refused.
        """
        live = Live(console=output.console, auto_refresh=False) if output.is_terminal else None
        shown_in: AbstractContextManager[object] = nullcontext() if live is None else live
        with shown_in:
            return self._follow(ids, LinesDisplay(output) if live is None else TableDisplay(live, output))

    def _follow(self, ids: Sequence[str], display: Display) -> Sequence[Json]:
        began = self.around.stopwatch()
        heard, seen = began, dict[str, Json]()
        while True:
            now = self.around.stopwatch()
            try:
                seen |= {each: self.api.get(f"registrations/{each}") for each in self._open(ids, seen)}
                heard = now
            except (BridgeUnreachable, Refused) as error:
                if not error.may_pass or now - heard >= SILENCE:
                    raise
            display.show({each: seen[each] for each in ids if each in seen})
            still_open = self._open(ids, seen)
            if not still_open:
                return [seen[each] for each in ids]
            if self.timeout is not None and now - began >= self.timeout.total_seconds():
                raise WaitTimeout(f"not ended yet: {', '.join(still_open)}; the bridge still works on it")
            self.around.sleep(self.interval.total_seconds())

    @staticmethod
    def _open(ids: Sequence[str], seen: Mapping[str, Json]) -> list[str]:
        return [each for each in ids if each not in seen or not has_ended(seen[each])]
