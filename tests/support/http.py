"""Requests in the form of the function host, and answers in the form for clients."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import azure.functions as func

from bridge.api.handlers import Handlers
from bridge.api.routes import ROUTES, Handler, Route
from bridge.app import App
from tests.support.description import hold_answer, hold_request
from tests.support.harness import Harness
from tests.support.json_value import Json

#: The route of each handler.
_ROUTES = {route.handler: route for route in ROUTES}

BASE = "https://bridge.example.com/api"


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a client."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def error(self) -> Json:
        """The error of an unsuccessful answer."""
        return self.body["error"]

    @property
    def targets(self) -> list[str]:
        """The targets of all problems."""
        return [detail["target"] for detail in self.error["details"]]


class Client:
    """Calls the app like the host, and compares each answer with the API description."""

    def __init__(self, app: App, token: str | None = None) -> None:
        self.app = app
        self._proof = {} if token is None else {"Authorization": f"Bearer {token}"}

    @classmethod
    def of(cls, bridge: Harness, token: str | None = None) -> "Client":
        """Return a client of a harness."""
        return cls(App(bridge.bridge), token)

    def call(
        self,
        handler: Handler,
        path: str = "/registrations",
        *,
        method: str = "GET",
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        id: str = "",
    ) -> Answer:
        """Make one call."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(path).query, keep_blank_values=True).items()}
        request = func.HttpRequest(
            method,
            BASE + path,
            headers={**self._proof, **(headers or {})},
            params=query,
            route_params={"id": id} if id else {},
            body=body,
        )
        answered = answer(self.app.answer(route_of(handler), request))
        name = handler.__name__
        hold_answer(name, answered.status, answered.headers, answered.body)
        if answered.status < HTTPStatus.BAD_REQUEST:
            hold_request(name, body)
        return answered

    def health(self, query: str = "", *, method: str = "GET") -> Answer:
        """Call the health endpoint."""
        request = func.HttpRequest(method, f"{BASE}/health?{query}", params=dict(parse_qsl(query)), body=b"")
        answered = answer(self.app.health(request))
        hold_answer("health", answered.status, answered.headers, answered.body)
        return answered

    def register(self, body: object, **headers: str) -> Answer:
        """Send a registration. Bytes are sent unchanged, other values as JSON."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
        return self.call(Handlers.register, method="POST", body=raw, headers=sent)


def route_of(handler: Handler) -> Route[Handler]:
    """Return the route of a handler."""
    return _ROUTES[handler]


def answer(response: func.HttpResponse) -> Answer:
    """Convert a response to an answer."""
    text = response.get_body().decode()
    return Answer(response.status_code, dict(response.headers), json.loads(text) if text else None)
