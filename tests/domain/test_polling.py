"""When to poll again, and when to give up."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bridge.domain.ids import Kind, OperationRef
from bridge.domain.operation import Explanation, FinalStatus, PollState
from bridge.domain.poll_schedule import ExponentialSchedule
from bridge.domain.polling import Circumstances, Finish, PollAgain, PollingPolicy, after_poll, last_deadline
from bridge.domain.upstream import (
    BadRequest,
    NotFound,
    Pending,
    PollResult,
    Reply,
    Terminal,
    Throttled,
    TransientError,
    Unauthorized,
    read,
)
from tests.support.poll_errors import TIMEOUT, http_error

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
#: Every 15 s.
SOON = ExponentialSchedule(timedelta(seconds=15), timedelta(seconds=15))
POLICY = PollingPolicy(schedule=SOON, deadline=timedelta(hours=24))
POLL_STATE = PollState(ref=OperationRef("default", "operation-1"), registered_at=NOON, polls=3)


def at(hours: float) -> datetime:
    """Return the time after the registration."""
    return NOON + timedelta(hours=hours)


@pytest.mark.parametrize(
    ("result", "status", "error", "seen"),
    [(Pending("Running"), "Running", None, at(1)), (TransientError(TIMEOUT), None, TIMEOUT, None)],
)
def test_the_next_poll_follows_after_the_interval(
    result: PollResult, status: str | None, error: str | None, seen: datetime | None
) -> None:
    """The interval follows a poll that returned a running operation."""
    decision = after_poll(POLL_STATE, result, at(1), POLICY)

    assert isinstance(decision, PollAgain)
    assert (decision.status, decision.error) == (status, error)
    assert decision.at == at(1) + timedelta(seconds=15)
    assert (decision.poll_state.polls, decision.poll_state.seen_running_at) == (4, seen)


def test_the_last_poll_is_at_the_deadline() -> None:
    """The last poll is not an interval later."""
    decision = after_poll(POLL_STATE, Pending("Running"), at(24) - timedelta(seconds=1), POLICY)

    assert isinstance(decision, PollAgain)
    assert decision.at == at(24)


@pytest.mark.parametrize("result", [Pending("Running"), NotFound(http_error(404))])
def test_an_operation_expires_after_the_deadline(result: PollResult) -> None:
    """The last poll has been made."""
    decision = after_poll(POLL_STATE, result, at(24), POLICY)

    assert isinstance(decision, Finish)
    assert (decision.final_status, decision.reason, decision.body) == (FinalStatus.EXPIRED, "deadline", None)
    assert decision.error == (http_error(404) if isinstance(result, NotFound) else None)


@pytest.mark.parametrize("age", [24, 29.9, 30, 1000])
def test_an_error_does_not_expire_an_operation_while_the_source_is_silent(age: float) -> None:
    decision = after_poll(POLL_STATE, TransientError(TIMEOUT), at(age), POLICY)

    assert isinstance(decision, PollAgain)
    assert decision.at > at(age)


@pytest.mark.parametrize(("age", "expires"), [(24, False), (29.9, False), (30, True)])
def test_errors_of_one_operation_end_at_the_last_deadline(age: float, expires: bool) -> None:
    """The last deadline is a quarter later: 30 hours here."""
    decision = after_poll(POLL_STATE, TransientError(TIMEOUT), at(age), POLICY, Circumstances(is_own=True))

    assert isinstance(decision, Finish) == expires


def test_the_last_deadline_is_at_least_an_hour_later() -> None:
    policy = replace(POLICY, deadline=timedelta(seconds=40))

    assert last_deadline(POLL_STATE, policy) == NOON + timedelta(hours=1, seconds=40)


@pytest.mark.parametrize(
    ("result", "waits"),
    [
        (Throttled(http_error(429), None), [60, 120, 240, 480, 900, 900]),
        (Throttled(http_error(503), timedelta(minutes=5)), [300, 300, 300, 480, 900, 900]),
        (Unauthorized(http_error(403)), [60, 120, 240, 480, 900, 900]),
    ],
)
def test_the_wait_doubles_after_a_rejection_of_one_operation(result: PollResult, waits: list[float]) -> None:
    """The first such answer counted for the source. A time in the answer is respected too."""
    poll_state, now, found = replace(POLL_STATE, blocks=1), at(1), []
    for _ in waits:
        decision = after_poll(poll_state, result, now, POLICY, Circumstances(is_own=True))
        assert isinstance(decision, PollAgain)
        found.append((decision.at - now).total_seconds())
        poll_state, now = decision.poll_state, decision.at

    assert found == waits


@pytest.mark.parametrize("result", [Throttled(http_error(429), None), Unauthorized(http_error(403))])
def test_a_rejection_of_one_operation_ends_at_the_deadline(result: Throttled | Unauthorized) -> None:
    last = after_poll(replace(POLL_STATE, blocks=9), result, at(23.9), POLICY, Circumstances(is_own=True))
    decision = after_poll(replace(POLL_STATE, blocks=9), result, at(24), POLICY, Circumstances(is_own=True))

    assert isinstance(last, PollAgain)
    assert last.at == at(24)
    assert isinstance(decision, Finish)
    assert (decision.final_status, decision.reason, decision.error) == (FinalStatus.EXPIRED, "deadline", result.error)


def test_a_final_status_counts_at_any_age() -> None:
    """The decision carries the upstream's answer."""
    decision = after_poll(POLL_STATE, Terminal(FinalStatus.FAILED, "{}"), at(99), POLICY)

    assert isinstance(decision, Finish)
    assert (decision.final_status, decision.reason, decision.body) == (FinalStatus.FAILED, None, "{}")


