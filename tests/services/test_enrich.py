"""The reason of a failed operation, which `BRIDGE_ENRICH=errors` adds to events. Errors there never cost the event."""

import json
from typing import Any

import pytest

from bridge.domain.ids import OperationRef
from bridge.domain.upstream import NoReply, Reply
from tests.support.harness import Harness, harness
from tests.support.poll_errors import NO_TOKEN, TIMED_OUT

OPERATION = OperationRef("default", "operation-1")


def job(error: object, **more: object) -> Reply:
    """Return a job in the upstream's format, with a secret output."""
    properties = {"error": error, **more}
    outputs = {"result": "https://results.example.com/0001.mp4?sig=secret"}
    body = {"id": "operation-1", "status": "Failed", "properties": properties, "outputs": outputs}
    return Reply(status=200, body=json.dumps(body).encode())


INVALID = {"code": "InvalidInput", "message": "The avatar is unknown."}


def failed(bridge: Harness) -> dict[str, Any]:
    """Fail the operation and return the data of the event."""
    bridge.register()
    bridge.upstream.script("operation-1", "Failed")
    bridge.sweep()
    bridge.deliver_all()
    [posted] = bridge.sender.posted
    data: dict[str, Any] = json.loads(posted.body)["data"]
    return data


def test_failed_event_has_the_reason() -> None:
    """The text is the upstream's. Outputs are omitted."""
    bridge = harness(BRIDGE_ENRICH="errors")
    bridge.upstream.jobs["operation-1"] = job(INVALID)

    data = failed(bridge)

    assert data["error"] == INVALID
    assert "sig" not in bridge.sender.posted[0].body.decode()
    assert bridge.upstream.failures_fetched == [OPERATION]


def test_later_registrations_get_the_reason_too() -> None:
    """No further request is made."""
    bridge = harness(BRIDGE_ENRICH="errors")
    bridge.upstream.jobs["operation-1"] = job(INVALID)
    failed(bridge)

    bridge.register("operation-1", "https://receiver.example.com/other")
    bridge.deliver_all()

    assert json.loads(bridge.sender.posted[1].body)["data"]["error"] == INVALID
    assert len(bridge.upstream.failures_fetched) == 1


def test_no_reason_is_fetched_by_default() -> None:
    """The default is off."""
    bridge = harness()

    data = failed(bridge)

    assert "error" not in data
    assert bridge.upstream.failures_fetched == []


@pytest.mark.parametrize("path", ["customvoice", "videotranslation"])
def test_an_api_without_jobs_gets_no_further_request(path: str) -> None:
    """Only avatar and text-to-speech have jobs."""
    bridge = harness(BRIDGE_ENRICH="errors", SPEECH_PATH=path)

    failed(bridge)

    assert bridge.upstream.failures_fetched == []


def test_success_is_not_explained() -> None:
    """A success has no reason."""
    bridge = harness(BRIDGE_ENRICH="errors")
    bridge.register()
    bridge.upstream.script("operation-1", "Succeeded")

    bridge.sweep()

    assert bridge.upstream.failures_fetched == []


@pytest.mark.parametrize(
    ("answer", "tries"),
    [
        (TIMED_OUT, 2),
        (Reply(status=500), 2),
        (Reply(status=200, body=b"<html>"), 2),
        (job(None), 2),
        (job("text"), 2),
        (job({"code": 7, "message": []}), 2),
        (job({}), 2),
        (Reply(status=200, body=b'{"id": "another", "status": "Failed"}'), 2),
        (Reply(status=200, body=b'{"id": "another", "status": "Failed", "properties": {"error": {"code": "X"}}}'), 2),
        (Reply(status=404), 1),
        (Reply(status=400), 1),
        (Reply(status=401), 1),
        (NO_TOKEN, 1),
        (Reply(status=429, retry_after="30"), 1),
    ],
)
def test_the_event_is_sent_without_a_reason_too(answer: Reply | NoReply, tries: int) -> None:
    """There are at most two tries. A 404 of the job ends the tries at once."""
    bridge = harness(BRIDGE_ENRICH="errors")
    bridge.upstream.jobs["operation-1"] = answer

    data = failed(bridge)

    assert (data["status"], "error" in data) == ("Failed", False)
    assert len(bridge.upstream.failures_fetched) == tries


