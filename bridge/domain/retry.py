"""When something is tried again: exponential backoff, and the retry schedule of deliveries."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum

from bridge.domain.outcome import Delivered, Gone, Outcome, Rejected


@dataclass(frozen=True, slots=True)
class Backoff:
    """The wait after the first failure in a row, which each further one doubles, up to the longest wait."""

    first: timedelta
    longest: timedelta

    def wait(self, failures: int) -> timedelta:
        """Return the wait after this many failures in a row. Fewer than one count as one."""
        doublings = min(max(failures - 1, 0), (self.longest // self.first).bit_length())
        return min(self.first * (1 << doublings), self.longest)


#: The waits between the attempts of one run. After the last attempt the registration is dead.
SCHEDULE = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)

#: The attempts of one run.
ATTEMPTS_PER_RUN = len(SCHEDULE) + 1

#: Each wait is lengthened or shortened by up to this share, so that simultaneous failures are not retried together.
JITTER = 0.2

#: Seconds, whole or with a fraction.
_SECONDS = re.compile(r"(?=\.?[0-9])([0-9]*)((?:\.[0-9]*)?)", re.ASCII)

#: The most by which a receiver can lengthen a wait. A receiver cannot shorten a wait.
LONGEST_LENGTHENING = timedelta(hours=24)


class DeadReason(StrEnum):
    """Why a run ended without a 2xx."""

    GONE = "gone"  #: the receiver answered 410
    EXHAUSTED = "exhausted"  #: the schedule ended


@dataclass(frozen=True, slots=True)
class Done:
    """A receiver accepted the message."""


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Try again, not before `at`."""

    at: datetime


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The run is over without a 2xx."""

    reason: DeadReason


Decision = Done | RetryAt | GiveUp


def decide(outcome: Outcome, *, attempt_of_run: int, now: datetime, random: float) -> Decision:
    """Decide what follows attempt `attempt_of_run` (from 1) of a run.

    `random` in [0, 1) spreads the wait by the jitter. The receiver's `Retry-After` is honoured within its limits.
    """
    if isinstance(outcome, Delivered):
        return Done()
    if isinstance(outcome, Gone):
        return GiveUp(DeadReason.GONE)
    if attempt_of_run >= ATTEMPTS_PER_RUN:
        return GiveUp(DeadReason.EXHAUSTED)
    wait = SCHEDULE[attempt_of_run - 1] * (1 - JITTER + 2 * JITTER * random)
    asked = (outcome.retry_after if isinstance(outcome, Rejected) else None) or timedelta(0)
    return RetryAt(now + max(wait, min(asked, wait + LONGEST_LENGTHENING)))


def parse_retry_after(value: str | None, now: datetime) -> timedelta | None:
    """Parse a `Retry-After` header (RFC 9110, 10.2.3): seconds or an HTTP date. Returns None if it is neither or past.

    Fractions of a second, which the RFC does not allow but servers send, are rounded up.
    """
    if value is None:
        return None
    text = value.strip()
    seconds = _SECONDS.fullmatch(text)
    if seconds is not None:
        return timedelta(seconds=min(int(seconds[1][:12] or 0) + bool(seconds[2].strip(".0")), 10**9))
    try:
        at = parsedate_to_datetime(text)
        wait = at - now
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return wait if wait > timedelta(0) else None
