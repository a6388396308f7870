"""The models of the responses. Each field is defined once, here, and the description of the API derives from them.

A model reads the attributes of a domain object with the names of its fields (`Response.of`). Limits of numbers and
values of texts are only for the description: a stored row with other values is shown unchanged.
"""

import json
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AliasGenerator, BaseModel, ConfigDict, Field, JsonValue, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic.json_schema import SkipJsonSchema

from bridge.domain.attempt import KEPT_ATTEMPTS
from bridge.domain.events import Format
from bridge.domain.ids import Kind
from bridge.domain.operation import ExpiredReason, FinalStatus, PollErrorKind
from bridge.domain.outcome import Failure
from bridge.domain.poll_schedule import PollPlan
from bridge.domain.registration import DeferredBy, State
from bridge.domain.retry import DeadReason
from bridge.domain.time import iso

Moment = Annotated[datetime, PlainSerializer(iso), WithJsonSchema({"type": "string", "format": "date-time"})]
_Count = Annotated[int, WithJsonSchema({"type": "integer", "minimum": 0})]
_Amount = Annotated[float, WithJsonSchema({"type": "number", "minimum": 0})]
_Reason = Annotated[str, Field(json_schema_extra={"enum": [*DeadReason]})]
_GivenUp = Annotated[str, Field(json_schema_extra={"enum": [*ExpiredReason]})]
_DeferredBy = Annotated[str, Field(json_schema_extra={"enum": [*DeferredBy]})]
_Subscriber = Annotated[
    str,
    Field(
        description="The caller's name in events: `data.subscriber`.",
        json_schema_extra={"pattern": "^sub_[0-9a-f]{32}$"},
    ),
]

_Version = Annotated[str, Field(description="The version of the bridge.")]

# The outcome of a POST to a callback URL.
_Address = Annotated[str | None, Field(description="The address of the connection.")]
_StatusCode = Annotated[int | None, Field(description="The status of the answer; null without one.")]
_FailureKind = Annotated[str, Field(json_schema_extra={"enum": [*Failure]})]
_Failure = Annotated[_FailureKind | None, Field(description="The kind of failure, if no answer came.")]
_Detail = Annotated[str | None, Field(description="That failure in a text for people.")]
_Location = Annotated[
    str | None, Field(description="The target of a redirect, which is not followed; `?…` for a query.")
]
_Body = Annotated[str | None, Field(description="The start of the answer, printable: up to 1,024 bytes of UTF-8.")]


class Response(BaseModel):
    """The body of a response, or a part of it: camelCase in JSON, with all fields, even if they are null.

    A model is built at the first use, since a cold start should not wait for all of them.
    """

    model_config = ConfigDict(
        frozen=True,
        defer_build=True,
        alias_generator=AliasGenerator(serialization_alias=to_camel),
        serialize_by_alias=True,
    )

    @classmethod
    def of(cls, source: object, /, **other: object) -> Self:
        """Read the fields from the attributes of `source` with the same names, unless `other` has them."""
        read = {name: getattr(source, name) for name in cls.model_fields if name not in other}
        return cls.model_validate({**read, **other})

    def text(self) -> str:
        """Return the JSON text."""
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=False)


class MessageName(Response):
    """The name of a message."""

    id: str = Field(description="The `webhook-id` of every attempt.")
    type: str = Field(description="`{path of the source}.operation.{final status}`, or `bridge.ping`.")


class MessageResponse(Response):
    """A message as it is sent: the headers apart from the client's own, and the body."""

    headers: dict[str, str] = Field(
        description="With names in lower case. `webhook-signature` and `webhook-timestamp` are of this call. Others "
        "than the owner get neither."
    )
    body: str = Field(description="The exact text of every attempt. Its UTF-8 bytes are signed.")


class PollErrorResponse(Response):
    """Why a poll returned no status."""

    model_config = ConfigDict(from_attributes=True)

    kind: str = Field(json_schema_extra={"enum": [*PollErrorKind]})
    detail: str = Field(description="A text for people. Its words can change; `kind` is for programs.")


