"""Polls the due operations of a sweep within the budgets of their sources, and commits each result at once.

The end of an operation is committed together with the tasks of its callbacks, which are sent then.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from bridge.domain.delivery import DeliveryTask
from bridge.domain.errors import BridgeError, UnreadableRow
from bridge.domain.ids import OperationRef
from bridge.domain.operation import Explanation, PollError, PollErrorKind
from bridge.domain.polling import Circumstances, Finish, PollAgain, PollingPolicy, after_poll
from bridge.domain.time import Clock
from bridge.domain.upstream import (
    BadRequest,
    NoReply,
    NotFound,
    Pending,
    PollResult,
    Throttled,
    TransientError,
    Unauthorized,
    read,
    read_failure,
)
from bridge.log import Event, log
from bridge.pool import imap_unordered
from bridge.ports import Upstream
from bridge.services.dispatch import Dispatcher
from bridge.services.sweep.due_reader import PURGES, PURGES_PER_SECOND, Room
from bridge.services.sweep.enqueueing import MessageShares
from bridge.services.sweep.priority import PollPriority
from bridge.services.sweep.rescheduler import RescheduleBatches, Rescheduler
from bridge.services.sweep.source_run import SourceRun, Sources
from bridge.storage.aggregate import OperationAggregate
from bridge.storage.due import DuePoll
from bridge.storage.keys import due_at, due_reference, source_key
from bridge.storage.repository import Commit, unchanged
from bridge.storage.table import Row
from bridge.storage.writes import poll
from bridge.storage.writes.poll import NOT_FOUND_WAIT, UNREADABLE_WAIT, Reschedule
from bridge.telemetry import Metric, Span, Step, Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class Finisher:
    """Ends operations, by the upstream's word or by the bridge's own."""

    sources: Sources
    dispatcher: Dispatcher
    rescheduler: Rescheduler
    #: Messages that this sweep may still send.
    shares: MessageShares
    #: How long an operation is kept after its end.
    retention: timedelta

    def finish(self, due: DuePoll, decision: Finish) -> None:
        """Commit an end and send the tasks of its callbacks. After a crash in between their due rows send them."""
        repository = self.sources.repository
        read = partial(repository.aggregate, due.poll_state.ref)
        self.dispatcher.send(*repository.transact(read, partial(self._finished, due, decision)))

    def _finished(
        self, due: DuePoll, decision: Finish, aggregate: OperationAggregate | None, tx: str
    ) -> Commit[list[DeliveryTask]]:
        """Commit an end to the current state of the operation. The upstream's final status is never dropped."""
        ref, now = due.poll_state.ref, self.sources.repository.clock()
        if aggregate is None:  # the write to the row shows whether it is gone
            later = PollAgain(at=now + NOT_FOUND_WAIT, poll_state=due.poll_state, status=None, error=None)
            self.rescheduler.commit([poll.poll_again(due.handle, later, now)])
            return unchanged([])
        operation = aggregate.operation.record
        # Another sweep can be faster, and the bridge's own final status holds only for this due row.
        if not operation.is_polled or (decision.is_ours and operation.due != due.handle.key):
            return unchanged([])
        transaction, tasks = poll.finish(
            aggregate,
            decision,
            path=self.sources.source(ref.source).path,
            now=now,
            tx=tx,
            retention=self.retention,
            share=self.shares.take,
        )

        def then(_: str) -> list[DeliveryTask]:
            delay = max((now - _known_end(decision)).total_seconds(), 0.0)
            log(
                Event.FINISHED,
                operation=due_reference(ref),
                final_status=decision.final_status.value,
                reason=decision.reason,
                polls=decision.poll_state.polls,
                age=round((now - decision.poll_state.began_at).total_seconds(), 3),
                callbacks=len(tasks),
                delay=round(delay, 3),
            )
            self.sources.telemetry.measure(Metric.DETECTION, delay, bridge__source=ref.source)
            return tasks

        return Commit((transaction,), then)


