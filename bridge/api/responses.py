"""What answers look like, field by field: `views.py` makes them, the description of the API is made of them.

The type checker holds the views to these, and the tests each answer that they get: no field more, none less.
"""

from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict  # pydantic reads the one of `typing` from Python 3.12 on

from bridge.domain.attempt import KEPT_ATTEMPTS, LOST
from bridge.domain.events import Format
from bridge.domain.operation import FinalStatus
from bridge.domain.outcome import Failure
from bridge.domain.registration import State

Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
_Reason = Annotated[str, Field(json_schema_extra={"enum": ["gone", "exhausted"]})]
_GivenUp = Annotated[str, Field(json_schema_extra={"enum": ["deadline", "notFound", "refused"]})]
_DeferredBy = Annotated[str, Field(json_schema_extra={"enum": ["concurrency", "circuitOpen"]})]
_Failure = Annotated[str, Field(json_schema_extra={"enum": [*Failure, LOST]})]


class MessageName(TypedDict):
    """What names a message."""

    id: Annotated[str, Field(description="The `webhook-id` of every attempt.")]
    type: Annotated[str, Field(description="`{path of the source}.operation.{final status}`, or `bridge.ping`.")]


class OperationResponse(TypedDict):
    """What is known of an operation."""

    id: Annotated[str, Field(description="The upstream's id.")]
    source: Annotated[str, Field(description="The name of the Speech endpoint that is asked.")]
    status: Annotated[str | None, Field(description="The upstream's last word, or `Expired`, which is the bridge's.")]
    reason: Annotated[_GivenUp | None, Field(description="Why the bridge gave up; null for the upstream's own word.")]
    registeredAt: Annotated[
        Moment, Field(description="When the registration that is shown, or the caller, began to wait.")
    ]
    polls: Annotated[int, Field(ge=0, description="How often it was asked for since then.")]
    lastPolledAt: Moment | None
    nextPollAt: Annotated[Moment | None, Field(description="Null when nobody waits for it.")]
    finishedAt: Annotated[Moment | None, Field(description="When the bridge saw the end.")]
    lastError: Annotated[str | None, Field(description="What went wrong at the last poll.")]


class AttemptResponse(TypedDict):
    """One POST to a callback URL."""

    number: Annotated[int, Field(ge=1, description="Counted from 1 over all generations of the registration.")]
    at: Moment
    durationMs: Annotated[int | None, Field(ge=0, description="Null until it is recorded.")]
    address: Annotated[str | None, Field(description="The address that was connected to.")]
    status: Annotated[int | None, Field(description="The status of the answer; null without one.")]
    error: Annotated[_Failure | None, Field(description="The kind of failure, if no answer came.")]
    detail: Annotated[str | None, Field(description="That failure in a text for people.")]
    location: Annotated[
        str | None, Field(description="Where a redirect leads, which is not followed; `?…` for a query.")
    ]
    body: Annotated[str | None, Field(description="The start of the answer, printable: up to 1,024 bytes of UTF-8.")]


_ShownUrl = Annotated[
    str, Field(description="Where the callback goes, with `?…` for a query: `GET /registrations/{id}` has all of it.")
]


class OperationsRegistration(TypedDict):
    """A registration, without its operation and attempts."""

    id: Annotated[str, Field(description="`{source}~{operation id}~{hash}`")]
    callbackUrl: _ShownUrl
    events: Annotated[list[FinalStatus], Field(description="The ends that it wants to hear of.")]
    metadata: Annotated[dict[str, Any] | None, Field(description="The client's own data.")]
    group: Annotated[str | None, Field(description="With which other operations its duration is learnt.")]
    format: Format
    state: State
    since: Annotated[Moment, Field(description="When it came into its state.")]
    reason: Annotated[_Reason | None, Field(description="Why it is dead.")]
    createdAt: Annotated[Moment, Field(description="When it was created, or created again after a cancellation.")]
    message: Annotated[MessageName | None, Field(description="Null until there is something to tell.")]
    nextAttemptAt: Moment | None
    deferredBy: Annotated[_DeferredBy | None, Field(description="Why the next attempt waits longer than the schedule.")]
    deliveredAt: Moment | None


class EarlierAttempts(TypedDict):
    """A summary of the attempts that are not kept any longer."""

    count: Annotated[int, Field(ge=1)]
    before: Annotated[Moment, Field(description="They began before this.")]


