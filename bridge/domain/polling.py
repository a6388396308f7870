"""When an operation is polled again, and when the bridge gives up: the effect of each answer.

answer                     next
pending                    by the schedule
terminal                   the event
fault                      by the schedule, at least 2 s · 2ⁿ after the n-th in a row, up to 5 min, or as named
throttled                  when the source is free again; the count of faults stays
absent (204, 404, 410)     after 5, 15, 60 s, then every 5 min; after 10 min without another answer `Expired`,
                           `notFound`
refused                    twice more, after 1 min and after 9; then `Expired`, `refused`
denied (401, 403)          when the source is free again; no operation expires by this
throttled or denied, alone after 1 min, doubling to 15 min, or as named; `Expired` at the deadline
past the deadline          pending and absent: `Expired`, `deadline`; a fault waits for an answer, at most until the
                           last deadline, and longer while the source does not answer at all

A throttling, a denial or a fault is an operation's own (alone) if its source has answered about other operations since
the last one.

`bridge/domain/upstream.py` has a row for each status from 400 to 499, with the kind of answer and the reason.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from bridge.domain.operation import ExpiredReason, Explanation, FinalStatus, PollError, PollState
from bridge.domain.poll_schedule import PollSchedule
from bridge.domain.retry import Backoff
from bridge.domain.upstream import (
    BadRequest,
    NotFound,
    Pending,
    PollResult,
    Terminal,
    Throttled,
    TransientError,
    Unauthorized,
)

#: The wait after faults in a row.
FAULT_BACKOFF = Backoff(timedelta(seconds=4), timedelta(minutes=5))

#: The waits after the first answers that the operation is absent, and after each further one.
ABSENT_WAITS = (timedelta(seconds=5), timedelta(seconds=15), timedelta(seconds=60))
ABSENT_WAIT = timedelta(minutes=5)

#: How long an absence must last before it counts, since a new operation may not be visible yet.
ABSENT_FOR = timedelta(minutes=10)

#: The waits after the first refusals in a row. The refusal after the last wait counts: like an absence, it has then
#: lasted 10 minutes, and a short fault of a gateway looks the same.
REFUSAL_WAITS = (timedelta(minutes=1), timedelta(minutes=9))


#: The wait after refusals (429, 503 or 403) in a row that only this operation gets.
OWN_BACKOFF = Backoff(timedelta(minutes=1), timedelta(minutes=15))

#: An operation with nothing but faults is given up later than its deadline, by this part of the deadline, and at least
#: by this time.
LAST_DEADLINE_PART = 4
LAST_DEADLINE = timedelta(hours=1)

#: A poll can be this late before the delay stops counting as evidence of an absence.
_LATE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PollingPolicy:
    """The rules for the time of the next poll, and for giving up."""

    schedule: PollSchedule
    #: The age at which an operation without an end is given up.
    deadline: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class PollAgain:
    """The operation continues. The next poll is due at `at`."""

    at: datetime
    poll_state: PollState
    #: The upstream's status, or None if this poll returned none.
    status: str | None
    error: PollError | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """The operation has ended, by the upstream's final status or because the bridge gave up."""

    final_status: FinalStatus
    poll_state: PollState
    #: The upstream's body as JSON text, if its status was final.
    body: str | None
    #: Why the bridge gave up. None for a final status of the upstream.
    reason: ExpiredReason | None
    error: PollError | None
    #: The upstream's explanation of the failure, if any.
    why: Explanation | None = None
    #: When the job ended, as the upstream says. None for an operation.
    ended_at: datetime | None = None

    @property
    def can_be_explained(self) -> bool:
        """Whether the operation's job may contain the reason of a failure that the answer lacks."""
        return self.final_status is FinalStatus.FAILED and self.why is None and not self.poll_state.ref.is_job

    @property
    def is_ours(self) -> bool:
        """Whether the bridge has given up, without a final status of the upstream."""
        return self.final_status is FinalStatus.EXPIRED


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """The context of one poll."""

    #: When the source may be polled again, if it is stopped, paused or silent.
    free_at: datetime | None = None
    #: Whether the source has answered about other operations since the last trouble of this one.
    is_own: bool = False
    #: The delay after the due time. Time without polls is no evidence of an absence.
    late: timedelta = timedelta(0)
    #: The price of a request to the source; 1 unless its budget is short.
    price: float = 1.0


_USUAL = Circumstances()


def after_poll(
    poll_state: PollState, result: PollResult, now: datetime, policy: PollingPolicy, met: Circumstances = _USUAL
) -> PollAgain | Finish:
    """Decide the effect of one answer on an operation, by the table of this module."""
    asked = replace(poll_state, polls=poll_state.polls + 1)
    match result:
        case Terminal():
            return Finish(
                final_status=result.final_status,
                poll_state=_born(asked, result, now),
                body=result.body,
                reason=None,
                error=None,
                why=result.why,
                ended_at=_past(result.ended_at, now),
            )
        case Throttled() | Unauthorized():
            return _after_block(asked, now, policy, result, met)
        case Pending(status=status):
            seen = replace(_counted(_born(asked, result, now)), seen_running_at=now)
            return _go_on(seen, now, policy, policy.schedule.next_poll(seen, now, price=met.price), status=status)
        case TransientError():
            return _after_fault(asked, now, policy, result, met)
        case NotFound(error=error):
            return _after_absence(_shifted(asked, met.late - _LATE), now, policy, error)
        case BadRequest():
            return _after_refusal(asked, now, policy, result)
        case _:
            assert_never(result)


