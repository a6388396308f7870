"""Reads registrations: every field wrong in every way ends in one answer that names them all."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

import azure.functions as func
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo
from pydantic_core import PydanticCustomError

from bridge.api.json_body import details_of, read_object
from bridge.api.problems import Detail, invalid
from bridge.core.callback import CallbackRefused, CallbackRules, normalise
from bridge.core.headers import OwnHeaders, faults
from bridge.core.keys import GROUP, OPERATION_ID, OperationRef, RegistrationRef
from bridge.core.message import Format
from bridge.core.operation import Verdict
from bridge.core.registration import Registration
from bridge.core.source import DEFAULT_SOURCE, Source

#: The client's own data is at most this long, as compact JSON in UTF-8.
MAX_METADATA_BYTES = 4_096

_VERDICTS = tuple(Verdict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a registration is read against."""

    rules: CallbackRules
    sources: Mapping[str, Source]
    #: Says what the network has against a URL, if anything.
    objection: Callable[[str], str | None]


def _operation_id(value: str) -> str:
    if not OPERATION_ID.fullmatch(value):
        raise PydanticCustomError(
            "pattern", "must have 3 to 64 letters, digits, '.', '_' or '-', the first and last a letter or digit"
        )
    return value


def _operation_location(value: str, info: ValidationInfo) -> str:
    terms = _terms(info)
    if _located(value, terms) is None:
        places = [f"{at}/{each.path}/operations/…" for each in terms.sources.values() for at in each.endpoints]
        known = {"known": ", ".join(places)}
        raise PydanticCustomError("location", "is not an operation of a configured source; those are: {known}", known)
    return value


def callback_url(value: str, info: ValidationInfo) -> str:
    """Write a callback URL in its one form; for pydantic's validation, with `Terms` as its context."""
    try:
        url = normalise(value, _terms(info).rules)
    except CallbackRefused as error:
        raise PydanticCustomError("callback", "{why}", {"why": str(error)}) from error
    objection = _terms(info).objection(url)
    if objection is not None:
        raise PydanticCustomError("callback", "{why}", {"why": objection})
    return url


def _source(value: str, info: ValidationInfo) -> str:
    if value not in _terms(info).sources:
        raise PydanticCustomError("source", "is not a configured source")
    return value


def _metadata(value: dict[str, Any]) -> dict[str, Any]:
    try:
        size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode())
    except ValueError as error:
        raise PydanticCustomError("number", "holds a number that JSON cannot carry") from error
    if size > MAX_METADATA_BYTES:
        raise PydanticCustomError("size", f"is longer than {MAX_METADATA_BYTES} bytes")
    return value


def _group(value: str) -> str:
    if not GROUP.fullmatch(value):
        raise PydanticCustomError(
            "pattern", "must have at most 64 letters, digits, '.', '_' or '-', the first a letter or digit"
        )
    return value


class RegistrationBody(BaseModel):
    """`POST /api/registrations`: what to wait for, and whom to tell."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    operationId: Annotated[str, AfterValidator(_operation_id)] | None = None  # noqa: N815 - JSON's own name
    operationLocation: Annotated[str, AfterValidator(_operation_location)] | None = None  # noqa: N815 - likewise
    callbackUrl: Annotated[str, AfterValidator(callback_url)]  # noqa: N815 - likewise
    source: Annotated[str, AfterValidator(_source)] | None = None
    events: Annotated[list[Literal["Succeeded", "Failed", "Canceled", "Expired"]], Field(min_length=1)] | None = None
    metadata: Annotated[dict[str, Any], AfterValidator(_metadata)] | None = None
    group: Annotated[str, AfterValidator(_group)] | None = None
    #: `faults` looks into it: it finds all that is wrong at once.
    headers: dict[str, Any] | None = None
    format: Literal["standard", "cloudevents"] | None = None


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
        since=now,
        life=now,
    )
    return registration, OwnHeaders(read.headers or {})


def _contradictions(body: Mapping[str, Any]) -> list[Detail]:
    named = [name for name in ("operationId", "operationLocation") if body.get(name) is not None]
    if len(named) == 1:
        return []
    message = "send one of operationId and operationLocation" + (", not both" if named else "")
    return [Detail("InvalidValue" if named else "Required", message, "operationId")]


def _header_details(body: Mapping[str, Any]) -> list[Detail]:
    given = body.get("headers")
    return [Detail("InvalidValue", why, target) for target, why in faults(given if isinstance(given, dict) else {})]


def _operation(body: RegistrationBody, terms: Terms) -> OperationRef | None:
    """Name the operation; None where the source that was named is not the one of the location."""
    if body.operationLocation is None:
        return OperationRef(body.source or DEFAULT_SOURCE, body.operationId or "")
    located = _located(body.operationLocation, terms)
    return located if located is not None and body.source in (None, located.source) else None


def _located(location: str, terms: Terms) -> OperationRef | None:
    found = (source.locate(location) for source in terms.sources.values())
    return next((ref for ref in found if ref is not None), None)


def _terms(info: ValidationInfo) -> Terms:
    terms = (info.context or {}).get("terms")
    if not isinstance(terms, Terms):
        raise TypeError("a registration is read against terms")
    return terms