class RegistrationResponse(OperationsRegistration):
    """A registration with its operation and its attempts."""

    callbackUrl: Annotated[
        str,
        Field(
            description="Where the callback goes, in the form that is called. Others than the owner, and the owner "
            "while the key of the query is missing, see `?…` for a query."
        ),
    ]
    operation: OperationResponse
    attempts: Annotated[
        list[AttemptResponse], Field(max_length=KEPT_ATTEMPTS, description="The last ones, oldest first.")
    ]
    earlierAttempts: Annotated[EarlierAttempts | None, Field(description="Null while all of them are in `attempts`.")]


Subscriber = Annotated[
    str, Field(pattern="^sub_[0-9a-f]{32}$", description="The caller's name in events: `data.subscriber`.")
]


class Registered(RegistrationResponse):
    """What registering answers."""

    subscriber: Subscriber
    signingSecret: Annotated[str, Field(pattern="^whsec_", description="What callbacks to its origin verify with.")]


class EntrysOperation(TypedDict):
    """What a list shows of an operation."""

    id: str
    source: str
    status: Annotated[FinalStatus | None, Field(description="How it ended; null while it runs.")]


class Entry(TypedDict):
    """A registration as a list shows it: no metadata, no attempts."""

    id: Annotated[str, Field(description="`{source}~{operation id}~{hash}`")]
    callbackUrl: _ShownUrl
    events: list[FinalStatus]
    format: Format
    state: State
    since: Annotated[Moment, Field(description="When it came into its state; lists are in this order.")]
    reason: Annotated[_Reason | None, Field(description="Why it is dead.")]
    createdAt: Moment
    operation: EntrysOperation
    message: MessageName | None
    nextAttemptAt: Moment | None
    deferredBy: _DeferredBy | None
    deliveredAt: Moment | None


class PageResponse(TypedDict):
    """Part of a list, newest first by when each came into its state."""

    value: list[Entry]
    nextLink: Annotated[str | None, Field(description="The next page, without the key; null at the end.")]


class OperationWithRegistrations(OperationResponse):
    """What is known of an operation, with its registrations."""

    registrations: list[OperationsRegistration]


class Count(TypedDict):
    """How many registrations are in a state."""

    count: Annotated[int, Field(ge=0)]
    more: Annotated[bool, Field(description="Whether there are more than were counted.")]


class Share(TypedDict):
    """Which share of the operations ends from an age on, up to the next one."""

    fromSeconds: Annotated[float, Field(ge=0)]
    share: Annotated[float, Field(ge=0, le=1)]


class Durations(TypedDict):
    """What was learnt of how long a source's operations take."""

    completions: Annotated[float, Field(ge=0, description="From how many; old ones count less and less.")]
    shares: list[Share]
    groups: Annotated[list[str], Field(description="Those whose durations are learnt apart.")]


class SourceResponse(TypedDict):
    """A Speech endpoint, how often it is asked, and why it is not."""

    name: str
    endpoint: str
    path: Annotated[str, Field(description="What stands before `/operations`; event types begin with it.")]
    apiVersion: str
    requestsPerSecond: Annotated[float, Field(description="How often it may be asked at present.")]
    highestRequestsPerSecond: float
    stoppedUntil: Annotated[Moment | None, Field(description="It said 429; nobody asks before this.")]
    shadowPrice: Annotated[
        float, Field(ge=1, description="What a request is held to cost: it rises while more is due.")
    ]
    pausedUntil: Annotated[Moment | None, Field(description="It did not take the credential; nobody asks before this.")]
    unreachableSince: Annotated[Moment | None, Field(description="Nothing but faults has come since then.")]
    problem: Annotated[str | None, Field(description="What it said of the credential, or its last fault.")]
    advice: Annotated[str | None, Field(description="What to do about it.")]


class SourceWithDurations(SourceResponse):
    """A source, with what was learnt of its operations."""

    durations: Durations


class Queue(TypedDict):
    """Whether messages can be sent to the queue, as of the last heartbeat of a sweep."""

    problem: Annotated[str | None, Field(description="Why messages cannot be sent, with the service's error code.")]
    advice: Annotated[str | None, Field(description="What to do about it.")]
    since: Annotated[Moment | None, Field(description="The first failure in a row.")]


class ClockAhead(TypedDict):
    """A row with times that lie ahead: the clock of an instance is, or was, wrong."""

    row: Annotated[str, Field(description="`heartbeat`, or `source:` and the name of a source.")]
    columns: Annotated[list[str], Field(description="Which of its times; they are shown as corrected.")]


