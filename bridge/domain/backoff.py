"""Exponential backoff: waits that double after each failure in a row."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Backoff:
    """The wait after the first failure in a row, which each further one doubles, up to the longest wait."""

    first: timedelta
    longest: timedelta

    def wait(self, failures: int) -> timedelta:
        """Return the wait after this many failures in a row. Fewer than one count as one."""
        doublings = min(max(failures - 1, 0), (self.longest // self.first).bit_length())
        return min(self.first * (1 << doublings), self.longest)
