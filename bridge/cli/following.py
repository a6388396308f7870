"""Follows registrations to their ends: a table that moves on a terminal, a line for each change in a pipe."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from rich.live import Live

from bridge.cli.client import Api, Json
from bridge.cli.context import CliContext
from bridge.cli.errors import BridgeUnreachable, Refused, WaitTimeout
from bridge.cli.output import Output, table_of
from bridge.cli.showing import ended_attempts, has_ended, in_short, tone_of

#: So long the bridge may be silent, or answer that it cannot now, before following it is given up; in seconds.
SILENCE = 60.0

_COLUMNS = ("registration", "state", "")


class Display(Protocol):
    """What is told of each round."""

    def show(self, seen: Mapping[str, Json]) -> None:
        """Tell how the registrations are now, by id."""


@dataclass(slots=True)
class LinesDisplay:
    """A line for each change: of people's words, or of JSON."""

    output: Output
    _told: dict[str, object] = field(default_factory=dict)

    def show(self, seen: Mapping[str, Json]) -> None:
        """Tell what is new."""
        for name, shown in seen.items():
            change = (shown["state"], shown["operation"]["status"], in_short(shown), len(ended_attempts(shown)))
            if self._told.get(name) == change:
                continue
            self._told[name] = change
            if self.output.as_json:
                self.output.json(shown, compact=True)
            else:
                self.output.say(f"{name}  {shown['state']}  {in_short(shown)}", tone_of(shown))


@dataclass(slots=True)
class TableDisplay:
    """A table that is drawn anew in its place."""

    live: Live

    def show(self, seen: Mapping[str, Json]) -> None:
        """Draw it."""
        rows = [(name, shown["state"], in_short(shown)) for name, shown in seen.items()]
        self.live.update(table_of(_COLUMNS, rows, width=self.live.console.width), refresh=True)


@dataclass(slots=True, kw_only=True)
class Follow:
    """The job, with everything that it needs."""

    api: Api
    around: CliContext
    #: From one look to the next.
    interval: timedelta
    #: How long to follow at the most; None for ever.
    timeout: timedelta | None

    def until_ended(self, ids: Sequence[str], output: Output) -> Sequence[Json]:
        """Follow registrations until all have ended; returns them as they are then.

        A bridge that is silent for a while is asked again. Raises WaitTimeout, BridgeUnreachable and Refused.
        """
        live = Live(console=output.console, auto_refresh=False) if output.is_terminal else None
        shown_in: AbstractContextManager[object] = nullcontext() if live is None else live
        with shown_in:
            return self._follow(ids, LinesDisplay(output) if live is None else TableDisplay(live))

    def _follow(self, ids: Sequence[str], display: Display) -> Sequence[Json]:
        began = self.around.stopwatch()
        heard, seen = began, dict[str, Json]()
        while True:
            now = self.around.stopwatch()
            try:
                seen |= {each: self.api.get(f"registrations/{each}") for each in self._open(ids, seen)}
                heard = now
            except (BridgeUnreachable, Refused) as error:
                may_pass = isinstance(error, BridgeUnreachable) or error.may_pass
                if not may_pass or now - heard >= SILENCE:
                    raise
            display.show({each: seen[each] for each in ids if each in seen})
            still_open = self._open(ids, seen)
            if not still_open:
                return [seen[each] for each in ids]
            if self.timeout is not None and now - began >= self.timeout.total_seconds():
                raise WaitTimeout(f"not ended yet: {', '.join(still_open)}; they go on without being watched")
            self.around.sleep(self.interval.total_seconds())

    @staticmethod
    def _open(ids: Sequence[str], seen: Mapping[str, Json]) -> list[str]:
        return [each for each in ids if each not in seen or not has_ended(seen[each])]