class _Followed(Response):
    """The fields that an operation and a job share."""

    id: str = Field(description="The upstream's id.")
    source: str = Field(description="The name of the polled Speech endpoint.")
    status: str | None = Field(description="The upstream's last status, or the bridge's own `Expired`.")
    reason: _GivenUp | None = Field(description="Why the bridge gave up; null for a final status of the upstream.")
    registered_at: Moment = Field(description="When the registration that is shown, or the caller, began to wait.")
    polls: _Count = Field(description="The number of polls since then.")
    last_polled_at: Moment | None
    next_poll_at: Moment | None = Field(description="Null if no registration waits.")
    finished_at: Moment | None = Field(description="When the bridge saw the end.")
    last_error: PollErrorResponse | None = Field(description="The problem of the last poll.")


class OperationResponse(_Followed):
    """An operation."""

    hint: str | None = Field(description="That the id may be that of a job, for an id that Speech does not know.")


class JobResponse(_Followed):
    """A job."""

    created_at: Moment | None = Field(description="When the job was created, as Speech says; null until known.")
    ended_at: Moment | None = Field(description="When the job ended, as Speech says; null until known.")


def _is_absent(value: object) -> bool:
    return value is None


def _without_default(schema: dict[str, Any]) -> None:
    del schema["default"]


#: A field that an answer lacks if there is no value. Its schema has no null.
_OPTIONAL = Field(exclude_if=_is_absent, json_schema_extra=_without_default)

#: An answer is about an operation or a job, and has the field of that alone.
_EITHER: list[JsonValue] = [{"required": ["operation"]}, {"required": ["job"]}]


class AttemptResponse(Response):
    """One POST to a callback URL."""

    number: int = Field(
        description="Counted from 1 over all generations of the registration.", json_schema_extra={"minimum": 1}
    )
    at: Moment
    duration_ms: _Count | None = Field(description="Null before the record.")
    address: _Address
    status: _StatusCode
    error: _Failure
    detail: _Detail
    location: _Location
    body: _Body


class _ListedRegistration(Response):
    """The fields that each response has of a registration."""

    id: str = Field(description="`{source}~{operation id}~{hash}`, or `{source}.jobs~{job id}~{hash}`")
    callback_url: str = Field(
        description="Where the callback goes, with `?…` for a query: `GET /registrations/{id}` has all of it."
    )
    events: list[FinalStatus] = Field(description="The requested final statuses.")
    format: Format
    state: State
    since: Moment = Field(description="When the registration entered its state; lists are in this order.")
    reason: _Reason | None = Field(description="Why the registration is dead.")
    created_at: Moment = Field(description="When the registration was created, or created again after a cancellation.")
    message: MessageName | None = Field(description="Null before the notification.")
    next_attempt_at: Moment | None
    deferred_by: _DeferredBy | None = Field(description="Why the next attempt waits longer than the schedule.")
    delivered_at: Moment | None


class OperationsRegistration(_ListedRegistration):
    """A registration, without its operation and attempts."""

    metadata: dict[str, Any] | None = Field(description="The client's own data.")
    group: str | None = Field(description="The label of operations with similar durations.")


class EarlierAttempts(Response):
    """A summary of the attempts that are no longer kept."""

    count: int = Field(json_schema_extra={"minimum": 1})
    before: Moment = Field(description="They began before this.")


class RegistrationResponse(OperationsRegistration):
    """A registration with its operation or job, and attempts."""

    model_config = ConfigDict(json_schema_extra={"oneOf": _EITHER})

    callback_url: str = Field(
        description="Where the callback goes, in the form that is called. Others than the owner, and the owner while "
        "the key of the query is missing, see `?…` for a query."
    )
    operation: Annotated[OperationResponse | SkipJsonSchema[None], _OPTIONAL] = None
    job: Annotated[JobResponse | SkipJsonSchema[None], _OPTIONAL] = None
    attempts: list[AttemptResponse] = Field(
        description="The last ones, oldest first.", json_schema_extra={"maxItems": KEPT_ATTEMPTS}
    )
    earlier_attempts: EarlierAttempts | None = Field(description="Null while all of them are in `attempts`.")


class Registered(RegistrationResponse):
    """The answer to a registration."""

    subscriber: _Subscriber
    signing_secret: str = Field(
        description="The secret that verifies callbacks to its origin.", json_schema_extra={"pattern": "^whsec_"}
    )


