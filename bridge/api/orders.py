"""Reads what a client orders beside registrations: a ping, a redelivery of many."""

import re
from datetime import datetime
from typing import Annotated, Literal

import azure.functions as func
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from bridge.api.body import Terms, callback_url
from bridge.api.json_body import details_of, read_object
from bridge.api.problems import invalid
from bridge.core.message import Format
from bridge.redeliver import Order

#: A redelivery of many begins at most this many at once.
MAX_REDELIVERIES = 500
DEFAULT_REDELIVERIES = 100


_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s/:@?#\[\]]+)(:[0-9]{1,5})?")


def _moment(value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise PydanticCustomError("moment", "must be a time in ISO 8601 with its zone: 2026-11-23T15:04:05Z")
    return moment


def _host(value: str) -> str:
    if not _HOST.fullmatch(value):
        raise PydanticCustomError("host", "must be a host, or a host and its port: hooks.example.com:8443")
    return value


class PingBody(BaseModel):
    """`POST /api/callbacks/ping`: whom to ping, and how the message is written."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    callbackUrl: Annotated[str, AfterValidator(callback_url)]  # noqa: N815 - JSON's own name
    format: Literal["standard", "cloudevents"] | None = None


class RedeliverBody(BaseModel):
    """`POST /api/redeliver`: which of the dead to deliver again."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    state: Literal["dead"]
    since: Annotated[datetime, BeforeValidator(_moment)]
    host: Annotated[str, Field(max_length=300), AfterValidator(_host)] | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_REDELIVERIES)] = DEFAULT_REDELIVERIES


def read_ping(request: func.HttpRequest, terms: Terms) -> tuple[str, Format]:
    """Read whom to ping, as a normalised URL, and in which format.

    Raises Problem with 400, 413 or 415.
    """
    try:
        read = PingBody.model_validate(read_object(request), context={"terms": terms})
    except ValidationError as error:
        raise invalid(details_of(error)) from None
    return read.callbackUrl, Format(read.format or Format.STANDARD)


def read_order(request: func.HttpRequest, *, owner: str | None) -> Order:
    """Read which registrations to deliver again, of one owner or, with None, of all.

    Raises Problem with 400, 413 or 415.
    """
    try:
        read = RedeliverBody.model_validate(read_object(request))
    except ValidationError as error:
        raise invalid(details_of(error)) from None
    host = None if read.host is None else read.host.lower()
    return Order(owner=owner, since=read.since, host=host, limit=read.limit)
