"""The record of one attempt, as its row keeps it and as everybody can read it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from bridge.domain.host_limits import FailedProbe
from bridge.domain.ids import RegistrationRef
from bridge.domain.outcome import Delivered, Gone, Outcome, Rejected, Unreachable, is_success
from bridge.domain.registration import Registration, State
from bridge.domain.time import iso

#: The last attempts of a registration that are kept, each in a row.
KEPT_ATTEMPTS = 50

_MILLISECOND = timedelta(milliseconds=1)

#: The failure of an attempt whose outcome was never recorded.
LOST = "lost"
_LOST_DETAIL = "the bridge ended before it recorded the attempt, which may have arrived"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """One row. Until it is recorded, only the first columns are there."""

    ref: RegistrationRef
    #: Counted from 1 over all generations of the registration.
    number: int
    #: When it was claimed.
    at: datetime
    #: Names the claim that it was made under.
    claim: str
    #: When the right to it ended; a row without an outcome after that is a lost one.
    leased_until: datetime
    duration_ms: int | None = None
    #: The address that was connected to.
    address: str | None = None
    #: The status of the answer; None without one.
    status: int | None = None
    #: The class of the failure, where no answer came.
    error: str | None = None
    #: The failure in a text for people.
    detail: str | None = None
    #: Where a redirect leads, printable.
    location: str | None = None
    #: The start of the answer, printable.
    body: str | None = None

    @classmethod
    def unsent(
        cls, ref: RegistrationRef, number: int, now: datetime, probe: FailedProbe, *, name: str
    ) -> "AttemptRecord":
        """Write down an attempt that was not made: an attempt for another delivery had found the host silent."""
        return cls(
            ref=ref,
            number=number,
            at=now,
            claim=name,
            leased_until=now,
            duration_ms=0,
            address=probe.address,
            error=probe.error,
            detail=f"not sent: the host's probe failed at {iso(probe.at)}, which counts for all that was due there"
            + (f" ({probe.detail})" if probe.detail else ""),
        )

    @property
    def is_recorded(self) -> bool:
        """Whether its outcome is known."""
        return self.status is not None or self.error is not None

    def with_outcome(self, outcome: Outcome, took: timedelta) -> "AttemptRecord":
        """Write down what came of it."""
        ms, address = took // _MILLISECOND, outcome.address
        match outcome:
            case Delivered() | Gone() | Rejected():
                said = replace(self, body=outcome.body or None, location=outcome.location)
                return replace(said, duration_ms=ms, address=address, status=outcome.status)
            case Unreachable(error=error, detail=detail):
                return replace(self, duration_ms=ms, address=address, error=error, detail=detail)
            case _:
                assert_never(outcome)

    def without_outcome(self) -> "AttemptRecord":
        """Show it as it was before it was recorded."""
        return replace(
            self, duration_ms=None, address=None, status=None, error=None, detail=None, location=None, body=None
        )

    def error_at(self, now: datetime) -> str | None:
        """Tell the failure as people read it: `lost` if the bridge ended before it could record the attempt."""
        return LOST if self._is_lost_at(now) else self.error

    def detail_at(self, now: datetime) -> str | None:
        """Describe that failure."""
        return _LOST_DETAIL if self._is_lost_at(now) else self.detail

    def _is_lost_at(self, now: datetime) -> bool:
        return not self.is_recorded and self.leased_until <= now


def known_to(registration: Registration, attempts: Sequence[AttemptRecord]) -> Sequence[AttemptRecord]:
    """Show attempts that were read after their registration as they stood when that was read.

    Rows of a registration change in one transaction, and two reads can lie on both sides of it. What follows from an
    attempt stands in the registration, so an outcome that the registration does not have yet is left out.
    """
    known = (each for each in attempts if each.number <= registration.last_attempt)
    return [each.without_outcome() if _is_later_than(registration, each) else each for each in known]


def _is_later_than(registration: Registration, attempt: AttemptRecord) -> bool:
    """Tell whether the outcome of an attempt was recorded after its registration was read.

    An attempt whose claim holds has no outcome. A success of the present run ends the run.
    """
    if attempt.claim == registration.claim:
        return True
    is_of_run = registration.state is State.PENDING and attempt.number >= registration.run_start
    return is_of_run and attempt.status is not None and is_success(attempt.status)
