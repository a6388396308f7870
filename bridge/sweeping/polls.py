"""Asks the upstream for what is due, and commits what it says as it comes."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from bridge.commit import commit, until_decided
from bridge.core.delivery import Call
from bridge.core.due import DuePoll
from bridge.core.errors import BridgeError, ForeignRow
from bridge.core.family import Family
from bridge.core.keys import after, source_key
from bridge.core.operation import Watch
from bridge.core.outlook import Outlook
from bridge.core.polling import AskAgain, Finish, PollingPolicy, after_poll
from bridge.core.schedule import first_price
from bridge.core.source import Source
from bridge.core.steps import polling
from bridge.core.steps.polling import NOT_FOUND_WAIT, UNREADABLE_WAIT, DueMove
from bridge.core.times import Clock
from bridge.core.transaction import Row
from bridge.dispatch import Dispatcher
from bridge.log import Event, log
from bridge.pool import imap_unordered
from bridge.ports import Table
from bridge.sweeping.batches import Batches
from bridge.sweeping.laws import Laws
from bridge.sweeping.moving import Mover
from bridge.sweeping.questions import Questions
from bridge.sweeping.ranking import Ranking
from bridge.sweeping.shares import MessageShares
from bridge.sweeping.sources import SourceRun
from bridge.telemetry import Metric, Span, Step, Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class PollCounts:
    """What the polls of one sweep came to, over all sources."""

    asked: int
    finished: int
    faults: int
    left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Polls:
    """Everything that polling needs."""

    table: Table
    dispatcher: Dispatcher
    questions: Questions
    mover: Mover
    clock: Clock
    executor: Executor
    #: How many polls are under way at once.
    parallel: int
    token: Callable[[], str]
    sources: Mapping[str, Source]
    laws: Laws
    #: Messages that this sweep may still send.
    shares: MessageShares
    telemetry: Telemetry
    #: How many polls an operation may cost, as long as the budget is not short.
    polls_per_operation: float
    #: Two polls of an operation are never nearer to each other.
    shortest_gap: timedelta
    #: The age at which an operation that never ends is given up.
    deadline: timedelta
    #: How long an operation is kept after its end.
    retention: timedelta

    def run(self, due: Sequence[DuePoll], sources: Sequence[Row], *, until: datetime) -> PollCounts:
        """Ask once for each due operation within its source's budget, those first where most delay is lost.

        None is begun after `until`. What is left keeps its due time.
        """
        self.laws.begin(sources)
        runs, chosen = self._begin(due, {row.key: row for row in sources})
        with ExitStack() as spans:
            for run in runs.values():
                spans.enter_context(self._sweep_of(run))
            self._poll_all(chosen, runs, until)
            for run in runs.values():
                run.end()
        self.laws.end()
        counts = [run.counts for run in runs.values()]
        asked = sum(each.asked for each in counts)
        return PollCounts(
            asked=asked,
            finished=sum(each.finished for each in counts),
            faults=sum(each.faults for each in counts),
            left=len(due) - asked,
        )

    def _poll_all(self, chosen: Sequence[DuePoll], runs: Mapping[str, SourceRun], until: datetime) -> None:
        """Ask for each, and commit what is to be asked again in batches."""
        batches = Batches(self.mover, self.clock)
        with closing(self._ask_all(chosen, runs, until)) as moves:
            for move in moves:
                if move is not None:
                    batches.add(move)
                batches.flush()
        batches.flush(everything=True)

    @contextmanager
    def _sweep_of(self, run: SourceRun) -> Iterator[None]:
        with self.telemetry.span(Step.SWEEP, bridge__source=run.source.name, bridge__due=run.counts.due) as span:
            run.trace = span.traceparent
            yield
            span.attributes["bridge__asked"] = run.counts.asked

    def _begin(self, due: Sequence[DuePoll], rows: Mapping[str, Row]) -> tuple[dict[str, SourceRun], list[DuePoll]]:
        """Reserve what the due operations of each source want; returns those that may be asked for.

        Where not all may be, those of which most is lost go first; otherwise they stay in order.
        """
        ranking = Ranking(self.laws, self.polls_per_operation, self.clock())
        wanted: dict[str, list[DuePoll]] = {}
        for each in due:
            wanted.setdefault(each.watch.ref.source, []).append(each)
        runs: dict[str, SourceRun] = {}
        for name, those in wanted.items():
            source = self.sources.get(name) or _removed(name)
            runs[name] = SourceRun(
                self.table, source, rows.get(source_key(name)), self.clock, self.token, telemetry=self.telemetry
            )
            runs[name].reserve(len(those), partial(ranking.worth, those))
        ordered = ranking.ordered(due) if any(run.is_short for run in runs.values()) else due
        return runs, [each for each in ordered if runs[each.watch.ref.source].grant()]

    def _outlook(self, watch: Watch, run: SourceRun) -> Outlook:
        source = watch.ref.source
        first = first_price(self.laws.curve(source, None), self.polls_per_operation)
        return Outlook(self.laws.curve(source, watch.group), first * run.budget.price, self.shortest_gap)

    def _ask_all(
        self, due: Sequence[DuePoll], runs: Mapping[str, SourceRun], until: datetime
    ) -> Generator[DueMove | None]:
        """Keep `parallel` polls under way; yields them as they end."""

        def ask(each: DuePoll) -> DueMove | None:
            return self._ask(each, runs[each.watch.ref.source])

        return imap_unordered(self.executor, ask, due, parallel=self.parallel, while_=lambda: self.clock() < until)

    def _ask(self, due: DuePoll, run: SourceRun) -> DueMove | None:
        """Ask for one operation. Whatever its rows hold, and whatever goes wrong with it, it holds up no other."""
        ref = due.watch.ref
        try:
            return self._asked(due, run)
        except ForeignRow as error:
            log(Event.SET_ASIDE, operation=ref.due_reference, why=str(error))
        except BridgeError as error:  # its due row stays, so it is asked for again at the next sweep
            log(Event.STORAGE, step="finish", operation=ref.due_reference, error=str(error))
            return None
        except Exception as error:  # noqa: BLE001 - a bug, or columns that no version of the bridge writes
            log(Event.FAILED, step="poll", operation=ref.due_reference, error=type(error).__name__)
        later = AskAgain(at=self.clock() + UNREADABLE_WAIT, watch=due.watch, status=None, error=None)
        return self._go_on(due, later)

    def _asked(self, due: DuePoll, run: SourceRun) -> DueMove | None:
        """Ask, and commit an end."""
        asked_at = run.begin()
        if asked_at is None:
            return None
        with self.telemetry.span(Step.POLL, run.trace, bridge__operation__id=due.watch.ref.due_reference) as span:
            return self._answered(due, run, asked_at, span)

    def _answered(self, due: DuePoll, run: SourceRun, asked_at: datetime, span: Span) -> DueMove | None:
        answer = self.questions.ask(due.watch.ref)
        run.hear(answer, asked_at)
        now = self.clock()
        policy = PollingPolicy(outlook=self._outlook(due.watch, run), deadline=self.deadline)
        decision = after_poll(due.watch, answer, now, policy, free_at=run.budget.free_at())
        self.laws.teach(due.watch, answer, now)
        run.note(fault=decision.error is not None)
        if isinstance(decision, AskAgain):
            span.attributes["bridge__status"], span.error = decision.status, decision.error
            return self._go_on(due, decision)
        span.attributes["bridge__status"] = decision.verdict.value
        if decision.can_be_explained and run.source.explains_failures:
            decision = replace(decision, why=self.questions.ask_why(due.watch.ref, run))
        self._finish(due, decision)
        run.note(finished=True)
        return None

    def _go_on(self, due: DuePoll, decision: AskAgain) -> DueMove:
        log(
            Event.POLLED,
            operation=due.watch.ref.due_reference,
            status=decision.status,
            error=decision.error,
            next=decision.at,
        )
        return polling.ask_again(due.token, decision, self.clock())

    def _finish(self, due: DuePoll, decision: Finish) -> None:
        """Commit an end and call for its callbacks. A crash in between leaves that to their due rows."""
        tx = self.token()
        self.dispatcher.send(*until_decided(lambda: self._finished(due, decision, tx)))

    def _finished(self, due: DuePoll, decision: Finish, tx: str) -> list[Call]:
        """Commit an end against whatever the operation is by now: the upstream's word is never dropped."""
        ref = due.watch.ref
        family = Family.read(ref, self.table.range(ref.partition, ref.key, after(ref.key)))
        if family is None:  # the write to it says whether it is gone
            later = AskAgain(at=self.clock() + NOT_FOUND_WAIT, watch=due.watch, status=None, error=None)
            self.mover.move([polling.ask_again(due.token, later, self.clock())])
            return []
        operation = family.operation.record
        if operation.tx == tx:  # a commit of ours that landed late
            return family.calls_of(tx)
        if not operation.is_watched or (decision.is_ours and operation.due != due.token.key):
            return []  # somebody else was faster; a verdict of ours holds only for what it was decided on
        now = self.clock()
        transaction, calls = polling.finish(
            family,
            decision,
            path=(self.sources.get(ref.source) or _removed(ref.source)).path,
            now=now,
            tx=tx,
            retention=self.retention,
            share=self.shares.take,
        )
        commit(self.table, transaction)
        log(
            Event.FINISHED,
            operation=ref.due_reference,
            verdict=decision.verdict.value,
            reason=decision.reason,
            polls=decision.watch.polls,
            age=round((now - decision.watch.registered_at).total_seconds(), 3),
            callbacks=len(calls),
        )
        before = decision.watch.seen_running_at or decision.watch.registered_at
        self.telemetry.measure(Metric.DETECTION, (now - before).total_seconds(), bridge__source=ref.source)
        return calls


def _removed(name: str) -> Source:
    """Stand in for a source that is configured no more: nobody is asked, so its operations wait for it or expire."""
    return Source(name=name, endpoint="", path=name, api_version="")
