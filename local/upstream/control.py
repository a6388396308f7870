"""The control API of the fake Speech service, below `/fake-speech/`.

PUT    /fake-speech/operations/{id}   {"statuses": [[0, "Running"], [12, "Succeeded"]], "answers": ["not JSON"]}
PUT    /fake-speech/operations/{id}   {"always": "not found (from the schema)"}
PUT    /fake-speech/operations        {"always": "throttled with seconds", "seconds": 60}
DELETE /fake-speech/operations
PUT    /fake-speech/jobs              {"order": "shuffled", "drop": ["job-1"], "repeat": ["job-2"], "insert": 3,
                                       "nextLink": "same", "jobBytes": 2500}
DELETE /fake-speech/jobs
GET    /fake-speech/answers
GET    /fake-speech/requests
"""

from collections.abc import Callable, Sequence

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from werkzeug import Request

from local.answer import Answer
from local.errors import what_is_wrong
from local.upstream.catalogue import listed, named
from local.upstream.faults import fault
from local.upstream.listing import ListRules
from local.upstream.operations import Operations
from local.upstream.syntheses import Syntheses

_ALL = "/fake-speech/operations"
_ONE = "/fake-speech/operations/"
_JOBS = "/fake-speech/jobs"

#: The name or the definition of an answer.
_Told = str | dict[str, JsonValue]


class _ToldOfAll(BaseModel):
    """The body of `PUT /fake-speech/operations`."""

    model_config = ConfigDict(extra="forbid")

    always: _Told | None = None
    seconds: float | None = Field(None, gt=0)


class _ToldOfOne(_ToldOfAll):
    """The body of `PUT /fake-speech/operations/{id}`."""

    statuses: list[str | tuple[float, str]] = []
    answers: list[_Told] = []


def control(
    request: Request, operations: Operations, syntheses: Syntheses, requests: Callable[[], Sequence[JsonValue]]
) -> Answer:
    """Answer a request below `/fake-speech/`."""
    match request.method, request.path:
        case "GET", "/fake-speech/requests":
            return Answer.of(list(requests()))
        case "GET", "/fake-speech/answers":
            return Answer.of(listed())
        case "DELETE", path if path == _ALL:
            operations.script_all(None, None)
            return Answer(status=204)
        case "PUT" | "DELETE", path if path == _JOBS:
            return _tell_jobs(request, syntheses)
        case "PUT", path if path == _ALL or path.startswith(_ONE):
            return _tell(request, operations)
        case _:
            return fault(404, "NotFound", f"The fake Speech service knows:\n{__doc__}")


def _tell_jobs(request: Request, syntheses: Syntheses) -> Answer:
    try:
        is_put = request.method == "PUT"
        syntheses.rules = ListRules.model_validate_json(request.get_data()) if is_put else ListRules()
    except ValidationError as error:
        return fault(400, "BadRequest", what_is_wrong(error))
    return Answer(status=204)


def _tell(request: Request, operations: Operations) -> Answer:
    operation_id = request.path.removeprefix(_ALL).removeprefix("/")
    try:
        if not operation_id:
            all_told = _ToldOfAll.model_validate_json(request.get_data())
            operations.script_all(_answer(all_told.always), all_told.seconds)
            return Answer(status=204)
        told = _ToldOfOne.model_validate_json(request.get_data())
        answers = [_parsed(each) for each in told.answers]
        always = _answer(told.always)
    except ValidationError as error:
        return fault(400, "BadRequest", what_is_wrong(error))
    except ValueError as error:
        return fault(400, "BadRequest", str(error))
    life = tuple((0.0, each) if isinstance(each, str) else each for each in told.statuses)
    operations.script(operation_id, life, answers, always, told.seconds)
    return Answer(status=204)


def _answer(told: _Told | None) -> Answer | None:
    return None if told is None else _parsed(told)


def _parsed(told: _Told) -> Answer:
    """Parse an answer. Raises ValueError, or the subclass ValidationError, for an invalid one."""
    return named(told) if isinstance(told, str) else Answer.parse(told)