class EntrysOperation(Response):
    """An operation or a job in a list."""

    id: str
    source: str
    status: FinalStatus | None = Field(description="How it ended; null while it runs.")


class LastAttemptResponse(Response):
    """The last attempt of the current run whose outcome is known."""

    number: int = Field(description="Counted from 1 within the run.", json_schema_extra={"minimum": 1})
    run_length: int = Field(
        serialization_alias="of", description="The number of attempts of a run.", json_schema_extra={"minimum": 1}
    )
    status: _StatusCode
    error: _Failure
    at: Moment = Field(description="When the attempt began.")


class Entry(_ListedRegistration):
    """A registration in a list, without metadata and attempts."""

    model_config = ConfigDict(json_schema_extra={"oneOf": _EITHER})

    group: str | None = Field(description="The label of operations with similar durations.")
    last_attempt: LastAttemptResponse | None = Field(
        description="Null before an outcome of the current run is recorded. If it failed, a pending registration is "
        "retried at `nextAttemptAt`."
    )
    operation: Annotated[EntrysOperation | SkipJsonSchema[None], _OPTIONAL] = None
    job: Annotated[EntrysOperation | SkipJsonSchema[None], _OPTIONAL] = None


class PageResponse(Response):
    """Part of a list, newest first by the time of the current state."""

    value: list[Entry]
    next_link: str | None = Field(description="The next page, without the key; null at the end.")


class OperationWithRegistrations(OperationResponse):
    """An operation with its registrations."""

    registrations: list[OperationsRegistration]


class JobWithRegistrations(JobResponse):
    """A job with its registrations."""

    registrations: list[OperationsRegistration]


class Count(Response):
    """How many registrations are in a state."""

    count: _Count
    more: bool = Field(description="Whether there are more than were counted.")


class Share(Response):
    """The share of operations that end from an age on, up to the next one."""

    from_seconds: _Amount
    share: float = Field(json_schema_extra={"minimum": 0, "maximum": 1})


class Durations(Response):
    """The learnt durations of a source's operations."""

    completions: _Amount = Field(description="The number of observed ends; old ones lose weight.")
    shares: list[Share]
    groups: list[str] = Field(description="The groups with separately learnt durations.")


class SourceWithDurations(Response):
    """A Speech endpoint with rate, problem, and the learnt durations of operations."""

    name: str
    endpoint: str
    path: str = Field(description="The path before `/operations`; event types begin with it.")
    api_version: str
    requests_per_second: float = Field(description="The current rate limit.")
    highest_requests_per_second: float
    stopped_until: Moment | None = Field(description="After a 429: no polls before this time.")
    shadow_price: float = Field(
        description="The price of a request, in base prices; rises while polls exceed the budget.",
        json_schema_extra={"minimum": 1},
    )
    paused_until: Moment | None = Field(description="After a refused credential: no polls before this time.")
    unreachable_since: Moment | None = Field(description="Only faults since then.")
    problem: PollErrorResponse | None = Field(description="The answer to the refused credential, or the last fault.")
    advice: str | None = Field(description="The advice.")
    durations: Durations


class Queue(Response):
    """Whether messages can be sent to the queue, as of the last heartbeat of a sweep."""

    problem: str | None = Field(description="Why messages cannot be sent, with the service's error code.")
    advice: str | None = Field(description="The advice.")
    since: Moment | None = Field(description="The first failure in a row.")


class ClockAhead(Response):
    """A row with times that lie ahead, since the clock of an instance is or was wrong."""

    row: str = Field(description="`heartbeat`, or `source:` and the name of a source.")
    columns: list[str] = Field(description="The times, which are shown corrected.")


class StatusResponse(Response):
    """The state of the bridge."""

    version: _Version
    last_sweep_at: Moment | None = Field(description="To the minute.")
    clocks_ahead: list[ClockAhead] = Field(description="Empty if the clocks of the instances agree.")
    oldest_overdue_at: Moment | None = Field(description="The due time of the most overdue row.")
    registrations: dict[State, Count] = Field(description="By state; an instance counts at most every ten seconds.")
    queue: Queue
    sources: list[SourceWithDurations]


