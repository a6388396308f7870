"""Why an operation failed: what `BRIDGE_ENRICH=errors` adds to the event, and that it never costs the event."""

import json
from typing import Any

import pytest

from bridge.domain.ids import OperationRef
from bridge.domain.upstream import NoReply, NoToken, Reply
from tests.support.harness import Harness, harness

OPERATION = OperationRef("default", "operation-1")


def job(error: object, **more: object) -> Reply:
    """Write a job as the upstream shows it, with an output that nobody may see."""
    properties = {"error": error, **more}
    outputs = {"result": "https://results.example.com/0001.mp4?sig=secret"}
    body = {"id": "operation-1", "status": "Failed", "properties": properties, "outputs": outputs}
    return Reply(status=200, body=json.dumps(body).encode())


INVALID = {"code": "InvalidInput", "message": "The avatar is unknown."}


def failed(bridge: Harness) -> dict[str, Any]:
    """Let the operation fail, and return the data of its event."""
    bridge.register()
    bridge.upstream.tell("operation-1", "Failed")
    bridge.sweep()
    bridge.deliver_all()
    [posted] = bridge.sender.posted
    data: dict[str, Any] = json.loads(posted.body)["data"]
    return data


def test_failed_event_says_why() -> None:
    """In the upstream's words; its outputs are not passed on."""
    bridge = harness(BRIDGE_ENRICH="errors")
    bridge.upstream.jobs["operation-1"] = job(INVALID)

    data = failed(bridge)

    assert data["error"] == INVALID
    assert "sig" not in bridge.sender.posted[0].body.decode()
    assert bridge.upstream.failures_fetched == [OPERATION]


def test_who_registers_later_hears_why_too() -> None:
    """Without another request."""
    bridge = harness(BRIDGE_ENRICH="errors")
    bridge.upstream.jobs["operation-1"] = job(INVALID)
    failed(bridge)

    bridge.register("operation-1", "https://receiver.example.com/other")
    bridge.deliver_all()

    assert json.loads(bridge.sender.posted[1].body)["data"]["error"] == INVALID
    assert len(bridge.upstream.failures_fetched) == 1


def test_nobody_is_asked_why_unless_told_to() -> None:
    """It is off by default."""
    bridge = harness()

    data = failed(bridge)

    assert "error" not in data
    assert bridge.upstream.failures_fetched == []


@pytest.mark.parametrize("path", ["customvoice", "videotranslation"])
def test_a_sibling_without_jobs_is_not_asked(path: str) -> None:
    """Only avatar and text-to-speech have them."""
    bridge = harness(BRIDGE_ENRICH="errors", SPEECH_PATH=path)

    failed(bridge)

    assert bridge.upstream.failures_fetched == []


def test_success_is_not_explained() -> None:
    """There is nothing to say."""
    bridge = harness(BRIDGE_ENRICH="errors")
    bridge.register()
    bridge.upstream.tell("operation-1", "Succeeded")

    bridge.sweep()

    assert bridge.upstream.failures_fetched == []


@pytest.mark.parametrize(
    ("answer", "tries"),
    [
        (NoReply("timeout"), 2),
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
        (NoToken("no token"), 1),
        (Reply(status=429, retry_after="30"), 1),
    ],
)
def test_without_an_explanation_the_event_goes_out_all_the_same(answer: Reply | NoReply | NoToken, tries: int) -> None:
    """After two tries at the most; an answer that there is no job is believed at once."""
    bridge = harness(BRIDGE_ENRICH="errors")
    bridge.upstream.jobs["operation-1"] = answer

    data = failed(bridge)

    assert (data["status"], "error" in data) == ("Failed", False)
    assert len(bridge.upstream.failures_fetched) == tries


def test_a_bug_in_asking_costs_no_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is logged, and the event goes out."""

    def bug(_: OperationRef) -> Reply:
        raise RuntimeError

    bridge = harness(BRIDGE_ENRICH="errors")
    monkeypatch.setattr(bridge.upstream, "fetch_failure", bug)

    assert failed(bridge)["status"] == "Failed"


def test_a_429_of_the_job_stops_the_source() -> None:
    """It is the same quota."""
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
    """The credential was good for the operation a moment ago."""
    bridge = harness(BRIDGE_ENRICH="errors")
    bridge.upstream.jobs["operation-1"] = Reply(status=403)
    failed(bridge)
    bridge.register("operation-2")

    bridge.sweep()

    assert bridge.upstream.asked[-1].id == "operation-2"


def test_the_fetch_of_a_failure_is_within_the_budget() -> None:
    """With no token left, the event goes out without it."""
    bridge = harness(BRIDGE_ENRICH="errors", SPEECH_REQUESTS_PER_SECOND="0.1")
    bridge.upstream.jobs["operation-1"] = job(INVALID)

    data = failed(bridge)

    assert "error" not in data
    assert bridge.upstream.failures_fetched == []


def test_a_secret_in_the_upstream_s_words_is_left_out() -> None:
    """A signed URL in an error's message is one."""
    bridge = harness(BRIDGE_ENRICH="errors")
    message = "Cannot read https://account.blob.example.com/in.txt?sv=1&sig=secret, sorry."
    bridge.upstream.jobs["operation-1"] = job({"code": "InvalidInput", "message": message})

    error = failed(bridge)["error"]

    assert error["message"] == "Cannot read … sorry."


def test_a_refused_request_says_why() -> None:
    """With the upstream's code and message, as for any `Expired` that it refused."""
    bridge = harness()
    bridge.register()
    body = b'{"error": {"code": "BadRequest", "message": "Wrong api-version."}}'
    bridge.upstream.tell("operation-1", Reply(status=400, body=body))

    for wait in (60, 540, 0):
        bridge.sweep()
        bridge.clock.advance(wait)
    bridge.deliver_all()

    data = json.loads(bridge.sender.posted[0].body)["data"]
    assert (data["status"], data["reason"]) == ("Expired", "refused")
    assert data["error"] == {"code": "BadRequest", "message": "Wrong api-version."}


def test_an_operation_that_is_reopened_has_no_reason_any_more() -> None:
    """A final status of ours is not the last word."""
    bridge = harness()
    bridge.register()
    bridge.upstream.tell("operation-1", Reply(status=400, body=b'{"error": {"code": "BadRequest"}}'))
    for _ in range(3):
        bridge.sweep()
        bridge.clock.advance(60)

    bridge.register("operation-1", "https://receiver.example.com/other")

    assert bridge.aggregate().operation.record.why is None


@pytest.mark.parametrize(
    "said",
    [
        "HTTPS://account.blob.example.com/x?sig=SECRET",
        "https://user:SECRET@host/x",
        "read ?sv=1&sig=SECRET",
        "https://host/x#sig=SECRET",
        "x%3Fsig%3DSECRET",
        "https://host/?a='b&sig=SECRET'",
    ],
)
def test_no_secret_of_a_url_is_told(said: str) -> None:
    """However it is written."""
    bridge = harness(BRIDGE_ENRICH="errors")
    bridge.upstream.jobs["operation-1"] = job({"code": "InvalidInput", "message": said})

    assert "SECRET" not in failed(bridge)["error"]["message"]
