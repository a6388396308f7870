"""Asks the upstream for what is due, and commits what it says as it comes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bridge.commit import commit, send, until_decided
from bridge.core.answer import Answer, Fault, read
from bridge.core.delivery import Call
from bridge.core.due import DuePoll
from bridge.core.errors import BridgeError, ForeignRow
from bridge.core.family import Family
from bridge.core.keys import OperationRef, after
from bridge.core.polling import AskAgain, Finish, PollingPolicy, after_poll
from bridge.core.source import Source
from bridge.core.steps import polling
from bridge.core.steps.polling import MOVES_PER_TRANSACTION, UNREADABLE_WAIT, DueMove
from bridge.core.times import Clock
from bridge.log import Event, log
from bridge.ports import Outbox, Table, Upstream
from bridge.sweeping.moving import Mover

#: What was learnt is committed at least this often, so that a crash asks little again.
_FLUSH_AFTER = timedelta(seconds=5)


@dataclass(slots=True)
class PollCounts:
    """What the polls of one sweep came to."""

    asked: int = 0
    finished: int = 0
    faults: int = 0
    left: int = 0


@dataclass(frozen=True, slots=True)
class Polled:
    """What one poll came to."""

    #: Where the next one is due; None if there is none to commit.
    move: DueMove | None
    finished: bool = False
    fault: bool = False


@dataclass(slots=True)
class _Batch:
    since: datetime
    moves: list[DueMove] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Polls:
    """Everything that polling needs."""

    table: Table
    outbox: Outbox
    upstream: Upstream
    mover: Mover
    clock: Clock
    executor: Executor
    #: How many polls are under way at once.
    parallel: int
    token: Callable[[], str]
    sources: Mapping[str, Source]
    policy: PollingPolicy
    #: How long an operation is kept after its end.
    retention: timedelta

    def run(self, due: Sequence[DuePoll], *, until: datetime) -> PollCounts:
        """Ask once for each due operation, those that waited longest first; none is begun after `until`."""
        counts = PollCounts()
        batches: dict[str, _Batch] = {}
        for polled in self._ask_all(due, until):
            counts.asked += 1
            counts.finished += polled.finished
            counts.faults += polled.fault
            if polled.move is not None:
                partition = polled.move.token.partition
                batches.setdefault(partition, _Batch(self.clock())).moves.append(polled.move)
            self._flush(batches)
        self._flush(batches, everything=True)
        counts.left = len(due) - counts.asked
        return counts

    def _ask_all(self, due: Sequence[DuePoll], until: datetime) -> Iterator[Polled]:
        """Keep `parallel` polls under way; yields them as they end."""
        waiting = iter(due)
        under_way: set[Future[Polled]] = set()
        while True:
            while len(under_way) < self.parallel and self.clock() < until:
                each = next(waiting, None)
                if each is None:
                    break
                under_way.add(self.executor.submit(self._ask, each))
            if not under_way:
                return
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)

    def _ask(self, due: DuePoll) -> Polled:
        """Ask for one operation, and commit its end. Whatever goes wrong with it holds up no other."""
        ref = due.watch.ref
        decision = after_poll(due.watch, self._answer(ref), self.clock(), self.policy)
        fault = decision.error is not None
        if isinstance(decision, AskAgain):
            return Polled(self._go_on(due, decision), fault=fault)
        try:
            self._finish(due, decision)
        except ForeignRow as error:
            log(Event.SET_ASIDE, operation=ref.due_reference, why=str(error))
            later = AskAgain(at=self.clock() + UNREADABLE_WAIT, watch=due.watch, status=None, error=None)
            return Polled(self._go_on(due, later), fault=True)
        except BridgeError as error:  # its due row stays, so it is asked for again at the next sweep
            log(Event.STORAGE, step="finish", operation=ref.due_reference, error=str(error))
            return Polled(None, fault=True)
        return Polled(None, finished=True, fault=fault)

    def _answer(self, ref: OperationRef) -> Answer:
        try:
            return read(self.upstream.ask(ref), ref.id)
        except Exception as error:  # noqa: BLE001 - a bug that one operation meets is a fault of its poll, no more
            log(Event.FAILED, step="poll", operation=ref.due_reference, error=type(error).__name__)
            return Fault(f"the bridge failed: {type(error).__name__}")

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
        for call in until_decided(lambda: self._finished(due, decision, tx)):
            send(self.outbox, call)

    def _finished(self, due: DuePoll, decision: Finish, tx: str) -> list[Call]:
        """Commit an end against whatever the operation is by now: the upstream's word is never dropped."""
        ref = due.watch.ref
        family = Family.read(ref, self.table.range(ref.partition, ref.key, after(ref.key)))
        if family is None:
            self.mover.delete(due.token)
            return []
        operation = family.operation.record
        if operation.tx == tx:  # a commit of ours that landed late
            return family.calls_of(tx)
        if not operation.is_watched or (decision.is_ours and operation.due != due.token.key):
            return []  # somebody else was faster; a verdict of ours holds only for what it was decided on
        now = self.clock()
        transaction, calls = polling.finish(
            family, decision, path=self.sources[ref.source].path, now=now, tx=tx, retention=self.retention
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
        return calls

    def _flush(self, batches: dict[str, _Batch], *, everything: bool = False) -> None:
        """Commit full batches, old ones, and at the end all."""
        now = self.clock()
        for partition, batch in list(batches.items()):
            if everything or len(batch.moves) >= MOVES_PER_TRANSACTION or now - batch.since >= _FLUSH_AFTER:
                self.mover.move(batches.pop(partition).moves)
