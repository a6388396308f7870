"""Short form of the kills: app and storage die, and nothing is lost. `make prove` kills twenty times."""

from datetime import timedelta
from pathlib import Path

import pytest

from local.receiver import Callback
from tests.proof.real.clients import Request
from tests.proof.real.kills import Seen, Trial, judge, run
from tests.proof.seed import SEED


def test_kills_of_app_and_storage_lose_no_callback(tmp_path: Path) -> None:
    trial = Trial(
        registrations=40,
        refused=0,  # the third attempt would come 5 minutes after a second refusal
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
    """Return a callback of the only registration."""
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
        ([came(1, "one"), came(2, "one")], ["was called back twice without a kill in between"]),
        ([came(4, "one"), came(5, "one")], ["was called back twice without a kill in between"]),
    ],
)
def test_judge_finds_each_broken_promise(callbacks: list[Callback], failures: list[str]) -> None:
    """The only outage lasts from second 3 to second 3.5."""
    seen = Seen(deaths=[(3.0, 3.5)])

    judge(seen, [Request("some-operation", "http://receiver/0")], callbacks)

    assert seen.failures == [f"http://receiver/0 {each}" for each in failures]
