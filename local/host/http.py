"""HTTP triggers, as a WSGI application."""

import hmac
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from azure.functions.meta import Datum
from werkzeug import Request, Response

from local.host.index import Function, HttpTrigger
from local.host.worker import Worker

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class HttpFront:
    """Finds the function of a request, checks its key, runs it and gives back what it answers.

    Where Azure answers by itself (no such route, no key, an exception), the body is empty, as there.
    """

    def __init__(self, functions: Sequence[Function], worker: Worker, keys: Sequence[str]) -> None:
        self._functions = functions
        self._worker = worker
        self._keys = keys

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer one request."""
        return self._answer(Request(environ))(environ, start_response)

    def _answer(self, request: Request) -> Response:
        path = _path(request)
        for function in self._functions:
            trigger = function.trigger
            if not isinstance(trigger, HttpTrigger):
                continue
            parameters = trigger.route.match(request.method, path)
            if parameters is not None:
                if not self._permits(trigger.level, request):
                    return _empty(401)
                return self._run(function, request, parameters)
        return _empty(404)

    def _permits(self, level: str, request: Request) -> bool:
        """Whether the request may call a function of that level; without keys, as with `func start`, it may.

        The keys are function keys: what asks for `admin` needs the master key, which there is none of here.
        """
        if not self._keys or level == "anonymous":
            return True
        given = request.headers.get("x-functions-key", request.args.get("code", ""))
        known = [hmac.compare_digest(given.encode(), key.encode()) for key in self._keys]
        return level == "function" and any(known)

    def _run(self, function: Function, request: Request, parameters: dict[str, str]) -> Response:
        done = self._worker.submit(function, _datum(request, parameters))
        if done.exception() is not None:
            return _empty(500)
        answer = done.result()
        if answer.type == "string":
            return Response(answer.value, content_type="text/plain; charset=utf-8")
        response = Response(answer.value["body"].value, status=int(answer.value["status_code"].value))
        del response.headers["Content-Type"]
        response.headers.update({name: value.value for name, value in answer.value["headers"].items()})
        return response


def _path(request: Request) -> str:
    """Return the path decoded as ASP.NET Core does: all but an encoded slash, which stays in its segment."""
    raw = urlsplit(request.environ["REQUEST_URI"]).path
    return "%2F".join(unquote(part) for part in re.split("%2[fF]", raw))


def _datum(request: Request, parameters: dict[str, str]) -> Datum:
    """Make what the host sends to the worker for a request."""
    query = {name: ",".join(request.args.getlist(name)) for name in request.args}
    return Datum(
        type="http",
        value={
            "method": Datum(request.method, "string"),
            "url": Datum(request.host_url.rstrip("/") + request.environ["REQUEST_URI"], "string"),
            "headers": _strings(dict(request.headers)),
            "query": _strings(query),
            "params": _strings(parameters),
            "body": Datum(request.get_data(), "bytes"),
        },
    )


def _strings(values: dict[str, str]) -> dict[str, Datum]:
    return {name: Datum(value, "string") for name, value in values.items()}


def _empty(status: int) -> Response:
    response = Response(status=status)
    del response.headers["Content-Type"]
    return response