def test_the_wait_doubles_after_errors_in_a_row() -> None:
    """The wait doubles from 2 s up to 5 min. At first, the schedule's interval is longer."""
    waits = [
        after_poll(replace(POLL_STATE, faults=count), TransientError(TIMEOUT), at(1), POLICY) for count in range(10)
    ]

    seconds = [(each.at - at(1)).total_seconds() for each in waits if isinstance(each, PollAgain)]
    assert seconds == [15, 15, 16, 32, 64, 128, 256, 300, 300, 300]


@pytest.mark.parametrize("result", [Throttled(http_error(429), None), Unauthorized(http_error(401))])
@pytest.mark.parametrize("age", [1, 24, 99])
def test_an_error_of_the_source_only_delays_the_operation(result: PollResult, age: float) -> None:
    """Counts stay, the pause is no evidence of absence, and an operation without a poll does not expire."""
    poll_state = replace(POLL_STATE, faults=3, absences=2, absent_since=at(0), refusals=1)

    decision = after_poll(poll_state, result, at(age), POLICY, Circumstances(free_at=at(age) + timedelta(minutes=5)))

    assert isinstance(decision, PollAgain)
    assert decision.at == at(age) + timedelta(minutes=5)
    since = at(0) + timedelta(minutes=5)
    assert decision.poll_state == replace(poll_state, polls=4, absent_since=since, blocks=1, troubled_at=at(age))


def test_time_without_polls_is_no_evidence_of_absence() -> None:
    """The sequence is 404, a pause of 11 minutes caused by another operation, then 404."""
    first = after_poll(POLL_STATE, NotFound(http_error(404)), at(1), POLICY)
    assert isinstance(first, PollAgain)
    late = timedelta(minutes=11)

    second = after_poll(first.poll_state, NotFound(http_error(404)), first.at + late, POLICY, Circumstances(late=late))

    assert isinstance(second, PollAgain)
    assert second.poll_state.absent_since == at(1) + timedelta(minutes=10)


