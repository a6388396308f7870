"""What a receiver is told: the exact bytes of a message and its id."""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from bridge.domain.callback_url import origin_of
from bridge.domain.ids import RegistrationRef
from bridge.domain.operation import Explanation, FinalStatus, Operation
from bridge.domain.time import iso, iso_or_none, to_millis


class Format(StrEnum):
    """How a message is written."""

    STANDARD = "standard"  #: Standard Webhooks' own shape: `type`, `timestamp`, `data`
    CLOUDEVENTS = "cloudevents"  #: CloudEvents 1.0, structured mode, around the same `data`

    @property
    def content_type(self) -> str:
        """The media type of a message in it."""
        return "application/cloudevents+json" if self is Format.CLOUDEVENTS else "application/json"


#: The `source` of a CloudEvent is this, a slash and the name of the bridge's source; that of a ping is just this. It
#: never changes: receivers route by it.
EVENT_SOURCE = "/speech-webhook-bridge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One event for one registration. The same id always means the same bytes."""

    #: The `webhook-id` of every attempt.
    id: str
    #: `<path of the source>.operation.<final status>`
    type: str
    #: The exact bytes that are signed and sent.
    body: bytes


#: The type of a message that is about nothing.
PING = "bridge.ping"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationCompleted:
    """How an operation ended, the same for every registration of it."""

    final_status: FinalStatus
    #: The path of its source: `avatar`, say. Event types begin with it.
    path: str
    #: When the bridge saw the end.
    observed_at: datetime
    #: The last poll that still saw it running; None where none did.
    not_before: datetime | None
    #: Why the bridge gave up on it; None for a final status of the upstream's.
    reason: str | None
    #: What the upstream said, as JSON text; None where it said nothing final.
    body: str | None
    #: What it said of the failure; None where it said nothing of it.
    why: Explanation | None = None
    #: How often the operation was polled.
    polls: int = 0

    @classmethod
    def of(cls, operation: Operation, path: str) -> "OperationCompleted | None":
        """Read the end off an operation on which the upstream has spoken; None while it has not."""
        if operation.final_status is None or operation.finished_at is None or not operation.is_final:
            return None
        return cls(
            final_status=operation.final_status,
            path=path,
            observed_at=operation.finished_at,
            not_before=operation.seen_running_at,
            reason=None,
            body=operation.body,
            why=operation.why,
            polls=operation.polls,
        )

    @property
    def type(self) -> str:
        """The event type."""
        return f"{self.path}.operation.{self.final_status.lower()}"


def subscriber_of(owner: str) -> str:
    """Name an owner in events: opaque, and the same for every event of this owner and after every change of keys.

    Every owner's callbacks carry the bridge's public signature. Only this name shows a receiver whose registration
    led to a callback.
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
    format: Format = Format.STANDARD,  # noqa: A002 - the column's own name
) -> Message:
    """Write the message that tells one registration how the operation has `completed`.

    The id is derived from registration, generation and event, so that composing it again after a crash names the same
    message, and a new generation another one.
    """
    identity = f"{to.ref.public_id}\n{to_millis(generation)}\n{completed.type}"
    data: dict[str, Any] = {
        "operationId": to.ref.operation.id,
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
        "operation": None if completed.body is None else json.loads(completed.body),
    }
    if completed.why is not None:
        data["error"] = asdict(completed.why)
    message_id = f"msg_{hashlib.sha256(identity.encode()).hexdigest()[:32]}"
    if format is Format.CLOUDEVENTS:
        shape = _cloudevent(
            message_id, completed.type, completed.observed_at, source=f"{EVENT_SOURCE}/{to.ref.operation.source}"
        )
        shape["subject"] = to.ref.operation.id
    else:
        shape = _standard(completed.type, completed.observed_at)
    text = json.dumps({**shape, "data": data}, ensure_ascii=False, separators=(",", ":"))
    return Message(id=message_id, type=completed.type, body=text.encode(errors="replace"))


def ping(*, callback_url: str, owner: str, now: datetime, nonce: str, format: Format) -> Message:  # noqa: A002 - likewise
    """Write a message that is about nothing, to show that a receiver can be reached and verifies."""
    message_id = f"msg_ping_{nonce}"
    is_cloudevent = format is Format.CLOUDEVENTS
    shape = _cloudevent(message_id, PING, now, source=EVENT_SOURCE) if is_cloudevent else _standard(PING, now)
    data = {"audience": origin_of(callback_url), "subscriber": subscriber_of(owner)}
    text = json.dumps({**shape, "data": data}, separators=(",", ":"))
    return Message(id=message_id, type=PING, body=text.encode())


def _standard(kind: str, at: datetime) -> dict[str, str]:
    return {"type": kind, "timestamp": iso(at)}


def _cloudevent(message_id: str, kind: str, at: datetime, *, source: str) -> dict[str, str]:
    """Write the context attributes of CloudEvents 1.0; its `id` is the `webhook-id`."""
    return {
        "specversion": "1.0",
        "id": message_id,
        "source": source,
        "type": kind,
        "time": iso(at),
        "datacontenttype": "application/json",
    }
