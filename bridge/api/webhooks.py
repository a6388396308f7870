"""The events for receivers, field by field, for the description of the API and the schemas under `docs/events`."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict  # pydantic reads the one of `typing` from Python 3.12 on

from bridge.api.responses import Moment
from bridge.domain.events import EVENT_SOURCE, Format
from bridge.domain.operation import FinalStatus
from bridge.domain.upstream import JOB_PATHS

_Type = Annotated[
    str, Field(pattern=rf"^[a-z]+\.operation\.({'|'.join(final_status.lower() for final_status in FinalStatus)})$")
]
_JobType = Annotated[str, Field(pattern=rf"^({'|'.join(sorted(JOB_PATHS))})\.job\.(succeeded|failed|expired)$")]
_Id = Annotated[str, Field(description="The `webhook-id`.")]


class EventError(TypedDict):
    """The upstream's explanation of a failure."""

    code: str
    message: str


_Subscriber = Annotated[
    str,
    Field(
        pattern="^sub_[0-9a-f]{32}$",
        description="The owner of the registration, opaque. Receivers that verify `v1a` refuse any but their own.",
    ),
]


class _CommonData(TypedDict):
    """The fields of every end, for one registration."""

    status: Annotated[
        Literal["Succeeded", "Failed", "Canceled", "Expired"],
        Field(description="How it ended. `Expired` is the bridge's own final status, after it gave up."),
    ]
    source: Annotated[str, Field(description="The name of the Speech endpoint, as the bridge's settings give it.")]
    registrationId: Annotated[str, Field(description="The registration that this is for.")]
    audience: Annotated[
        str, Field(description="The origin of the callback URL. Receivers that verify `v1a` refuse any but their own.")
    ]
    subscriber: _Subscriber
    metadata: Annotated[dict[str, Any] | None, Field(description="The client's metadata.")]
    registeredAt: Annotated[Moment, Field(description="When the client registered.")]
    observedAt: Annotated[Moment, Field(description="When the bridge saw the end.")]
    notBefore: Annotated[Moment | None, Field(description="The last poll that returned a running operation, or null.")]
    reason: Annotated[
        Literal["deadline", "notFound", "refused"] | None,
        Field(description="Why the bridge gave up; null for a final status of the upstream."),
    ]


class EventData(_CommonData):
    """The end of one operation, for one registration."""

    operationId: Annotated[str, Field(description="The upstream's id of the operation.")]
    operation: Annotated[
        dict[str, Any] | None,
        Field(description="The upstream's final answer; null without one, or over 4 KiB."),
    ]
    error: Annotated[NotRequired[EventError], Field(description="The upstream's explanation of a failure, if known.")]


class EventJob(TypedDict):
    """A job as the upstream returned it last, without its outputs, which are secrets."""

    id: Annotated[str, Field(description="The client's id of the job.")]
    status: Annotated[str | None, Field(description="The upstream's last status; null if there was none.")]
    createdAt: Annotated[Moment | None, Field(description="When the job was created; null if unknown.")]
    endedAt: Annotated[Moment | None, Field(description="When the job ended, exactly; null if unknown.")]
    error: Annotated[EventError | None, Field(description="The upstream's explanation of a failure; null without one.")]


class JobEventData(_CommonData):
    """The end of one job, for one registration."""

    job: EventJob


class PingData(TypedDict):
    """The data of a ping, which are only about its receiver."""

    audience: str
    subscriber: _Subscriber


class OperationEvent(TypedDict):
    """An operation has ended."""

    type: _Type
    timestamp: Moment
    data: EventData


class JobEvent(TypedDict):
    """A job has ended."""

    type: _JobType
    timestamp: Moment
    data: JobEventData


class PingEvent(TypedDict):
    """A test of whether the receiver can be reached."""

    type: Literal["bridge.ping"]
    timestamp: Moment
    data: PingData


class _CloudEvent(TypedDict):
    """The attributes of CloudEvents 1.0 that the events of a source share."""

    specversion: Literal["1.0"]
    id: _Id
    source: Annotated[str, Field(pattern=f"^{EVENT_SOURCE}/[a-z0-9-]+$")]
    time: Moment
    datacontenttype: Literal["application/json"]


class OperationCloudEvent(_CloudEvent):
    """An operation has ended, in the form of CloudEvents 1.0."""

    type: _Type
    subject: Annotated[str, Field(description="The operation's id.")]
    data: EventData


class JobCloudEvent(_CloudEvent):
    """A job has ended, in the form of CloudEvents 1.0."""

    type: _JobType
    subject: Annotated[str, Field(description="The job's id.")]
    data: JobEventData


class PingCloudEvent(TypedDict):
    """A test of whether the receiver can be reached, in the form of CloudEvents 1.0."""

    specversion: Literal["1.0"]
    id: _Id
    source: Annotated[str, Field(pattern=f"^{EVENT_SOURCE}$")]
    type: Literal["bridge.ping"]
    time: Moment
    datacontenttype: Literal["application/json"]
    data: PingData


#: The events by format: the end of an operation, the end of a job, and a ping.
ENDED = {Format.STANDARD: OperationEvent, Format.CLOUDEVENTS: OperationCloudEvent}
JOB_ENDED = {Format.STANDARD: JobEvent, Format.CLOUDEVENTS: JobCloudEvent}
PINGED = {Format.STANDARD: PingEvent, Format.CLOUDEVENTS: PingCloudEvent}
