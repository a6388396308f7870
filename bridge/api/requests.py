"""Reads registrations: every field wrong in every way ends in one answer that names them all."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import azure.functions as func
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from bridge.api.errors import Detail, invalid
from bridge.api.fields import (
    MAX_METADATA_BYTES,
    CallbackUrl,
    Group,
    Headers,
    Metadata,
    OperationId,
    OperationLocation,
    SourceName,
    Terms,
)
from bridge.api.json_body import details_of, read_object
from bridge.domain.custom_headers import MAX_HEADER_BYTES, OwnHeaders, faults
from bridge.domain.events import Format
from bridge.domain.ids import OperationRef, RegistrationRef
from bridge.domain.operation import Verdict
from bridge.domain.registration import Registration
from bridge.domain.source import DEFAULT_SOURCE
from bridge.domain.trace_context import read_traceparent

_VERDICTS = tuple(Verdict)


_EITHER: list[JsonValue] = [
    {"required": [name], "properties": {name: {"type": "string"}}} for name in ("operationId", "operationLocation")
]
_EXAMPLE: dict[str, JsonValue] = {
    "operationId": "my-first-operation",
    "callbackUrl": "https://hooks.example.com/avatar",
    "metadata": {"video": "intro"},
}


class RegistrationBody(BaseModel):
    """What to wait for, and whom to tell. One of `operationId` and `operationLocation` is needed, not both."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        json_schema_extra={"oneOf": _EITHER, "examples": [_EXAMPLE]},
    )

    operationId: Annotated[OperationId | None, Field(description="The id of the operation.")] = None  # noqa: N815 - JSON's own name
    operationLocation: Annotated[  # noqa: N815 - likewise
        OperationLocation | None, Field(description="Or the whole `Operation-Location` header that Speech returned.")
    ] = None
    callbackUrl: Annotated[CallbackUrl, Field(description="Where the callback goes, if the settings allow it.")]  # noqa: N815 - likewise
    source: Annotated[SourceName | None, Field(description="Which Speech endpoint it is about; `default` if none.")] = (
        None
    )
    events: Annotated[
        Annotated[list[Literal["Succeeded", "Failed", "Canceled", "Expired"]], Field(min_length=1)] | None,
        Field(description="Which ends you want to hear of; all of them by default."),
    ] = None
    metadata: Annotated[
        Metadata | None,
        Field(description=f"Comes back in the callback; at most {MAX_METADATA_BYTES} bytes of compact JSON in UTF-8."),
    ] = None
    group: Annotated[
        Group | None,
        Field(description="What is known of its length beforehand: durations of a group are learnt apart."),
    ] = None
    headers: Annotated[
        Headers | None,
        Field(description=f"Go with every callback; {MAX_HEADER_BYTES} bytes together, no name twice in any case."),
    ] = None
    format: Annotated[
        Literal["standard", "cloudevents"] | None,
        Field(description="How messages are written; `standard` if not said."),
    ] = None


def read_registration(
    request: func.HttpRequest, terms: Terms, *, owner: str, now: datetime
) -> tuple[Registration, OwnHeaders]:
    """Read a registration, and the headers that its callbacks are to have.

    Raises Problem with 400, 413 or 415.
    """
    body = read_object(request)
    details = [*_contradictions(body), *_header_details(body)]
    try:
        read = RegistrationBody.model_validate(body, context={"terms": terms})
    except ValidationError as error:
        raise invalid([*details, *details_of(error)]) from None
    operation = _operation(read, terms)
    if details or operation is None:
        wrong = Detail("InvalidValue", "is not the source of operationLocation", "source")
        raise invalid(details or [wrong])
    events = tuple(each for each in _VERDICTS if read.events is None or each.value in read.events)
    registration = Registration(
        ref=RegistrationRef.of(operation, owner=owner, callback_url=read.callbackUrl),
        owner=owner,
        callback_url=read.callbackUrl,
        events=events,
        metadata=None if read.metadata is None else json.dumps(read.metadata, separators=(",", ":")),
        group=read.group,
        format=Format(read.format or Format.STANDARD),
        traceparent=read_traceparent(request.headers.get("traceparent")),
        since=now,
        life=now,
    )
    return registration, OwnHeaders(read.headers or {})


def _contradictions(body: Mapping[str, Any]) -> list[Detail]:
    named = [name for name in ("operationId", "operationLocation") if body.get(name) is not None]
    if len(named) == 1:
        return []
    message = "cannot be sent with operationLocation" if named else "is required, or operationLocation instead"
    return [Detail("InvalidValue" if named else "Required", message, "operationId")]


def _header_details(body: Mapping[str, Any]) -> list[Detail]:
    given = body.get("headers")
    return [Detail("InvalidValue", why, target) for target, why in faults(given if isinstance(given, dict) else {})]


def _operation(body: RegistrationBody, terms: Terms) -> OperationRef | None:
    """Name the operation; None where the source that was named is not the one of the location."""
    if body.operationLocation is None:
        return OperationRef(body.source or DEFAULT_SOURCE, body.operationId or "")
    located = terms.locate(body.operationLocation)
    return located if located is not None and body.source in (None, located.source) else None
