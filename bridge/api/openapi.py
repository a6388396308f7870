"""The OpenAPI 3.1 description, derived from the route table, the handlers' docstrings and the models.

Created at the first request. No other module imports this one, so that a cold start is not slowed down.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from http import HTTPStatus
from inspect import cleandoc
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode
from typing_extensions import override

from bridge import __version__
from bridge.api.errors import ErrorCode
from bridge.api.http_response import CLIENT_REQUEST_ID, REQUEST_ID
from bridge.api.responses import (
    ErrorAnswer,
    JobWithRegistrations,
    OperationWithRegistrations,
    Registered,
    RegistrationResponse,
    Response,
)
from bridge.api.routes import ALL_ROUTES, HEALTH, Route, Success, Tag
from bridge.api.webhooks import ENDED, JOB_ENDED, PINGED
from bridge.domain.events import Format

Json = dict[str, Any]

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
        "description": "A token of Microsoft Entra ID, if the deployment requires one.",
    },
}
_TAGS = {
    Tag.REGISTRATIONS: "Registrations for operations, and their callbacks.",
    Tag.OPERATIONS: "Operations that the bridge polls.",
    Tag.RECEIVERS: "Verification of callbacks, and pings.",
    Tag.BRIDGE: "The app itself.",
}

_TEXT: Json = {"type": "string"}

#: The headers of responses.
_HEADERS: Json = {
    name: {"description": about, "schema": schema}
    for name, about, schema in (
        (REQUEST_ID, "The bridge's id of the request, which is in the lines of its log.", _TEXT),
        (CLIENT_REQUEST_ID, "The client's id of the request, if it sent a valid one.", _TEXT),
        ("Location", "Where the registration is.", {"type": "string", "format": "uri-reference"}),
        ("Cache-Control", "Which caches may keep the answer, and for how long.", _TEXT),
        ("ETag", "The version of the answer, for `If-None-Match`.", _TEXT),
        ("Accept-Encoding", "The codings of a body that are taken.", {"const": "identity"}),
        ("Vary", "The answer may be compressed.", {"const": "Accept-Encoding"}),
        ("Content-Security-Policy", "Allows only the page's own style and script.", _TEXT),
        ("X-Content-Type-Options", "No content sniffing.", {"const": "nosniff"}),
        ("Referrer-Policy", "Links send no referrer.", {"const": "no-referrer"}),
        ("Cross-Origin-Opener-Policy", "Isolated from other pages.", {"const": "same-origin"}),
        ("WWW-Authenticate", "The missing token or role (RFC 6750).", _TEXT),
        ("Retry-After", "Seconds after which it may be tried again.", {"type": "integer", "minimum": 1}),
    )
}

#: The headers of every response.
_OF_ALL = ("Cache-Control", REQUEST_ID, CLIENT_REQUEST_ID)

#: The parameters of every call.
_OF_CALLS: tuple[Json, ...] = (
    {
        "name": "api-version",
        "in": "query",
        "description": "Accepted from Azure's clients and ignored: the API has one version.",
        "schema": {"type": "string"},
    },
    {
        "name": CLIENT_REQUEST_ID,
        "in": "header",
        "description": "Your id of the request, which the answer and the log repeat.",
        "schema": {"type": "string"},  # without the form of a valid id: another value is ignored, not refused
    },
)

#: The headers of errors, by status, beside those of every error.
_ERROR_HEADERS = {
    HTTPStatus.UNAUTHORIZED: "WWW-Authenticate",
    HTTPStatus.FORBIDDEN: "WWW-Authenticate",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "Accept-Encoding",
    HTTPStatus.TOO_MANY_REQUESTS: "Retry-After",
    HTTPStatus.SERVICE_UNAVAILABLE: "Retry-After",
}

#: The codes that follow from the fields of a route.
_OF_BODIES = (
    ErrorCode.INVALID_JSON,
    ErrorCode.LENGTH_REQUIRED,
    ErrorCode.PAYLOAD_TOO_LARGE,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE,
)
_OF_STORAGE = (
    ErrorCode.STORAGE_UNAVAILABLE,
    ErrorCode.STORAGE_REFUSED,
    ErrorCode.CONTENDED,
    ErrorCode.UNREADABLE_ROW,
)
_OF_CALLERS = (ErrorCode.UNAUTHORIZED, ErrorCode.FORBIDDEN, ErrorCode.KEYS_UNAVAILABLE)

_SCHEMAS = "#/components/schemas/{model}"

#: Real answers, by function and status, and errors by code. `python -m tests.api_examples` writes the file.
_EXAMPLES: Mapping[str, Json] = json.loads(Path(__file__).with_name("examples.json").read_text(encoding="utf-8"))

#: The name of a class, alone or in a reference. In the description a `RegistrationResponse` is a `Registration`.
_RESPONSE_NAME = re.compile(r'"((?:#/components/schemas/)?\w+)Response"')


class Schemas(GenerateJsonSchema):
    """Pydantic's generator, without titles that only repeat the name of a field."""

    @override
    def field_title_should_be_set(self, schema: Any) -> bool:
        """Omit the title."""
        return False