class StatusResponse(TypedDict):
    """How the bridge is."""

    lastSweepAt: Annotated[Moment | None, Field(description="To the minute.")]
    clocksAhead: Annotated[list[ClockAhead], Field(description="Empty if the clocks of the instances agree.")]
    oldestOverdueAt: Annotated[Moment | None, Field(description="When what has waited longest past its time was due.")]
    registrations: Annotated[
        dict[State, Count], Field(description="By state; an instance counts every ten seconds at most.")
    ]
    queue: Queue
    sources: list[SourceWithDurations]


class PingResponse(TypedDict):
    """What came of a ping, as an attempt is shown."""

    message: MessageName
    at: Moment
    durationMs: Annotated[int, Field(ge=0)]
    address: Annotated[str | None, Field(description="The address that was connected to.")]
    status: Annotated[int | None, Field(description="The status of the answer; null without one.")]
    error: Annotated[_Failure | None, Field(description="The kind of failure, if no answer came.")]
    detail: Annotated[str | None, Field(description="That failure in a text for people.")]
    location: Annotated[
        str | None, Field(description="Where a redirect leads, which is not followed; `?…` for a query.")
    ]
    body: Annotated[str | None, Field(description="The start of the answer, printable: up to 1,024 bytes of UTF-8.")]


class RedeliveryResponse(TypedDict):
    """What a redelivery of many has begun."""

    started: Annotated[int, Field(ge=0, description="How many.")]
    registrations: Annotated[list[str], Field(description="Their ids.")]
    more: Annotated[bool, Field(description="Whether there can be others, which a call with `cursor` goes on to.")]
    cursor: Annotated[str | None, Field(description="Where the next call goes on; null where there is no more.")]


class SigningSecret(TypedDict):
    """What callbacks to an origin are verified with."""

    audience: Annotated[str, Field(description="The origin: scheme, host and, unless it is the scheme's own, port.")]
    subscriber: Subscriber
    signingSecret: Annotated[str, Field(pattern="^whsec_")]


class PublicKeyResponse(TypedDict):
    """What everybody verifies `v1a` with."""

    id: str
    publicKey: Annotated[str, Field(pattern="^whpk_")]


class PublicKeys(TypedDict):
    """The public keys, newest first."""

    value: list[PublicKeyResponse]


class HealthResponse(TypedDict):
    """Whether the app is alive."""

    status: Annotated[str, Field(json_schema_extra={"enum": ["ok", "misconfigured"]})]


class ErrorDetail(TypedDict):
    """One thing that is wrong."""

    code: str
    message: str
    target: Annotated[str, Field(description="The field, parameter, header or setting that it is about.")]


class Error(TypedDict):
    """Why a request was not followed."""

    code: Annotated[str, Field(description="The same as in the header `x-ms-error-code`.")]
    message: str
    target: str | None
    details: Annotated[list[ErrorDetail], Field(description="Everything that is wrong, at once.")]


class ErrorAnswer(TypedDict):
    """An answer that is no success, in Azure's shape."""

    error: Error


class Delays(TypedDict):
    """Within how many seconds callbacks of an hour were delivered, from the beginning of their runs."""

    p50: Annotated[float, Field(ge=0, description="Half of them.")]
    p95: Annotated[float, Field(ge=0, description="95% of them.")]
    max: Annotated[float, Field(ge=0, description="All of them.")]


# `from` is no name of a field in Python, so this class and `Overview` are written as calls.
Hour = TypedDict(
    "Hour",
    {
        "from": Moment,
        "delivered": Annotated[int, Field(ge=0)],
        "dead": Annotated[int, Field(ge=0)],
        "delaySeconds": Annotated[Delays | None, Field(description="Null where nothing was delivered.")],
    },
)


class ExpectedResponse(TypedDict):
    """What was learnt of a source, or of a group of it, and when a new operation would be asked for."""

    source: str
    group: Annotated[str | None, Field(description="Null for all operations of the source.")]
    completions: Annotated[float, Field(ge=0, description="From how many; old ones count less and less.")]
    shares: list[Share]
    medianSeconds: Annotated[float | None, Field(ge=0, description="Half of them end before this age.")]
    pollsAtSeconds: Annotated[list[float], Field(description="Ages, from the registration on; 40 at most.")]


Overview = TypedDict(
    "Overview",
    {
        "from": Annotated[Moment, Field(description="When the day begins, at a full hour.")],
        "completeFrom": Annotated[Moment, Field(description="Later than `from` where more has ended than is read.")],
        "hours": Annotated[list[Hour], Field(description="24 of them, oldest first; the last one runs.")],
        "schedules": Annotated[
            list[ExpectedResponse], Field(description="Each source, then its groups; none for owners.")
        ],
    },
)
