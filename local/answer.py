"""An answer that a stand-in was told to give."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from pydantic import BaseModel, JsonValue
from werkzeug import Response


class _Spec(BaseModel):
    """An answer as JSON tells it: a status, and a `body` (JSON) or a `text` (as it is)."""

    status: int = 200
    headers: dict[str, str] = {}
    body: JsonValue = None
    text: str | None = None
    delay: float = 0.0


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
        """Make one of `{"status", "headers", "body" or "text", "delay"}`; unknown names are passed over.

        Raises pydantic's ValidationError, which says what is wrong with it.
        """
        spec = _Spec.model_validate(told)
        if spec.body is None:
            body = (spec.text or "").encode()
            return cls(status=spec.status, headers=spec.headers, body=body, delay=spec.delay)
        headers = {"Content-Type": "application/json", **spec.headers}
        return cls(status=spec.status, headers=headers, body=json.dumps(spec.body).encode(), delay=spec.delay)

    def response(self) -> Response:
        """Return it as the WSGI layer wants it, with no header that was not asked for."""
        response = Response(self.body, status=self.status)
        del response.headers["Content-Type"]
        response.headers.update(self.headers)
        return response
