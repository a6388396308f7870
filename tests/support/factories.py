"""Plain records for tests of pure functions. No app, no settings and no storage."""

import json
from datetime import UTC, datetime
from typing import Any

from bridge.domain.callback_url import CallbackRules, normalise
from bridge.domain.events import OperationCompleted
from bridge.domain.ids import Kind, OperationRef, RegistrationRef
from bridge.domain.operation import FinalStatus, Operation
from bridge.domain.registration import Registration
from bridge.domain.upstream import Reply, Source

#: The time of the records.
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

OWNER = "shared"
HOOK = "https://receiver.example.com/hook"


#: Rules that allow the URLs of most tests.
RULES = CallbackRules(allow_http=True, allowed_ports=None)


def registration(
    operation_id: str = "operation-1",
    url: str = HOOK,
    *,
    kind: Kind = Kind.OPERATION,
    owner: str = OWNER,
    at: datetime = NOON,
    rules: CallbackRules = RULES,
    **columns: Any,
) -> Registration:
    """Return a registration that waits since `at`, with the columns that differ from it."""
    callback_url = normalise(url, rules)
    waiting: dict[str, Any] = {"events": tuple(FinalStatus), "since": at, "generation": at}
    return Registration(
        ref=RegistrationRef.of(OperationRef("default", operation_id, kind), owner=owner, callback_url=callback_url),
        owner=owner,
        callback_url=callback_url,
        **{**waiting, **columns},
    )


def operation(operation_id: str = "operation-1", *, kind: Kind = Kind.OPERATION, **columns: Any) -> Operation:
    """Return an operation that was registered at NOON, with the columns that differ from it."""
    return Operation(ref=OperationRef("default", operation_id, kind), **{"registered_at": NOON, "due": "", **columns})


def completed(final_status: FinalStatus = FinalStatus.SUCCEEDED, **columns: Any) -> OperationCompleted:
    """Return the end of an avatar operation, seen at NOON, with the columns that differ from it."""
    seen: dict[str, Any] = {
        "path": "avatar",
        "observed_at": NOON,
        "not_before": None,
        "reason": None,
        "body": None,
    }
    return OperationCompleted(final_status=final_status, **{**seen, **columns})


def source(endpoint: str = "https://speech.example.com", **columns: Any) -> Source:
    """Return the default source, with the columns that differ from it."""
    return Source(endpoint=endpoint, **{"name": "default", "path": "avatar", "api_version": "2024-08-01", **columns})


#: Part of each secret in an answer about a job.
JOB_SECRET = "canary-of-the-job"

_SIGNED_URL = f"https://results.example.com/{JOB_SECRET}.mp4?sv=2024-08-04&se=2026-11-26&sig={JOB_SECRET}%3D"


def job_reply(
    job_id: str,
    status: str,
    *,
    created_at: datetime | None = None,
    ended_at: datetime | None = None,
    error: object = None,
) -> Reply:
    """Return an answer about a job, in the format of the reference, with secrets where a job has secrets."""
    body = {
        "id": job_id,
        "status": status,
        "createdDateTime": None if created_at is None else f"{created_at:%Y-%m-%dT%H:%M:%S.%f}4Z",
        "lastActionDateTime": None if ended_at is None else f"{ended_at:%Y-%m-%dT%H:%M:%S.%f}4",
        "inputKind": "PlainText",
        "properties": {"timeToLiveInHours": 744, "destinationContainerUrl": _SIGNED_URL, "error": error},
        "outputs": {"result": _SIGNED_URL, "summary": f"{JOB_SECRET}/summary.json"},
    }
    return Reply(status=200, body=json.dumps(body).encode())
