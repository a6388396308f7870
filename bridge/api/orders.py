"""Reads what a client orders beside registrations: a ping, a redelivery of many."""

from datetime import datetime
from typing import Annotated, Literal

import azure.functions as func
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from bridge.api.errors import invalid
from bridge.api.fields import CallbackUrl, Terms
from bridge.api.json_body import details_of, read_object
from bridge.api.query import CursorText, read_cursor
from bridge.domain.callback_url import MAX_URL_LENGTH, CallbackRefused, normalise_host
from bridge.domain.events import Format
from bridge.services.bulk_redelivery import Order
from bridge.storage.cursor import CursorCipher

#: A redelivery of many begins at most this many at once.
MAX_REDELIVERIES = 500
DEFAULT_REDELIVERIES = 100


#: A host, and perhaps its port: the form. `normalise_host` says which are right.
_HOST = r"(\[[0-9a-fA-F:.]+\]|[^\s/:@?#\[\]]+)(:[0-9]*)?"


def _moment(value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise PydanticCustomError("moment", "must be a time in ISO 8601 with its zone: 2026-11-23T15:04:05Z")
    return moment


def _host(value: str) -> str:
    try:
        return normalise_host(value)
    except CallbackRefused:
        raise PydanticCustomError("host", "must be a host, or a host and its port: hooks.example.com:8443") from None


class PingBody(BaseModel):
    """Whom to ping, and how the message is written."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        json_schema_extra={"examples": [{"callbackUrl": "https://hooks.example.com/avatar"}]},
    )

    callbackUrl: Annotated[CallbackUrl, Field(description="Where the ping goes, by the rules of a callback.")]  # noqa: N815 - JSON's own name
    format: Annotated[
        Literal["standard", "cloudevents"] | None, Field(description="How it is written; `standard` if not said.")
    ] = None


class RedeliverBody(BaseModel):
    """Which of the dead to deliver again."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        json_schema_extra={"examples": [{"state": "dead", "since": "2026-11-23T12:00:00Z"}]},
    )

    state: Literal["dead"]
    since: Annotated[datetime, BeforeValidator(_moment), Field(description="Those that died at this time or later.")]
    host: Annotated[
        Annotated[
            str, Field(max_length=MAX_URL_LENGTH, json_schema_extra={"pattern": f"^{_HOST}$"}), AfterValidator(_host)
        ]
        | None,
        Field(
            description="Only those whose callbacks go to this host, read like that of a callback URL; perhaps a port."
        ),
    ] = None
    limit: Annotated[int, Field(ge=1, le=MAX_REDELIVERIES, description="So many at the most, newest first.")] = (
        DEFAULT_REDELIVERIES
    )
    cursor: Annotated[
        CursorText | None,
        Field(description="Where an earlier call stopped: from its answer."),
    ] = None


def read_ping(request: func.HttpRequest, terms: Terms) -> tuple[str, Format]:
    """Read whom to ping, as a normalised URL, and in which format.

    Raises Problem with 400, 413 or 415.
    """
    try:
        read = PingBody.model_validate(read_object(request), context={"terms": terms})
    except ValidationError as error:
        raise invalid(details_of(error)) from None
    return read.callbackUrl, Format(read.format or Format.STANDARD)


def redelivery_filter(host: str | None) -> str:
    """Return what the cursor of a redelivery of many is bound to, beside its owner."""
    return f"redeliver {host or ''}"


def read_order(request: func.HttpRequest, cursors: CursorCipher, *, owner: str | None) -> Order:
    """Read which registrations to deliver again, of one owner or, with None, of all.

    Raises Problem with 400, 413 or 415.
    """
    try:
        read = RedeliverBody.model_validate(read_object(request))
    except ValidationError as error:
        raise invalid(details_of(error)) from None
    cursor = read_cursor(read.cursor, cursors, owner=owner, query=redelivery_filter(read.host))
    return Order(owner=owner, since=read.since, host=read.host, limit=read.limit, cursor=cursor)
