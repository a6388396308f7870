"""The batch API that starts operations: `PUT`, `GET` and `DELETE /{path}/batchsyntheses/{id}`, and the list of jobs.

Requests and answers follow the public REST reference of `Batch Syntheses`, as far as a client of the bridge uses them.
A second `PUT` of the same id is a 409, which the reference does not specify.
"""

import json
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import BaseModel, Field, JsonValue, TypeAdapter, ValidationError
from werkzeug import Request

from local.answer import Answer
from local.upstream.catalogue import named
from local.upstream.faults import fault
from local.upstream.kept import Kept
from local.upstream.listing import LARGEST_PAGE, ListRules, link_to_next, page_of
from local.upstream.operations import Operations

_SECTION = "jobs"


class _Wanted(BaseModel):
    """The required part of a submission."""

    inputKind: str = "PlainText"
    inputs: list[JsonValue]


class _Page(BaseModel):
    """The query of a list."""

    skip: Annotated[int, Field(ge=0)] = 0
    maxpagesize: Annotated[int, Field(ge=1, le=LARGEST_PAGE)] = LARGEST_PAGE


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
        #: How lists are answered, and the number of pages so far.
        self.rules = ListRules()
        self._pages = 0
        for name, entry in kept.section(_SECTION).items():
            path, _, synthesis_id = name.rpartition("/")
            self._known[path, synthesis_id] = _ENTRY.validate_python(entry)

    def operation_of(self, path: str, synthesis_id: str) -> str | None:
        """Return the operation id of a job, or None if there is no such job."""
        synthesis = self._known.get((path, synthesis_id))
        return synthesis.operation_id if synthesis else None

    def answer(self, request: Request, path: str, synthesis_id: str) -> Answer:
        """Answer a request about one job."""
        if request.method == "PUT":
            return self._create(request, path, synthesis_id)
        synthesis = self._known.get((path, synthesis_id))
        if synthesis is None:
            return named("not found (from the schema)")
        if request.method == "DELETE":
            with self._lock:
                self._known.pop((path, synthesis_id), None)
            self._kept.remove(_SECTION, f"{path}/{synthesis_id}")
            return Answer(status=204)
        return Answer.of(self._shown(synthesis_id, synthesis))

    def answer_list(self, request: Request, path: str) -> Answer:
        """Answer a request for a page of jobs."""
        try:
            wanted = _Page.model_validate(request.args.to_dict())
        except ValidationError:
            return fault(400, "BadArgument", "skip or maxpagesize is not valid.")
        with self._lock:
            jobs = {job_id: each for (of_path, job_id), each in self._known.items() if of_path == path}
            self._pages += 1
            seed, rules = self._pages, self.rules
        created = [(each.created_at, job_id) for job_id, each in jobs.items()]
        page = page_of(created, rules, skip=wanted.skip, size=wanted.maxpagesize, seed=seed)
        body: dict[str, JsonValue] = {
            "value": [_padded(self._shown(job_id, jobs[job_id]), rules.job_bytes) for job_id in page.ids]
        }
        if page.has_next:
            version = request.args["api-version"]
            body["nextLink"] = link_to_next(
                request.host_url, path, rules, skip=wanted.skip, size=wanted.maxpagesize, version=version
            )
        for number in range(rules.insert):
            self._add(path, f"inserted-{seed}-{number}", _Wanted(inputs=[]).inputKind, str(uuid.uuid4()))
        return Answer.of(body)

    def _add(self, path: str, synthesis_id: str, input_kind: str, operation_id: str) -> _Synthesis | None:
        """Add a job, and begin its operation. Returns None if there is a job with this id."""
        synthesis = _Synthesis(operation_id=operation_id, input_kind=input_kind, created_at=self._now())
        with self._lock:
            if self._known.setdefault((path, synthesis_id), synthesis) is not synthesis:
                return None
        self._operations.begin(operation_id)
        self._kept.add(_SECTION, f"{path}/{synthesis_id}", _ENTRY.dump_python(synthesis, mode="json"))
        return synthesis

    def _create(self, request: Request, path: str, synthesis_id: str) -> Answer:
        try:
            wanted = _Wanted.model_validate_json(request.get_data())
        except ValidationError:
            return named("bad request")
        operation_id = request.headers.get("Operation-Id") or str(uuid.uuid4())
        synthesis = self._add(path, synthesis_id, wanted.inputKind, operation_id)
        if synthesis is None:
            return fault(409, "Conflict", "A synthesis with this id exists already.")
        version = request.args["api-version"]
        location = f"{request.host_url.rstrip('/')}/{path}/operations/{operation_id}?api-version={version}"
        headers = {"Operation-Id": operation_id, "Operation-Location": location}
        return Answer.of(self._shown(synthesis_id, synthesis), status=201, headers=headers)

    def _shown(self, synthesis_id: str, synthesis: _Synthesis) -> dict[str, JsonValue]:
        """Return a job. Like in the real service, only a job has the reason of a failure, and the exact end."""
        status, age = self._operations.status_and_age(synthesis.operation_id)
        error: JsonValue = {"code": "InvalidInput", "message": "The fake Speech service was set to fail this one."}
        shown: dict[str, JsonValue] = {
            "id": synthesis_id,
            "status": status,
            "createdDateTime": _written(synthesis.created_at),
            "lastActionDateTime": _written(max(synthesis.created_at, self._now() - timedelta(seconds=age))),
            "inputKind": synthesis.input_kind,
            "properties": {"timeToLiveInHours": 744} | ({"error": error} if status == "Failed" else {}),
        }
        if status == "Succeeded":
            shown["outputs"] = {"result": f"https://results.invalid/{synthesis_id}/0001.mp4?sig=fake"}
        return shown


def _padded(job: dict[str, JsonValue], least: int) -> JsonValue:
    """Lengthen a job by a description, as clients write long ones."""
    missing = least - len(json.dumps(job))
    return {**job, "description": "x" * missing} if missing > 0 else job


def _written(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
