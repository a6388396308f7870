"""What dies on the real parts loses nothing. The short form; `make prove` kills twenty times."""

from datetime import timedelta
from pathlib import Path

import pytest

from local.receiver import Callback
from tests.proof.real.clients import Request
from tests.proof.real.kills import Seen, Trial, judge, run
from tests.proof.seed import SEED


def test_whatever_dies_everything_arrives(tmp_path: Path) -> None:
    """The app's clock is past every lease and redispatch interval after a start: what was cut short comes soon."""
    trial = Trial(
        registrations=40,
        refused=0,  # a second attempt that is refused waits 5 minutes for the third
        deaths=("app", "storage", "app"),
        between=(0.5, 2.0),
        away=0.5,
        step=timedelta(minutes=5),
        max_wait=180,
        seed=SEED,
    )

    seen = run(trial, tmp_path)

    assert seen.failures == [], f"PROVE_SEED={SEED}"
    assert len(seen.deaths) == 3


def came(at: float, name: str, answered: int = 204) -> Callback:
    """Make a callback of the only registration."""
    return Callback(at=at, method="POST", path="/0", headers={"webhook-id": name}, body=b"{}", answered=answered)


@pytest.mark.parametrize(
    ("callbacks", "failures"),
    [
        ([came(1, "one")], []),
        ([came(1, "one", 500), came(2, "one")], []),
        ([came(1, "one"), came(5, "one")], []),
        ([], ["was lost"]),
        ([came(1, "one", 500)], ["was lost"]),
        ([came(1, "one"), came(5, "two")], ["got 2 messages"]),
        ([came(1, "one"), came(2, "one")], ["was told twice, and nothing died between"]),
        ([came(4, "one"), came(5, "one")], ["was told twice, and nothing died between"]),
    ],
)
def test_the_judgement_can_tell(callbacks: list[Callback], failures: list[str]) -> None:
    """Something was dead from the third second to half past it."""
    seen = Seen(deaths=[(3.0, 3.5)])

    judge(seen, [Request("some-operation", "http://receiver/0")], callbacks)

    assert seen.failures == [f"http://receiver/0 {each}" for each in failures]
