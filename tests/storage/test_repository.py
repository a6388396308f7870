"""Retries of a step: after conflicts, and once after a lost reply."""

from collections.abc import Callable

import pytest

from bridge.domain.errors import CommitUnknown, Conflict, ConflictKind, Contended
from bridge.storage.repository import Waits, transact

STALE = Conflict(ConflictKind.STALE, 0)
SILENCE = CommitUnknown("no reply")
NO_WAITS = Waits(lambda _: None, lambda: 0.0)


def scripted(*outcomes: Exception | str) -> tuple[Callable[[], str], list[Exception | str]]:
    """Return a step with the given outcomes, one per call, and the list of the remaining outcomes."""
    left = list(outcomes)

    def step() -> str:
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return step, left


@pytest.mark.parametrize("before", [(), (STALE,) * 5, (SILENCE,), (STALE, SILENCE, STALE, STALE, STALE)])
def test_a_step_is_decided_again_until_it_succeeds(before: tuple[Exception, ...]) -> None:
    """There are five conflicts and one lost reply."""
    step, left = scripted(*before, "done")

    assert transact(step, NO_WAITS) == "done"
    assert left == []


def test_repeated_conflicts_end_the_step() -> None:
    """The error comes after six rounds and has a reason."""
    step, left = scripted(*[STALE] * 6, "never")

    with pytest.raises(Contended, match=r"^other writers changed the same rows again and again$"):
        transact(step, NO_WAITS)

    assert left == ["never"]


def test_a_second_lost_reply_ends_the_step() -> None:
    """Each lost reply can take as long as a call may."""
    step, left = scripted(SILENCE, STALE, SILENCE, "never")

    with pytest.raises(CommitUnknown):
        transact(step, NO_WAITS)

    assert left == ["never"]


def test_writers_wait_differently_after_a_conflict() -> None:
    waited: list[float] = []
    step, _ = scripted(*[STALE] * 5, "done")

    transact(step, Waits(waited.append, lambda: 0.5))

    assert waited == [0.01, 0.02, 0.04, 0.08, 0.16]


def test_a_step_without_a_conflict_does_not_wait() -> None:
    waited: list[float] = []

    transact(lambda: "done", Waits(waited.append, lambda: 0.5))

    assert waited == []
