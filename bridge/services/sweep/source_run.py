"""The sources in one sweep: how many polls each allows, and the effect of responses on the whole source.

Tokens are reserved before the first request, under the row's ETag, so that two concurrent sweeps share one budget. A
429, a refused credential or an open circuit is written at once, so that a crash does not lose it. Unused tokens are
returned at the end. A crash in between costs the reserved tokens, which come in again.

A change that storage does not accept is kept in this sweep and in the instance's memory, and later applied to the
current state of the row.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from bridge.diagnostics import of_poll
from bridge.domain.errors import Contended, StorageUnavailable, UnreadableRow
from bridge.domain.operation import PollError, PollErrorKind, PollState
from bridge.domain.poll_schedule import Sale
from bridge.domain.rate_limit import (
    Budget,
    accept,
    answered,
    clamped,
    deny,
    fail,
    fail_probe,
    fresh,
    give_back,
    reserve,
    throttle,
)
from bridge.domain.upstream import (
    BadRequest,
    NotFound,
    Pending,
    PollResult,
    Source,
    Terminal,
    Throttled,
    TransientError,
    Unauthorized,
)
from bridge.log import Event, log
from bridge.ports import StoredSchedule
from bridge.storage.keys import SOURCES_PARTITION, source_key
from bridge.storage.records import for_insert, for_merge, stored
from bridge.storage.repository import Commit, Repository
from bridge.storage.table import Insert, Merge, Row, Transaction
from bridge.telemetry import Metric, Telemetry

Change = Callable[[Budget], Budget]

#: No request was sent, so the error is about the source and never about one operation.
_NOT_ASKED = PollErrorKind.CREDENTIAL_UNAVAILABLE

#: More requests than any bucket holds.
_MANY = 1_000_000

#: The most unwritten changes that are kept per source, the last ones.
_KEPT = 100


@dataclass(slots=True)
class SourceMemory:
    """One instance's memory of a source between sweeps."""

    #: When the last poll with an answer about its operation was sent. Written with the next reservation.
    answered_at: datetime | None = None
    #: The owner of the last polled operation, while not all could be polled.
    turn: str | None = None
    #: Whether the newest or the oldest of the never polled operations comes first in the next sweep.
    is_newest_next: bool = False
    #: Stops, pauses and faults that storage did not accept.
    unwritten: list[Change] = field(default_factory=list)


@dataclass(slots=True)
class SourceCounts:
    """The results of one source's polls in one sweep."""

    due: int = 0
    asked: int = 0
    #: Requests for the reason of a failure.
    extra: int = 0
    finished: int = 0
    faults: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The sources from sweep to sweep, with the parts that their runs share."""

    by_name: Mapping[str, Source]
    schedule: StoredSchedule
    repository: Repository
    telemetry: Telemetry
    memories: dict[str, SourceMemory] = field(default_factory=dict)

    def source(self, name: str) -> Source:
        """Return a source, or a placeholder if it is no longer configured: its operations wait, and expire."""
        return self.by_name.get(name) or Source(name=name, endpoint="", path=name, api_version="")

    def memory(self, name: str) -> SourceMemory:
        """Return this instance's memory of a source."""
        return self.memories.setdefault(name, SourceMemory())


