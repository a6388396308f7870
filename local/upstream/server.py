"""The HTTP server of the fake Speech service: checks the key, records requests, and answers.

The answers follow the public REST reference of `Operations - Get`. Python code scripts them (`script`,
`script_all`), or requests do (`control.py`).
"""

import math
import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Self

from pydantic import JsonValue
from werkzeug import Request, Response

from local.answer import Answer
from local.record import MAX_WAIT, Record
from local.stoppable import Stoppable
from local.upstream.catalogue import named
from local.upstream.control import control
from local.upstream.faults import fault
from local.upstream.kept import Kept
from local.upstream.listing import ListRules
from local.upstream.operations import Operations, Rules
from local.upstream.syntheses import Syntheses
from local.web import WebServer, hold, reset

_PATH = re.compile(r"/(?P<path>.+)/(?P<kind>operations|batchsyntheses)/(?P<id>[^/]*)")
_LIST = re.compile(r"/(?P<path>.+)/(?:batchsyntheses|batchsynthesises)/?")
_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,62}[a-zA-Z0-9]")
_FOR_TESTS = Rules()
_METHODS = {"operations": {"GET"}, "batchsyntheses": {"GET", "PUT", "DELETE"}}


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request: a GET of an operation, of a job or of a page of jobs, or a PUT of a job."""

    #: The time of the request on the fake's clock.
    at: float
    method: str
    #: The path, without the query.
    path: str
    #: The id of the operation or the job in the path. Empty for a list.
    operation_id: str
    #: The query's api-version, or None.
    api_version: str | None
    #: The status code of the answer, or 0 for a connection that was reset.
    answered: int
    #: All headers, with names in lower case.
    headers: dict[str, str] = field(repr=False)


class Upstream(Stoppable):
    """A Speech endpoint on 127.0.0.1. Created by `start`, stopped at the end of a `with` block."""

    def __init__(
        self,
        *,
        key: str,
        port: int,
        lives: tuple[Operations, Syntheses],
        clock: Callable[[], float],
        hosts: Collection[str],
        say: Callable[[str], None],
    ) -> None:
        self.key = key
        self._clock = clock
        self._operations, self._syntheses = lives
        self._say = say
        self._confused: set[str] = set()
        self._asked: Record[Asked] = Record()
        self._stopping = threading.Event()
        self._server = WebServer(Request.application(self._answer), port=port, notice_who_leaves=True, hosts=hosts)

    @classmethod
    def start(
        cls,
        *,
        key: str = "local-key",
        port: int = 0,
        clock: Callable[[], float] = time.monotonic,
        rules: Rules = _FOR_TESTS,
        hosts: Collection[str] = (),
        say: Callable[[str], None] = lambda _: None,
    ) -> Self:
        """Start serving, by default on a free port.

        `clock` gives the seconds that operations live by, unless the rules keep a state: then it is the time of day,
        which goes on over a restart. `say` is called with a line for a person.
        """
        kept = Kept(rules.state)
        operations = Operations(clock if rules.state is None else lambda: _now().timestamp(), rules, kept)
        lives = operations, Syntheses(operations, _now, kept)
        return cls(key=key, port=port, lives=lives, clock=clock, hosts=hosts, say=say)

    @property
    def endpoint(self) -> str:
        """The value of `SPEECH_ENDPOINT`."""
        return self._server.url

    @property
    def requests(self) -> tuple[Asked, ...]:
        """All requests so far, with any answer."""
        return self._asked.entries

    def wait_for(
        self, condition: int | Callable[[Sequence[Asked]], bool], timeout: float = MAX_WAIT
    ) -> tuple[Asked, ...]:
        """Return the requests as soon as there are that many, or as the condition holds for them."""
        return self._asked.wait_for(condition, timeout)

    def script(
        self,
        operation_id: str,
        *statuses: str | tuple[float, str],
        answers: Iterable[Answer] = (),
        always: Answer | None = None,
    ) -> None:
        """Script an operation from now on.

        Each status begins at an age in seconds, by default 0. Without statuses, the current life
        continues. The `answers` come first, one per request. Then `always`, if given, replaces the statuses.
        """
        life = tuple((0.0, each) if isinstance(each, str) else each for each in statuses)
        self._operations.script(operation_id, life, answers, always, None)

    def script_all(self, always: Answer | None, seconds: float | None = None) -> None:
        """Give every request for an operation the same answer, for a number of seconds or forever. None ends that."""
        self._operations.script_all(always, seconds)

    def list_by(self, rules: ListRules) -> None:
        """Answer lists of jobs by `rules` from now on."""
        self._syntheses.rules = rules

    def stop(self) -> None:
        """Stop serving. Delayed answers are sent at once."""
        self._stopping.set()
        self._server.stop(timeout=5)

    def _answer(self, request: Request) -> Response:
        if request.path.startswith("/fake-speech/"):
            return control(request, self._operations, self._syntheses, self._log).response()
        listed, asks_for = _LIST.fullmatch(request.path), _PATH.fullmatch(request.path)
        if listed and request.method == "GET":
            answer = self._refusal(request) or self._syntheses.answer_list(request, listed["path"])
            return self._recorded(request, "", answer).response()
        if asks_for is None or request.method not in _METHODS[asks_for["kind"]]:
            return fault(404, "NotFound", "Resource not found").response()
        path, wanted = asks_for["path"], asks_for["id"]
        if asks_for["kind"] == "batchsyntheses":
            answer = self._refusal(request, wanted) or self._syntheses.answer(request, path, wanted)
            return self._recorded(request, wanted, answer).response()
        self._notice_a_job_id(path, wanted)
        answer = self._recorded(request, wanted, self._judge(request, wanted))
        hold(request, answer.delay, self._stopping)
        return reset(request) if answer.reset else answer.response()

    def _log(self) -> Sequence[JsonValue]:
        return [_shown(each) for each in self.requests]

    def _recorded(self, request: Request, requested: str, answer: Answer) -> Answer:
        self._asked.add(_asked(request, requested, answer, self._clock()))
        return answer

    def _judge(self, request: Request, operation_id: str) -> Answer:
        for_all = self._operations.answer_for_all(operation_id)
        return for_all or self._refusal(request, operation_id) or self._operations.answer(operation_id)

    def _notice_a_job_id(self, path: str, requested: str) -> None:
        """Print a line at the first request for an operation with the id of a job."""
        operation_id = self._syntheses.operation_of(path, requested)
        if operation_id in (None, requested) or self._operations.knows(requested) or requested in self._confused:
            return
        self._confused.add(requested)
        self._say(
            f"{requested} is the id of a job, and was registered as an operation id. The real service returns 404 for "
            f"it. Register the operation of the job, {operation_id}: the PUT of the job returned it as Operation-Id."
        )

    def _refusal(self, request: Request, requested: str | None = None) -> Answer | None:
        """Return the answer to an invalid request or above the quota, or None for a valid one.

        A list has no requested id.
        """
        if request.headers.get("Ocp-Apim-Subscription-Key") != self.key:
            return named("wrong key (gateway)")
        if not request.args.get("api-version"):
            return fault(400, "BadRequest", "The api-version query parameter is required.")
        if requested is not None and not _ID.fullmatch(requested):
            return fault(400, "BadArgument", "The id is not valid.")
        wait = self._operations.wait_for_quota()
        return _throttled(wait) if wait else None


def _throttled(wait: float) -> Answer:
    """Return 429, like the real gateway: without the error's code in a header."""
    seconds = math.ceil(wait)
    message = f"Requests have exceeded call rate limit of your tier. Please retry after {seconds} seconds."
    body: JsonValue = {"error": {"code": "429", "message": message}}
    return Answer.of(body, status=429, headers={"Retry-After": str(seconds)})


def _asked(request: Request, operation_id: str, answer: Answer, now: float) -> Asked:
    return Asked(
        at=now,
        method=request.method,
        path=request.path,
        operation_id=operation_id,
        api_version=request.args.get("api-version"),
        answered=0 if answer.reset else answer.status,
        headers={name.lower(): value for name, value in request.headers.items()},
    )


def _shown(asked: Asked) -> dict[str, JsonValue]:
    """Convert a request for the control API, without the headers, which have the key."""
    return {name: value for name, value in asdict(asked).items() if name != "headers"}
