"""Statuses of operations over time, and their durations. Pure: randomness comes from a seed."""

import math
import random
import re
from dataclasses import dataclass
from typing import Self

#: Pairs of an age in seconds and the status from that age on, in order.
Life = tuple[tuple[float, str], ...]

_NUMBER = r"\d+(?:\.\d+)?"
_SPEC = re.compile(
    rf"(?P<fixed>{_NUMBER})"
    rf"|lognormal:(?P<median>{_NUMBER}),(?P<sigma>{_NUMBER})"
    rf"|bimodal:(?P<short>{_NUMBER}),(?P<long>{_NUMBER}),(?P<share>0(?:\.\d+)?|1)"
)

#: The spread of each of the two modes.
_NARROW = 0.2

_STARTS_AFTER = 0.25


@dataclass(frozen=True, slots=True)
class _Mode:
    """One mode of a distribution."""

    #: The median, in seconds.
    median: float
    #: The standard deviation of the logarithm. 0 always gives the median.
    sigma: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """The durations of operations without a script: the usual mode, and a rarer one."""

    usual: _Mode
    rarer: _Mode
    #: The share of operations in the rarer mode.
    share: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `12`, `lognormal:MEDIAN,SIGMA` or `bimodal:SHORT,LONG,SHARE OF LONG`, in seconds.

        Raises ValueError for any other text.
        """
        found = _SPEC.fullmatch(text.strip())
        if found is None:
            raise ValueError(
                f"{text!r} is not a duration: write 12, lognormal:20,0.8 (median, sigma) "
                "or bimodal:15,300,0.2 (short, long, share of long)"
            )
        told = {name: float(value) for name, value in found.groupdict().items() if value is not None}
        if "short" in told:
            return cls(usual=_Mode(told["short"], _NARROW), rarer=_Mode(told["long"], _NARROW), share=told["share"])
        mode = _Mode(told["fixed"], 0.0) if "fixed" in told else _Mode(told["median"], told["sigma"])
        return cls(usual=mode, rarer=mode, share=0.0)

    def of(self, operation_id: str, seed: int) -> float:
        """Return the duration of an operation in seconds. The same seed gives the same duration, in any order."""
        rng = random.Random(f"{seed}:{operation_id}")  # repeatable
        mode = self.rarer if rng.random() < self.share else self.usual
        return mode.median * math.exp(rng.gauss(0.0, mode.sigma))


#: The default durations.
DEFAULT_DURATIONS = Durations.parse("12")


def life_of(operation_id: str, seconds: float) -> Life:
    """Return the life of an operation without a script. The id decides the final status."""
    end = "Failed" if "fail" in operation_id.lower() else "Succeeded"
    return ((0.0, "NotStarted"), (seconds * _STARTS_AFTER, "Running"), (seconds, end))


#: The default life of an operation.
DEFAULT_LIFE: Life = life_of("any", 12)


def status_at(life: Life, age: float) -> str:
    """Return the status of an operation at an age in seconds."""
    return phase_at(life, age)[1]


def phase_at(life: Life, age: float) -> tuple[float, str]:
    """Return the status of an operation at an age in seconds, after the age at which that status began."""
    begun = [each for each in life if each[0] <= age]
    return begun[-1] if begun else life[0]
