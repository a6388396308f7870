"""The started app learns how long operations take: on real storage, over HTTP, in real seconds.

Nothing is lost here if it does not, but the callback would come later. The two kinds are almost four octaves apart, so
that both humps are seen by a machine, too, whose sweeps take seconds because it has other work.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import requests

from local.azurite import Azurite
from local.host.process import HostProcess
from local.receiver import Receiver
from local.upstream import Durations, Upstream
from tests.proof.real.app import environment
from tests.proof.real.clients import Request, register_all, wait_until_finished

_CLIENTS = 8
_TIMEOUT = 60.0

#: The seconds that half of each kind exceed, and how many of all are of the second kind.
_SHORT, _LONG, _SHARE = 4, 60, 0.4


@dataclass(frozen=True, slots=True)
class Learnt:
    """What came of it."""

    failures: Sequence[str]
    #: The seconds at which each bucket begins, and which share of operations ends in it.
    shares: Sequence[tuple[float, float]]

    def __str__(self) -> str:
        """Name the two highest places."""
        valley = next(place for place in range(len(self.shares)) if self.is_valley(place))
        before, after = (max(part, key=lambda each: each[1]) for part in (self.shares[:valley], self.shares[valley:]))
        return (
            f"learnt: most of the short ones end from {before[0]:.0f} s on, most of the long ones from {after[0]:.0f} s"
        )

    def is_valley(self, place: int) -> bool:
        """Tell whether a bucket is not half as high as a hump before it and one after it that hold a quarter of all."""
        heights = [share for _, share in self.shares]
        before, after = heights[:place], heights[place + 1 :]
        if not before or not after:
            return False
        return heights[place] < min(max(before), max(after)) / 2 and min(sum(before), sum(after)) > 0.25


def run(count: int, max_wait: float) -> Learnt:
    """Let so many operations of two kinds live and be learnt from, and look for the two humps in the status."""
    with ExitStack() as running:
        azurite = running.enter_context(Azurite.start())
        durations = Durations.parse(f"bimodal:{_SHORT},{_LONG},{_SHARE}")
        upstream = running.enter_context(Upstream.start(durations=durations))
        receiver = running.enter_context(Receiver.start())
        app = running.enter_context(HostProcess.start(environment(azurite, upstream)))
        url = f"{app.url}/api"
        requests_made = [Request(f"operation-{number:03d}", f"{receiver.url}/{number}") for number in range(count)]
        wrong = [each for each in register_all(lambda: url, requests_made, _CLIENTS) if each is not None]
        wait_until_finished(url, max_wait)
        [source] = requests.get(f"{url}/status", timeout=_TIMEOUT).json()["sources"]
    shares = [(float(each["fromSeconds"]), float(each["share"])) for each in source["durations"]["shares"]]
    learnt = Learnt(wrong, shares)
    if not any(map(learnt.is_valley, range(len(shares)))):
        return Learnt([*wrong, f"there are no two humps in {shares}"], shares)
    return learnt
