"""A fake bridge with scripted answers over a real socket, which records the calls."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from werkzeug import Request, Response

from local.web import WebServer

Answer = tuple[int, Any] | tuple[int, Any, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Called:
    """One recorded call."""

    method: str
    #: Path and query, without `/api/`.
    path: str
    headers: Mapping[str, str]
    #: The parsed JSON body. None without a body.
    body: Any


@dataclass
class FakeBridge:
    """Scripted answers. Unknown calls return 404 without a body, like the function host."""

    url: str = ""
    calls: list[Called] = field(default_factory=list)
    _scripts: dict[str, list[Answer]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment that points to the fake."""
        return {"BRIDGE_URL": self.url}

    def script(self, call: str, *answers: Answer) -> None:
        """Script the answers to a call like `GET registrations`. The last answer repeats. Text is sent unchanged."""
        self._scripts[call] = list(answers)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Return the scripted answer and record the call."""
        request = Request(environ)
        path = request.full_path.removesuffix("?").removeprefix("/api/")
        raw = request.get_data()
        self.calls.append(Called(request.method, path, dict(request.headers), json.loads(raw) if raw else None))
        script = self._scripts.get(f"{request.method} {path.partition('?')[0]}", [(404, "")])
        status, body, *more = script.pop(0) if len(script) > 1 else script[0]
        text = body if isinstance(body, str) else json.dumps(body)
        return Response(text, status, more[0] if more else None, mimetype="application/json")(environ, start_response)


@contextmanager
def fake_bridge() -> Iterator[FakeBridge]:
    """Serve a fake until the end of the block."""
    fake = FakeBridge()
    server = WebServer(fake)
    fake.url = server.url
    try:
        yield fake
    finally:
        server.stop(timeout=5)


def registration(name: str = "default~operation-1~0123456789abcdef", **own: Any) -> dict[str, Any]:
    """Return a registration in the API's format, waiting by default. It has the fields of an entry of a list, too."""
    operation = {
        "id": "operation-1",
        "source": "default",
        "status": "Running",
        "reason": None,
        "registeredAt": "2026-11-23T12:00:00.000Z",
        "polls": 1,
        "lastPolledAt": "2026-11-23T12:00:00.000Z",
        "nextPollAt": "2026-11-23T12:00:15.000Z",
        "finishedAt": None,
        "lastError": None,
    }
    return {
        "id": name,
        "callbackUrl": "https://hooks.example.com/avatar",
        "events": ["Succeeded", "Failed"],
        "metadata": None,
        "format": "standard",
        "state": "waiting",
        "since": "2026-11-23T12:00:00.000Z",
        "reason": None,
        "createdAt": "2026-11-23T12:00:00.000Z",
        "message": None,
        "group": None,
        "lastAttempt": None,
        "nextAttemptAt": None,
        "deferredBy": None,
        "deliveredAt": None,
        "attempts": [],
        "earlierAttempts": None,
        **own,
        "operation": operation | own.get("operation", {}),
    }


def attempt(status: int | None = None, error: str | None = None) -> dict[str, Any]:
    """Return an attempt in the API's format."""
    return {
        "number": 1,
        "at": "2026-11-23T12:01:00.000Z",
        "durationMs": 12,
        "address": "203.0.113.7",
        "status": status,
        "error": error,
        "detail": None,
        "location": None,
        "body": None,
    }


def delivered(name: str = "default~operation-1~0123456789abcdef", status: str = "Succeeded") -> dict[str, Any]:
    """Return a delivered registration."""
    return registration(
        name,
        state="delivered",
        deliveredAt="2026-11-23T12:01:00.000Z",
        attempts=[attempt(204)],
        operation={"status": status},
    )


def problem(code: str, message: str, *details: tuple[str, str]) -> dict[str, Any]:
    """Return an error in Azure's format."""
    listed = [{"code": "InvalidValue", "message": output, "target": target} for target, output in details]
    return {"error": {"code": code, "message": message, "target": None, "details": listed}}
