"""Events for receivers: the exact bytes of a message and its id."""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from bridge.domain.callback_url import origin_of
from bridge.domain.ids import Kind, RegistrationRef
from bridge.domain.operation import ExpiredReason, Explanation, FinalStatus, Operation
from bridge.domain.time import iso, iso_or_none, to_millis


class Format(StrEnum):
    """The format of a message."""

    STANDARD = "standard"  #: Standard Webhooks' own shape: `type`, `timestamp`, `data`
    CLOUDEVENTS = "cloudevents"  #: CloudEvents 1.0, structured mode, around the same `data`

    @property
    def content_type(self) -> str:
        """The media type of a message in this format."""
        return "application/cloudevents+json" if self is Format.CLOUDEVENTS else "application/json"


#: The `source` of a CloudEvent: this, a slash and the name of the bridge's source. A ping has just this. Never change
#: the value: receivers route by the source.
EVENT_SOURCE = "/speech-webhook-bridge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One event for one registration. The same id always means the same bytes."""

    #: The `webhook-id` of every attempt.
    id: str
    #: `<path of the source>.operation.<final status>`, or `<path>.job.<final status>`
    type: str
    #: The exact bytes that are signed and sent.
    body: bytes


#: The type of a test message, which is about no operation.
PING = "bridge.ping"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationCompleted:
    """The end of an operation or a job, the same for all its registrations."""

    kind: Kind = Kind.OPERATION
    final_status: FinalStatus
    #: The upstream's last status, or None if the upstream never answered with one.
    status: str | None = None
    #: The path of its source, like `avatar`. Event types begin with the path.
    path: str
    #: When the bridge observed the end.
    observed_at: datetime
    #: The last poll that still returned a running operation, or None if there was no such poll.
    not_before: datetime | None
    #: Why the bridge gave up on the operation. None for a final status of the upstream.
    reason: ExpiredReason | None
    #: The upstream's last answer as JSON text, or None if there was no final answer.
    body: str | None
    #: The upstream's explanation of a failure, if any.
    why: Explanation | None = None
    #: The number of polls of the operation.
    polls: int = 0
    #: When the job was created, and when it ended, as the upstream says. None for an operation.
    created_at: datetime | None = None
    ended_at: datetime | None = None

    @classmethod
    def of(cls, operation: Operation, path: str) -> "OperationCompleted | None":
        """Return the event of an operation with a final answer of the upstream, or None if there is none yet."""
        if operation.final_status is None or operation.finished_at is None or not operation.is_final:
            return None
        return cls(
            kind=operation.ref.kind,
            final_status=operation.final_status,
            status=operation.status,
            path=path,
            observed_at=operation.finished_at,
            not_before=operation.seen_running_at,
            reason=None,
            body=operation.body,
            why=operation.error,
            polls=operation.polls,
            created_at=operation.created_at,
            ended_at=operation.ended_at,
        )

    @property
    def type(self) -> str:
        """The event type."""
        return f"{self.path}.{self.kind}.{self.final_status.lower()}"


def subscriber_of(owner: str) -> str:
    """Return the pseudonym of an owner in events: opaque, and the same in all events and after a change of keys.

    The callbacks of all owners carry the bridge's public signature. Only this name shows a receiver which owner's
    registration led to a callback.
    """
    digest = hashlib.sha256(f"bridge/v1/subscriber\n{owner}".encode()).hexdigest()
    return f"sub_{digest[:32]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Addressee:
    """The registration that a message is for."""

    ref: RegistrationRef
    owner: str
    callback_url: str


def compose(
    completed: OperationCompleted,
    to: Addressee,
    *,
    metadata: str | None,
    generation: datetime,
    format: Format = Format.STANDARD,
) -> Message:
    """Compose the message that notifies one registration of the `completed` operation.

    The id is derived from registration, generation and event. Composing the message again after a crash gives the same
    id, and a new generation gives another one. The id contains the shard of the operation, which leads to its rows.
    """
    identity = f"{to.ref.public_id}\n{to_millis(generation)}\n{completed.type}"
    is_job = to.ref.operation.is_job
    data: dict[str, Any] = {} if is_job else {"operationId": to.ref.operation.id}
    data |= {
        "status": completed.final_status.value,
        "source": to.ref.operation.source,
        "registrationId": to.ref.public_id,
        "audience": origin_of(to.callback_url),
        "subscriber": subscriber_of(to.owner),
        "metadata": None if metadata is None else json.loads(metadata),
        "registeredAt": iso(generation),
        "observedAt": iso(completed.observed_at),
        "notBefore": iso_or_none(completed.not_before),
        "reason": completed.reason,
    }
    why = None if completed.why is None else asdict(completed.why)
    if is_job:
        data["job"] = {
            "id": to.ref.operation.id,
            "status": completed.status,
            "createdAt": iso_or_none(completed.created_at),
            "endedAt": iso_or_none(completed.ended_at),
            "error": why,
        }
    else:
        data["operation"] = None if completed.body is None else json.loads(completed.body)
        data |= {} if why is None else {"error": why}
    message_id = to.ref.operation.message_id(identity)
    if format is Format.CLOUDEVENTS:
        shape = _cloudevent(
            message_id, completed.type, completed.observed_at, source=f"{EVENT_SOURCE}/{to.ref.operation.source}"
        )
        shape["subject"] = to.ref.operation.id
    else:
        shape = _standard(completed.type, completed.observed_at)
    text = json.dumps({**shape, "data": data}, ensure_ascii=False, separators=(",", ":"))
    return Message(id=message_id, type=completed.type, body=text.encode(errors="replace"))


def ping(*, callback_url: str, owner: str, now: datetime, nonce: str, format: Format) -> Message:
    """Compose a test message, which shows that a receiver can be reached and verifies signatures."""
    message_id = f"msg_ping_{nonce}"
    is_cloudevent = format is Format.CLOUDEVENTS
    shape = _cloudevent(message_id, PING, now, source=EVENT_SOURCE) if is_cloudevent else _standard(PING, now)
    data = {"audience": origin_of(callback_url), "subscriber": subscriber_of(owner)}
    text = json.dumps({**shape, "data": data}, separators=(",", ":"))
    return Message(id=message_id, type=PING, body=text.encode())


def _standard(kind: str, at: datetime) -> dict[str, str]:
    return {"type": kind, "timestamp": iso(at)}


def _cloudevent(message_id: str, kind: str, at: datetime, *, source: str) -> dict[str, str]:
    """Return the context attributes of CloudEvents 1.0. The `id` is the `webhook-id`."""
    return {
        "specversion": "1.0",
        "id": message_id,
        "source": source,
        "type": kind,
        "time": iso(at),
        "datacontenttype": "application/json",
    }
