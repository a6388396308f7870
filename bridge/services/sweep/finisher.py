"""Commits the ends of operations, and sends the tasks of their callbacks."""

from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from bridge.domain.delivery import DeliveryTask
from bridge.domain.polling import Finish, PollAgain
from bridge.log import Event, log
from bridge.services.dispatch import Dispatcher
from bridge.services.sweep.enqueueing import MessageShares
from bridge.services.sweep.rescheduler import Rescheduler
from bridge.services.sweep.source_run import Sources
from bridge.storage.aggregate import OperationAggregate
from bridge.storage.due import DuePoll
from bridge.storage.keys import due_reference
from bridge.storage.repository import Commit, unchanged
from bridge.storage.writes import poll
from bridge.storage.writes.poll import NOT_FOUND_WAIT
from bridge.telemetry import Metric


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
            log(
                Event.FINISHED,
                operation=due_reference(ref),
                final_status=decision.final_status.value,
                reason=decision.reason,
                polls=decision.poll_state.polls,
                age=round((now - decision.poll_state.registered_at).total_seconds(), 3),
                callbacks=len(tasks),
            )
            before = decision.poll_state.seen_running_at or decision.poll_state.registered_at
            self.sources.telemetry.measure(Metric.DETECTION, (now - before).total_seconds(), bridge__source=ref.source)
            return tasks

        return Commit((transaction,), then)
