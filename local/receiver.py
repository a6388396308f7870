"""A receiver of callbacks: keeps requests byte for byte, and gives scripted answers.

`GET /callbacks` lists the requests. From Python, `answer` scripts a path, and `wait_for` waits without sleeping.
"""

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Self

from pydantic import JsonValue
from werkzeug import Request, Response

from local.answer import Answer
from local.record import MAX_WAIT, Record
from local.stoppable import Stoppable
from local.web import WebServer

_ACCEPTED = Answer(status=204)


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """One request to the receiver."""

    #: The time on the monotonic clock, in seconds.
    at: float
    #: The method: `POST` from the bridge.
    method: str
    #: The path and query, as sent.
    path: str
    #: All headers, with names in lower case.
    headers: dict[str, str] = field(repr=False)
    #: The signed bytes.
    body: bytes
    #: The status code of the answer.
    answered: int

    @property
    def content(self) -> JsonValue:
        """The body, parsed as JSON."""
        content: JsonValue = json.loads(self.body)
        return content


class Receiver(Stoppable):
    """A receiver on 127.0.0.1. Created by `start`, stopped at the end of a `with` block."""

    def __init__(
        self,
        *,
        port: int,
        say: Callable[[str], None] | None,
        verdict: Callable[[Callback], str],
        hosts: Collection[str],
    ) -> None:
        self._say = say
        self._verdict = verdict
        self._lock = threading.Lock()
        self._scripts: dict[str, deque[Answer]] = {}
        self._standing: dict[str, Answer] = {}
        self._came: Record[Callback] = Record()
        self._stopping = threading.Event()
        self._server = WebServer(Request.application(self._receive), port=port, hosts=hosts)

    @classmethod
    def start(
        cls,
        *,
        port: int = 0,
        say: Callable[[str], None] | None = None,
        verdict: Callable[[Callback], str] = lambda _: "",
        hosts: Collection[str] = (),
    ) -> Self:
        """Start serving, by default on a free port.

        `say` is called with a description of each callback, which includes the `verdict` on its signature. `hosts` are
        further host names of this machine.
        """
        return cls(port=port, say=say, verdict=verdict, hosts=hosts)

    @property
    def url(self) -> str:
        """The URL of the receiver. Any path below accepts callbacks."""
        return self._server.url

    @property
    def port(self) -> int:
        """The port of the receiver."""
        return self._server.port

    @property
    def callbacks(self) -> tuple[Callback, ...]:
        """All callbacks so far, oldest first."""
        return self._came.entries

    def wait_for(
        self, condition: int | Callable[[Sequence[Callback]], bool], timeout: float = MAX_WAIT
    ) -> tuple[Callback, ...]:
        """Return the callbacks as soon as there are that many, or as the condition holds for them."""
        return self._came.wait_for(condition, timeout)

    def answer(self, path: str, *first: int | Answer, then: int | Answer = _ACCEPTED) -> None:
        """Answer the next requests to `path` with `first`, one each, and all later ones with `then`."""
        with self._lock:
            self._scripts[path] = deque(_answer(each) for each in first)
            self._standing[path] = _answer(then)

    def stop(self) -> None:
        """Stop serving. Delayed answers are sent at once."""
        self._stopping.set()
        self._server.stop(timeout=5)

    def _receive(self, request: Request) -> Response:
        if request.method == "GET" and request.path == "/callbacks":
            return Answer.of([_shown(callback) for callback in self.callbacks]).response()
        answer = self._next(request.path)
        callback = _callback(request, answer)
        self._came.add(callback)
        if self._say:
            self._say(_told(callback, self._verdict(callback)))
        self._stopping.wait(answer.delay)
        return answer.response()

    def _next(self, path: str) -> Answer:
        with self._lock:
            script = self._scripts.get(path)
            return script.popleft() if script else self._standing.get(path, _ACCEPTED)


def _answer(told: int | Answer) -> Answer:
    return Answer(status=told) if isinstance(told, int) else told


def _callback(request: Request, answer: Answer) -> Callback:
    return Callback(
        at=time.monotonic(),
        method=request.method,
        path=request.full_path.removesuffix("?"),
        headers={name.lower(): value for name, value in request.headers.items()},
        body=request.get_data(),
        answered=answer.status,
    )


def _shown(callback: Callback) -> dict[str, JsonValue]:
    return {
        "method": callback.method,
        "path": callback.path,
        "headers": dict(callback.headers),
        "body": callback.body.decode(errors="replace"),
        "answered": callback.answered,
    }


def _told(callback: Callback, verdict: str) -> str:
    """Describe a callback in two lines: its request and its event."""
    path, _, query = callback.path.partition("?")
    shown = f"{path}?…" if query else path  # a query can contain a secret, and other people can see terminals
    name = callback.headers.get("webhook-id", "without a webhook-id")
    body = callback.body.decode(errors="replace")
    answered = f"answered {callback.answered}" + (f", {verdict}" if verdict else "")
    return f"callback: {callback.method} {shown} {name}, {answered}\n    {body}"
