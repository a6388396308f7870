"""Kill app and storage at random moments: every accepted registration gets its callback, under one message id.

The app dies by SIGKILL. Storage dies as abruptly, but keeps all acknowledged writes (`save_and_die.js`). Azure
guarantees this, while a plain Azurite does not.
"""

import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

from local.receiver import Callback, Receiver
from local.upstream import Rules, Upstream
from local.upstream.lives import Durations
from tests.proof.real.app import LaterApp, environment
from tests.proof.real.clients import Request, breathe, register_all, wait_until_finished
from tests.proof.real.storage import DurableAzurite

_CLIENTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The plan of a trial."""

    registrations: int
    #: Number of callbacks that are refused once and accepted at the next attempt.
    refused: int
    #: The part to kill, in order: `app` or `storage`.
    deaths: Sequence[str]
    #: Least and greatest number of seconds between two kills.
    between: tuple[float, float]
    #: Greatest number of seconds without storage.
    away: float
    #: The app's clock moves ahead by this step at each start.
    step: timedelta
    #: Greatest number of seconds from the last kill to the last callback.
    max_wait: float
    seed: int


@dataclass(slots=True)
class Seen:
    """The result of a trial."""

    #: Broken promises. Empty if all held.
    failures: list[str] = field(default_factory=list)
    #: Start and end of each outage, on the monotonic clock.
    deaths: list[tuple[float, float]] = field(default_factory=list)
    #: Callbacks that were accepted more than once.
    repeated: int = 0

    def __str__(self) -> str:
        return f"{len(self.deaths)} deaths, {self.repeated} callbacks taken more than once, each under its one name"


def run(trial: Trial, folder: Path) -> Seen:
    """Register, kill, wait and check."""
    dice, seen = random.Random(trial.seed), Seen()
    with ExitStack() as running:
        azurite = running.enter_context(DurableAzurite.start(folder / "storage"))
        lives = Durations.parse("lognormal:2,0.5")
        upstream = running.enter_context(Upstream.start(rules=Rules(durations=lives, seed=trial.seed)))
        receiver = running.enter_context(Receiver.start())
        app = LaterApp(folder / "app", environment(azurite, upstream), trial.step)
        running.callback(app.stop)
        requests_made = _requests_made(trial, receiver, dice)

        def register() -> None:
            seen.failures.extend(filter(None, register_all(lambda: app.url, _slowly(requests_made, trial), _CLIENTS)))

        clients = threading.Thread(target=register)
        clients.start()
        for what in trial.deaths:
            breathe(dice.uniform(*trial.between))
            began = time.monotonic()
            _let_die(what, app, azurite, dice.uniform(0, trial.away))
            seen.deaths.append((began, time.monotonic()))
        clients.join()
        wait_until_finished(app.url, trial.max_wait)
        callbacks = receiver.callbacks
    judge(seen, requests_made, callbacks)
    return seen


def _requests_made(trial: Trial, receiver: Receiver, dice: random.Random) -> list[Request]:
    """Return the requests. Some share an operation, and some receivers refuse at first."""
    for number in dice.sample(range(trial.registrations), trial.refused):
        receiver.answer(f"/{number}", 500)
    return [
        Request(f"operation-{number * 3 // 4:04d}", f"{receiver.url}/{number}") for number in range(trial.registrations)
    ]


def _slowly(requests_made: Sequence[Request], trial: Trial) -> Iterator[Request]:
    """Spread the requests over the kills."""
    pause = len(trial.deaths) * sum(trial.between) / 2 / len(requests_made)
    for request in requests_made:
        yield request
        breathe(pause)


def _let_die(what: str, app: LaterApp, azurite: DurableAzurite, away: float) -> None:
    if what == "app":
        app.kill()
        return
    azurite.die()
    breathe(away)
    azurite.launch()


def judge(seen: Seen, requests_made: Sequence[Request], callbacks: Sequence[Callback]) -> None:
    """Add the problems of the callbacks for these registrations."""
    came: dict[str, list[Callback]] = defaultdict(list)
    for callback in callbacks:
        came[callback.path].append(callback)
    for request in requests_made:
        seen.failures.extend(_wrong(request, came[f"/{request.callback_url.rpartition('/')[2]}"], seen))


def _wrong(request: Request, came: Sequence[Callback], seen: Seen) -> Iterator[str]:
    """Yield the problems of the callbacks of one registration."""
    taken = [callback.at for callback in came if callback.answered < 300]
    if not taken:
        yield f"{request.callback_url} was lost"
    names = Counter((callback.headers["webhook-id"], callback.body) for callback in came)
    if len(names) > 1:
        yield f"{request.callback_url} got {len(names)} messages"
    seen.repeated += len(taken) > 1
    for first, again in pairwise(taken):
        if not any(began <= again and first <= ended for began, ended in seen.deaths):
            yield f"{request.callback_url} was called back twice without a kill in between"
