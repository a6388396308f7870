"""An answer that a fake was told to give."""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from pydantic import BaseModel, Field, JsonValue, model_validator
from werkzeug import Response


class _Spec(BaseModel):
    """An answer as JSON tells it: a status, and a `body` (JSON) or a `text` (as it is); or none at all."""

    status: int = 200
    headers: dict[str, str] = {}
    body: JsonValue = None
    text: str | None = None
    delay: float = Field(0.0, ge=0, le=threading.TIMEOUT_MAX)
    hang: bool = False
    reset: bool = False

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        """Refuse a misspelt answer, which would be an empty 200."""
        if not self.model_fields_set:
            raise ValueError(f"an answer has one of: {', '.join(type(self).model_fields)}")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One HTTP answer."""

    #: The status code.
    status: int = 200
    #: The headers; Content-Length and Date are added.
    headers: Mapping[str, str] = field(default_factory=dict)
    #: The bytes.
    body: bytes = b""
    #: Seconds from the request to the answer.
    delay: float = 0.0
    #: The connection is reset in the place of an answer.
    reset: bool = False

    @classmethod
    def of(cls, body: JsonValue, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Self:
        """Make an answer in JSON."""
        return cls(
            status=status,
            headers={"Content-Type": "application/json", **(headers or {})},
            body=json.dumps(body).encode(),
        )

    @classmethod
    def parse(cls, told: object) -> Self:
        """Make one of `{"status", "headers", "body" or "text", "delay"}`, `{"hang": true}` or `{"reset": true}`.

        Unknown names are passed over, so that collected answers can say what they mean. One that hangs is given
        when the server stops, if its client is still there.
        Raises pydantic's ValidationError, which says what is wrong with it.
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
        """Return it as the WSGI layer wants it, with no header that was not asked for."""
        response = Response(self.body, status=self.status)
        del response.headers["Content-Type"]
        response.headers.update(self.headers)
        return response
