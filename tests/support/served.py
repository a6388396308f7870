"""A harness behind a real socket, for clients that need one. Its clock stands still."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from email.utils import format_datetime
from wsgiref.types import StartResponse, WSGIEnvironment

import azure.functions as func
from werkzeug import Request, Response

from bridge.api.routes import HEALTH, ROUTES
from bridge.app import App
from local.web import WebServer
from tests.support.harness import Harness


class _Front:
    """Hands requests to the app, like the function host."""

    def __init__(self, bridge: Harness) -> None:
        self._bridge = bridge
        self._app = App(bridge.bridge)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request. The `Date` is that of the bridge's clock."""
        answered = self._answer(Request(environ))
        headers = {**answered.headers, "Date": format_datetime(self._bridge.clock(), usegmt=True)}
        response = Response(answered.get_body(), answered.status_code, headers, mimetype=answered.mimetype)
        return response(environ, start_response)

    def _answer(self, request: Request) -> func.HttpResponse:
        path = request.path.removeprefix("/api/")
        if path == HEALTH.path:
            return self._app.health(_asked(request, {}))
        for route in ROUTES:
            found = re.fullmatch(route.path.replace("{id}", "(?P<id>[^/]+)"), path)
            if found and request.method in route.methods:
                return self._app.answer(route, _asked(request, found.groupdict()))
        return func.HttpResponse(status_code=404)


def _asked(request: Request, route_params: dict[str, str]) -> func.HttpRequest:
    return func.HttpRequest(
        request.method,
        request.url,
        headers=dict(request.headers),
        params=request.args.to_dict(),
        route_params=route_params,
        body=request.get_data(),
    )


@contextmanager
def served(bridge: Harness) -> Iterator[str]:
    """Serve a harness until the end of the block. Yields its URL."""
    server = WebServer(_Front(bridge), threads=1)
    try:
        yield server.url
    finally:
        server.stop(timeout=5)
