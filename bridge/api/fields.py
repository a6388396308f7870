"""JSON bodies and the fields that several calls share: their validation, and their schema in the description."""

import json
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Self

import azure.functions as func
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo
from pydantic_core import PydanticCustomError, from_json

from bridge.api.errors import Detail, ErrorCode, Problem, invalid
from bridge.domain.callback_url import (
    MAX_URL_LENGTH,
    CallbackRefused,
    CallbackRules,
    DestinationNotAllowed,
    normalise,
    normalise_host,
)
from bridge.domain.custom_headers import MAX_HEADER_BYTES, MAX_HEADERS, NAME, RESERVED, RESERVED_PREFIXES, VALUE
from bridge.domain.ids import GROUP, OPERATION_ID, SOURCE_NAME, Kind, OperationRef
from bridge.domain.outcome import Failure
from bridge.domain.text import size_in_utf8
from bridge.domain.time import parse_instant
from bridge.domain.upstream import JOB_PATHS, RESOURCES, Source

#: The limit of a body in bytes.
MAX_BODY_BYTES = 65_536

#: No charset, or UTF-8 as clients write it. `utf8` is another name (WHATWG Encoding, 4.2).
_CHARSET = re.compile(r'\s*(charset\s*=\s*("utf-?8"|utf-?8)\s*)?;?\s*', re.IGNORECASE)

_CODES = {"missing": "Required", "extra_forbidden": "Unknown", "destination": "DestinationNotAllowed"}
#: The bridge's own messages for errors of pydantic, with pydantic's values.
_MESSAGES = {
    "missing": "is required",
    "extra_forbidden": "is not known to this call",
    "string_type": "must be a string",
    "list_type": "must be an array",
    "dict_type": "must be an object",
    "int_type": "must be a whole number",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must not be empty",
}


#: The most repeated keys that one answer names.
_MOST_REPEATED = 20


def read_object(request: func.HttpRequest) -> dict[str, Any]:
    """Parse the body as a JSON object. A leading byte order mark is ignored (RFC 8259, 8.1).

    Raises Problem with 400, 411, 413 or 415.
    """
    coding = request.headers.get("content-encoding", "").strip().lower()
    if coding not in ("", "identity"):
        raise _unsupported("Send the body without a Content-Encoding: this call decodes none.", "Content-Encoding")
    media_type, _, parameters = request.headers.get("content-type", "").partition(";")
    if media_type.strip().lower() != "application/json" or not _CHARSET.fullmatch(parameters):
        raise _unsupported("Send application/json in UTF-8.", "Content-Type")
    raw = request.get_body().removeprefix(BOM_UTF8)
    if not raw and request.headers.get("transfer-encoding"):
        message = "Send the body with a Content-Length: the platform loses a body that comes in chunks."
        raise Problem(ErrorCode.LENGTH_REQUIRED, message, target="Content-Length")
    if len(raw) > MAX_BODY_BYTES:
        raise Problem(ErrorCode.PAYLOAD_TOO_LARGE, f"A body has at most {MAX_BODY_BYTES} bytes.")
    return _parsed(raw)


def _parsed(raw: bytes) -> dict[str, Any]:
    """Parse a JSON object. Raises Problem with 400, which names all keys that are given more than once."""
    try:
        parsed = from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise Problem(ErrorCode.INVALID_JSON, f"The body is not JSON that can be read: {error}") from None
    if not isinstance(parsed, dict):
        raise Problem(ErrorCode.INVALID_JSON, "The body is not a JSON object.")
    repeated = list(dict.fromkeys(_repeated(_with_pairs(raw))))
    if repeated:
        raise invalid([Detail("Duplicate", "is given more than once", name) for name in repeated[:_MOST_REPEATED]])
    return parsed


class _Pairs(tuple[tuple[str, Any], ...]):
    """A JSON object as read, with each pair of key and value."""

    __slots__ = ()


def _with_pairs(raw: bytes) -> object:
    """Parse valid JSON without losing repeated keys. Numbers stay texts: their values do not matter here."""
    return json.loads(raw.decode(), object_pairs_hook=_Pairs, parse_int=str, parse_float=str)


def _repeated(value: object, path: str = "") -> Iterator[str]:
    """Yield the keys that an object has more than once, within all objects: RFC 8259, 4, leaves their meaning open."""
    match value:
        case _Pairs():
            seen = set[str]()
            for name, each in value:
                where = f"{path}{name[:64]}"
                if name in seen:
                    yield where
                seen.add(name)
                yield from _repeated(each, f"{where}.")
        case list():
            for number, each in enumerate(value):
                yield from _repeated(each, f"{path}{number}.")
        case _:
            pass


