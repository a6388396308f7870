"""An operation or a job of the upstream, as the bridge follows it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from bridge.domain.ids import OperationRef


class FinalStatus(StrEnum):
    """How an operation ends. The first three are statuses of the upstream, the last one is the bridge's own."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELED = "Canceled"
    EXPIRED = "Expired"  #: the bridge gave up


class ExpiredReason(StrEnum):
    """Why the bridge gave up on an operation."""

    DEADLINE = "deadline"  #: it did not end within the deadline
    NOT_FOUND = "notFound"  #: the source knows no such operation
    REFUSED = "refused"  #: the source rejects the request as invalid


#: The most registrations of an operation, so that its end fits into one transaction of 100 rows.
MAX_REGISTRATIONS = 20

#: The most registrations of one owner for an operation, if callers have tokens.
MAX_REGISTRATIONS_OF_OWNER = 10


@dataclass(frozen=True, slots=True)
class Explanation:
    """The upstream's explanation of a failure, for people. One of the two can be empty."""

    code: str = ""
    message: str = ""


class PollErrorKind(StrEnum):
    """Why a poll returned no status of its operation."""

    UNAUTHORIZED = "unauthorized"  #: 401: the key or the token is not accepted
    PERMISSION_DENIED = "permission_denied"  #: 403: the identity has no role
    QUOTA_EXCEEDED = "quota_exceeded"  #: 403 with `Retry-After`: the quota of the resource is used up
    FORBIDDEN = "forbidden"  #: any other 403, such as the resource's network rules
    CREDENTIAL_UNAVAILABLE = "credential_unavailable"  #: the identity got no token, so no request was sent
    NOT_FOUND = "not_found"  #: 404, 410 or 204: the source has no such operation
    BAD_REQUEST = "bad_request"  #: a 4xx about the request itself
    RATE_LIMITED = "rate_limited"  #: 429
    SERVICE_UNAVAILABLE = "service_unavailable"  #: 503 with `Retry-After`
    GATEWAY_ERROR = "gateway_error"  #: a 4xx about a gateway, a proxy or the moment
    SERVER_ERROR = "server_error"  #: any other 5xx
    INVALID_RESPONSE = "invalid_response"  #: not an HTTP response of the Speech API
    DNS_FAILED = "dns_failed"  #: the source's name has no address, or the lookup took too long
    CONNECTION_FAILED = "connection_failed"  #: no connection to any address of the source
    CONNECTION_CLOSED = "connection_closed"  #: the connection ended before a response
    TLS_FAILED = "tls_failed"  #: the certificate or the handshake is not right
    TIMEOUT = "timeout"  #: no whole response in time
    UNKNOWN_SOURCE = "unknown_source"  #: the settings have no source of this name
    INTERNAL_ERROR = "internal_error"  #: a fault in the bridge's own code
    UNKNOWN = "unknown"  #: a kind that another version of the bridge has written

    @classmethod
    def _missing_(cls, _value: object) -> "PollErrorKind":
        return cls.UNKNOWN


@dataclass(frozen=True, slots=True)
class PollError:
    """Why a poll returned no status of its operation."""

    #: The only part that code reads.
    kind: PollErrorKind = PollErrorKind.UNKNOWN
    #: A text for people, which no code reads; without a URL or a secret.
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PollState:
    """The state of polling of an operation: all data for the next decision. Stored in its due row."""

    ref: OperationRef
    #: When the first registration began to wait. The deadline counts from here.
    registered_at: datetime
    #: The label of operations with similar durations, which are learnt separately.
    group: str | None = None
    #: The number of polls, with any answer.
    polls: int = 0
    #: The last poll that returned a running operation.
    seen_running_at: datetime | None = None
    #: Faults in a row.
    faults: int = 0
    #: Answers in a row that the operation does not exist, and the time of the first one.
    absences: int = 0
    absent_since: datetime | None = None
    #: Refusals of the request in a row.
    refusals: int = 0
    #: The owner of the first registration: owners share the polls of a source. Empty in older rows.
    owner: str = ""
    #: Answers in a row that block further polls: 429, 503 with a time, 401 or 403.
    blocks: int = 0
    #: When the last of those or of the faults in a row came. None after an answer about the operation.
    troubled_at: datetime | None = None
    #: When the job was created, as the upstream says. None for an operation, and before the first answer.
    created_at: datetime | None = None

    @property
    def began_at(self) -> datetime:
        """When the age begins: the creation of a job, or the registration of an operation."""
        return self.created_at or self.registered_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One row, for any number of registrations. Times are aware UTC."""

    ref: OperationRef
    #: When the first registration began to wait. The deadline counts from here.
    registered_at: datetime
    #: The group of the first registration.
    group: str | None = None
    #: The owner of the first registration. Empty in older rows.
    owner: str = ""
    #: The upstream's last status, or the bridge's own final status. None until the first answer.
    status: str | None = None
    last_polled_at: datetime | None = None
    #: The number of polls, with any answer.
    polls: int = 0
    #: The last poll that returned a running operation.
    seen_running_at: datetime | None = None
    #: The problem of the last poll, if any.
    last_error: PollError | None = None
    #: The key of its due row: the next poll while a registration waits, the purge otherwise.
    due: str
    #: The final status, or None while the operation runs.
    final_status: FinalStatus | None = None
    #: When the bridge saw the end.
    finished_at: datetime | None = None
    #: Why the bridge gave up on the operation. None for a final status of the upstream.
    reason: ExpiredReason | None = None
    #: The upstream's final answer, as JSON text of at most 4 KiB.
    body: str | None = None
    #: The upstream's explanation of a failure.
    error: Explanation | None = None
    #: When the job was created, as the upstream says. None for an operation.
    created_at: datetime | None = None
    #: When the job ended, as the upstream says. None for an operation.
    ended_at: datetime | None = None
    #: The id of the transaction that last wrote the row.
    tx: str = ""

    @property
    def is_final(self) -> bool:
        """Whether the upstream's own status is final. The bridge's own one is reopened by a new registration."""
        return self.final_status is not None and self.final_status is not FinalStatus.EXPIRED

    @property
    def is_polled(self) -> bool:
        """Whether the operation is being polled."""
        return ":poll:" in self.due

    def poll_state(self) -> PollState:
        """Return the data that polling needs."""
        return PollState(
            ref=self.ref,
            registered_at=self.registered_at,
            group=self.group,
            polls=self.polls,
            seen_running_at=self.seen_running_at,
            owner=self.owner,
            created_at=self.created_at,
        )
