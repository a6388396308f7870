"""The started app learns the durations of operations: on real storage, over HTTP, in real time.

A wrong model loses no callback, but makes callbacks late. The medians of the two kinds are almost four octaves apart,
so the test also works on a loaded machine, where sweeps take seconds.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import requests

from local.azurite import Azurite
from local.host.process import HostProcess
from local.receiver import Receiver
from local.upstream import Durations, Rules, Upstream
from tests.proof.real.app import environment
from tests.proof.real.clients import Request, register_all, wait_until_finished

_CLIENTS = 8
_TIMEOUT = 60.0

#: The median of each kind in seconds, and the share of the second kind.
_SHORT, _LONG, _SHARE = 4, 60, 0.4


@dataclass(frozen=True, slots=True)
class Learnt:
    """The learnt distribution."""

    failures: Sequence[str]
    #: The lower bound of each bucket in seconds, with the share of operations that end there.
    shares: Sequence[tuple[float, float]]

    def __str__(self) -> str:
        """Return the two highest buckets as text."""
        valley = next(place for place in range(len(self.shares)) if self.is_valley(place))
        before, after = (max(part, key=lambda each: each[1]) for part in (self.shares[:valley], self.shares[valley:]))
        return (
            f"learnt: most of the short ones end from {before[0]:.0f} s on, most of the long ones from {after[0]:.0f} s"
        )

    def is_valley(self, place: int) -> bool:
        """Return whether a bucket is lower than half of a hump on each side, each with a quarter of all."""
        heights = [share for _, share in self.shares]
        before, after = heights[:place], heights[place + 1 :]
        if not before or not after:
            return False
        return heights[place] < min(max(before), max(after)) / 2 and min(sum(before), sum(after)) > 0.25


def run(count: int, max_wait: float) -> Learnt:
    """Run operations of two kinds and search the status for the two humps."""
    with ExitStack() as running:
        azurite = running.enter_context(Azurite.start())
        durations = Durations.parse(f"bimodal:{_SHORT},{_LONG},{_SHARE}")
        upstream = running.enter_context(Upstream.start(rules=Rules(durations=durations)))
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
