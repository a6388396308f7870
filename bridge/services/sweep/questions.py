"""Puts questions to the upstream and says what the answers mean. A crash right after one costs that request."""

from dataclasses import dataclass, field

from bridge.domain.ids import OperationRef
from bridge.domain.operation import Explanation
from bridge.domain.time import Clock
from bridge.domain.upstream import (
    Absent,
    Answer,
    Denied,
    Fault,
    NoReply,
    Pending,
    Refused,
    Throttled,
    read,
    read_failure,
)
from bridge.log import Event, log
from bridge.ports import Upstream
from bridge.services.sweep.source_run import SourceRun
from bridge.storage.keys import due_reference

#: So often the upstream is asked why an operation failed; then its event goes out without that.
TRIES = 2

#: So many undocumented statuses are logged by one instance.
_UNKNOWN_STATUSES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """Everything that asking needs."""

    upstream: Upstream
    clock: Clock
    #: Statuses that nobody has documented and that were logged, by source.
    unknown: set[tuple[str, str]] = field(default_factory=set)

    def ask(self, ref: OperationRef) -> Answer:
        """Ask once for an operation; never raises."""
        try:
            answer = read(self.upstream.ask(ref), ref.id, self.clock())
        except Exception as error:  # noqa: BLE001 - a bug that one operation meets is a fault of its poll, no more
            return Fault(_failed("poll", ref, error))
        if isinstance(answer, Pending) and not answer.is_documented:
            self._note_unknown(ref.source, answer.status)
        return answer

    def ask_why(self, ref: OperationRef, run: SourceRun) -> Explanation | None:
        """Ask the job of an operation why it failed, twice at the most and within the budget; never raises.

        The job has the operation's id only where whoever submitted it chose it so: an answer that there is none is
        believed. Of the source as a whole only a 429 says anything; the credential was good a moment ago.
        """
        for _ in range(TRIES):
            asked_at = run.begin_extra()
            if asked_at is None:
                return None
            try:
                reply = self.upstream.ask_why(ref)
            except Exception as error:  # noqa: BLE001 - the event goes out without it
                reply = NoReply(_failed("ask why", ref, error))
            answer = read(reply, ref.id, self.clock())
            if isinstance(answer, Throttled):
                run.hear(answer, asked_at)
            if isinstance(answer, Throttled | Absent | Refused | Denied):
                return None
            why = read_failure(reply, ref.id)
            if why is not None:
                return why
        return None

    def _note_unknown(self, source: str, status: str) -> None:
        """Log a status that nobody has documented, once for each value and source."""
        if (source, status) not in self.unknown and len(self.unknown) < _UNKNOWN_STATUSES:
            self.unknown.add((source, status))
            log(Event.UNKNOWN_STATUS, source=source, status=status)


def _failed(step: str, ref: OperationRef, error: Exception) -> str:
    log(Event.FAILED, step=step, operation=due_reference(ref), error=type(error).__name__)
    return f"the bridge failed: {type(error).__name__}"
