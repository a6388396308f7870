"""The events that receivers get, field by field, for the description of the API and the schemas under `docs/events`."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict  # pydantic reads the one of `typing` from Python 3.12 on

from bridge.api.responses import Moment
from bridge.domain.events import EVENT_SOURCE, Format
from bridge.domain.operation import FinalStatus

_Type = Annotated[
    str, Field(pattern=rf"^[a-z]+\.operation\.({'|'.join(final_status.lower() for final_status in FinalStatus)})$")
]
_Id = Annotated[str, Field(description="The `webhook-id`.")]


class EventError(TypedDict):
    """What the upstream said of the failure."""

    code: str
    message: str


_Subscriber = Annotated[
    str,
    Field(
        pattern="^sub_[0-9a-f]{32}$",
        description="The owner of the registration, opaque. Receivers that verify `v1a` refuse any but their own.",
    ),
]


class EventData(TypedDict):
    """What happened to one operation, for one registration."""

    operationId: Annotated[str, Field(description="The upstream's id of the operation.")]
    status: Annotated[
        Literal["Succeeded", "Failed", "Canceled", "Expired"],
        Field(description="How it ended. `Expired` is the bridge's own final status: it gave up asking."),
    ]
    source: Annotated[str, Field(description="The name of the Speech endpoint, as the bridge's settings give it.")]
    registrationId: Annotated[str, Field(description="The registration that this is for.")]
    audience: Annotated[
        str, Field(description="The origin of the callback URL. Receivers that verify `v1a` refuse any but their own.")
    ]
    subscriber: _Subscriber
    metadata: Annotated[dict[str, Any] | None, Field(description="What the client gave when it registered.")]
    registeredAt: Annotated[Moment, Field(description="When the client registered.")]
    observedAt: Annotated[Moment, Field(description="When the bridge saw the end.")]
    notBefore: Annotated[Moment | None, Field(description="The last poll that saw it running; null where none did.")]
    reason: Annotated[
        Literal["deadline", "notFound", "refused"] | None,
        Field(description="Why the bridge gave up; null for a final status of the upstream's."),
    ]
    operation: Annotated[
        dict[str, Any] | None,
        Field(description="What the upstream said at the end; null where that was nothing final, or over 4 KiB."),
    ]
    error: Annotated[
        NotRequired[EventError], Field(description="What the upstream said of the failure, where the bridge knows it.")
    ]


class PingData(TypedDict):
    """A ping is about nothing but its receiver."""

    audience: str
    subscriber: _Subscriber


class OperationEvent(TypedDict):
    """An operation has ended."""

    type: _Type
    timestamp: Moment
    data: EventData


class PingEvent(TypedDict):
    """Somebody wanted to see whether the receiver can be reached."""

    type: Literal["bridge.ping"]
    timestamp: Moment
    data: PingData


class OperationCloudEvent(TypedDict):
    """An operation has ended, as CloudEvents 1.0 writes it."""

    specversion: Literal["1.0"]
    id: _Id
    source: Annotated[str, Field(pattern=f"^{EVENT_SOURCE}/[a-z0-9-]+$")]
    type: _Type
    time: Moment
    datacontenttype: Literal["application/json"]
    subject: Annotated[str, Field(description="The operation's id.")]
    data: EventData


class PingCloudEvent(TypedDict):
    """Somebody wanted to see whether the receiver can be reached, as CloudEvents 1.0 writes it."""

    specversion: Literal["1.0"]
    id: _Id
    source: Annotated[str, Field(pattern=f"^{EVENT_SOURCE}$")]
    type: Literal["bridge.ping"]
    time: Moment
    datacontenttype: Literal["application/json"]
    data: PingData


#: What tells the end of an operation, by format; and what a ping is.
ENDED = {Format.STANDARD: OperationEvent, Format.CLOUDEVENTS: OperationCloudEvent}
PINGED = {Format.STANDARD: PingEvent, Format.CLOUDEVENTS: PingCloudEvent}
