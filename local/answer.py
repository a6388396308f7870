"""Scripted HTTP answers of the fakes."""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from pydantic import BaseModel, Field, JsonValue, model_validator
from werkzeug import Response


class _Spec(BaseModel):
    """An answer as JSON: a status with a `body` (JSON) or a `text` (unchanged), or no answer at all."""

    status: int = 200
    headers: dict[str, str] = {}
    body: JsonValue = None
    text: str | None = None
    delay: float = Field(0.0, ge=0, le=threading.TIMEOUT_MAX)
    hang: bool = False
    reset: bool = False

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        """Refuse an answer without known fields, since a misspelt one would become an empty 200."""
        if not self.model_fields_set:
            raise ValueError(f"an answer has one of: {', '.join(type(self).model_fields)}")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One HTTP answer."""

    #: The status code.
    status: int = 200
    #: The headers. Content-Length and Date are added.
    headers: Mapping[str, str] = field(default_factory=dict)
    #: The bytes.
    body: bytes = b""
    #: The time from the request to the answer, in seconds.
    delay: float = 0.0
    #: Whether the connection is reset instead.
    reset: bool = False

    @classmethod
    def of(cls, body: JsonValue, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Self:
        """Create an answer with a JSON body."""
        return cls(
            status=status,
            headers={"Content-Type": "application/json", **(headers or {})},
            body=json.dumps(body).encode(),
        )

    @classmethod
    def parse(cls, told: object) -> Self:
        """Parse `{"status", "headers", "body" or "text", "delay"}`, `{"hang": true}` or `{"reset": true}`.

        Unknown fields are ignored, so that collected answers can have a description. A hanging answer is sent when the
        server stops, if its client is still connected. Raises pydantic's ValidationError with the problems.
        """
        spec = _Spec.model_validate(told)
        is_json = spec.body is not None
        return cls(
            status=spec.status,
            headers={"Content-Type": "application/json", **spec.headers} if is_json else spec.headers,
            body=json.dumps(spec.body).encode() if is_json else (spec.text or "").encode(),
            delay=threading.TIMEOUT_MAX if spec.hang else spec.delay,
            reset=spec.reset,
        )

    def response(self) -> Response:
        """Convert to a WSGI response without further headers."""
        response = Response(self.body, status=self.status)
        del response.headers["Content-Type"]
        response.headers.update(self.headers)
        return response
