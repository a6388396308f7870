"""Queue messages: a task as JSON, with its schema version."""

import json
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bridge.domain.delivery import DeliveryTask
from bridge.domain.errors import UnreadableRow
from bridge.domain.ids import RegistrationRef
from bridge.domain.text import read_traceparent
from bridge.domain.time import from_millis, to_millis
from bridge.storage.records import SCHEMA_VERSION

#: Instants up to the year 9999.
_LAST_MILLIS = 253_402_300_799_999


class _Message(BaseModel):
    """The contents of a message. Unknown fields are ignored, a newer schema is refused."""

    model_config = ConfigDict(strict=True, frozen=True, hide_input_in_errors=True)

    v: Annotated[int, Field(ge=SCHEMA_VERSION - 1, le=SCHEMA_VERSION)]
    registration: str
    generation: Annotated[int, Field(ge=0, le=_LAST_MILLIS)]
    attempt: Annotated[int, Field(ge=1)]
    #: Missing in messages of former versions, which ignore the field.
    traceparent: str | None = None
    origin: Annotated[str, Field(max_length=300)] | None = None
    owner: Annotated[str, Field(max_length=300)] | None = None
    forced: bool | None = None
    more: bool | None = None


def write_task(task: DeliveryTask) -> str:
    """Encode a task as the text of a queue message."""
    message = {
        "v": SCHEMA_VERSION,
        "registration": task.ref.public_id,
        "generation": to_millis(task.generation),
        "attempt": task.number,
    }
    optional = {
        "traceparent": task.traceparent,
        "origin": task.origin,
        "owner": task.owner,
        "forced": task.forced,
        "more": task.has_more,
    }
    return json.dumps({**message, **{name: value for name, value in optional.items() if value is not None}})


def read_task(body: bytes) -> DeliveryTask:
    """Decode a queue message.

    Raises UnreadableRow if the message is not the bridge's, or of a newer schema.
    """
    try:
        message = _Message.model_validate_json(body)
    except ValidationError as error:
        raise UnreadableRow(f"a queue message that is not a task of schema {SCHEMA_VERSION}") from error
    ref = RegistrationRef.parse(message.registration)
    if ref is None:
        raise UnreadableRow("a queue message about no registration")
    traceparent = read_traceparent(message.traceparent)
    return DeliveryTask(
        ref=ref,
        generation=from_millis(message.generation),
        number=message.attempt,
        traceparent=traceparent,
        origin=message.origin,
        owner=message.owner,
        forced=message.forced,
        has_more=message.more,
    )