class PingResponse(Response):
    """The result of a ping, in the form of an attempt."""

    message: MessageName
    at: Moment
    duration_ms: _Count
    address: _Address
    status: _StatusCode
    error: _Failure
    detail: _Detail
    location: _Location
    body: _Body


class RedeliveryResponse(Response):
    """The result of a bulk redelivery."""

    started: _Count = Field(description="How many.")
    registrations: list[str] = Field(description="Their ids.")
    more: bool = Field(description="Whether there may be more, for a call with `cursor`.")
    cursor: str | None = Field(description="Where the next call continues; null at the end.")


class PreviewedGroup(Response):
    """Registrations with the same host and outcome."""

    host: str = Field(description="The host of the callbacks, with its port unless that is the scheme's own.")
    outcome: str | None = Field(
        description="The status or the kind of failure of their last attempt; null before an attempt."
    )
    count: _Count


class RedeliveryPreview(Response):
    """The result of a dry run of a bulk redelivery."""

    total: _Count = Field(description="How many would be delivered by the same call without `dryRun`.")
    by_host: list[PreviewedGroup] = Field(description="The same, by host and outcome; the largest first.")
    more: bool = Field(description="Whether there may be more: the call reads a bounded part.")


class SigningSecret(Response):
    """The secret with which callbacks to an origin are verified."""

    audience: str = Field(description="The origin: scheme, host and, unless it is the scheme's own, port.")
    subscriber: _Subscriber
    signing_secret: str = Field(json_schema_extra={"pattern": "^whsec_"})


class PublicKeyResponse(Response):
    """A public key that verifies `v1a` signatures."""

    id: str
    public_key: str = Field(json_schema_extra={"pattern": "^whpk_"})


class PublicKeys(Response):
    """The public keys, newest first."""

    value: list[PublicKeyResponse]


class HealthResponse(Response):
    """Whether the app is alive."""

    status: Literal["ok", "misconfigured"]
    version: _Version


class ErrorDetail(Response):
    """One problem."""

    code: str
    message: str
    target: str = Field(description="The field, parameter, header or setting with the problem.")


class Error(Response):
    """The reason why a request was refused or failed."""

    code: str = Field(description="The same as in the header `x-ms-error-code`.")
    message: str
    target: str | None
    details: list[ErrorDetail] = Field(description="All problems at once.")


class ErrorAnswer(Response):
    """An error answer in Azure's shape."""

    error: Error


class Delays(Response):
    """The seconds from the end of a job, or from the start of a run, to the delivery, for the callbacks of an hour."""

    p50: _Amount = Field(description="Half of them.")
    p95: _Amount = Field(description="95% of them.")
    max: _Amount = Field(description="All of them.")


class HourResponse(Response):
    """The results of one hour."""

    begins: Moment = Field(serialization_alias="from")
    delivered: _Count
    dead: _Count
    delay_seconds: Delays | None = Field(description="Null without a delivery.")


class ExpectedResponse(Response):
    """The learnt durations of operations or jobs of a source, or of one of its groups, and the polls of a new one."""

    source: str
    kind: str = Field(description="Jobs appear once an end was observed.", json_schema_extra={"enum": [*Kind]})
    group: str | None = Field(description="Null for all of the source.")
    plan: str = Field(description="`exponential` learns no durations.", json_schema_extra={"enum": [*PollPlan]})
    completions: _Amount = Field(description="The number of observed ends; old ones lose weight.")
    shares: list[Share]
    median_seconds: _Amount | None = Field(description="Half of them end before this age.")
    polls_at_seconds: list[float] = Field(
        description="Ages, from the registration or the creation of a job on; 40 at most."
    )


class OverviewResponse(Response):
    """The last day, and the learnt durations."""

    begins: Moment = Field(serialization_alias="from", description="When the day begins, at a full hour.")
    complete_from: Moment = Field(description="Later than `from` if more registrations ended than are read.")
    hours: list[HourResponse] = Field(description="24, oldest first; the last one is the current hour.")
    schedules: list[ExpectedResponse] = Field(description="Each source, then its groups; none for owners.")