@cache
def document() -> Json:
    """Return the whole description. Depends only on the code, and is created once."""
    paths: dict[str, Json] = {}
    for route in ALL_ROUTES:
        operations = {method.lower(): _operation(route, method) for method in route.methods}
        paths.setdefault(f"/{route.path}", {}).update(operations)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Webhooks for Azure AI Speech operations", "version": __version__, "description": _ABOUT},
        "servers": [{"url": "/api", "description": "The deployment that this description comes from."}],
        "security": [{name: []} for name in _SECURITY],
        "tags": [{"name": tag, "description": about} for tag, about in _TAGS.items()],
        "paths": paths,
        "webhooks": {
            "operationEnded": _webhook("operationEnded", "An operation has ended", ENDED),
            "jobEnded": _webhook("jobEnded", "A job has ended", JOB_ENDED),
            "pinged": _webhook("pinged", "A ping of the receiver", PINGED),
        },
        "components": {"schemas": _schemas(), "headers": _HEADERS, "securitySchemes": _SECURITY},
    }


def schema_of(model: type) -> tuple[Json, Json]:
    """Return the schema of a model or a TypedDict, and the schemas to which it refers."""
    mode: JsonSchemaMode = "serialization" if issubclass(model, Response) else "validation"
    schema = TypeAdapter(model).json_schema(ref_template=_SCHEMAS, schema_generator=Schemas, mode=mode)
    named: Json = json.loads(_RESPONSE_NAME.sub(r'"\1"', json.dumps(schema)))
    return named, named.pop("$defs", {})


def _models() -> Iterator[type]:
    yield ErrorAnswer
    for route in ALL_ROUTES:
        yield from (each.model for each in route.responses.values() if each.model not in (None, str, dict))
        yield from () if route.body is None else (route.body,)
    yield from (*ENDED.values(), *JOB_ENDED.values(), *PINGED.values())


def _schemas() -> Json:
    found: Json = {}
    for model in dict.fromkeys(_models()):
        schema, others = schema_of(model)
        found |= {**others, _name_of(model): schema}
    return dict(sorted(found.items()))


def _content(model: type | None, **examples: Json) -> Json:
    """Describe a body, with examples by name. Empty without a model."""
    if model is None:
        return {}
    if model is str:
        return {"content": {"text/html": {"schema": {"type": "string"}}}}
    schema = {"type": "object"} if model is dict else _reference(model)
    shown = {name: {"value": value} for name, value in examples.items()}
    return {"content": {"application/json": {"schema": schema, **_present(examples=shown)}}}


def _reference(model: type) -> Json:
    return {"$ref": _SCHEMAS.format(model=_name_of(model))}


def _name_of(model: type) -> str:
    return model.__name__.removesuffix("Response")


def _operation(route: Route[Any], method: str) -> Json:
    summary, _, about = cleandoc(route.handler.__doc__ or "").partition("\n")
    is_head = method == "HEAD"
    responses = _problems(route, is_head=is_head)
    responses |= {status: _success(route, status, is_head=is_head) for status in route.responses}
    return {
        "operationId": f"{route.name}_head" if is_head else route.name,
        "summary": summary.removesuffix("."),
        "description": about.strip().replace("\n", " "),
        "tags": [route.tag],
        "parameters": list(_parameters(route)),
        "responses": {str(int(status)): responses[status] for status in sorted(responses)},
        **({"security": []} if route.is_open else {}),
        **_present(requestBody={"required": True, **_content(route.body)} if route.body else {}),
    }


def _parameters(route: Route[Any]) -> Iterator[Json]:
    if route.id_pattern is not None:
        yield {
            "name": "id",
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": f"^(?:{route.id_pattern})$"},
        }
    schema, _ = schema_of(route.parameters)
    for name, shown in schema.get("properties", {}).items():
        about = shown.pop("description")
        required = name in schema.get("required", ())
        known = _without_null(shown)
        listed = {"explode": False} if known.get("type") == "array" else {}
        yield {"name": name, "in": "query", "required": required, "description": about, **listed, "schema": known}
    yield from _OF_CALLS
    for name, about in route.headers.items():
        yield {"name": name, "in": "header", "description": about, "schema": {"type": "string"}}


def _without_null(schema: Json) -> Json:
    """Remove null from a parameter's schema: a query can omit a parameter, but cannot send null."""
    if "anyOf" not in schema:
        return schema
    [only] = [each for each in schema["anyOf"] if each != {"type": "null"}]
    return dict(only)


def _success(route: Route[Any], status: HTTPStatus, *, is_head: bool) -> Json:
    success = route.responses[status]
    return {
        "description": success.description,
        "headers": _headers(*_OF_ALL, *success.headers),
        **_content(None if is_head else success.model, **_examples_of(route, status)),
        **_present(links={} if is_head else _links(route, success)),
    }