def _unsupported(message: str, target: str) -> Problem:
    """Refuse the encoding of a body, with the accepted encodings (RFC 9110, 15.5.16)."""
    return Problem(ErrorCode.UNSUPPORTED_MEDIA_TYPE, message, target=target, headers={"Accept-Encoding": "identity"})


def details_of(error: ValidationError) -> list[Detail]:
    """List all invalid fields."""
    return [
        Detail(
            _CODES.get(problem["type"], "InvalidValue"),
            _MESSAGES.get(problem["type"], "{msg}").format(msg=problem["msg"], **problem.get("ctx", {})),
            ".".join(str(part)[:64] for part in problem["loc"]),
        )
        for problem in error.errors(include_url=False, include_input=False)
    ]


class RequestModel(BaseModel):
    """The body or the query of a request. Unknown fields are refused, and no error repeats a value."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @classmethod
    def read(cls, values: object, context: "ValidationContext | None" = None, known: Sequence[Detail] = ()) -> Self:
        """Validate the values that a client sent.

        Raises Problem with 400, which names the faults that are `known` already and each invalid field.
        """
        try:
            return cls.model_validate(values, context={"validation": context})
        except ValidationError as error:
            raise invalid([*known, *details_of(error)]) from None


#: The limit of the client's metadata, as compact JSON in UTF-8.
MAX_METADATA_BYTES = 4_096

#: The pattern of a callback URL that holds under any rules. `normalise` checks the rest.
_URL = r"^[Hh][Tt][Tt][Pp][Ss]?://[^\s\\#@/?]+([/?][^\s\\#]*)?$"


#: The form of a host with an optional port. `normalise_host` validates the parts.
_HOST = r"(\[[0-9a-fA-F:.]+\]|[^\s/:@?#\[\]]+)(:[0-9]*)?"

#: An outcome of an attempt: a status, its class, or the kind of a failure. A kind has letters and hyphens only, which
#: the patterns of the description must not escape.
_OUTCOME = re.compile(f"[1-9](?:[0-9]{{2}}|xx)|{'|'.join(Failure)}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationContext:
    """The context of validation: the item `validation` of the context that pydantic passes to validators."""

    rules: CallbackRules
    sources: Mapping[str, Source]
    #: Returns an early reason to refuse a callback URL, from a name lookup, or None if none is known.
    check_destination: Callable[[str], str | None]

    def locate(self, location: str, kind: Kind = Kind.OPERATION) -> OperationRef | None:
        """Parse the whole URL of an operation or a job. Returns None if it belongs to no configured source."""
        found = (source.locate(location, kind) for source in self.sources.values())
        return next((ref for ref in found if ref is not None), None)


def context_of(info: ValidationInfo) -> ValidationContext:
    """Return the bridge's context from pydantic's.

    Raises TypeError without one, which is a bug of the bridge.
    """
    context = (info.context or {}).get("validation")
    if not isinstance(context, ValidationContext):
        raise TypeError("a request is validated without a ValidationContext")
    return context


def _operation_id(value: str) -> str:
    if not OPERATION_ID.fullmatch(value):
        raise PydanticCustomError(
            "pattern", "must have 3 to 64 letters, digits, '.', '_' or '-', the first and last a letter or digit"
        )
    return value


_FOREIGN_LOCATION = (
    "is not {one} of a configured source; those are: {known}. {kind}Id works whatever the endpoint: send the id alone"
)
#: The answer without any source that has jobs.
_NO_JOBS = "is not a job of a configured source: no source has jobs, which the paths {paths} have"


def _operation_location(value: str, info: ValidationInfo) -> str:
    return _location(value, context_of(info), Kind.OPERATION)


def _job_location(value: str, info: ValidationInfo) -> str:
    return _location(value, context_of(info), Kind.JOB)


def _location(value: str, context: ValidationContext, kind: Kind) -> str:
    if context.locate(value, kind) is not None:
        return value
    sources = [each for each in context.sources.values() if kind is Kind.OPERATION or each.has_jobs]
    if not sources:
        raise PydanticCustomError("location", _NO_JOBS, {"paths": " and ".join(sorted(JOB_PATHS))})
    places = [f"{at}/{each.path}/{RESOURCES[kind]}/…" for each in sources for at in each.endpoints]
    one = "a job" if kind is Kind.JOB else "an operation"
    raise PydanticCustomError(
        "location", _FOREIGN_LOCATION, {"one": one, "known": ", ".join(places), "kind": kind.value}
    )


def _written_url(value: str, info: ValidationInfo) -> str:
    try:
        return normalise(value, context_of(info).rules)
    except CallbackRefused as error:
        kind = "destination" if isinstance(error, DestinationNotAllowed) else "callback"
        raise PydanticCustomError(kind, "{why}", {"why": str(error)}) from error


def _callback_url(value: str, info: ValidationInfo) -> str:
    url = _written_url(value, info)
    why = context_of(info).check_destination(url)
    if why is not None:
        raise PydanticCustomError("destination", "{why}", {"why": why})
    return url


def _source(value: str, info: ValidationInfo) -> str:
    if value not in context_of(info).sources:
        raise PydanticCustomError("source", "is not a configured source")
    return value


def _group(value: str) -> str:
    if not GROUP.fullmatch(value):
        raise PydanticCustomError(
            "pattern", "must have at most 64 letters, digits, '.', '_' or '-', the first a letter or digit"
        )
    return value


def _instant(value: object) -> datetime:
    instant = parse_instant(value)
    if instant is None:
        raise PydanticCustomError("instant", "must be a time in ISO 8601 with its zone: 2026-11-23T15:04:05Z")
    return instant


def _host(value: str) -> str:
    try:
        return normalise_host(value)
    except CallbackRefused:
        raise PydanticCustomError("host", "must be a host, or a host and its port: hooks.example.com:8443") from None


def _outcome(value: str) -> str:
    if not _OUTCOME.fullmatch(value):
        kinds = {"kinds": ", ".join(Failure)}
        raise PydanticCustomError("outcome", "must be a status (401), a class (4xx), or one of {kinds}", kinds)
    return value


def _metadata(value: dict[str, Any]) -> dict[str, Any]:
    try:
        size = size_in_utf8(value)
    except ValueError as error:
        raise PydanticCustomError("number", "has a number that JSON cannot express") from error
    if size > MAX_METADATA_BYTES:
        raise PydanticCustomError("size", f"is longer than {MAX_METADATA_BYTES} bytes")
    return value


def _whole(pattern: re.Pattern[str]) -> str:
    """Convert a pattern for a full match to JSON Schema, which searches."""
    return f"^(?:{pattern.pattern})$"


def _in_any_case(text: str) -> str:
    """Convert a text to a pattern without distinction of case: JSON Schema has no flag for that."""
    return "".join(f"[{each.upper()}{each}]" if each.isalpha() else each for each in text)


def _shown_headers() -> dict[str, Any]:
    """Return the part of `faults`, which validates custom headers, that JSON Schema can express."""
    reserved = "|".join(
        [*(f"{_in_any_case(name)}$" for name in sorted(RESERVED)), *map(_in_any_case, RESERVED_PREFIXES)]
    )
    return {
        "maxProperties": MAX_HEADERS,
        "propertyNames": {"pattern": _whole(NAME), "not": {"pattern": f"^(?:{reserved})"}},
        "additionalProperties": {"type": "string", "pattern": _whole(VALUE), "maxLength": MAX_HEADER_BYTES},
    }


_SHOWN_URL = Field(json_schema_extra={"format": "uri", "pattern": _URL, "maxLength": MAX_URL_LENGTH})

#: The id of an operation or a job in the upstream's format.
OperationId = Annotated[str, AfterValidator(_operation_id), Field(json_schema_extra={"pattern": _whole(OPERATION_ID)})]

#: A whole `Operation-Location` of a configured source.
OperationLocation = Annotated[str, AfterValidator(_operation_location)]

#: A whole URL of a job of a configured source.
JobLocation = Annotated[str, AfterValidator(_job_location)]

#: A normalised callback URL that the rules allow.
WrittenUrl = Annotated[str, AfterValidator(_written_url), _SHOWN_URL]

#: The same, if its name does not lead to a refused address.
CallbackUrl = Annotated[str, AfterValidator(_callback_url), _SHOWN_URL]

#: The name of a configured source.
SourceName = Annotated[str, AfterValidator(_source), Field(json_schema_extra={"pattern": _whole(SOURCE_NAME)})]

#: A label of operations that take about equally long.
Group = Annotated[str, AfterValidator(_group), Field(json_schema_extra={"pattern": _whole(GROUP)})]

#: A time with its zone.
Instant = Annotated[datetime, BeforeValidator(_instant)]

#: A host, or a host and its port, in the form of a normalised URL.
Host = Annotated[
    str, Field(max_length=MAX_URL_LENGTH, json_schema_extra={"pattern": f"^{_HOST}$"}), AfterValidator(_host)
]

#: The outcome of an attempt.
Outcome = Annotated[str, AfterValidator(_outcome), Field(json_schema_extra={"pattern": _whole(_OUTCOME)})]

#: A JSON object of the client.
Metadata = Annotated[dict[str, Any], AfterValidator(_metadata)]

#: Custom headers of the client, not validated here: `faults` finds all problems at once.
Headers = Annotated[dict[str, Any], Field(json_schema_extra=_shown_headers())]
