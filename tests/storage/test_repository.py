"""How a step is decided again: while others are faster, and once after a silence."""

from collections.abc import Callable

import pytest

from bridge.domain.errors import CommitUnknown, Conflict, ConflictKind, Contended
from bridge.storage.repository import Waits, transact

STALE = Conflict(ConflictKind.STALE, 0)
SILENCE = CommitUnknown("no reply")
NO_WAITS = Waits(lambda _: None, lambda: 0.0)


def scripted(*outcomes: Exception | str) -> tuple[Callable[[], str], list[Exception | str]]:
    """Make a step that ends like this, one time after the other; returns it with what is left of them."""
    left = list(outcomes)

    def step() -> str:
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return step, left


@pytest.mark.parametrize("before", [(), (STALE,) * 5, (SILENCE,), (STALE, SILENCE, STALE, STALE, STALE)])
def test_a_step_is_decided_again_until_it_is_done(before: tuple[Exception, ...]) -> None:
    """Five times because others were faster, and once of these because no reply came."""
    step, left = scripted(*before, "done")

    assert transact(step, NO_WAITS) == "done"
    assert left == []


def test_others_that_are_faster_again_and_again_end_it() -> None:
    """After six rounds, with a reason for whoever asked."""
    step, left = scripted(*[STALE] * 6, "never")

    with pytest.raises(Contended, match=r"^the same rows were changed by others again and again$"):
        transact(step, NO_WAITS)

    assert left == ["never"]


def test_a_second_silence_ends_it() -> None:
    """Each can take as long as a call may."""
    step, left = scripted(SILENCE, STALE, SILENCE, "never")

    with pytest.raises(CommitUnknown):
        transact(step, NO_WAITS)

    assert left == ["never"]


def test_writers_that_met_wait_apart_before_they_decide_again() -> None:
    waited: list[float] = []
    step, _ = scripted(*[STALE] * 5, "done")

    transact(step, Waits(waited.append, lambda: 0.5))

    assert waited == [0.01, 0.02, 0.04, 0.08, 0.16]


def test_a_step_that_nobody_met_waits_for_nothing() -> None:
    waited: list[float] = []

    transact(lambda: "done", Waits(waited.append, lambda: 0.5))

    assert waited == []