def test_a_bug_in_fetching_the_reason_costs_no_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is logged, and the event is sent."""

    def bug(_: OperationRef) -> Reply:
        raise RuntimeError

    bridge = harness(BRIDGE_ENRICH="errors")
    monkeypatch.setattr(bridge.upstream, "fetch_failure", bug)

    assert failed(bridge)["status"] == "Failed"


def test_a_429_of_the_job_pauses_the_source() -> None:
    """Both use the same quota."""
    bridge = harness(BRIDGE_ENRICH="errors")
    bridge.upstream.jobs["operation-1"] = Reply(status=429, retry_after="30")
    failed(bridge)
    bridge.register("operation-2")
    asked = len(bridge.upstream.asked)

    bridge.clock.advance(20)
    bridge.sweep()
    assert len(bridge.upstream.asked) == asked
    bridge.clock.advance(11)
    bridge.sweep()
    assert len(bridge.upstream.asked) == asked + 1


def test_a_denied_job_does_not_pause_the_source() -> None:
    """The credential was valid for the operation a moment ago."""
    bridge = harness(BRIDGE_ENRICH="errors")
    bridge.upstream.jobs["operation-1"] = Reply(status=403)
    failed(bridge)
    bridge.register("operation-2")

    bridge.sweep()

    assert bridge.upstream.asked[-1].id == "operation-2"


def test_the_fetch_of_a_failure_is_within_the_budget() -> None:
    """Without a token, the event is sent without the reason."""
    bridge = harness(BRIDGE_ENRICH="errors", SPEECH_REQUESTS_PER_SECOND="0.1")
    bridge.upstream.jobs["operation-1"] = job(INVALID)

    data = failed(bridge)

    assert "error" not in data
    assert bridge.upstream.failures_fetched == []


def test_a_secret_in_the_upstream_s_words_is_left_out() -> None:
    """An example is a signed URL in an error message."""
    bridge = harness(BRIDGE_ENRICH="errors")
    message = "Cannot read https://account.blob.example.com/in.txt?sv=1&sig=secret, sorry."
    bridge.upstream.jobs["operation-1"] = job({"code": "InvalidInput", "message": message})

    error = failed(bridge)["error"]

    assert error["message"] == "Cannot read … sorry."


def test_a_rejected_request_has_the_reason() -> None:
    """The event has the upstream's code and message, like any `Expired` event after a rejection."""
    bridge = harness()
    bridge.register()
    body = b'{"error": {"code": "BadRequest", "message": "Wrong api-version."}}'
    bridge.upstream.script("operation-1", Reply(status=400, body=body))

    for wait in (60, 540, 0):
        bridge.sweep()
        bridge.clock.advance(wait)
    bridge.deliver_all()

    data = json.loads(bridge.sender.posted[0].body)["data"]
    assert (data["status"], data["reason"]) == ("Expired", "refused")
    assert data["error"] == {"code": "BadRequest", "message": "Wrong api-version."}


def test_a_reopened_operation_has_no_reason() -> None:
    """An expired operation can still end."""
    bridge = harness()
    bridge.register()
    bridge.upstream.script("operation-1", Reply(status=400, body=b'{"error": {"code": "BadRequest"}}'))
    for _ in range(3):
        bridge.sweep()
        bridge.clock.advance(60)

    bridge.register("operation-1", "https://receiver.example.com/other")

    assert bridge.aggregate().operation.record.error is None


@pytest.mark.parametrize(
    "output",
    [
        "HTTPS://account.blob.example.com/x?sig=SECRET",
        "https://user:SECRET@host/x",
        "read ?sv=1&sig=SECRET",
        "https://host/x#sig=SECRET",
        "x%3Fsig%3DSECRET",
        "https://host/?a='b&sig=SECRET'",
    ],
)
def test_no_secret_of_a_url_is_passed_on(output: str) -> None:
    """Covers every notation."""
    bridge = harness(BRIDGE_ENRICH="errors")
    bridge.upstream.jobs["operation-1"] = job({"code": "InvalidInput", "message": output})

    assert "SECRET" not in failed(bridge)["error"]["message"]