def _born(poll_state: PollState, result: Pending | Terminal, now: datetime) -> PollState:
    """Note the creation of a job, once an answer shows it."""
    return replace(poll_state, created_at=_past(result.created_at, now) or poll_state.created_at)


def _past(instant: datetime | None, now: datetime) -> datetime | None:
    """Return a time of the upstream's clock. A time ahead of the bridge's clock counts as `now`."""
    return None if instant is None else min(instant, now)


def _after_block(
    poll_state: PollState, now: datetime, policy: PollingPolicy, result: Throttled | Unauthorized, met: Circumstances
) -> PollAgain | Finish:
    """Wait for the source. If it answers about other operations, back off, and give up at the deadline."""
    blocked = replace(poll_state, blocks=poll_state.blocks + 1, troubled_at=now)
    if not met.is_own:
        at = max(policy.schedule.next_poll(poll_state, now, price=met.price), met.free_at or now)
        return PollAgain(at=at, poll_state=_shifted(blocked, at - now + met.late), status=None, error=result.error)
    wait = OWN_BACKOFF.wait(poll_state.blocks)
    named = result.wait if isinstance(result, Throttled) else None
    at = now + max(wait, named or wait)
    return _go_on(_shifted(blocked, at - now + met.late), now, policy, at, error=result.error)


def _after_fault(
    poll_state: PollState, now: datetime, policy: PollingPolicy, result: TransientError, met: Circumstances
) -> PollAgain | Finish:
    """Poll again with growing waits. A fault ends no operation before its last deadline, or if the source is silent."""
    failed = replace(_counted(poll_state, faults=poll_state.faults + 1), blocks=poll_state.blocks, troubled_at=now)
    own = FAULT_BACKOFF.wait(failed.faults)
    at = max(policy.schedule.next_poll(failed, now, price=met.price), now + max(own, result.wait or own))
    if met.is_own and now >= last_deadline(poll_state, policy):
        return _give_up(failed, ExpiredReason.DEADLINE, result.error)
    deadline = poll_state.registered_at + policy.deadline
    return PollAgain(
        at=at if now >= deadline else min(at, deadline), poll_state=failed, status=None, error=result.error
    )


def last_deadline(poll_state: PollState, policy: PollingPolicy) -> datetime:
    """Return when an operation with nothing but faults is given up, if its source answers about other operations."""
    return poll_state.registered_at + policy.deadline + max(policy.deadline / LAST_DEADLINE_PART, LAST_DEADLINE)


def _shifted(poll_state: PollState, by: timedelta) -> PollState:
    """Exclude time without polls from the evidence that the operation is absent."""
    if poll_state.absent_since is None or by <= timedelta(0):
        return poll_state
    return replace(poll_state, absent_since=poll_state.absent_since + by)


def _after_absence(poll_state: PollState, now: datetime, policy: PollingPolicy, error: PollError) -> PollAgain | Finish:
    since = min(poll_state.absent_since or now, now)
    absent = _counted(poll_state, absences=poll_state.absences + 1, absent_since=since)
    if now - since >= ABSENT_FOR:
        return _give_up(absent, ExpiredReason.NOT_FOUND, error)
    wait = ABSENT_WAITS[poll_state.absences] if poll_state.absences < len(ABSENT_WAITS) else ABSENT_WAIT
    return _go_on(absent, now, policy, min(now + wait, since + ABSENT_FOR), error=error)


def _after_refusal(
    poll_state: PollState, now: datetime, policy: PollingPolicy, answer: BadRequest
) -> PollAgain | Finish:
    refused = _counted(poll_state, refusals=poll_state.refusals + 1)
    if poll_state.refusals >= len(REFUSAL_WAITS):
        return replace(_give_up(refused, ExpiredReason.REFUSED, answer.error), why=answer.why)
    return _go_on(refused, now, policy, now + REFUSAL_WAITS[poll_state.refusals], error=answer.error)


def _go_on(
    poll_state: PollState,
    now: datetime,
    policy: PollingPolicy,
    at: datetime,
    *,
    status: str | None = None,
    error: PollError | None = None,
) -> PollAgain | Finish:
    deadline = poll_state.registered_at + policy.deadline
    if now >= deadline:
        return _give_up(poll_state, ExpiredReason.DEADLINE, error)
    return PollAgain(at=min(at, deadline), poll_state=poll_state, status=status, error=error)


def _give_up(poll_state: PollState, reason: ExpiredReason, error: PollError | None) -> Finish:
    return Finish(final_status=FinalStatus.EXPIRED, poll_state=poll_state, body=None, reason=reason, error=error)


def _counted(
    poll_state: PollState,
    *,
    faults: int = 0,
    absences: int = 0,
    absent_since: datetime | None = None,
    refusals: int = 0,
) -> PollState:
    """Count answers of one kind in a row. An answer of one kind resets the counts of all others."""
    counted = replace(poll_state, faults=faults, absences=absences, absent_since=absent_since, refusals=refusals)
    return replace(counted, blocks=0, troubled_at=None)