def _known_end(decision: Finish) -> datetime:
    """Return from when the end could be detected: the end of a job, which is exact, or the last poll before the end.

    The bridge cannot detect an end before the registration.
    """
    state = decision.poll_state
    return max(decision.ended_at or state.seen_running_at or state.registered_at, state.registered_at)


#: How often the reason of a failure is requested before the event is sent without it.
TRIES = 2

#: The most undocumented statuses that one instance logs.
_UNKNOWN_STATUSES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationFetcher:
    """Fetches operations from the upstream and parses the responses. A crash after a request costs that request."""

    upstream: Upstream
    clock: Clock
    #: Undocumented statuses that were logged, by source.
    unknown: set[tuple[str, str]] = field(default_factory=set)

    def fetch_operation(self, ref: OperationRef) -> PollResult:
        """Fetch an operation once. Never raises."""
        try:
            result = read(self.upstream.fetch_operation(ref), ref, self.clock())
        except Exception as error:  # noqa: BLE001 - a bug that affects one operation is only a fault of its poll
            return TransientError(_failed("poll", ref, error))
        if isinstance(result, Pending) and not result.is_documented:
            self._note_unknown(ref.source, result.status)
        return result

    def fetch_failure(self, ref: OperationRef, run: SourceRun) -> Explanation | None:
        """Fetch the reason of a failure from an operation's job, at most twice and within the budget. Never raises.

        The job has the operation's id only if the client chose both alike, so a 404 counts as no reason. Of these
        answers only a 429 affects the whole source, since the credential was accepted a moment ago.
        """
        for _ in range(TRIES):
            asked_at = run.begin_extra()
            if asked_at is None:
                return None
            try:
                reply = self.upstream.fetch_failure(ref)
            except Exception as error:  # noqa: BLE001 - the event is sent without the reason
                reply = NoReply(_failed("fetch failure", ref, error))
            result = read(reply, ref, self.clock())
            if isinstance(result, Throttled):
                run.record_response(result, asked_at)
            if isinstance(result, Throttled | NotFound | BadRequest | Unauthorized):
                return None
            why = read_failure(reply, ref.id)
            if why is not None:
                return why
        return None

    def _note_unknown(self, source: str, status: str) -> None:
        """Log an undocumented status, once for each value and source."""
        if (source, status) not in self.unknown and len(self.unknown) < _UNKNOWN_STATUSES:
            self.unknown.add((source, status))
            log(Event.UNKNOWN_STATUS, source=source, status=status)


