"""The record of one attempt, as stored and as shown to clients."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from bridge.domain.host_limits import FailedProbe
from bridge.domain.ids import RegistrationRef
from bridge.domain.outcome import Delivered, Failure, Gone, LastAttempt, Outcome, Rejected, Unreachable, is_success
from bridge.domain.registration import Registration, State
from bridge.domain.time import iso

#: How many of a registration's last attempts are kept, one row each.
KEPT_ATTEMPTS = 50

_MILLISECOND = timedelta(milliseconds=1)

_LOST_DETAIL = "the bridge ended before it recorded the attempt, which may have arrived"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """One row. Columns with a default are empty until the outcome is recorded."""

    ref: RegistrationRef
    #: Counted from 1 over all generations of the registration.
    number: int
    #: When the attempt was claimed.
    at: datetime
    #: The id of the attempt's claim.
    claim: str
    #: The end of the lease. An attempt without an outcome after this time is lost.
    leased_until: datetime
    duration_ms: int | None = None
    #: The address of the connection.
    address: str | None = None
    #: The status of the answer, if any.
    status: int | None = None
    #: The class of the failure, if there was no answer.
    error: Failure | None = None
    #: A description of the failure for people.
    detail: str | None = None
    #: The target of a redirect, printable.
    location: str | None = None
    #: The start of the answer, printable.
    body: str | None = None

    @classmethod
    def unsent(
        cls, ref: RegistrationRef, number: int, now: datetime, probe: FailedProbe, *, name: str
    ) -> "AttemptRecord":
        """Record an attempt without a POST, because a probe found the host silent."""
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
        """Whether the outcome is known."""
        return self.status is not None or self.error is not None

    def with_outcome(self, outcome: Outcome, took: timedelta) -> "AttemptRecord":
        """Record the outcome of the attempt."""
        ms, address = took // _MILLISECOND, outcome.address
        match outcome:
            case Delivered() | Gone() | Rejected():
                said = replace(self, body=outcome.body or None, location=outcome.location)
                return replace(said, duration_ms=ms, address=address, status=outcome.status)
            case Unreachable(error=error, detail=detail):
                return replace(self, duration_ms=ms, address=address, error=error, detail=detail)
            case _:
                assert_never(outcome)

    def of_run(self, run_start: int) -> LastAttempt:
        """Return the outcome for lists. `run_start` is the number of the first attempt of its run.

        In a row that was changed by hand the run can begin after its attempt, which then counts as the first.
        """
        number = max(self.number - run_start + 1, 1)
        return LastAttempt(number=number, at=self.at, status=self.status, error=self.error)

    def without_outcome(self) -> "AttemptRecord":
        """Return the record without its outcome."""
        return replace(
            self, duration_ms=None, address=None, status=None, error=None, detail=None, location=None, body=None
        )

    def error_at(self, now: datetime) -> Failure | None:
        """Return the class of the failure: `lost` if the bridge ended before it could record the attempt."""
        return Failure.LOST if self._is_lost_at(now) else self.error

    def detail_at(self, now: datetime) -> str | None:
        """Describe the failure."""
        return _LOST_DETAIL if self._is_lost_at(now) else self.detail

    def _is_lost_at(self, now: datetime) -> bool:
        return not self.is_recorded and self.leased_until <= now


def known_to(registration: Registration, attempts: Sequence[AttemptRecord]) -> Sequence[AttemptRecord]:
    """Return attempts that were read after their registration as of the read of the registration.

    The rows of a registration change in one transaction, which can happen between the two reads. The registration
    reflects the consequences of each attempt, so an outcome that the registration does not reflect yet is left out.
    """
    known = (each for each in attempts if each.number <= registration.last_attempt)
    return [each.without_outcome() if _is_later_than(registration, each) else each for each in known]


def _is_later_than(registration: Registration, attempt: AttemptRecord) -> bool:
    """Return whether the outcome of an attempt was recorded after its registration was read.

    An attempt with a valid claim has no outcome yet. A success within the current run would have ended the run.
    """
    if attempt.claim == registration.claim:
        return True
    is_of_run = registration.state is State.PENDING and attempt.number >= registration.run_start
    return is_of_run and attempt.status is not None and is_success(attempt.status)
