"""The fake Speech service."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import requests

from local.answer import Answer
from local.errors import LocalError
from local.upstream import DEFAULT_LIFE, Rules, Unknown, Upstream, status_at
from tests.local.fake_speech import KEY, Clock


def ask(upstream: Upstream, operation_id: str, path: str = "avatar") -> requests.Response:
    """Send a request like the bridge."""
    return requests.get(
        f"{upstream.endpoint}/{path}/operations/{operation_id}",
        params={"api-version": "2024-08-01"},
        headers={"Ocp-Apim-Subscription-Key": KEY},
        timeout=10,
    )


@pytest.mark.parametrize(
    ("age", "expected"), [(0, "NotStarted"), (2.9, "NotStarted"), (3, "Running"), (12, "Succeeded"), (999, "Succeeded")]
)
def test_default_life(age: float, expected: str) -> None:
    """NotStarted for 3 s, Running until 12 s, then Succeeded."""
    assert status_at(DEFAULT_LIFE, age) == expected


@pytest.mark.parametrize(("operation_id", "end"), [("some-op", "Succeeded"), ("will-Fail-1", "Failed")])
def test_unknown_operation_that_succeeds_lives_from_its_first_request_on(
    upstream: Upstream, clock: Clock, operation_id: str, end: str
) -> None:
    """The id determines the end."""
    statuses = []
    for seconds in (0, 5, 10):
        clock.now += seconds
        statuses.append(ask(upstream, operation_id).json())

    assert statuses == [{"id": operation_id, "status": status} for status in ("NotStarted", "Running", end)]


def test_ordered_statuses_appear_at_their_time(upstream: Upstream, clock: Clock) -> None:
    """The time counts from the order."""
    upstream.script("some-op", "Running", (60, "Canceled"))
    clock.now += 59
    before = ask(upstream, "some-op").json()["status"]
    clock.now += 1

    assert (before, ask(upstream, "some-op").json()["status"]) == ("Running", "Canceled")


def test_scripted_answers_are_given_once_each_before_any_status(upstream: Upstream) -> None:
    """Compared: status, headers and bytes."""
    throttled = Answer(status=429, headers={"Retry-After": "7"}, body=b"slow down")
    upstream.script("some-op", "Succeeded", answers=[throttled, Answer(status=503)])

    first, second, third = (ask(upstream, "some-op") for _ in range(3))

    assert (first.status_code, first.headers["Retry-After"], first.content) == (429, "7", b"slow down")
    assert (second.status_code, second.content) == (503, b"")
    assert "Content-Type" not in second.headers
    assert third.json()["status"] == "Succeeded"


@pytest.mark.parametrize("headers", [{}, {"Ocp-Apim-Subscription-Key": "wrong"}, {"Authorization": "Bearer x"}])
def test_wrong_key_is_a_401_of_the_gateway(upstream: Upstream, headers: dict[str, str]) -> None:
    """The body has the numeric code."""
    response = requests.get(f"{upstream.endpoint}/avatar/operations/some-op", headers=headers, timeout=10)

    assert response.status_code == 401
    assert response.json()["error"]["code"] == "401"
    assert upstream.requests[0].answered == 401


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/avatar/operations/some-op", 400),
        ("/avatar/operations/some-op?api-version=", 400),
        ("/avatar/operations/a?api-version=1", 400),
        ("/avatar/operations/-abc?api-version=1", 400),
        ("/avatar/operations/abc%0A?api-version=1", 400),
        (f"/avatar/operations/{'a' * 65}?api-version=1", 400),
        (f"/avatar/operations/{'a' * 64}?api-version=1", 200),
        ("/videotranslation/operations/some-op?api-version=1", 200),
        ("/avatar/batchsyntheses/some-op?api-version=1", 404),
        ("/avatar/batchsyntheses/a?api-version=1", 400),
        ("/avatar/batchsyntheses/some-op", 400),
        ("/operations/some-op?api-version=1", 404),
    ],
)
def test_request_is_checked(upstream: Upstream, path: str, expected: int) -> None:
    """Checked: api-version, id pattern and path."""
    headers = {"Ocp-Apim-Subscription-Key": KEY}

    assert requests.get(upstream.endpoint + path, headers=headers, timeout=10).status_code == expected


def test_requests_are_logged(upstream: Upstream, clock: Clock) -> None:
    """Tests can count requests."""
    ask(upstream, "some-op", path="texttospeech")

    (asked,) = upstream.wait_for(1)

    assert (asked.at, asked.path) == (clock.now, "/texttospeech/operations/some-op")
    assert (asked.operation_id, asked.api_version, asked.answered) == ("some-op", "2024-08-01", 200)
    assert asked.headers["ocp-apim-subscription-key"] == KEY


def test_log_over_http_has_no_key(upstream: Upstream) -> None:
    """The log can be shown to other people."""
    ask(upstream, "some-op")

    response = requests.get(f"{upstream.endpoint}/fake-speech/requests", timeout=10)

    assert [each["operation_id"] for each in response.json()] == ["some-op"]
    assert KEY not in response.text


def test_orders_are_accepted_over_http(upstream: Upstream) -> None:
    """The answers have the format of collected examples."""
    told = {
        "statuses": [[0, "Running"]],
        "answers": [{"name": "unknown status", "status": 200, "body": {"id": "some-op", "status": "Paused"}}],
    }

    response = requests.put(f"{upstream.endpoint}/fake-speech/operations/some-op", json=told, timeout=10)

    assert response.status_code == 204
    assert [ask(upstream, "some-op").json()["status"] for _ in range(2)] == ["Paused", "Running"]


@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        (b"", "Invalid JSON: "),
        (b"{", "Invalid JSON: "),
        (b"[]", "Input should be an object"),
        (b'{"statuses": 7}', "statuses: Input should be a valid array"),
        (b'{"answers": [{"status": "x"}]}', "status: Input should be a valid integer"),
        (b'{"answers": [{"staus": 9}]}', "an answer has one of: status, headers, body, text, delay, hang, reset"),
    ],
)
def test_an_invalid_order_is_a_400(upstream: Upstream, told: bytes, wrong: str) -> None:
    """The error has the problem and its place."""
    response = requests.put(f"{upstream.endpoint}/fake-speech/operations/some-op", data=told, timeout=10)

    assert response.status_code == 400
    assert wrong in response.json()["error"]["message"]


def test_stop_does_not_wait_for_delays() -> None:
    """A delayed answer is sent at the end."""
    statuses: list[Any] = []
    upstream = Upstream.start(key=KEY)
    upstream.script("some-op", "Running", answers=[Answer(status=500, delay=3600)])
    client = threading.Thread(target=lambda: statuses.append(ask_patiently(upstream)))
    client.start()
    upstream.wait_for(1)

    upstream.stop()

    client.join()
    assert statuses == [500]


def ask_patiently(upstream: Upstream) -> int:
    """Send a request and wait."""
    headers = {"Ocp-Apim-Subscription-Key": KEY}
    url = f"{upstream.endpoint}/avatar/operations/some-op?api-version=1"
    return requests.get(url, headers=headers, timeout=60).status_code


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"status": 204, "headers": {}, "text": ""}, Answer(status=204)),
        ({"text": "<html>"}, Answer(body=b"<html>")),
        (
            {"status": 500, "body": {"a": 1}, "delay": 2},
            Answer(status=500, headers={"Content-Type": "application/json"}, body=b'{"a": 1}', delay=2),
        ),
        ({"headers": {"Content-Type": "x"}, "body": [1]}, Answer(headers={"Content-Type": "x"}, body=b"[1]")),
    ],
)
def test_answers_are_read_from_json(told: dict[str, object], expected: Answer) -> None:
    """A JSON body is sent as JSON, and text is sent unchanged."""
    assert Answer.parse(json.loads(json.dumps(told))) == expected


WORK = {"inputs": [{"content": "Hello."}]}

LIKE_THE_SERVICE = Rules(unknown=Unknown.NOT_FOUND)


def submit(upstream: Upstream, job: str, **headers: str) -> str:
    """Submit a job, and return the id of its operation."""
    url = f"{upstream.endpoint}/avatar/batchsyntheses/{job}?api-version=2024-08-01"
    headers = {"Ocp-Apim-Subscription-Key": KEY, **{name.replace("_", "-"): text for name, text in headers.items()}}
    return requests.put(url, headers=headers, json=WORK, timeout=10).headers["Operation-Id"]


@pytest.mark.parametrize("operation_id", ["some-op", "some-job"])
def test_operation_that_was_neither_submitted_nor_described_is_not_found(operation_id: str) -> None:
    """However often it is requested, and also by the id of a job."""
    with Upstream.start(key=KEY, rules=LIKE_THE_SERVICE) as upstream:
        submit(upstream, "some-job")

        answers = [ask(upstream, operation_id) for _ in range(2)]

    assert [each.status_code for each in answers] == [404, 404]
    assert {each.headers["x-ms-error-code"] for each in answers} == {"NotFound"}


def test_operation_that_was_submitted_is_found() -> None:
    with Upstream.start(key=KEY, rules=LIKE_THE_SERVICE) as upstream:
        operation_id = submit(upstream, "some-job")

        answer = ask(upstream, operation_id)

    assert (answer.status_code, answer.json()) == (200, {"id": operation_id, "status": "NotStarted"})


@pytest.mark.parametrize("told", [{"statuses": ["Running"]}, {"answers": []}, {"always": None}])
def test_operation_that_was_described_is_found(told: dict[str, object]) -> None:
    """In Python or over HTTP, whatever was said of it."""
    with Upstream.start(key=KEY, rules=LIKE_THE_SERVICE) as upstream:
        requests.put(f"{upstream.endpoint}/fake-speech/operations/by-http", json=told, timeout=10)
        upstream.script("by-python")

        answers = [ask(upstream, "by-http"), ask(upstream, "by-python")]

    assert [each.status_code for each in answers] == [200, 200]


@pytest.mark.parametrize("unknown", list(Unknown))
def test_job_id_that_is_requested_as_an_operation_is_said_once(unknown: Unknown) -> None:
    """With the id to register, whatever such a request is answered."""
    output: list[str] = []
    with Upstream.start(key=KEY, rules=Rules(unknown=unknown), say=output.append) as upstream:
        operation_id = submit(upstream, "some-job")
        for _ in range(2):
            ask(upstream, "some-job")
            ask(upstream, operation_id)

    [line] = output
    assert line.startswith("some-job is the id of a job, and was registered as an operation id.")
    assert operation_id in line


@pytest.mark.parametrize("path", ["avatar", "texttospeech"])
def test_nothing_is_said_of_ids_that_are_no_mistake(path: str) -> None:
    """An operation with the id of its job, and a job of another API."""
    output: list[str] = []
    with Upstream.start(key=KEY, rules=LIKE_THE_SERVICE, say=output.append) as upstream:
        submit(upstream, "some-job", Operation_Id="some-job")
        submit(upstream, "other-job")
        ask(upstream, "some-job", path)
        ask(upstream, "other-job", "texttospeech")
        ask(upstream, "unknown-op", path)

    assert output == []


def test_jobs_and_operations_are_remembered_over_a_restart(tmp_path: Path) -> None:
    """What was submitted before goes on after, and so does what was described."""
    rules = Rules(unknown=Unknown.NOT_FOUND, state=tmp_path / "fake-speech.json")
    with Upstream.start(key=KEY, rules=rules) as before:
        operation_id = submit(before, "some-job")
        before.script("described", "Running", (0.0, "Canceled"))

    output: list[str] = []
    with Upstream.start(key=KEY, rules=rules, say=output.append) as after:
        statuses = [ask(after, each).json().get("status") for each in (operation_id, "described", "some-job")]
        again = requests.put(
            f"{after.endpoint}/avatar/batchsyntheses/some-job?api-version=2024-08-01",
            headers={"Ocp-Apim-Subscription-Key": KEY},
            json=WORK,
            timeout=10,
        )

    assert statuses[0] in {"NotStarted", "Running", "Succeeded"}
    assert statuses[1:] == ["Canceled", None]
    assert again.status_code == 409
    assert len(output) == 1


def test_state_that_is_no_state_is_refused_by_its_name(tmp_path: Path) -> None:
    state = tmp_path / "fake-speech.json"
    state.write_text('{"operations": [')

    with pytest.raises(LocalError, match=r"fake-speech\.json is not what the fake Speech service wrote: remove it\."):
        Upstream.start(key=KEY, rules=Rules(state=state))
