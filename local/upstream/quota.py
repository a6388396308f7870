"""The quota of the fake Speech service: how many requests it answers in a time, PUT and GET together."""

import math
import re
import threading
from dataclasses import dataclass, field
from typing import Self

_SPEC = re.compile(r"(?P<bucket>bucket:)?(?P<requests>[1-9]\d{0,6})/(?P<seconds>\d{1,6}(?:\.\d+)?)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """A number of requests for a time."""

    requests: int
    seconds: float
    #: Whether requests become available one by one (a token bucket), instead of all at the start of each window.
    is_bucket: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `2/60`, a fixed window of 60 s with 2 requests, or `bucket:2/60`, a token bucket of the same rate.

        Raises ValueError for any other text.
        """
        found = _SPEC.fullmatch(text.strip())
        if found is None or not float(found["seconds"]):
            raise ValueError(f"{text!r} is not a quota: write 2/60 (requests, seconds) or bucket:2/60")
        return cls(
            requests=int(found["requests"]), seconds=float(found["seconds"]), is_bucket=found["bucket"] is not None
        )


@dataclass(slots=True)
class Meter:
    """Counts requests against a quota. Threads may share it. Times are in seconds on one clock."""

    quota: Quota
    _lock: threading.Lock = field(default_factory=threading.Lock)
    #: The requests that are left, and the time at which they were counted.
    _left: float = math.inf
    _at: float = -math.inf

    def take(self, now: float) -> float:
        """Take one request. Returns 0, or the seconds until the next request if there is none left."""
        most, seconds = self.quota.requests, self.quota.seconds
        with self._lock:
            if self.quota.is_bucket:
                self._left = min(float(most), self._left + max(0.0, now - self._at) * most / seconds)
                self._at = now
            elif now // seconds != self._at // seconds:
                self._left, self._at = float(most), now
            if self._left >= 1:
                self._left -= 1
                return 0.0
            return (1 - self._left) * seconds / most if self.quota.is_bucket else seconds - now % seconds
