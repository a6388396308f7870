"""Parses the bodies of registrations, pings and bulk redeliveries. One answer names all invalid fields."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import azure.functions as func
from pydantic import ConfigDict, Field, JsonValue

from bridge.api.errors import Detail, invalid
from bridge.api.fields import (
    MAX_METADATA_BYTES,
    CallbackUrl,
    Group,
    Headers,
    Host,
    Instant,
    JobLocation,
    Metadata,
    OperationId,
    OperationLocation,
    Outcome,
    RequestModel,
    SourceName,
    ValidationContext,
    read_object,
)
from bridge.api.query import CursorText, read_cursor
from bridge.domain.custom_headers import MAX_HEADER_BYTES, OwnHeaders, faults
from bridge.domain.events import Format
from bridge.domain.ids import Kind, OperationRef, RegistrationRef
from bridge.domain.operation import FinalStatus
from bridge.domain.registration import Registration, State
from bridge.domain.text import read_traceparent
from bridge.domain.upstream import DEFAULT_SOURCE, JOB_PATHS
from bridge.services.bulk_redelivery import Order
from bridge.storage.index import CursorCipher, EntryFilter

_FINAL_STATUSES = tuple(FinalStatus)


#: The fields that name an operation or a job. A registration has exactly one of them.
_NAMES = ("operationId", "operationLocation", "jobId", "jobLocation")

_EITHER: list[JsonValue] = [{"required": [name], "properties": {name: {"type": "string"}}} for name in _NAMES]
_EXAMPLE: dict[str, JsonValue] = {
    "operationId": "my-first-operation",
    "callbackUrl": "https://hooks.example.com/avatar",
    "metadata": {"video": "intro"},
}


class RegistrationBody(RequestModel):
    """An operation or a job to wait for, and a callback URL.

    Needs exactly one of `operationId`, `operationLocation`, `jobId` and `jobLocation`.
    """

    model_config = ConfigDict(strict=True, json_schema_extra={"oneOf": _EITHER, "examples": [_EXAMPLE]})

    operationId: Annotated[OperationId | None, Field(description="The id of the operation.")] = None
    operationLocation: Annotated[
        OperationLocation | None, Field(description="Or the whole `Operation-Location` header that Speech returned.")
    ] = None
    jobId: Annotated[
        OperationId | None,
        Field(
            description=f"The id of a job (`…/batchsyntheses/{{id}}`). Paths with jobs: {', '.join(sorted(JOB_PATHS))}."
        ),
    ] = None
    jobLocation: Annotated[JobLocation | None, Field(description="Or the whole URL of the job.")] = None
    callbackUrl: Annotated[CallbackUrl, Field(description="The callback URL, if the settings allow it.")]
    source: Annotated[SourceName | None, Field(description="The name of the Speech endpoint. Default: `default`.")] = (
        None
    )
    events: Annotated[
        Annotated[list[Literal["Succeeded", "Failed", "Canceled", "Expired"]], Field(min_length=1)] | None,
        Field(description="The final statuses to be notified of. Default: all."),
    ] = None
    metadata: Annotated[
        Metadata | None,
        Field(description=f"Comes back in the callback; at most {MAX_METADATA_BYTES} bytes of compact JSON in UTF-8."),
    ] = None
    group: Annotated[
        Group | None,
        Field(description="A label of operations with similar durations, which are learnt separately."),
    ] = None
    headers: Annotated[
        Headers | None,
        Field(description=f"Go with every callback; {MAX_HEADER_BYTES} bytes together, no name twice in any case."),
    ] = None
    format: Annotated[
        Literal["standard", "cloudevents"] | None,
        Field(description="The format of messages. Default: `standard`."),
    ] = None


def read_registration(
    request: func.HttpRequest, context: ValidationContext, *, owner: str, now: datetime
) -> tuple[Registration, OwnHeaders]:
    """Parse a registration, and the custom headers of its callbacks.

    Raises Problem with 400, 413 or 415.
    """
    body = read_object(request)
    details = [*_contradictions(body), *_header_details(body)]
    read = RegistrationBody.read(body, context, details)
    if details:
        raise invalid(details)
    operation = _operation(read, context)
    if isinstance(operation, Detail):
        raise invalid([operation])
    events = tuple(each for each in _FINAL_STATUSES if read.events is None or each.value in read.events)
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
        generation=now,
    )
    return registration, OwnHeaders(read.headers or {})


def _contradictions(body: Mapping[str, Any]) -> list[Detail]:
    named = [name for name in _NAMES if body.get(name) is not None]
    if not named:
        return [Detail("Required", "is required, or one of operationLocation, jobId and jobLocation", "operationId")]
    first, *others = named
    return [Detail("InvalidValue", f"cannot be sent with {' or '.join(others)}", first)] if others else []


def _header_details(body: Mapping[str, Any]) -> list[Detail]:
    given = body.get("headers")
    return [Detail("InvalidValue", why, target) for target, why in faults(given if isinstance(given, dict) else {})]


def _operation(body: RegistrationBody, context: ValidationContext) -> OperationRef | Detail:
    """Return the operation or the job, or the contradiction between `source` and the other fields."""
    if body.jobId is not None or body.jobLocation is not None:
        kind, id_, location, field = Kind.JOB, body.jobId, body.jobLocation, "jobLocation"
    else:
        kind, id_, location, field = Kind.OPERATION, body.operationId, body.operationLocation, "operationLocation"
    if location is None:
        name = body.source or DEFAULT_SOURCE
        if kind is Kind.JOB and not context.sources[name].has_jobs:
            why = f"needs a source with jobs, which has the path {' or '.join(sorted(JOB_PATHS))}"
            return Detail("InvalidValue", why, "jobId")
        return OperationRef(name, id_ or "", kind)
    located = context.locate(location, kind)
    if located is None or body.source not in (None, located.source):
        return Detail("InvalidValue", f"is not the source of {field}", "source")
    return located


#: The most redeliveries of one call, and the default.
MAX_REDELIVERIES = 500
DEFAULT_REDELIVERIES = 100


class PingBody(RequestModel):
    """A callback URL to ping, and the format of the message."""

    model_config = ConfigDict(
        strict=True, json_schema_extra={"examples": [{"callbackUrl": "https://hooks.example.com/avatar"}]}
    )

    callbackUrl: Annotated[CallbackUrl, Field(description="The URL to ping, under the rules of a callback.")]
    format: Annotated[
        Literal["standard", "cloudevents"] | None, Field(description="The format of the message. Default: `standard`.")
    ] = None


class RedeliverBody(RequestModel):
    """The dead and pending registrations to deliver now. Without any field: all of both states."""

    model_config = ConfigDict(
        strict=True,
        json_schema_extra={"examples": [{"states": ["dead"], "since": "2026-11-23T12:00:00Z"}, {"dryRun": True}]},
    )

    states: Annotated[
        Annotated[list[Literal["pending", "dead"]], Field(min_length=1)] | None,
        Field(description="Only those in these states. Default: both."),
    ] = None
    host: Annotated[
        Host | None,
        Field(description="Only those whose callbacks go to this host; without a port, to any port of the host."),
    ] = None
    since: Annotated[
        Instant | None, Field(description="Only those that entered their state at this time or later.")
    ] = None
    until: Annotated[Instant | None, Field(description="Only those that entered their state before this time.")] = None
    outcome: Annotated[
        Outcome | None,
        Field(description="Only those whose `lastAttempt` has this status, class of statuses or kind of failure."),
    ] = None
    group: Annotated[Group | None, Field(description="Only those of this group.")] = None
    limit: Annotated[
        int | None,
        Field(ge=1, le=MAX_REDELIVERIES, description=f"The most, newest first. Default: {DEFAULT_REDELIVERIES}."),
    ] = None
    cursor: Annotated[
        CursorText | None,
        Field(description="The `cursor` of an earlier answer."),
    ] = None
    dryRun: Annotated[bool | None, Field(description="Whether to count the registrations only, and start none.")] = None


def read_ping(request: func.HttpRequest, context: ValidationContext) -> tuple[str, Format]:
    """Parse the normalised URL and the format of a ping.

    Raises Problem with 400, 413 or 415.
    """
    read = PingBody.read(read_object(request), context)
    return read.callbackUrl, Format(read.format or Format.STANDARD)


def redelivery_filter(states: Sequence[State], where: EntryFilter) -> str:
    """Return the binding of a bulk redelivery's cursors, in addition to the owner. Times may move between calls."""
    return f"redeliver {' '.join(states)} {where.host or ''} {where.outcome or ''} {where.group or ''}"


def read_order(request: func.HttpRequest, cursors: CursorCipher, *, owner: str | None) -> tuple[Order, bool]:
    """Parse a bulk redelivery, of one owner or, with None, of all. Returns whether it is a dry run, too.

    Raises Problem with 400, 413 or 415.
    """
    read = RedeliverBody.read(read_object(request))
    states = [state for state in (State.PENDING, State.DEAD) if read.states is None or state.value in read.states]
    where = EntryFilter(host=read.host, since=read.since, until=read.until, outcome=read.outcome, group=read.group)
    cursor = read_cursor(read.cursor, cursors, owner=owner, query=redelivery_filter(states, where))
    limit = DEFAULT_REDELIVERIES if read.limit is None else read.limit
    return Order(owner=owner, states=states, where=where, limit=limit, cursor=cursor), bool(read.dryRun)
