"""Whom to ask first where not all can be asked: those of which most delay is lost.

Not those that are likeliest to be done, which would starve the others; and not those that came first. A crash here
costs nothing: nothing is kept.
"""

from collections.abc import Sequence
from datetime import datetime

from bridge.core.due import DuePoll
from bridge.core.outlook import lost_by
from bridge.core.schedule import first_price
from bridge.sweeping.laws import Laws


class Ranking:
    """Knows how many seconds of delay are lost, on average, if an operation is asked for now."""

    def __init__(self, laws: Laws, polls_per_operation: float, now: datetime) -> None:
        self._laws = laws
        self._polls_per_operation = polls_per_operation
        self._now = now
        self._known: dict[str, float] = {}

    def ordered(self, due: Sequence[DuePoll]) -> list[DuePoll]:
        """Put those first of which most is lost."""
        return sorted(due, key=self._lost, reverse=True)

    def worth(self, due: Sequence[DuePoll], granted: int) -> float:
        """Tell what the last of so many is worth that go first, among those due of one source; in first prices."""
        source = due[0].watch.ref.source
        worth = sorted(map(self._lost, due), reverse=True)[granted - 1]
        return worth / first_price(self._laws.curve(source, None), self._polls_per_operation)

    def _lost(self, due: DuePoll) -> float:
        key = due.token.key
        if key not in self._known:
            curve = self._laws.curve(due.watch.ref.source, due.watch.group)
            self._known[key] = lost_by(curve, due.watch, self._now)
        return self._known[key]
