"""How things are measured here: in turns, several times, and the median of what came."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

#: What a measure comes to: figures by name.
Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is measured, and how often; a test takes very little."""

    #: Times that each of two is measured in turn.
    rounds: int = 7
    #: Likewise, where once takes seconds.
    long_rounds: int = 5
    #: Due operations of one sweep; what a source's budget grants to one at 100 requests a second.
    polls: int = 1000
    #: Attempts at delivering.
    attempts: int = 600
    #: Operations whose calls to storage are counted.
    counted: int = 1000
    #: Due operations that are swept for their memory, and operations in a large table in memory.
    many: int = 100_000
    #: Operations in a large table of Azurite, and in a small one. Filling Azurite takes 9 ms for each operation.
    stored: int = 20_000
    few: int = 1000
    #: Lists of each, and sweeps where they take milliseconds.
    lists: int = 15
    #: Due operations in both of them.
    due: int = 500
    #: Starts of an interpreter.
    imports: int = 7
    #: Callbacks that are waited for at the started app, one after the other.
    callbacks: int = 11
    #: Registrations at the started app.
    registrations: int = 1000
    #: Deliveries for each of the instances.
    shared: int = 240


def seconds(action: Callable[[], object]) -> float:
    """Time an action."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


@dataclass(frozen=True, slots=True)
class Pair:
    """Two that were timed in turns."""

    first: tuple[float, ...]
    second: tuple[float, ...]

    @classmethod
    def alternating(cls, first: Callable[[], float], second: Callable[[], float], rounds: int) -> "Pair":
        """Time each of two `rounds` times in turn, after once that does not count.

        What else the machine does then meets both alike, and what is built at the first call is not counted.
        """
        first(), second()
        times = [(first(), second()) for _ in range(rounds)]
        return cls(tuple(each for each, _ in times), tuple(each for _, each in times))

    @property
    def ratio(self) -> float:
        """The first over the second: the median of the rounds."""
        return median(first / second for first, second in zip(self.first, self.second, strict=True))
