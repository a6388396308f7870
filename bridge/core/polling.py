"""When an operation is asked for again, and when the bridge gives up: what each answer does to it.

answer                     next
pending                    by the schedule
terminal                   the event
fault                      by the schedule, at least 2 s · 2ⁿ after the n-th in a row, up to 5 min, or as it names
throttled                  when the source may be asked again; the count of faults stays
absent (204, 404, 410)     after 5, 15, 60 s, then every 5 min; after 10 min of nothing else `Expired`, `notFound`
refused                    twice more, after 1 min and after 9; then `Expired`, `refused`
denied (401, 403)          when the source may be asked again; nothing expires by this
past the deadline          this was the last poll: `Expired`, `deadline`, unless the source kept it from an answer

`bridge/core/client_errors.py` has a row for each status from 400 to 499: which of these it is, and why.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from bridge.core.answer import Absent, Answer, Denied, Fault, Pending, Refused, Terminal, Throttled
from bridge.core.operation import Explanation, Verdict, Watch
from bridge.core.outlook import Outlook

#: The first wait after a fault doubles with each further one, up to the longest.
FIRST_FAULT_WAIT = timedelta(seconds=2)
LONGEST_FAULT_WAIT = timedelta(minutes=5)

#: Waits after the first answers that it is absent, and after each further one.
ABSENT_WAITS = (timedelta(seconds=5), timedelta(seconds=15), timedelta(seconds=60))
ABSENT_WAIT = timedelta(minutes=5)

#: An absence is believed after it has lasted this long, since a new operation may not be visible yet.
ABSENT_FOR = timedelta(minutes=10)

#: Waits after the first refusals in a row. The one after the last of them is believed: like an absence, a refusal
#: has lasted 10 minutes then, since a gateway's bad minute looks the same.
REFUSAL_WAITS = (timedelta(minutes=1), timedelta(minutes=9))


@dataclass(frozen=True, slots=True, kw_only=True)
class PollingPolicy:
    """What decides when an operation is asked for again, and when it is given up."""

    #: When asking is worth it.
    outlook: Outlook
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
    #: What the upstream says of the failure, where it says anything.
    why: Explanation | None = None

    @property
    def can_be_explained(self) -> bool:
        """Whether the upstream may know more than it has said: why an operation failed stands in its job."""
        return self.verdict is Verdict.FAILED and self.why is None

    @property
    def is_ours(self) -> bool:
        """Whether the bridge has given up, rather than the upstream spoken."""
        return self.verdict is Verdict.EXPIRED


def after_poll(
    watch: Watch, answer: Answer, now: datetime, policy: PollingPolicy, *, free_at: datetime | None = None
) -> AskAgain | Finish:
    """Decide what one answer does to an operation; the module's table, line by line.

    `free_at` is when its source may be asked again, if it is stopped or paused.
    """
    asked = replace(watch, polls=watch.polls + 1)
    match answer:
        case Terminal(verdict=verdict, body=body):
            return Finish(verdict=verdict, watch=asked, body=body, reason=None, error=None)
        case Throttled(what=what) | Denied(what=what):
            at = max(policy.outlook.next_poll(asked, now), free_at or now)
            return AskAgain(at=at, watch=asked, status=None, error=what)
        case Pending(status=status):
            seen = replace(_counted(asked), seen_running_at=now)
            return _go_on(seen, now, policy, policy.outlook.next_poll(seen, now), status=status)
        case Fault(what=what, wait=named):
            failed = _counted(asked, faults=watch.faults + 1)
            own = min(FIRST_FAULT_WAIT * (1 << min(watch.faults + 1, 16)), LONGEST_FAULT_WAIT)
            wait = max(own, named or own)
            return _go_on(failed, now, policy, max(policy.outlook.next_poll(failed, now), now + wait), error=what)
        case Absent(what=what):
            return _after_absence(asked, now, policy, what)
        case Refused():
            return _after_refusal(asked, now, policy, answer)
        case _:
            assert_never(answer)


def _after_absence(watch: Watch, now: datetime, policy: PollingPolicy, what: str) -> AskAgain | Finish:
    since = watch.absent_since or now
    absent = _counted(watch, absences=watch.absences + 1, absent_since=since)
    if now - since >= ABSENT_FOR:
        return _give_up(absent, "notFound", what)
    wait = ABSENT_WAITS[watch.absences] if watch.absences < len(ABSENT_WAITS) else ABSENT_WAIT
    return _go_on(absent, now, policy, min(now + wait, since + ABSENT_FOR), error=what)


def _after_refusal(watch: Watch, now: datetime, policy: PollingPolicy, answer: Refused) -> AskAgain | Finish:
    refused = _counted(watch, refusals=watch.refusals + 1)
    if watch.refusals >= len(REFUSAL_WAITS):
        return replace(_give_up(refused, "refused", answer.what), why=answer.why)
    return _go_on(refused, now, policy, now + REFUSAL_WAITS[watch.refusals], error=answer.what)


def _go_on(
    watch: Watch,
    now: datetime,
    policy: PollingPolicy,
    at: datetime,
    *,
    status: str | None = None,
    error: str | None = None,
) -> AskAgain | Finish:
    deadline = watch.registered_at + policy.deadline
    if now >= deadline:
        return _give_up(watch, "deadline", error)
    return AskAgain(at=min(at, deadline), watch=watch, status=status, error=error)


def _give_up(watch: Watch, reason: str, error: str | None) -> Finish:
    return Finish(verdict=Verdict.EXPIRED, watch=watch, body=None, reason=reason, error=error)


def _counted(
    watch: Watch, *, faults: int = 0, absences: int = 0, absent_since: datetime | None = None, refusals: int = 0
) -> Watch:
    """Count what came in a row: whatever came now begins its own count, and ends all others."""
    return replace(watch, faults=faults, absences=absences, absent_since=absent_since, refusals=refusals)