def _present(**fields: Json) -> Json:
    """Leave out empty fields."""
    return {name: value for name, value in fields.items() if value}


def _examples_of(route: Route[Any], status: HTTPStatus) -> Json:
    """Return the recorded answers of a function with a status."""
    answers = _EXAMPLES["successes"].get(route.name, {})
    return {"recorded": answers[str(int(status))]} if str(int(status)) in answers else {}


def _headers(*names: str) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def errors_of(route: Route[Any]) -> set[ErrorCode]:
    """Return the codes of the errors that a route can answer with."""
    if route is HEALTH:
        return {ErrorCode.INVALID_REQUEST}
    return {
        ErrorCode.INVALID_REQUEST,
        ErrorCode.INTERNAL_ERROR,
        ErrorCode.MISCONFIGURED,
        *(() if route.id_pattern is None else (ErrorCode.NOT_FOUND,)),
        *(() if route.body is None else _OF_BODIES),
        *(_OF_STORAGE if route.uses_storage else ()),
        *((ErrorCode.TOO_BUSY,) if route.reads_many_rows else ()),
        *(() if route.is_open else _OF_CALLERS),
        *route.errors,
    }


def _problems(route: Route[Any], *, is_head: bool) -> dict[HTTPStatus, Json]:
    codes = errors_of(route)
    by_status: dict[HTTPStatus, list[ErrorCode]] = {}
    for code in ErrorCode:
        if code in codes:
            by_status.setdefault(code.status, []).append(code)
    return {status: _problem(status, each, is_head=is_head) for status, each in by_status.items()}


def _problem(status: HTTPStatus, codes: Iterable[ErrorCode], *, is_head: bool) -> Json:
    more = [_ERROR_HEADERS[status]] if status in _ERROR_HEADERS else []
    more += ["Location"] if ErrorCode.REGISTRATION_DIFFERS in codes else []
    code: Json = {"description": "The error code.", "required": True, "schema": {"enum": list(codes)}}
    about = "; ".join(f"`{each}`: {each.meaning}" for each in codes) + "."
    if status == HTTPStatus.UNAUTHORIZED:  # the platform refuses a key, and the bridge a token
        del code["required"]
        about = f"No function key, or a wrong one: the body is empty. With tokens, {ErrorCode.UNAUTHORIZED.meaning}."
    errors = _EXAMPLES["errors"]
    return {
        "description": about,
        "headers": {**_headers(*_OF_ALL, *more), "x-ms-error-code": code},
        **_content(None if is_head else ErrorAnswer, **{code: errors[code] for code in codes if code in errors}),
    }


def _links(route: Route[Any], success: Success) -> Json:
    """Return links from a response to the operations that take its values."""
    if success.model in (Registered, RegistrationResponse):
        operation = {"path.id": "$response.body#/operation/id", "query.source": "$response.body#/operation/source"}
        job = {"path.id": "$response.body#/job/id", "query.source": "$response.body#/job/source"}
        return {
            **_links_of_registration(""),
            "secret": _link(
                "signing_secret", {"callbackUrl": "$response.body#/callbackUrl"}, "The secret of its receiver."
            ),
            "operation": _link("read_operation", operation, "Its operation, unless the answer is about a job."),
            "job": _link("read_job", job, "Its job, if the answer is about a job."),
        }
    if success.model in (OperationWithRegistrations, JobWithRegistrations):
        return _links_of_registration("/registrations/0")
    if success.model not in (None, str) and "ETag" in success.headers:
        return {
            "again": _link(route.name, {"header.If-None-Match": "$response.header.ETag"}, "Whether it has changed.")
        }
    return {}


def _links_of_registration(place: str) -> Json:
    parameters = {"path.id": f"$response.body#{place}/id"}
    return {
        "read": _link("read_registration", parameters, "The registration."),
        "message": _link("read_message", parameters, "Its message."),
        "cancel": _link("cancel_registration", parameters, "Cancel it."),
        "redeliver": _link("redeliver", parameters, "Deliver it again."),
    }


def _link(operation_id: str, parameters: Json, about: str) -> Json:
    return {"operationId": operation_id, "parameters": parameters, "description": about}


def _webhook(name: str, summary: str, events: Mapping[Format, Any]) -> Json:
    headers = (
        ("webhook-id", "The same in every attempt: drop duplicates by it.", True),
        ("webhook-timestamp", "Seconds since 1970.", True),
        ("webhook-signature", "`v1` and `v1a` signatures over `{id}.{timestamp}.{body}`, separated by spaces.", True),
        ("traceparent", "The one of the registering request, if any; a ping has none.", False),
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
                "content": {kind.content_type: {"schema": _reference(event)} for kind, event in events.items()},
            },
            "responses": {
                "2XX": {"description": "Accepted, within 15 s."},
                "410": {"description": "The receiver wants no further messages: no further attempt."},
                "default": {"description": "Retried by the schedule."},
            },
        }
    }