class SourceRun:
    """One source during one sweep. Thread-safe."""

    def __init__(self, sources: Sources, source: Source, row: Row | None) -> None:
        self._sources = sources
        self.source = source
        self._memory = sources.memory(source.name)
        self._lock = threading.Lock()
        self._etag: str | None = None
        self._is_ours = True
        self._written = self._budget = fresh(sources.repository.clock(), highest=source.requests_per_second)
        self._pending: list[Change] = [self._remember, *self._memory.unwritten]
        self._take(row)
        self._granted = 0
        self._closed = False
        #: The trace context of this sweep of the source.
        self.trace: str | None = None
        self.counts = SourceCounts()

    @property
    def budget(self) -> Budget:
        """The budget as this sweep knows it."""
        return self._budget

    @property
    def room(self) -> int:
        """How many requests the source allows now, as far as this sweep knows without reserving tokens."""
        return reserve(self._budget, _MANY, self._sources.repository.clock(), highest=self.source.requests_per_second)[
            1
        ]

    def reserve(self, wanted: int, worth: Callable[[int], float], *, due: int) -> int:
        """Reserve tokens for up to `wanted` polls, and set the shadow price. Returns 0 if storage does not accept that.

        `worth` returns the worth of the last of a number of polls, in base prices. It is called if not all polls are
        granted. `due` is the number of due operations, for the log line of this source.
        """
        self.counts.due = due
        self._granted = self._take_tokens(wanted, worth)
        return self._granted

    def begin(self) -> datetime | None:
        """Begin a poll. Returns its time, or None if the source allows no more."""
        with self._lock:
            if self._closed:
                return None
            self.counts.asked += 1
            return self._sources.repository.clock()

    def begin_extra(self) -> datetime | None:
        """Begin a request in addition to the reserved polls. Returns None if the budget has no token now."""
        if self._closed or not self._take_tokens(1):
            return None
        with self._lock:
            self.counts.extra += 1
            return self._sources.repository.clock()

    def note(self, *, fault: bool = False, finished: bool = False) -> None:
        """Count the outcome of a poll."""
        with self._lock:
            self.counts.faults += fault
            self.counts.finished += finished

    def record_response(self, result: PollResult, asked_at: datetime, poll_state: PollState | None = None) -> bool:
        """Apply the effect of an answer on the whole source. Returns whether a failure is the operation's own.

        A refusal or a fault is the operation's own if another operation was answered since this operation's last one.
        """
        now = self._sources.repository.clock()
        is_own = poll_state is not None and self._answers_others(poll_state)
        match result:
            case Throttled() | Unauthorized() if is_own and result.error.kind is not _NOT_ASKED:
                self._change(answered)
            case Throttled(error=PollError(kind=kind, detail=detail), wait=wait):
                self._close()
                self._change(lambda budget: throttle(budget, wait, now, asked_at=asked_at), keep=True)
                self._sources.telemetry.measure(Metric.THROTTLED, bridge__source=self.source.name)
                until = self._budget.stopped_until
                log(Event.THROTTLED, source=self.source.name, error=kind, detail=detail, until=until)
            case Unauthorized(error=PollError(kind=kind, detail=detail) as error):
                self._close()
                self._change(lambda budget: deny(budget, error, now, asked_at=asked_at), keep=True)
                until, advice = self._budget.paused_until, of_poll(kind).do
                log(Event.DENIED, source=self.source.name, error=kind, detail=detail, until=until, advice=advice)
                return False
            case Pending() | Terminal() | NotFound() | BadRequest():
                self._accept(asked_at)
            case TransientError(error=error) if self.source.endpoint:
                self._fail(error, now)
            case TransientError():
                return True  # no source of this name is configured, so none will answer
        return is_own

    def end(self) -> None:
        """Return unused tokens, write pending changes, and write the log line of this source."""
        unused = self._granted - self.counts.asked
        if unused > 0 and not self._closed:
            self._change(lambda budget: give_back(budget, unused))
        self._change(lambda budget: budget)
        self._memory.answered_at = self._budget.answered_at
        self._memory.unwritten = [change for change in self._pending if change != self._remember][-_KEPT:]
        counts = self.counts
        self._sources.telemetry.measure(Metric.ASKED, counts.asked + counts.extra, bridge__source=self.source.name)
        log(
            Event.SOURCE_POLLED,
            source=self.source.name,
            due=counts.due,
            asked=counts.asked,
            extra=counts.extra,
            finished=counts.finished,
            faults=counts.faults,
            left=counts.due - counts.asked,
            rate=round(self._budget.rate, 4),
            shadow_price=round(self._budget.shadow_price, 2),
        )

    def _answers_others(self, poll_state: PollState) -> bool:
        answered_at = self._budget.answered_at
        return poll_state.troubled_at is not None and answered_at is not None and answered_at > poll_state.troubled_at

    def _accept(self, asked_at: datetime) -> None:
        """Apply an answer. Most change nothing but its time, which waits for the next write."""
        with self._lock:
            before = self._budget
            self._budget = accept(before, asked_at=asked_at)
            is_change = replace(self._budget, answered_at=before.answered_at) != before
        if is_change:
            self._change(lambda budget: accept(budget, asked_at=asked_at))

    def _fail(self, error: PollError, now: datetime) -> None:
        """Count a fault. Written at the end of the sweep, or at once if the circuit opens."""
        with self._lock:
            change = fail_probe if self._budget.probes and not self._closed else fail
            before = self._budget
            self._apply(lambda budget: change(budget, error, now))
            after = self._budget
            opened = after.probe_at != before.probe_at
            self._closed = self._closed or opened
        if opened:
            self._change(lambda budget: budget)
        if after.unreachable_at != before.unreachable_at:
            kind, detail, since, advice = error.kind, error.detail, after.silent_since, of_poll(error.kind).do
            log(Event.UNREACHABLE, source=self.source.name, error=kind, detail=detail, since=since, advice=advice)

    def _take_tokens(self, wanted: int, worth: Callable[[int], float] | None = None) -> int:
        now, highest = self._sources.repository.clock(), self.source.requests_per_second
        granted = 0

        def take(budget: Budget) -> Budget:
            nonlocal granted
            after, granted = reserve(budget, wanted, now, highest=highest)
            if not granted:
                return budget
            if worth is None or after.is_probed:  # a probe is no evidence of the worth of other polls
                return after
            sale = Sale(
                wanted=wanted,
                granted=granted,
                left=after.tokens,
                worth=worth(granted) if granted < wanted else 0.0,
                elapsed=after.at - budget.at,
            )
            price = self._sources.schedule.update_price(budget.shadow_price, sale)
            return replace(after, shadow_price=price)

        return granted if self._change(take) else 0

    def _close(self) -> None:
        with self._lock:
            self._closed = True

    def _remember(self, budget: Budget) -> Budget:
        """Apply the instance's memory of the source's answers to the stored budget."""
        answered_at = self._memory.answered_at
        if answered_at is None or (budget.answered_at is not None and budget.answered_at >= answered_at):
            return budget
        return replace(budget, answered_at=answered_at)

    def _apply(self, change: Change) -> None:
        """Change the budget in memory, and keep the change until it is written."""
        self._pending.append(change)
        self._budget = change(self._budget)

    def _change(self, change: Change, *, keep: bool = False) -> bool:
        """Apply a change to the current state of the row. Returns whether the row has the change.

        A change that storage does not accept stays in this sweep. With `keep`, it is written later.
        """
        with self._lock:
            self._apply(change)
            if not self._has_changed():
                self._pending.remove(change)
                return True
            try:
                self._write()
            except (StorageUnavailable, Contended) as error:
                log(Event.STORAGE, step="budget", source=self.source.name, error=str(error))
                if not keep:
                    self._pending.remove(change)
                return False
            return True

    def _has_changed(self) -> bool:
        """Return whether a write would change more than the time of the last answer."""
        return replace(self._budget, answered_at=self._written.answered_at, tx="") != replace(self._written, tx="")

    def _write(self) -> None:
        """Write the row, on top of what others wrote. Raises StorageUnavailable and Contended."""
        read = partial(self._sources.repository.table.get, SOURCES_PARTITION, source_key(self.source.name))
        self._sources.repository.transact(read, self._rewrite, first=self._overwrite)

    def _rewrite(self, row: Row | None, tx: str) -> Commit[None]:
        self._etag = None
        self._take(row)
        return self._overwrite(tx)

    def _overwrite(self, tx: str) -> Commit[None]:
        """Write over the row as this sweep knows it."""
        key, after = source_key(self.source.name), replace(self._budget, tx=tx)
        if not self._is_ours:
            return Commit((), partial(self._note_written, after))
        write = Insert(key, for_insert(after)) if self._etag is None else Merge(key, for_merge(after), self._etag)
        transaction = Transaction(SOURCES_PARTITION, (write,), stamp=key, tx=tx)
        return Commit((transaction,), partial(self._note_written, after))

    def _note_written(self, budget: Budget, etag: str) -> None:
        self._etag, self._written, self._budget = etag, budget, budget
        self._pending.clear()

    def _take(self, row: Row | None) -> None:
        """Begin with the stored budget, and apply the unwritten changes."""
        if row is not None:
            try:
                read = stored(Budget, None, row)
            except UnreadableRow as error:
                log(Event.ROW_UNREADABLE, partition=SOURCES_PARTITION, key=row.key, why=str(error))
                self._is_ours = False  # of a newer version: this sweep uses a separate count
                return
            self._etag, self._written = read.etag, read.record
            self._budget, wrong = clamped(read.record, self._sources.repository.clock())
            if wrong:
                log(Event.CLOCK_AHEAD, row=row.key, columns=list(wrong))
        for change in self._pending:
            self._budget = change(self._budget)
