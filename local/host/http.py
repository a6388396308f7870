"""HTTP triggers, as a WSGI application."""

import hmac
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

from azure.functions.meta import Datum
from werkzeug import Request, Response

from local.host.index import Function, HttpTrigger
from local.host.worker import Worker
from local.web import head_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

#: Limits of Kestrel, Microsoft's web server: `KestrelServerLimits` of ASP.NET Core.
_REQUEST_LINE_BYTES = 8 * 1024
_HEADERS_BYTES = 32 * 1024
_HEADERS = 100

_ESCAPE = re.compile(rb"%([0-9a-fA-F]{2})")
_ENCODED_SLASH = re.compile("(%2f)", re.IGNORECASE)
#: Characters that stay unchanged in the path of a URL: `PathString.ToUriComponent` of ASP.NET Core.
_PLAIN_IN_PATH = "/!$&'()*+,;=:@"


class HttpFront:
    """Finds the function of a request, checks the key, runs the function and returns the answer.

    Answers of the host itself (no such route, no key, an exception) have an empty body, like in Azure.
    """

    def __init__(self, functions: Sequence[Function], worker: Worker, keys: Sequence[str], *, body_limit: int) -> None:
        self._functions = functions
        self._worker = worker
        self._keys = keys
        self._body_limit = body_limit
        self._fronts = _fronts(functions)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer one request."""
        return self._answer(Request(environ))(environ, start_response)

    def _answer(self, request: Request) -> Response:
        line, headers = _read_head(head_of(request))
        if (refused := _refusal(line, headers)) is not None:
            return _empty(refused)
        target = request.environ["REQUEST_URI"]
        if (typed := target.partition("?")[0]) in self._fronts:  # as typed: `/api/operations/..` is not a front
            return Response(status=302, headers={"Location": self._fronts[typed]})
        return self._dispatch(request, _path(target), headers)

    def _dispatch(self, request: Request, path: str, headers: list[tuple[str, str]]) -> Response:
        """Run the first function that takes the request."""
        for function in self._functions:
            trigger = function.trigger
            if not isinstance(trigger, HttpTrigger):
                continue
            parameters = trigger.route.match(request.method, path)
            if parameters is not None:
                if not self._permits(trigger.level, request):
                    return _empty(401)
                if (request.content_length or 0) > self._body_limit:
                    return _empty(500)
                return self._run(function, _datum(request, path, headers, parameters))
        return _empty(404)

    def _permits(self, level: str, request: Request) -> bool:
        """Return whether the request may call a function of that level. Without keys, as with `func start`, it may.

        The keys are function keys. The level `admin` needs the master key, which does not exist here.
        """
        if not self._keys or level == "anonymous":
            return True
        in_query = [value for name, value in _query(request) if name.lower() == "code"]
        given = request.headers.get("x-functions-key", in_query[0] if in_query else "")
        known = [hmac.compare_digest(given.encode(), key.encode()) for key in self._keys]
        return level == "function" and any(known)

    def _run(self, function: Function, request: Datum) -> Response:
        done = self._worker.submit(function, request)
        if done.exception() is not None:
            return _empty(500)
        answer = done.result()
        if answer.type == "string":
            return Response(answer.value, content_type="text/plain; charset=utf-8")
        response = Response(answer.value["body"].value, status=int(answer.value["status_code"].value))
        del response.headers["Content-Type"]
        response.headers.update({name: value.value for name, value in answer.value["headers"].items()})
        return response


def _fronts(functions: Sequence[Function]) -> dict[str, str]:
    """Map the paths that a newcomer types to the app's page, if it has one: the route `dashboard`."""
    triggers = [each.trigger for each in functions if isinstance(each.trigger, HttpTrigger)]
    pages = [each.route for each in triggers if each.route.template == "dashboard" and each.level == "anonymous"]
    paths = [f"/{each.prefix}/" if each.prefix else "/" for each in pages]
    return {front: f"{path}dashboard" for path in paths for front in ("/", path, path.rstrip("/"))}


