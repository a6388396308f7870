"""When to ask again, and when to give up."""

from datetime import UTC, datetime, timedelta

import pytest

from bridge.core.answer import Answer, Fault, Pending, Terminal
from bridge.core.keys import OperationRef
from bridge.core.operation import Verdict, Watch
from bridge.core.polling import AskAgain, Finish, PollingPolicy, after_poll

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
POLICY = PollingPolicy(interval=timedelta(seconds=15), deadline=timedelta(hours=24))
WATCH = Watch(ref=OperationRef("default", "operation-1"), registered_at=NOON, polls=3)


def at(hours: float) -> datetime:
    """Say when, counted from the registration."""
    return NOON + timedelta(hours=hours)


@pytest.mark.parametrize(
    ("answer", "status", "error", "seen"),
    [(Pending("Running"), "Running", None, at(1)), (Fault("timeout"), None, "timeout", None)],
)
def test_it_is_asked_again_after_the_interval(
    answer: Answer, status: str | None, error: str | None, seen: datetime | None
) -> None:
    """Only an answer shows that it was running."""
    decision = after_poll(WATCH, answer, at(1), POLICY)

    assert isinstance(decision, AskAgain)
    assert (decision.status, decision.error) == (status, error)
    assert decision.at == at(1) + timedelta(seconds=15)
    assert (decision.watch.polls, decision.watch.seen_running_at) == (4, seen)


def test_the_last_poll_is_at_the_deadline() -> None:
    """Not an interval after it."""
    decision = after_poll(WATCH, Pending("Running"), at(24) - timedelta(seconds=1), POLICY)

    assert isinstance(decision, AskAgain)
    assert decision.at == at(24)


@pytest.mark.parametrize("answer", [Pending("Running"), Fault("timeout")])
def test_past_its_deadline_it_is_given_up(answer: Answer) -> None:
    """After one last poll, which this was."""
    decision = after_poll(WATCH, answer, at(24), POLICY)

    assert isinstance(decision, Finish)
    assert (decision.verdict, decision.reason, decision.body) == (Verdict.EXPIRED, "deadline", None)


def test_an_end_is_an_end_at_any_age() -> None:
    """With what the upstream said."""
    decision = after_poll(WATCH, Terminal(Verdict.FAILED, "{}"), at(99), POLICY)

    assert isinstance(decision, Finish)
    assert (decision.verdict, decision.reason, decision.body) == (Verdict.FAILED, None, "{}")
