"""The messages about jobs, beside those about operations."""

import json
from typing import Any

import pytest

from bridge.domain.events import Addressee, Format, OperationCompleted, compose
from bridge.domain.ids import Kind
from bridge.domain.operation import ExpiredReason, Explanation, FinalStatus
from tests.support.factories import HOOK, NOON, OWNER, completed, operation, registration

FAILED = completed(
    FinalStatus.FAILED,
    kind=Kind.JOB,
    status="Failed",
    why=Explanation("X", "y"),
    created_at=NOON.replace(hour=10),
    ended_at=NOON.replace(hour=11),
)


def event(end: OperationCompleted, kind: Kind = Kind.JOB, format: Format = Format.STANDARD) -> dict[str, Any]:
    """Return the message about an end, as a receiver reads it."""
    to = Addressee(ref=registration("deck-1", kind=kind).ref, owner=OWNER, callback_url=HOOK)
    body: dict[str, Any] = json.loads(compose(end, to, metadata=None, generation=NOON, format=format).body)
    return body


def test_a_failed_job_has_its_times_and_its_error() -> None:
    """Neither an operation nor its id is part of the event."""
    body = event(FAILED)

    assert body["type"] == "avatar.job.failed"
    assert body["data"]["job"] == {
        "id": "deck-1",
        "status": "Failed",
        "createdAt": "2026-11-23T10:00:00.000Z",
        "endedAt": "2026-11-23T11:00:00.000Z",
        "error": {"code": "X", "message": "y"},
    }
    assert body["data"]["status"] == "Failed"
    assert body["data"]["registrationId"].startswith("default.jobs~deck-1~")
    assert not {"operationId", "operation", "error"} & body["data"].keys()


def test_an_expired_job_has_the_last_status_and_no_end() -> None:
    end = completed(FinalStatus.EXPIRED, kind=Kind.JOB, status="Running", reason=ExpiredReason.DEADLINE)

    body = event(end)

    assert (body["type"], body["data"]["status"], body["data"]["reason"]) == (
        "avatar.job.expired",
        "Expired",
        "deadline",
    )
    assert body["data"]["job"] == {
        "id": "deck-1",
        "status": "Running",
        "createdAt": None,
        "endedAt": None,
        "error": None,
    }


def test_events_of_an_operation_and_a_job_have_the_same_other_columns() -> None:
    """A receiver reads source, audience, subscriber and metadata alike."""
    job = event(completed(kind=Kind.JOB, path="texttospeech", status="Succeeded"))
    other = event(completed(path="texttospeech", status="Succeeded"), Kind.OPERATION)

    assert (job["type"], other["type"]) == ("texttospeech.job.succeeded", "texttospeech.operation.succeeded")
    assert job["data"].keys() - {"job"} == other["data"].keys() - {"operationId", "operation"}
    assert "job" not in other["data"]


def test_messages_about_an_operation_and_a_job_with_one_id_differ() -> None:
    bodies = {
        kind: compose(
            completed(kind=kind, status="Succeeded"),
            Addressee(ref=registration("deck-1", kind=kind).ref, owner=OWNER, callback_url=HOOK),
            metadata=None,
            generation=NOON,
        )
        for kind in Kind
    }

    assert bodies[Kind.JOB].id != bodies[Kind.OPERATION].id
    assert bodies[Kind.JOB].body != bodies[Kind.OPERATION].body


def test_a_cloudevent_about_a_job_has_its_id_as_subject() -> None:
    body = event(FAILED, format=Format.CLOUDEVENTS)

    assert (body["type"], body["subject"], body["source"]) == (
        "avatar.job.failed",
        "deck-1",
        "/speech-webhook-bridge/default",
    )
    assert body["data"] == event(FAILED)["data"]


@pytest.mark.parametrize("kind", Kind)
def test_a_later_registration_gets_the_same_event(kind: Kind) -> None:
    """The stored row has all that the event needs."""
    end = completed(
        FinalStatus.FAILED,
        kind=kind,
        status="Failed",
        why=Explanation("X", "y"),
        created_at=NOON,
        ended_at=NOON,
        polls=3,
        not_before=NOON,
    )
    stored = operation(
        "deck-1",
        kind=kind,
        status="Failed",
        final_status=FinalStatus.FAILED,
        finished_at=NOON,
        error=Explanation("X", "y"),
        created_at=NOON,
        ended_at=NOON,
        polls=3,
        seen_running_at=NOON,
    )

    assert OperationCompleted.of(stored, "avatar") == end
