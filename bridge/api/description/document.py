"""Puts the description together: paths, webhooks with what receivers get, and the schemas of all that has a model."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from http import HTTPStatus
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from typing_extensions import (
    TypedDict,  # pydantic reads the one of `typing` from Python 3.12 on
    override,
)

from bridge import __version__
from bridge.api.description.calls import CALLS, CODES, HEADERS, Call, DescribedResponse, Json, Link
from bridge.api.responses import ErrorAnswer, Moment
from bridge.domain.events import EVENT_SOURCE, Format
from bridge.domain.operation import FinalStatus

# What receivers get, field by field. The schemas under docs/events are made of it too.

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


_ABOUT = (
    "Register an operation of Azure AI Speech with a callback URL; the callback gets one signed POST when the "
    "operation has ended. Fields of answers and events are only ever added: accept those that you do not know. "
    "Problems have Azure's shape and the header `x-ms-error-code`; only the platform answers with an empty body: "
    "404 for an unknown route or method, 401 for a missing function key, and 500, 502 or 503 if a worker died or no "
    "instance was ready, after which the same request is sent again. A deployment takes either function keys, "
    "whose holders share everything, or tokens, whose holders have registrations of their own."
)
_SECURITY: Json = {
    "functionKey": {"type": "apiKey", "in": "header", "name": "x-functions-key", "description": "A function key."},
    "functionKeyParameter": {
        "type": "apiKey",
        "in": "query",
        "name": "code",
        "description": "The same, for callers that cannot set a header; URLs get into logs.",
    },
    "entra": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A token of Microsoft Entra ID, where the deployment asks for one.",
    },
}
_TAGS = {
    "Registrations": "What waits for an operation, and its callbacks.",
    "Operations": "What the bridge asks Speech about.",
    "Receivers": "What a receiver verifies callbacks with, and whether it can be reached.",
    "The bridge": "The app itself.",
}
#: What may be tried again after the time that the answer names.
_LATER = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)

_SCHEMAS = "#/components/schemas/{model}"

#: The name of a class, alone or in a reference. In the description a `RegistrationResponse` is a `Registration`.
_RESPONSE_NAME = re.compile(r'"((?:#/components/schemas/)?\w+)Response"')


class Schemas(GenerateJsonSchema):
    """Pydantic's own, without titles that only repeat the name of a field."""

    @override
    def field_title_should_be_set(self, schema: Any) -> bool:
        """Leave it out."""
        return False


@cache
def document() -> Json:
    """Write the whole description. It depends on nothing but the code, so it is made once."""
    paths: dict[str, Json] = {}
    for call in CALLS:
        paths.setdefault(call.path, {})[call.method] = _call(call)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Webhooks for Azure AI Speech operations", "version": __version__, "description": _ABOUT},
        "servers": [{"url": "/api"}],
        "security": [{name: []} for name in _SECURITY],
        "tags": [{"name": name, "description": what} for name, what in _TAGS.items()],
        "paths": paths,
        "webhooks": {
            "operationEnded": _webhook("operationEnded", "An operation has ended", ENDED),
            "pinged": _webhook("pinged", "Somebody pings the receiver", PINGED),
        },
        "components": {"schemas": _schemas(), "headers": dict(HEADERS), "securitySchemes": _SECURITY},
    }


def schema_of(model: type[Any]) -> tuple[Json, Json]:
    """Write the schema of a model; returns it with all that it refers to."""
    schema = TypeAdapter(model).json_schema(ref_template=_SCHEMAS, schema_generator=Schemas)
    named: Json = json.loads(_RESPONSE_NAME.sub(r'"\1"', json.dumps(schema)))
    return named, named.pop("$defs", {})


def _models() -> Iterator[Any]:
    yield ErrorAnswer
    for call in CALLS:
        yield from (
            answer.body for answer in call.answers.values() if isinstance(answer.body, type) and answer.body is not str
        )
        yield from () if call.body is None else (call.body,)
    yield from (*ENDED.values(), *PINGED.values())


def _schemas() -> Json:
    found: Json = {}
    for model in dict.fromkeys(_models()):
        schema, others = schema_of(model)
        found |= {**others, _name_of(model): schema}
    return dict(sorted(found.items()))


def _named(model: object) -> Json:
    if model is str:
        return {"type": "string"}
    return {"$ref": _SCHEMAS.format(model=_name_of(model))} if isinstance(model, type) else {"type": "object"}


def _name_of(model: type) -> str:
    return model.__name__.removesuffix("Response")


def _call(call: Call) -> Json:
    described: Json = {
        "operationId": call.operation_id,
        "summary": call.summary,
        "tags": [call.tag],
        "parameters": list(_parameters(call)),
        "responses": {str(status): response for status, response in sorted(_responses(call))},
    }
    if call.is_open:
        described["security"] = []
    if call.body is not None:
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": _named(call.body)}}}
    return described