def _read_head(head: bytes) -> tuple[bytes, list[tuple[str, str]]]:
    """Split the well-formed head of a request into first line and headers."""
    line, *rest = head.strip(b"\r\n").split(b"\r\n")
    pairs = [each.decode("utf-8", "surrogateescape").partition(":") for each in rest]
    return line, [(name, value.strip(" \t")) for name, _, value in pairs]


def _refusal(line: bytes, headers: list[tuple[str, str]]) -> int | None:
    """Return the status with which the web server refuses a request, or None for a valid one."""
    size = sum(len(name.encode("utf-8", "surrogateescape")) + len(value) + 4 for name, value in headers)
    if len(line) + 2 > _REQUEST_LINE_BYTES:
        return 414
    if size > _HEADERS_BYTES or len(headers) > _HEADERS:
        return 431
    is_text = all(value.isprintable() or "\t" in value for _, value in headers)
    return None if b"%00" not in line.partition(b"?")[0] and is_text else 400


def _path(target: str) -> str:
    """Return the path of a request as Kestrel decodes it.

    An encoded slash stays in its segment, bytes outside of UTF-8 stay encoded, and `..` is resolved.
    """
    raw = target.partition("?")[0]
    decoded = "".join(part if _ENCODED_SLASH.fullmatch(part) else _decode(part) for part in _ENCODED_SLASH.split(raw))
    segments: list[str] = []
    parts = decoded.split("/")[1:]
    for part in parts:
        if part == "..":
            segments = segments[:-1]
        elif part != ".":
            segments.append(part)
    return "/" + "/".join(segments) + ("/" if parts[-1:] in ([".."], ["."]) and segments else "")


def _decode(text: str) -> str:
    """Decode percent-encoded UTF-8, and leave all else unchanged."""
    decoded = unquote_to_bytes(text).decode("utf-8", "surrogateescape")
    return "".join(f"%{ord(char) - 0xDC00:02x}" if "\udc80" <= char <= "\udcff" else char for char in decoded)


def _encode(path: str) -> str:
    """Encode a decoded path for a URL. Percent-encoded parts stay unchanged."""
    return "".join(
        part if _ESCAPE.fullmatch(part.encode()) else quote(part, safe=_PLAIN_IN_PATH)
        for part in re.split("(%[0-9a-fA-F]{2})", path)
    )


def _query(request: Request) -> list[tuple[str, str]]:
    """Return the query's parameters in order. The host ignores parameters without a value."""
    pairs = (part.replace("+", " ").partition("=") for part in _raw_query(request).split("&"))
    return [(_decode(name), _decode(value)) for name, _, value in pairs if value]


def _raw_query(request: Request) -> str:
    """Return the unchanged query. A fragment, which no client should send, counts as a part of it."""
    raw: str = request.environ["REQUEST_URI"]
    return raw.partition("?")[2].replace("#", "%23")


def _datum(request: Request, path: str, headers: list[tuple[str, str]], parameters: dict[str, str]) -> Datum:
    """Return the data that the host sends to the worker for a request.

    The host reads a body only if its length is announced, so a chunked body arrives empty.
    """
    query = _raw_query(request)
    is_chunked = any(name.lower() == "transfer-encoding" for name, _ in headers)
    return Datum(
        type="http",
        value={
            "method": Datum(request.method, "string"),
            "url": Datum(f"http://{request.host}{_encode(path)}{'?' if query else ''}{query}", "string"),
            "headers": _joined(headers),
            "query": _joined(_query(request)),
            "params": {name: Datum(value, "string") for name, value in parameters.items()},
            "body": Datum(b"" if is_chunked else request.get_data(), "bytes"),
        },
    )


def _joined(pairs: Sequence[tuple[str, str]]) -> dict[str, Datum]:
    """Join the values of a name, in any letter case, with commas. The last spelling of the name is kept."""
    spelling = {name.lower(): name for name, _ in pairs}
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(spelling[name.lower()], []).append(value)
    return {name: Datum(",".join(found), "string") for name, found in values.items()}


def _empty(status: int) -> Response:
    response = Response(status=status)
    del response.headers["Content-Type"]
    return response
