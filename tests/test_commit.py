"""How a step is decided again: while others are faster, and once after a silence."""

from collections.abc import Callable

import pytest

from bridge.commit import until_decided
from bridge.core.errors import CommitUnknown, Conflict, ConflictKind, Contended

STALE = Conflict(ConflictKind.STALE, 0)
SILENCE = CommitUnknown("no reply")


def played(*outcomes: Exception | str) -> tuple[Callable[[], str], list[Exception | str]]:
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
    step, left = played(*before, "done")

    assert until_decided(step) == "done"
    assert left == []


def test_others_that_are_faster_again_and_again_end_it() -> None:
    """After six rounds, with a reason for whoever asked."""
    step, left = played(*[STALE] * 6, "never")

    with pytest.raises(Contended, match=r"^the same rows were changed by others again and again$"):
        until_decided(step)

    assert left == ["never"]


def test_a_second_silence_ends_it() -> None:
    """Each can take as long as a call may."""
    step, left = played(SILENCE, STALE, SILENCE, "never")

    with pytest.raises(CommitUnknown):
        until_decided(step)

    assert left == ["never"]