def test_an_operation_is_absent_after_ten_minutes_of_404() -> None:
    """Polls follow after 5, 15 and 60 s, then every 5 min."""
    poll_state, now, waits = POLL_STATE, at(1), []
    while isinstance(decision := after_poll(poll_state, NotFound(http_error(404)), now, POLICY), PollAgain):
        waits.append((decision.at - now).total_seconds())
        poll_state, now = decision.poll_state, decision.at

    assert waits == [5, 15, 60, 300, 220]
    assert (decision.final_status, decision.reason) == (FinalStatus.EXPIRED, "notFound")


def test_an_operation_is_rejected_after_the_third_400() -> None:
    """The answers must last for 10 minutes, like an absence."""
    poll_state, now, waits = POLL_STATE, at(1), []
    while isinstance(decision := after_poll(poll_state, BadRequest(http_error(400)), now, POLICY), PollAgain):
        assert decision.error == http_error(400)
        waits.append((decision.at - now).total_seconds())
        poll_state, now = decision.poll_state, decision.at

    assert waits == [60, 540]
    assert (decision.final_status, decision.reason) == (FinalStatus.EXPIRED, "refused")
    assert decision.error == http_error(400)


@pytest.mark.parametrize("status", range(400, 500))
def test_only_client_errors_about_the_operation_end_it(status: int) -> None:
    """The operation ends after 10 minutes of that answer. Other errors continue until the deadline after a day."""
    ends = {404: "notFound", 410: "notFound"} | dict.fromkeys((400, 405, 413, 414, 415, 416, 422, 431), "refused")
    poll_state, now, begun = POLL_STATE, at(1), at(1)

    result = read(Reply(status=status), POLL_STATE.ref, now)
    while isinstance(decision := after_poll(poll_state, result, now, POLICY), PollAgain):
        poll_state, now = decision.poll_state, decision.at
        if now - begun > timedelta(hours=20):
            break

    if status in ends:
        assert isinstance(decision, Finish)
        assert (decision.reason, now - begun) == (ends[status], timedelta(minutes=10))
    else:
        assert isinstance(decision, PollAgain)


@pytest.mark.parametrize("status", [402, 408, 409, 412, 421, 423, 425, 499])
def test_a_bad_minute_of_a_gateway_does_not_end_the_operation(status: int) -> None:
    """The error comes ten times in a row, then the operation succeeds."""
    poll_state, now = POLL_STATE, at(1)
    for _ in range(10):
        decision = after_poll(poll_state, read(Reply(status=status), POLL_STATE.ref, now), now, POLICY)
        assert isinstance(decision, PollAgain)
        poll_state, now = decision.poll_state, decision.at

    decision = after_poll(poll_state, Terminal(FinalStatus.SUCCEEDED, "{}"), now, POLICY)

    assert isinstance(decision, Finish)
    assert decision.final_status is FinalStatus.SUCCEEDED


def test_an_error_with_a_time_delays_the_next_poll() -> None:
    """A time shorter than the bridge's wait changes nothing."""
    waits = [
        after_poll(
            replace(POLL_STATE, faults=5), TransientError(http_error(500), timedelta(seconds=wait)), at(1), POLICY
        )
        for wait in (1, 600)
    ]

    assert [(each.at - at(1)).total_seconds() for each in waits if isinstance(each, PollAgain)] == [128, 600]


@pytest.mark.parametrize(
    "result", [Pending("Running"), TransientError(TIMEOUT), NotFound(http_error(404)), BadRequest(http_error(400))]
)
def test_a_different_answer_resets_a_count(result: PollResult) -> None:
    """Each kind of answer starts a new count."""
    poll_state = replace(POLL_STATE, faults=3, absences=2, absent_since=at(0.9), refusals=1)

    decision = after_poll(poll_state, result, at(1), POLICY)

    assert isinstance(decision, PollAgain)
    kept = [decision.poll_state.faults > 0, decision.poll_state.absences > 0, decision.poll_state.refusals > 0]
    assert kept == [isinstance(result, kind) for kind in (TransientError, NotFound, BadRequest)]


