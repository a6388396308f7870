"""The sources in one sweep: what each may be asked, and what is heard of it as a whole.

Tokens are taken before the first question, under the row's ETag, so that two sweeps which meet share one budget. A
429 or a denied credential is written at once, so that a crash does not forget it; what was not used goes back at the
end. A crash in between costs the tokens that were taken, which come in again.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from bridge.core.answer import Absent, Answer, Denied, Fault, Pending, Refused, Terminal, Throttled
from bridge.core.budget import Budget, accept, deny, fresh, give_back, repriced, reserve, throttle
from bridge.core.errors import Conflict, ForeignRow, StorageUnavailable
from bridge.core.hints import of_denial
from bridge.core.keys import SOURCES_PARTITION, source_key
from bridge.core.rows import for_insert, for_merge, stored
from bridge.core.source import Source
from bridge.core.times import Clock
from bridge.core.transaction import Insert, Merge, Row, Transaction
from bridge.log import Event, log
from bridge.ports import Table
from bridge.telemetry import Metric, Telemetry

_ROUNDS = 6


@dataclass(slots=True)
class SourceCounts:
    """What the polls of one source came to in one sweep."""

    due: int = 0
    asked: int = 0
    #: Questions why something failed.
    extra: int = 0
    finished: int = 0
    faults: int = 0


class SourceRun:
    """One source during one sweep; its methods may be called from several threads."""

    def __init__(
        self,
        table: Table,
        source: Source,
        row: Row | None,
        clock: Clock,
        token: Callable[[], str],
        *,
        telemetry: Telemetry,
    ) -> None:
        self._table = table
        self.source = source
        self._clock = clock
        self._token = token
        self._telemetry = telemetry
        self._lock = threading.Lock()
        self._etag: str | None = None
        self._is_ours = True
        self._budget = fresh(clock(), highest=source.requests_per_second)
        self._take(row)
        self._granted = self._left = 0
        self._closed = False
        #: The trace of this sweep of the source.
        self.trace: str | None = None
        self.counts = SourceCounts()

    @property
    def budget(self) -> Budget:
        """The budget as this sweep knows it."""
        return self._budget

    def reserve(self, wanted: int, worth: Callable[[int], float]) -> int:
        """Take tokens for up to `wanted` questions, and set the price; none if storage does not take the step.

        `worth` tells what the last of so many is worth, in first prices; it is asked if not all are granted.
        """
        self.counts.due = wanted
        self._granted = self._left = self._take_tokens(wanted, worth)
        return self._granted

    @property
    def is_short(self) -> bool:
        """Whether more is due than was reserved."""
        return self._granted < self.counts.due

    def grant(self) -> bool:
        """Hand out one of the reserved tokens."""
        self._left -= 1
        return self._left >= 0

    def begin(self) -> datetime | None:
        """Begin a question; returns when, or None if the source wants none any more."""
        with self._lock:
            if self._closed:
                return None
            self.counts.asked += 1
            return self._clock()

    def begin_extra(self) -> datetime | None:
        """Begin a question beyond what was reserved; None if the budget has no token for it now."""
        if self._closed or not self._take_tokens(1):
            return None
        with self._lock:
            self.counts.extra += 1
            return self._clock()

    def note(self, *, fault: bool = False, finished: bool = False) -> None:
        """Count what a question came to."""
        with self._lock:
            self.counts.faults += fault
            self.counts.finished += finished

    def hear(self, answer: Answer, asked_at: datetime) -> None:
        """Take what an answer says of the source as a whole."""
        now = self._clock()
        match answer:
            case Throttled(what=what, wait=wait):
                self._close()
                self._change(lambda budget: throttle(budget, wait, now, asked_at=asked_at))
                self._telemetry.measure(Metric.THROTTLED, bridge__source=self.source.name)
                log(Event.THROTTLED, source=self.source.name, what=what, until=self._budget.stopped_until)
            case Denied(what=what):
                self._close()
                self._change(lambda budget: deny(budget, what, now, asked_at=asked_at))
                advice = of_denial(what).do
                log(Event.DENIED, source=self.source.name, what=what, until=self._budget.paused_until, advice=advice)
            case Pending() | Terminal() | Absent() | Refused():
                if accept(self._budget, asked_at=asked_at) != self._budget:
                    self._change(lambda budget: accept(budget, asked_at=asked_at))
            case Fault():
                pass  # says nothing of credential or quota

    def end(self) -> None:
        """Put back what was not used, and write the line of this source."""
        unused = self._granted - self.counts.asked
        if unused > 0 and not self._closed:
            self._change(lambda budget: give_back(budget, unused))
        counts = self.counts
        self._telemetry.measure(Metric.ASKED, counts.asked + counts.extra, bridge__source=self.source.name)
        log(
            Event.ASKED,
            source=self.source.name,
            due=counts.due,
            asked=counts.asked,
            extra=counts.extra,
            finished=counts.finished,
            faults=counts.faults,
            left=counts.due - counts.asked,
            rate=round(self._budget.rate, 4),
            price=round(self._budget.price, 2),
        )

    def _take_tokens(self, wanted: int, worth: Callable[[int], float] | None = None) -> int:
        now, highest = self._clock(), self.source.requests_per_second
        granted = 0

        def take(budget: Budget) -> Budget:
            nonlocal granted
            after, granted = reserve(budget, wanted, now, highest=highest)
            if not granted:
                return budget
            if worth is None or after.pauses:  # one that probes says nothing of what the others are worth
                return after
            price = repriced(
                budget.price,
                wanted=wanted,
                granted=granted,
                left=after.tokens,
                worth=worth(granted) if granted < wanted else 0.0,
                elapsed=after.at - budget.at,
            )
            return replace(after, price=price)

        return granted if self._change(take) else 0

    def _close(self) -> None:
        with self._lock:
            self._closed = True

    def _change(self, change: Callable[[Budget], Budget]) -> bool:
        """Write a change of the row, on top of what others wrote; keeps it in memory if storage does not take it."""
        with self._lock:
            for _ in range(_ROUNDS):
                after = change(self._budget)
                if after == self._budget:
                    return True
                try:
                    if self._committed(replace(after, tx=self._token())):
                        return True
                except StorageUnavailable as error:
                    self._budget = after
                    log(Event.STORAGE, step="budget", source=self.source.name, error=str(error))
                    return False
            return False

    def _committed(self, after: Budget) -> bool:
        """Write the row; False, with what is there now read, if somebody else was faster."""
        try:
            self._commit(after)
        except Conflict:
            self._take(self._table.get(SOURCES_PARTITION, source_key(self.source.name)))
            return False
        return True

    def _commit(self, after: Budget) -> None:
        if not self._is_ours:
            self._budget = after
            return
        key = source_key(self.source.name)
        write = Insert(key, for_insert(after)) if self._etag is None else Merge(key, for_merge(after), self._etag)
        etags = self._table.commit(Transaction(SOURCES_PARTITION, (write,), stamp=key, tx=after.tx))
        self._budget, self._etag = after, etags[key]

    def _take(self, row: Row | None) -> None:
        if row is None:
            return
        try:
            read = stored(Budget, None, row)
        except ForeignRow as error:
            log(Event.SET_ASIDE, partition=SOURCES_PARTITION, key=row.key, why=str(error))
            self._is_ours = False  # a newer version's: this sweep keeps its own count
            return
        self._budget, self._etag = read.record, read.etag