def _parameters(call: Call) -> Iterator[Json]:
    if call.id_pattern is not None:
        yield {
            "name": "id",
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": f"^(?:{call.id_pattern})$"},
        }
    schema, _ = schema_of(call.parameters)
    for name, shown in schema.get("properties", {}).items():
        about = shown.pop("description")
        required = name in schema.get("required", ())
        yield {"name": name, "in": "query", "required": required, "description": about, "schema": _without_null(shown)}
    for name, about in call.headers.items():
        yield {"name": name, "in": "header", "description": about, "schema": {"type": "string"}}


def _without_null(schema: Json) -> Json:
    """Let a parameter be left out but not be null, which a query cannot say."""
    if "anyOf" not in schema:
        return schema
    [only] = [each for each in schema["anyOf"] if each != {"type": "null"}]
    return dict(only)


def _responses(call: Call) -> Iterator[tuple[int, Json]]:
    yield from ((status, _success(answer)) for status, answer in call.answers.items())
    if call.name == "health":
        for status, codes in call.refuses.items():
            problem = _problem(codes, status)
            if call.method == "head":
                del problem["content"]
            yield status, problem
        return
    stored = ("StorageUnavailable", "StorageRefused", "Contended", "UnreadableRow") if call.is_stored else ()
    busy = ("TooBusy",) if call.name in _READ_MANY else ()
    unavailable = (*stored, *busy, "Misconfigured")
    problems = {**call.refuses, 500: ("InternalError",), 503: unavailable}
    if not call.is_open:
        yield 401, _NOT_ADMITTED
        problems |= {403: ("Forbidden",), 503: (*unavailable, "KeysUnavailable")}
    yield from ((status, _problem(codes, status)) for status, codes in problems.items())


def _success(answer: DescribedResponse) -> Json:
    response: Json = {"description": answer.what, "headers": {name: _header(name) for name in answer.headers}}
    if answer.body is not None:
        response["content"] = {answer.media: {"schema": _named(answer.body)}}
    if answer.links:
        response["links"] = {name: _link(link) for name, link in answer.links.items()}
    return response


def _header(name: str) -> Json:
    return {"$ref": f"#/components/headers/{name}"}


def _link(link: Link) -> Json:
    return {"operationId": link.call, "parameters": dict(link.parameters), "description": link.what}


def _problem(codes: tuple[str, ...], status: int) -> Json:
    more = {"Retry-After": _header("Retry-After")} if status in _LATER else {}
    if status == HTTPStatus.FORBIDDEN:
        more = {"WWW-Authenticate": _header("WWW-Authenticate")}
    if status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
        more = {"Accept-Encoding": _header("Accept-Encoding")}
    code = {"description": "What is wrong.", "required": True, "schema": {"enum": list(codes)}}
    return {
        "description": "; ".join(f"`{each}`: {CODES[each]}" for each in codes) + ".",
        "headers": {"Cache-Control": _header("Cache-Control"), "x-ms-error-code": code, **more},
        "content": {"application/json": {"schema": _named(ErrorAnswer)}},
    }


#: The calls whose number at once is limited.
_READ_MANY = frozenset({"list_registrations", "status", "overview", "redeliver_many"})

#: The platform refuses a key, and the bridge a token.
_NOT_ADMITTED: Json = {
    "description": f"No function key, or a wrong one: the body is empty. With tokens, {CODES['Unauthorized']}.",
    "headers": {
        **{name: _header(name) for name in ("Cache-Control", "WWW-Authenticate")},
        "x-ms-error-code": {"description": "With tokens: what is wrong.", "schema": {"enum": ["Unauthorized"]}},
    },
    "content": {"application/json": {"schema": _named(ErrorAnswer)}},
}


def _webhook(name: str, summary: str, events: Mapping[Format, Any]) -> Json:
    headers = (
        ("webhook-id", "The same in every attempt: drop duplicates by it.", True),
        ("webhook-timestamp", "Seconds since 1970.", True),
        ("webhook-signature", "`v1` and `v1a` signatures over `{id}.{timestamp}.{body}`, separated by spaces.", True),
        ("traceparent", "That of the request that registered it, if it had one; a ping has none.", False),
    )
    return {
        "post": {
            "operationId": name,
            "summary": summary,
            "security": [],
            "parameters": [
                {"name": header, "in": "header", "required": needed, "description": what, "schema": {"type": "string"}}
                for header, what, needed in headers
            ],
            "requestBody": {
                "required": True,
                "content": {kind.content_type: {"schema": _named(event)} for kind, event in events.items()},
            },
            "responses": {
                "2XX": {"description": "Taken, within 15 s."},
                "410": {"description": "Nobody wants it there any more: no further attempt."},
                "default": {"description": "Tried again by the schedule."},
            },
        }
    }
