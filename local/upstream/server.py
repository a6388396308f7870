"""A stand-in for the Speech endpoint: operations that live through their statuses, and a log of who asked.

What it answers follows the public REST reference of `Operations - Get`. Steer it from Python (`tell`) or over HTTP:

    PUT /standin/operations/{id}   {"statuses": [[0, "Running"], [12, "Succeeded"]], "answers": [{"status": 429}]}
    GET /standin/requests
"""

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Self

from pydantic import BaseModel, JsonValue, ValidationError
from werkzeug import Request, Response

from local.answer import Answer
from local.record import PATIENCE, Record
from local.web import WebServer

#: Seconds of age, and the status from then on; in the order of the ages.
Life = tuple[tuple[float, str], ...]

#: The life of an operation that nobody told the stand-in about.
DEFAULT_LIFE: Life = ((0, "NotStarted"), (3, "Running"), (12, "Succeeded"))
FAILING_LIFE: Life = ((0, "NotStarted"), (3, "Running"), (12, "Failed"))

_PATH = re.compile(r"/.+/operations/(?P<operation_id>[^/]*)")
_OPERATION_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,62}[a-zA-Z0-9]")
_CONTROL = "/standin/operations/"

_WRONG_KEY = Answer.of(
    {
        "error": {
            "code": "401",
            "message": "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide "
            "a valid key for an active subscription and use a correct regional API endpoint for your resource.",
        }
    },
    status=401,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request for an operation."""

    #: When, on the stand-in's clock.
    at: float
    #: The path, without the query.
    path: str
    #: The operation, as the path names it.
    operation_id: str
    #: The query's api-version, or None.
    api_version: str | None
    #: The status code that it got.
    answered: int
    #: All its headers, with names in lower case.
    headers: dict[str, str] = field(repr=False)


@dataclass(slots=True, kw_only=True)
class _Operation:
    """What the stand-in knows of an operation."""

    #: Its statuses over time.
    life: Life
    #: When that life began.
    since: float
    #: Scripted answers, each given once and before any status.
    answers: deque[Answer] = field(default_factory=deque)


class _Told(BaseModel):
    """The body of `PUT /standin/operations/{id}`."""

    statuses: list[str | tuple[float, str]] = []
    answers: list[JsonValue] = []


def status_at(life: Life, age: float) -> str:
    """Return the status of an operation of that age in seconds."""
    begun = [status for begins, status in life if begins <= age]
    return begun[-1] if begun else life[0][1]


class Upstream:
    """A Speech endpoint on 127.0.0.1; a context manager that stops it. Made by `start`."""

    def __init__(self, *, key: str, port: int, clock: Callable[[], float]) -> None:
        self.key = key
        self._clock = clock
        self._lock = threading.Lock()
        self._operations: dict[str, _Operation] = {}
        self._asked: Record[Asked] = Record()
        self._stopping = threading.Event()
        self._server = WebServer(Request.application(self._answer), port=port)

    @classmethod
    def start(cls, *, key: str = "local-key", port: int = 0, clock: Callable[[], float] = time.monotonic) -> Self:
        """Serve at once, on a free port by default; `clock` gives the seconds that operations live by."""
        return cls(key=key, port=port, clock=clock)

    @property
    def endpoint(self) -> str:
        """What `SPEECH_ENDPOINT` is set to."""
        return self._server.url

    @property
    def requests(self) -> tuple[Asked, ...]:
        """All requests for operations so far, whatever they were answered."""
        return self._asked.entries

    def wait_for(
        self, condition: int | Callable[[Sequence[Asked]], bool], timeout: float = PATIENCE
    ) -> tuple[Asked, ...]:
        """Return the requests as soon as there are that many, or the condition holds for them."""
        return self._asked.wait_for(condition, timeout)

    def tell(self, operation_id: str, *statuses: str | tuple[float, str], answers: Iterable[Answer] = ()) -> None:
        """Say how an operation goes from now on.

        Statuses come with the age in seconds at which they begin; one without begins at once. Without any, the
        life goes on as it was. The answers are given first, each to one request.
        """
        with self._lock:
            operation = self._known(operation_id)
            operation.answers.extend(answers)
            if statuses:
                operation.life = tuple((0.0, each) if isinstance(each, str) else each for each in statuses)
                operation.since = self._clock()

    def stop(self) -> None:
        """Stop serving; answers that wait for their delay are given at once."""
        self._stopping.set()
        self._server.stop(timeout=5)

    def _known(self, operation_id: str) -> _Operation:
        life = FAILING_LIFE if "fail" in operation_id.lower() else DEFAULT_LIFE
        return self._operations.setdefault(operation_id, _Operation(life=life, since=self._clock()))

    def _answer(self, request: Request) -> Response:
        if request.path.startswith("/standin/"):
            return self._control(request).response()
        asks_for = _PATH.fullmatch(request.path)
        if asks_for is None or request.method != "GET":
            return _fault(404, "NotFound", "Resource not found").response()
        answer = self._judge(request, asks_for["operation_id"])
        self._asked.add(_asked(request, asks_for["operation_id"], answer, self._clock()))
        self._stopping.wait(answer.delay)
        return answer.response()

    def _judge(self, request: Request, operation_id: str) -> Answer:
        if request.headers.get("Ocp-Apim-Subscription-Key") != self.key:
            return _WRONG_KEY
        if not request.args.get("api-version"):
            return _fault(400, "BadRequest", "The api-version query parameter is required.")
        if not _OPERATION_ID.fullmatch(operation_id):
            return _fault(400, "BadArgument", "The operation id is not valid.")
        with self._lock:
            operation = self._known(operation_id)
            if operation.answers:
                return operation.answers.popleft()
            status = status_at(operation.life, self._clock() - operation.since)
        return Answer.of({"id": operation_id, "status": status})

    def _control(self, request: Request) -> Answer:
        if request.method == "GET" and request.path == "/standin/requests":
            return Answer.of([_shown(asked) for asked in self.requests])
        if request.method != "PUT" or not request.path.startswith(_CONTROL):
            return _fault(404, "NotFound", f"The stand-in knows PUT {_CONTROL}{{id}} and GET /standin/requests.")
        try:
            told = _Told.model_validate_json(request.get_data())
            answers = [Answer.parse(each) for each in told.answers]
        except ValidationError as error:
            return _fault(400, "BadRequest", str(error))
        self.tell(request.path.removeprefix(_CONTROL), *told.statuses, answers=answers)
        return Answer(status=204)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _fault(status: int, code: str, message: str) -> Answer:
    """Make an error of Azure's shape."""
    return Answer.of({"error": {"code": code, "message": message}}, status=status, headers={"x-ms-error-code": code})


def _asked(request: Request, operation_id: str, answer: Answer, now: float) -> Asked:
    return Asked(
        at=now,
        path=request.path,
        operation_id=operation_id,
        api_version=request.args.get("api-version"),
        answered=answer.status,
        headers={name.lower(): value for name, value in request.headers.items()},
    )


def _shown(asked: Asked) -> dict[str, JsonValue]:
    """Show a request over HTTP, without the key that it carried."""
    return {name: value for name, value in asdict(asked).items() if name != "headers"}