def test_an_error_is_counted_for_the_next_wait() -> None:
    """The due row carries the count between polls. A success resets the count."""
    poll_state, waits = POLL_STATE, []
    for _ in range(4):
        decision = after_poll(poll_state, TransientError(TIMEOUT), at(1), POLICY)
        assert isinstance(decision, PollAgain)
        poll_state = decision.poll_state
        waits.append((decision.at - at(1)).total_seconds())

    assert poll_state.faults == 4
    assert waits == [15, 15, 16, 32]  # never below the least interval
    answered = after_poll(poll_state, Pending("Running"), at(1), POLICY)
    assert answered.poll_state.faults == 0


JOB_STATE = replace(POLL_STATE, ref=OperationRef("default", "deck-1", Kind.JOB))


@pytest.mark.parametrize(
    ("known", "named", "created_at"),
    [
        (None, at(-2), at(-2)),
        (at(-2), None, at(-2)),
        (at(-2), at(-1), at(-1)),  # the job was deleted, and created again
        (None, at(1.5), at(1)),
        (None, None, None),
    ],
)
def test_the_age_of_a_job_counts_from_its_creation(
    known: datetime | None, named: datetime | None, created_at: datetime | None
) -> None:
    """A creation ahead of the bridge's clock is now. The deadline still counts from the registration."""
    state = replace(JOB_STATE, created_at=known)

    decision = after_poll(state, Pending("Running", named), at(1), POLICY)

    assert isinstance(decision, PollAgain)
    assert decision.poll_state.created_at == created_at
    assert decision.poll_state.began_at == (created_at or POLL_STATE.registered_at)
    assert isinstance(after_poll(state, Pending("Running", named), at(23.9), POLICY), PollAgain)
    assert isinstance(after_poll(state, Pending("Running", named), at(24), POLICY), Finish)


@pytest.mark.parametrize(
    ("created", "ended", "known"),
    [
        (at(-2), at(-1), (at(-2), at(-1))),
        (at(-2), at(1.1), (at(-2), at(1))),
        (at(1.1), at(1.2), (at(1), at(1))),
        (None, at(-1), (at(-3), at(-1))),
        (at(-2), None, (at(-2), None)),
    ],
)
def test_the_end_of_a_job_has_the_times_of_the_upstream(
    created: datetime | None, ended: datetime | None, known: tuple[datetime | None, datetime | None]
) -> None:
    """No time is after the poll, even if the upstream's clock is ahead. An earlier answer gives a missing creation."""
    why = Explanation("X", "y")
    state = replace(JOB_STATE, created_at=at(-3))

    decision = after_poll(state, Terminal(FinalStatus.FAILED, None, why, created, ended), at(1), POLICY)

    assert isinstance(decision, Finish)
    assert (decision.poll_state.created_at, decision.ended_at) == known
    assert (decision.why, decision.body, decision.reason) == (why, None, None)


def test_a_job_that_is_given_up_has_its_creation_and_no_end() -> None:
    decision = after_poll(replace(JOB_STATE, created_at=at(-2)), NotFound(http_error(404)), at(24), POLICY)

    assert isinstance(decision, Finish)
    assert (decision.final_status, decision.ended_at) == (FinalStatus.EXPIRED, None)
    assert decision.poll_state.created_at == at(-2)


@pytest.mark.parametrize(
    ("state", "why", "is_explained"),
    [(POLL_STATE, None, True), (POLL_STATE, Explanation("X", ""), False), (JOB_STATE, None, False)],
)
def test_only_a_failed_operation_is_explained_by_another_request(
    state: PollState, why: Explanation | None, *, is_explained: bool
) -> None:
    """The answer about a failed job has the reason already, or the job has none."""
    decision = after_poll(state, Terminal(FinalStatus.FAILED, None, why), at(1), POLICY)

    assert isinstance(decision, Finish)
    assert decision.can_be_explained is is_explained