def _failed(step: str, ref: OperationRef, error: Exception) -> PollError:
    log(Event.FAILED, step=step, operation=due_reference(ref), error=type(error).__name__)
    return PollError(PollErrorKind.INTERNAL_ERROR, f"the bridge failed: {type(error).__name__}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PollCounts:
    """The results of one sweep's polls, over all sources."""

    asked: int
    finished: int
    faults: int
    left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Poller:
    """Polls operations."""

    fetcher: OperationFetcher
    finisher: Finisher
    rescheduler: Rescheduler
    sources: Sources
    clock: Clock
    executor: Executor
    #: The number of concurrent polls.
    parallel: int
    telemetry: Telemetry
    #: The age at which an operation that never ends is given up.
    deadline: timedelta

    def begin(self, rows: Sequence[Row]) -> "Runs":
        """Begin a sweep with the rows of the sources as read."""
        self.sources.schedule.begin(rows)
        return Runs(self.sources, {row.key: row for row in rows})

    def run(
        self, due: Sequence[DuePoll], runs: "Runs", *, until: datetime, meanwhile: Callable[[], None] = lambda: None
    ) -> PollCounts:
        """Poll each due operation once, within its source's budget.

        No poll begins after `until`. Skipped polls keep their due time. `meanwhile` is called now and then, from
        several threads.
        """
        chosen = self._chosen(due, runs)
        active = [runs.of(source) for source in chosen]
        with ExitStack() as spans:
            for run in active:
                spans.enter_context(self._sweep_of(run))
            self._poll_all(chosen, runs, until, meanwhile)
            for run in active:
                run.end()
        self.sources.schedule.end()
        counts = [run.counts for run in active]
        asked = sum(each.asked for each in counts)
        return PollCounts(
            asked=asked,
            finished=sum(each.finished for each in counts),
            faults=sum(each.faults for each in counts),
            left=len(due) - asked,
        )

    def _poll_all(
        self,
        chosen: Mapping[str, Sequence[DuePoll]],
        runs: "Runs",
        until: datetime,
        meanwhile: Callable[[], None],
    ) -> None:
        """Keep `parallel` polls running, shared between the sources, and commit the reschedules in batches."""
        turns = Turns(chosen)

        def poll(_: int) -> Reschedule | None:
            meanwhile()
            with turns.next() as due:
                return None if due is None else self._poll(due, runs.of(due.poll_state.ref.source))

        polls = range(sum(len(each) for each in chosen.values()))
        batches = RescheduleBatches(self.rescheduler, self.clock)
        results = imap_unordered(
            self.executor,
            poll,
            polls,
            parallel=self.parallel,
            while_=lambda: self.clock() < until,
            idle=meanwhile,
        )
        with closing(results) as reschedules:
            for reschedule in reschedules:
                if reschedule is not None:
                    batches.add(reschedule)
                batches.flush()
        batches.flush(everything=True)

    @contextmanager
    def _sweep_of(self, run: SourceRun) -> Iterator[None]:
        with self.telemetry.span(Step.SWEEP, bridge__source=run.source.name, bridge__due=run.counts.due) as span:
            run.trace = span.traceparent
            yield
            span.attributes["bridge__asked"] = run.counts.asked

    def _chosen(self, due: Sequence[DuePoll], runs: "Runs") -> dict[str, Sequence[DuePoll]]:
        """Reserve tokens for the due operations of each source. Returns the operations to poll, by source.

        If there are not enough tokens, the priority decides within the source. Otherwise the order is kept.
        """
        priority = PollPriority(self.sources.schedule, self.clock())
        wanted: dict[str, list[DuePoll]] = {}
        for each in due:
            wanted.setdefault(each.poll_state.ref.source, []).append(each)
        return {source: self._chosen_of(runs.of(source), those, priority) for source, those in wanted.items()}

    def _chosen_of(self, run: SourceRun, due: Sequence[DuePoll], priority: PollPriority) -> Sequence[DuePoll]:
        """Choose among the due operations of one source.

        After a refusal or a fault of a source, other operations are polled until the source answers, since the
        operation that met the refusal may be the only cause.
        """
        candidates = due
        if run.budget.is_suspect:
            candidates = [each for each in due if not each.poll_state.blocks] or due
        granted = run.reserve(len(candidates), partial(priority.worth, candidates), due=len(due))
        if granted < len(candidates):
            memory = self.sources.memory(run.source.name)
            candidates = priority.ordered(candidates, after=memory.turn, is_newest_first=memory.is_newest_next)
            if run.budget.is_suspect:
                candidates = sorted(candidates, key=lambda each: each.poll_state.faults + each.poll_state.blocks)
            if granted:
                memory.turn, memory.is_newest_next = candidates[granted - 1].poll_state.owner, not memory.is_newest_next
        return candidates[:granted]

    def _poll(self, due: DuePoll, run: SourceRun) -> Reschedule | None:
        """Poll one operation. No content of its rows and no failure affects another operation."""
        ref = due.poll_state.ref
        try:
            return self._polled(due, run)
        except UnreadableRow as error:
            log(Event.ROW_UNREADABLE, operation=due_reference(ref), why=str(error))
        except BridgeError as error:  # the due row stays, so the next sweep polls again
            log(Event.STORAGE, step="finish", operation=due_reference(ref), error=str(error))
            return None
        except Exception as error:  # noqa: BLE001 - a bug, or columns that no version of the bridge writes
            log(Event.FAILED, step="poll", operation=due_reference(ref), error=type(error).__name__)
        later = PollAgain(at=self.clock() + UNREADABLE_WAIT, poll_state=due.poll_state, status=None, error=None)
        return self._go_on(due, later)

    def _polled(self, due: DuePoll, run: SourceRun) -> Reschedule | None:
        """Poll an operation, and commit its end."""
        asked_at = run.begin()
        if asked_at is None:
            return None
        with self.telemetry.span(Step.POLL, run.trace, bridge__operation__id=due_reference(due.poll_state.ref)) as span:
            return self._answered(due, run, asked_at, span)

    def _answered(self, due: DuePoll, run: SourceRun, asked_at: datetime, span: Span) -> Reschedule | None:
        result = self.fetcher.fetch_operation(due.poll_state.ref)
        is_own = run.record_response(result, asked_at, due.poll_state)
        now = self.clock()
        policy = PollingPolicy(schedule=self.sources.schedule, deadline=self.deadline)
        met = Circumstances(
            free_at=run.budget.free_at(),
            is_own=is_own,
            late=asked_at - (due_at(due.handle.key) or asked_at),
            price=run.budget.shadow_price,
        )
        decision = after_poll(due.poll_state, result, now, policy, met)
        self.sources.schedule.observe(due.poll_state, result, now)
        run.note(fault=decision.error is not None)
        if isinstance(decision, PollAgain):
            span.attributes["bridge__status"] = decision.status
            span.error = decision.error.kind if decision.error else None
            return self._go_on(due, decision)
        span.attributes["bridge__status"] = decision.final_status.value
        if decision.can_be_explained and run.source.explains_failures:
            decision = replace(decision, why=self.fetcher.fetch_failure(due.poll_state.ref, run))
        self.finisher.finish(due, decision)
        run.note(finished=True)
        return None

    def _go_on(self, due: DuePoll, decision: PollAgain) -> Reschedule:
        error, detail = (decision.error.kind, decision.error.detail) if decision.error else (None, None)
        operation, status = due_reference(due.poll_state.ref), decision.status
        log(Event.POLLED, operation=operation, status=status, error=error, detail=detail, next=decision.at)
        return poll.poll_again(due.handle, decision, self.clock())


class Runs:
    """The sources in one sweep, each created on first use."""

    def __init__(self, sources: Sources, rows: Mapping[str, Row]) -> None:
        self._sources = sources
        self._rows = rows
        self._runs: dict[str, SourceRun] = {}
        self._lock = threading.Lock()

    def of(self, name: str) -> SourceRun:
        """Return the run of a source."""
        with self._lock:
            if name not in self._runs:
                self._runs[name] = SourceRun(
                    self._sources, self._sources.source(name), self._rows.get(source_key(name))
                )
            return self._runs[name]

    def room(self, name: str) -> Room:
        """Return how many due rows of a source, or of purges, can be processed now."""
        if name == PURGES:
            return Room(polls=0, rate=PURGES_PER_SECOND)
        run, now = self.of(name), self._sources.repository.clock()
        free_at = run.budget.free_at()
        is_free = free_at is None or free_at <= now
        return Room(polls=run.room, rate=run.budget.rate, free_at=None if is_free else free_at)


class Turns:
    """Hands out polls so that sources share the threads: next is the source with the fewest running polls."""

    def __init__(self, polls: Mapping[str, Sequence[DuePoll]]) -> None:
        self._waiting = {source: deque(each) for source, each in polls.items() if each}
        self._under_way: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def next(self) -> Iterator[DuePoll | None]:
        """Yield the next poll, which counts as running during the block. Yields None if none is left."""
        with self._lock:
            source = min(self._waiting, key=lambda name: self._under_way[name], default=None)
            due = None if source is None else self._waiting[source].popleft()
            if source is not None:
                self._under_way[source] += 1
                if not self._waiting[source]:
                    del self._waiting[source]
        try:
            yield due
        finally:
            if source is not None:
                with self._lock:
                    self._under_way[source] -= 1
