"""The memory that sweeping takes, where very much is due."""

import gc
import threading
from typing import Self

import psutil

from bench.composed import Instant, composed
from bench.measuring import Figures, Scale

_MEGABYTE = 1_000_000
_LOOK = 0.005


class Peak:
    """Looks at the memory of this process while a block runs."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._over = threading.Event()
        self._looking = threading.Thread(target=self._look, daemon=True)
        #: Resident before the block.
        self.before = 0
        #: And the most that was seen in it.
        self.highest = 0

    @property
    def megabytes(self) -> float:
        """How much more than before."""
        return (self.highest - self.before) / _MEGABYTE

    def __enter__(self) -> Self:
        gc.collect()
        self.before = self.highest = self._process.memory_info().rss
        self._looking.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._looking.join()

    def _look(self) -> None:
        while not self._over.wait(_LOOK):
            self.highest = max(self.highest, self._process.memory_info().rss)


def measure(scale: Scale) -> Figures:
    """Sweep until nothing is due any more, with storage in memory that is filled before, and so not counted.

    The upstream answers at once, and the budget grants all that is read: what a sweep may read of each partition is
    then what bounds its memory.
    """
    bridge = composed(upstream=Instant(), environment={"BRIDGE_POLL_INTERVAL": "1h"}, requests_per_second=1e5)
    for number in range(scale.many):
        bridge.register(f"operation-{number:06d}")
    passes = 0
    with Peak() as peak:
        while bridge.due():
            bridge.bridge.sweep.sweep()
            passes += 1
    return {"memory.mb_at_100k": peak.megabytes, "memory.passes": passes}
