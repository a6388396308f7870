"""When an operation is asked for again, and when the bridge gives up."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from bridge.core.answer import Answer, Fault, Pending, Terminal
from bridge.core.operation import Verdict, Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class PollingPolicy:
    """What the schedule may choose from."""

    #: From one poll to the next.
    interval: timedelta
    #: The age at which an operation that never ends is given up.
    deadline: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class AskAgain:
    """It goes on; the next poll is due at `at`."""

    at: datetime
    watch: Watch
    #: The upstream's last word; None where this poll brought none.
    status: str | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """It has ended, by the upstream's word or by ours."""

    verdict: Verdict
    watch: Watch
    #: The upstream's body as JSON text, where it said something final.
    body: str | None
    #: Why the bridge gave up; None for a verdict of the upstream's.
    reason: str | None
    error: str | None

    @property
    def is_ours(self) -> bool:
        """Whether the bridge has given up, rather than the upstream spoken."""
        return self.verdict is Verdict.EXPIRED


def after_poll(watch: Watch, answer: Answer, now: datetime, policy: PollingPolicy) -> AskAgain | Finish:
    """Decide what one answer does to an operation.

    The poll at or past the deadline is the last: whatever it brings but an end, the operation is `Expired`.
    """
    asked = replace(watch, polls=watch.polls + 1)
    match answer:
        case Terminal(verdict=verdict, body=body):
            return Finish(verdict=verdict, watch=asked, body=body, reason=None, error=None)
        case Pending(status=status):
            return _go_on(replace(asked, seen_running_at=now), now, policy, status=status, error=None)
        case Fault(what=what):
            return _go_on(asked, now, policy, status=None, error=what)
        case _:
            assert_never(answer)


def _go_on(
    watch: Watch, now: datetime, policy: PollingPolicy, *, status: str | None, error: str | None
) -> AskAgain | Finish:
    deadline = watch.registered_at + policy.deadline
    if now >= deadline:
        return Finish(verdict=Verdict.EXPIRED, watch=watch, body=None, reason="deadline", error=error)
    at = min(now + policy.interval, deadline)
    return AskAgain(at=at, watch=watch, status=status, error=error)
