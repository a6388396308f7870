"""Compare real requests, answers and events with the API description. Undescribed fields are errors."""

import json
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

from jsonschema import Draft202012Validator

from bridge.api.http_response import CLIENT_REQUEST_ID
from bridge.api.openapi import document

Json = Any

#: Headers of any answer with a body. HTTP describes them.
_OF_HTTP = {"content-type", "content-encoding"}


def strict(schema: Json) -> Json:
    """Forbid unknown fields in a schema."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {"additionalProperties": False} if "properties" in schema else {}
    return {name: strict(each) for name, each in schema.items()} | closed


@cache
def validator(name: str, *, is_strict: bool = True) -> Draft202012Validator:
    """Return a validator for one of the description's schemas."""
    schemas = document()["components"]["schemas"]
    known = strict(schemas) if is_strict else schemas
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": {"schemas": known}})


@cache
def calls() -> Mapping[str, Json]:
    """Return each call of the description by function name."""
    return {call["operationId"]: call for path in document()["paths"].values() for call in path.values()}


def hold_answer(name: str, status: int, headers: Mapping[str, str], body: Json) -> None:
    """Assert that an answer is described: status, headers, code and every field."""
    responses = calls()[name]["responses"]
    assert str(status) in responses, f"{name} answers {status}, which is not described"
    described = responses[str(status)]
    given = {header.lower(): value for header, value in headers.items() if header.lower() not in _OF_HTTP}
    if status == HTTPStatus.UNAUTHORIZED and body is None:
        return  # the platform's answer, which has no more content without a key
    expected = {header.lower() for header in described.get("headers", {})}
    assert expected - _optional(status) <= set(given) <= expected
    if "x-ms-error-code" in given:
        assert given["x-ms-error-code"] == body["error"]["code"]
        assert given["x-ms-error-code"] in described["headers"]["x-ms-error-code"]["schema"]["enum"]
    content = described.get("content")
    assert (body is None) == (content is None)
    if content is not None:
        reference = content.get("application/json", {"schema": {}})["schema"].get("$ref", "")
        if reference:
            validator(reference.rpartition("/")[2]).validate(body)


def _optional(status: int) -> set[str]:
    """Return the headers that only some answers with a status have."""
    return {CLIENT_REQUEST_ID} | ({"location"} if status == HTTPStatus.CONFLICT else set())


def hold_request(name: str, body: bytes) -> None:
    """Assert that an accepted body matches the description."""
    content = calls()[name].get("requestBody", {}).get("content")
    if content is not None:
        reference = content["application/json"]["schema"]["$ref"]
        validator(reference.rpartition("/")[2], is_strict=False).validate(json.loads(body))


def hold_event(content_type: str, body: bytes) -> None:
    """Assert that a callback matches one of the webhooks."""
    event = json.loads(body)
    name = {"bridge": "pinged", "job": "jobEnded"}.get(event["type"].split(".")[-2], "operationEnded")
    content = document()["webhooks"][name]["post"]["requestBody"]["content"]
    validator(content[content_type]["schema"]["$ref"].rpartition("/")[2]).validate(event)
