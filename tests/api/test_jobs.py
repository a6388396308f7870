"""Answers about jobs: the same as about operations, and never mixed with them."""

from datetime import timedelta

import pytest

from bridge.api.handlers import Handlers
from bridge.domain.ids import Kind
from bridge.domain.upstream import Reply
from tests.support.harness import Harness
from tests.support.http import Answer, Client

HOOK = "https://hooks.example.com/avatar"


def _register(client: Client, **named: str) -> Answer:
    return client.register({"callbackUrl": HOOK, **named})


def test_an_answer_about_a_job_has_the_job_in_place_of_the_operation(bridge: Harness) -> None:
    client = Client.of(bridge)

    created = _register(client, jobId="deck-1")
    read = client.call(Handlers.read_registration, "/registrations/x", id=created.body["id"])
    listed = client.call(Handlers.list_registrations, "/registrations")

    for shown in (created.body, read.body, *listed.body["value"]):
        assert "operation" not in shown
        assert (shown["job"]["id"], shown["job"]["source"]) == ("deck-1", "default")
    assert (read.body["job"]["createdAt"], read.body["job"]["endedAt"]) == (None, None)
    assert "hint" not in read.body["job"]


def test_a_job_and_an_operation_with_the_same_id_are_shown_apart(bridge: Harness) -> None:
    client = Client.of(bridge)
    job, operation = _register(client, jobId="deck-1"), _register(client, operationId="deck-1")

    by_job = client.call(Handlers.list_registrations, "/registrations?jobId=deck-1")
    by_operation = client.call(Handlers.list_registrations, "/registrations?operationId=deck-1")
    shown_job = client.call(Handlers.read_job, "/jobs/deck-1", id="deck-1")
    shown_operation = client.call(Handlers.read_operation, "/operations/deck-1", id="deck-1")

    assert "job" not in operation.body
    assert [each["id"] for each in by_job.body["value"]] == [job.body["id"]]
    assert [each["id"] for each in by_operation.body["value"]] == [operation.body["id"]]
    assert [each["id"] for each in shown_job.body["registrations"]] == [job.body["id"]]
    assert [each["id"] for each in shown_operation.body["registrations"]] == [operation.body["id"]]


def test_an_operation_is_not_read_as_a_job(bridge: Harness) -> None:
    client = Client.of(bridge)
    _register(client, operationId="deck-1")

    assert client.call(Handlers.read_job, "/jobs/deck-1", id="deck-1").status == 404


def test_a_list_by_operation_and_job_is_refused(bridge: Harness) -> None:
    answered = Client.of(bridge).call(Handlers.list_registrations, "/registrations?jobId=deck-1&operationId=deck-1")

    assert (answered.status, answered.targets) == (400, ["jobId"])


@pytest.mark.parametrize(
    ("knows_job", "hint"),
    [
        (False, "The id may be that of a job: register it as jobId."),
        (True, "The id is that of a job, which is registered here: register it as jobId."),
    ],
)
def test_an_unknown_operation_has_a_hint_from_the_first_404_on(bridge: Harness, knows_job: bool, hint: str) -> None:
    client = Client.of(bridge)
    bridge.upstream.script("deck-1", Reply(status=404))
    created = _register(client, operationId="deck-1")
    if knows_job:
        bridge.upstream.script("deck-1", "Running", kind=Kind.JOB)
        _register(client, jobId="deck-1")

    bridge.clock.advance(timedelta(minutes=1))
    bridge.sweep()
    by_id = client.call(Handlers.read_registration, "/registrations/x", id=created.body["id"])
    by_operation = client.call(Handlers.read_operation, "/operations/deck-1", id="deck-1")

    assert created.body["operation"]["hint"] is None
    assert by_id.body["operation"]["hint"] == hint
    assert by_operation.body["hint"] == hint
