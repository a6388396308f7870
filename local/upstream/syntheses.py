"""The batch API that starts operations: `PUT` and `GET /{path}/batchsyntheses/{id}`.

Requests and answers follow the public REST reference of `Batch Syntheses - Create` and `- Get`, as far as a client of
the bridge uses them. A second `PUT` of the same id is a 409, which the reference does not specify.
"""

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, JsonValue, TypeAdapter, ValidationError
from werkzeug import Request

from local.answer import Answer
from local.upstream.catalogue import named
from local.upstream.faults import fault
from local.upstream.kept import Kept
from local.upstream.operations import Operations

_SECTION = "jobs"


class _Wanted(BaseModel):
    """The required part of a submission."""

    inputKind: str = "PlainText"
    inputs: list[JsonValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Synthesis:
    """A submitted job."""

    #: The id of the job's operation.
    operation_id: str
    #: The format of the inputs.
    input_kind: str
    #: The time of the submission.
    created_at: datetime


_ENTRY = TypeAdapter(_Synthesis)


class Syntheses:
    """All submitted jobs, by path and id."""

    def __init__(self, operations: Operations, now: Callable[[], datetime], kept: Kept) -> None:
        self._operations = operations
        self._now = now
        self._kept = kept
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], _Synthesis] = {}
        for name, entry in kept.section(_SECTION).items():
            path, _, synthesis_id = name.rpartition("/")
            self._known[path, synthesis_id] = _ENTRY.validate_python(entry)

    def operation_of(self, path: str, synthesis_id: str) -> str | None:
        """Return the operation id of a job, or None if there is no such job."""
        synthesis = self._known.get((path, synthesis_id))
        return synthesis.operation_id if synthesis else None

    def answer(self, request: Request, path: str, synthesis_id: str) -> Answer:
        """Answer a request about a job."""
        if request.method == "PUT":
            return self._create(request, path, synthesis_id)
        synthesis = self._known.get((path, synthesis_id))
        return named("not found (from the schema)") if synthesis is None else self._shown(synthesis_id, synthesis)

    def _create(self, request: Request, path: str, synthesis_id: str) -> Answer:
        try:
            wanted = _Wanted.model_validate_json(request.get_data())
        except ValidationError:
            return named("bad request")
        operation_id = request.headers.get("Operation-Id") or str(uuid.uuid4())
        synthesis = _Synthesis(operation_id=operation_id, input_kind=wanted.inputKind, created_at=self._now())
        with self._lock:
            if self._known.setdefault((path, synthesis_id), synthesis) is not synthesis:
                return fault(409, "Conflict", "A synthesis with this id exists already.")
        self._operations.begin(operation_id)
        self._kept.add(_SECTION, f"{path}/{synthesis_id}", _ENTRY.dump_python(synthesis, mode="json"))
        version = request.args["api-version"]
        location = f"{request.host_url.rstrip('/')}/{path}/operations/{operation_id}?api-version={version}"
        return self._shown(
            synthesis_id,
            synthesis,
            status=201,
            headers={"Operation-Id": operation_id, "Operation-Location": location},
        )

    def _shown(
        self, synthesis_id: str, synthesis: _Synthesis, status: int = 200, headers: dict[str, str] | None = None
    ) -> Answer:
        """Return a job. Like in the real service, only this answer has the reason of a failure."""
        now = self._operations.status(synthesis.operation_id)
        error: JsonValue = {"code": "InvalidInput", "message": "The fake Speech service was set to fail this one."}
        body: dict[str, JsonValue] = {
            "id": synthesis_id,
            "status": now,
            "createdDateTime": _written(synthesis.created_at),
            "lastActionDateTime": _written(self._now()),
            "inputKind": synthesis.input_kind,
            "properties": {"error": error} if now == "Failed" else {},
        }
        if now == "Succeeded":
            body["outputs"] = {"result": f"https://results.invalid/{synthesis_id}/0001.mp4?sig=fake"}
        return Answer.of(body, status=status, headers=headers)


def _written(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
