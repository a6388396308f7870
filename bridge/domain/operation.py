"""An operation of the upstream as the bridge follows it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from bridge.domain.ids import OperationRef


class FinalStatus(StrEnum):
    """How an operation ends. The first three are the upstream's words, the last is the bridge's own."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELED = "Canceled"
    EXPIRED = "Expired"  #: the bridge gave up asking


class ExpiredReason(StrEnum):
    """Why the bridge gave up on an operation."""

    DEADLINE = "deadline"  #: it did not end within the deadline
    NOT_FOUND = "notFound"  #: the source knows no such operation
    REFUSED = "refused"  #: the source rejects the request as invalid


#: At most this many registrations for one operation, so that its end fits into one transaction of 100 rows.
MAX_REGISTRATIONS = 20

#: At most this many of them are of one owner, if tokens tell owners apart.
MAX_REGISTRATIONS_OF_OWNER = 10


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the upstream says of a failure, for people; one of the two can be empty."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PollState:
    """What polling knows of an operation: all that the next decision needs. Its due row carries it."""

    ref: OperationRef
    #: When somebody began to wait for it; its age counts from here.
    registered_at: datetime
    #: What is known of its length beforehand, as a label: its durations are learnt apart.
    group: str | None = None
    #: How often it was polled, whatever the answer.
    polls: int = 0
    #: The last poll that saw it running.
    seen_running_at: datetime | None = None
    #: Faults in a row.
    faults: int = 0
    #: Answers in a row that there is no such operation, and since when.
    absences: int = 0
    absent_since: datetime | None = None
    #: Refusals of the request in a row.
    refusals: int = 0
    #: Who registered first; the polls of a source are shared between owners. Empty in older rows.
    owner: str = ""
    #: Answers in a row that kept the source from more: 429, 503 with a time, 401 or 403.
    blocks: int = 0
    #: When the last of those or of the faults in a row came; None after an answer about the operation.
    troubled_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One row, however many registrations wait for it. Times are aware UTC."""

    ref: OperationRef
    #: When somebody began to wait for it; its age counts from here.
    registered_at: datetime
    #: What the first registration said of its length beforehand, as a label.
    group: str | None = None
    #: Who registered first. Empty in older rows.
    owner: str = ""
    #: The upstream's last word, or a final status of ours; None until the first answer.
    status: str | None = None
    last_polled_at: datetime | None = None
    #: How often it was polled, whatever the answer.
    polls: int = 0
    #: The last poll that saw it running.
    seen_running_at: datetime | None = None
    #: What went wrong at the last poll; None if nothing did.
    last_error: str | None = None
    #: The key of its due row: the next poll while somebody waits, the purge otherwise.
    due: str
    #: How it ended; None while it runs.
    final_status: FinalStatus | None = None
    #: When the bridge saw the end.
    finished_at: datetime | None = None
    #: Why the bridge gave up on it; None for a final status of the upstream's.
    reason: ExpiredReason | None = None
    #: What the upstream said at the end, as JSON text of at most 4 KiB.
    body: str | None = None
    #: What the upstream said of the failure, for people.
    error_code: str | None = None
    error_message: str | None = None
    #: Stamped by the transaction that wrote the row last.
    tx: str = ""

    @property
    def is_final(self) -> bool:
        """Whether the upstream itself has spoken; a final status of ours is reopened when somebody asks again."""
        return self.final_status is not None and self.final_status is not FinalStatus.EXPIRED

    @property
    def why(self) -> Explanation | None:
        """What the upstream said of the failure."""
        code, message = self.error_code or "", self.error_message or ""
        return Explanation(code, message) if code or message else None

    @property
    def is_polled(self) -> bool:
        """Whether it is being polled."""
        return ":poll:" in self.due

    def poll_state(self) -> PollState:
        """Take out what polling needs."""
        return PollState(
            ref=self.ref,
            registered_at=self.registered_at,
            group=self.group,
            polls=self.polls,
            seen_running_at=self.seen_running_at,
            owner=self.owner,
        )
