"""The table of answers, row by row, from the fake Speech service over a real socket, on the test's clock."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from bridge.adapters.net.guard import Limits
from bridge.adapters.speech import SpeechService
from bridge.domain.operation import FinalStatus, Operation, PollErrorKind
from bridge.settings import Settings
from local.answer import Answer
from local.upstream import Upstream
from tests.support.harness import NOON, FakeClock, Harness, harness

pytestmark = pytest.mark.sockets

EXAMPLES = json.loads((Path(__file__).parents[1] / "facts" / "upstream-responses.json").read_text())

#: The result of each example as the first answer: the final status, or the seconds to the next poll and the kind of
#: the stored error.
COMES_OF: dict[str, FinalStatus | tuple[int, PollErrorKind | None]] = {
    "running (reference sample)": (15, None),
    "not started": (15, None),
    "succeeded (from the schema)": FinalStatus.SUCCEEDED,
    "failed (from the schema)": FinalStatus.FAILED,
    "canceled (video translation)": FinalStatus.CANCELED,
    "unknown status": (15, None),
    "other letter case": FinalStatus.SUCCEEDED,
    "status missing": (15, PollErrorKind.INVALID_RESPONSE),
    "another operation's id": (15, PollErrorKind.INVALID_RESPONSE),
    "not JSON": (15, PollErrorKind.INVALID_RESPONSE),
    "empty 204 for a job that does not exist": (5, PollErrorKind.NOT_FOUND),
    "bad request": (60, PollErrorKind.BAD_REQUEST),
    "bearer token on a regional host": (60, PollErrorKind.BAD_REQUEST),
    "wrong key (gateway)": (60, PollErrorKind.UNAUTHORIZED),
    "no role": (60, PollErrorKind.PERMISSION_DENIED),
    "not found (from the schema)": (5, PollErrorKind.NOT_FOUND),
    "throttled with seconds": (38, PollErrorKind.RATE_LIMITED),
    "throttled without a hint": (30, PollErrorKind.RATE_LIMITED),
    "flat 500 (sibling)": (15, PollErrorKind.SERVER_ERROR),
    "unavailable": (120, PollErrorKind.SERVICE_UNAVAILABLE),
}


@dataclass(frozen=True, slots=True)
class Wired:
    """A bridge that polls the fake Speech service over a real socket."""

    bridge: Harness
    upstream: Upstream

    def after(self, *answers: Answer) -> Operation:
        """Register an operation with these answers of the upstream, and poll once per answer when due."""
        self.bridge.register()
        self.upstream.script("operation-1", "Running", answers=answers)
        self.bridge.sweep()
        for _ in answers[1:]:
            self.bridge.clock.now = due(self.operation)
            self.bridge.sweep()
        assert len(self.upstream.requests) == len(answers)
        return self.operation

    @property
    def operation(self) -> Operation:
        """Read the operation."""
        return self.bridge.aggregate().operation.record


def submit(upstream: Upstream, name: str) -> None:
    """Submit a job, and give its id to the operation."""
    url = f"{upstream.endpoint}/avatar/batchsyntheses/{name}?api-version=2024-08-01"
    headers = {"Ocp-Apim-Subscription-Key": upstream.key, "Operation-Id": name}
    body = {"inputKind": "PlainText", "inputs": [{"content": "Hello."}]}
    requests.put(url, headers=headers, json=body, timeout=10).raise_for_status()


def due(operation: Operation) -> datetime:
    """Return the due time of an operation, from its due key."""
    return datetime.fromtimestamp(int(operation.due.split(":")[1]) / 1000, tz=NOON.tzinfo)


@pytest.fixture
def wired() -> Iterator[Wired]:
    """Serve a fake Speech service that uses the clock of the bridge."""
    clocks: list[FakeClock] = []
    with Upstream.start(clock=lambda: clocks[0]().timestamp()) as upstream:
        services: list[SpeechService] = []

        def real(settings: Settings, clock: FakeClock) -> SpeechService:
            clocks.append(clock)
            proof = {"Ocp-Apim-Subscription-Key": upstream.key}
            services.append(SpeechService(settings.sources, {"default": lambda: proof}, Limits(attempt=5)))
            return services[0]

        bridge = harness(upstream=real, SPEECH_ENDPOINT=upstream.endpoint)
        yield Wired(bridge, upstream)
        services[0].close()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["name"])
def test_each_known_answer_has_the_effect_of_the_table(wired: Wired, example: dict[str, Any]) -> None:
    """Either the operation ends, or the next poll is due and the last error is stored."""
    told = json.loads(json.dumps(example))
    if "id" in told.get("body", {}) and told["name"] != "another operation's id":
        told["body"]["id"] = "operation-1"

    operation = wired.after(Answer.parse(told))

    match COMES_OF[example["name"]]:
        case FinalStatus() as final_status:
            assert (operation.final_status, operation.last_error) == (final_status, None)
        case wait, error:
            assert operation.final_status is None
            assert due(operation) == NOON + timedelta(seconds=wait)
            assert (operation.last_error and operation.last_error.kind) == error


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer.parse({"hang": True}), PollErrorKind.TIMEOUT),
        (Answer.parse({"reset": True}), PollErrorKind.CONNECTION_CLOSED),
        (
            Answer(status=200, body=b'{"status": "Running", "x": "' + b"x" * 10_000_000 + b'"}'),
            PollErrorKind.INVALID_RESPONSE,
        ),
        (
            Answer(status=200, body=b'{"status": "Running"', headers={"Content-Encoding": "gzip"}),
            PollErrorKind.INVALID_RESPONSE,
        ),
        (
            Answer(status=302, headers={"Location": "/avatar/operations/other?api-version=1"}),
            PollErrorKind.INVALID_RESPONSE,
        ),
        (Answer(status=500, body=b"<html>maintenance</html>"), PollErrorKind.SERVER_ERROR),
    ],
    ids=["hangs", "is reset", "10 MB", "not what its encoding says", "redirect", "500 with HTML"],
)
def test_errors_in_a_row_double_the_wait(wired: Wired, answer: Answer, kind: PollErrorKind) -> None:
    """After the n-th error in a row, the wait is at least 2 s · 2ⁿ, here from 15 to 300 s."""
    wired.bridge.register()
    wired.upstream.script("operation-1", "Running", always=answer)
    waits = []
    for _ in range(10):
        wired.bridge.sweep()
        waits.append(due(wired.operation) - wired.bridge.clock())
        assert wired.operation.last_error is not None
        assert wired.operation.last_error.kind is kind
        wired.bridge.clock.now = due(wired.operation)

    assert [wait.total_seconds() for wait in waits] == [15, 15, 16, 32, 64, 128, 256, 300, 300, 300]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("output", "wait"),
    [
        ("38", 38),
        ("Mon, 23 Nov 2026 12:02:00 GMT", 120),
        ("31536000", 3600),
        ("Tue, 23 Nov 2027 12:00:00 GMT", 3600),
    ],
)
def test_the_source_pauses_for_the_time_of_its_answer(wired: Wired, status: int, output: str, wait: float) -> None:
    """The time is in seconds or a date, at most an hour. The operation is postponed without an error count."""
    operation = wired.after(Answer(status=status, headers={"Retry-After": output}))

    assert due(operation) == NOON + timedelta(seconds=wait)
    wired.bridge.register("operation-2")
    wired.bridge.clock.advance(wait - 1)
    wired.bridge.sweep()
    assert len(wired.upstream.requests) == 1
    wired.bridge.clock.advance(1)
    wired.bridge.sweep()
    # The throttled operation is polled after the other one, since the 429 may concern this operation alone.
    assert [each.operation_id for each in list(wired.upstream.requests)[1:]] == ["operation-2"]
    wired.bridge.sweep()
    assert [each.operation_id for each in list(wired.upstream.requests)[2:]] == ["operation-1"]


@pytest.mark.parametrize("output", ["-5", "Mon, 23 Nov 2026 11:00:00 GMT", "soon", "", "1e9", "١٢"])
def test_a_429_without_a_future_time_pauses_the_source_for_30_seconds(wired: Wired, output: str) -> None:
    """The pause is 30 s. Times in the past or below zero are ignored."""
    headers = {"Retry-After": output.encode().decode("latin-1")}
    operation = wired.after(Answer(status=429, headers=headers))

    assert due(operation) == NOON + timedelta(seconds=30)


def test_an_operation_is_absent_after_ten_minutes(wired: Wired) -> None:
    """Polls follow after 5, 15 and 60 s, then every 5 min. 404 and 204 count alike."""
    absent = [Answer(status=404), Answer(status=204)] * 3

    operation = wired.after(*absent)

    assert [each.at - NOON.timestamp() for each in wired.upstream.requests] == [0, 5, 20, 80, 380, 600]
    assert (operation.final_status, operation.reason) == (FinalStatus.EXPIRED, "notFound")


def test_an_operation_is_rejected_after_three_answers(wired: Wired) -> None:
    """The answers last for 10 minutes. The receivers get the upstream's code and message."""
    refused = Answer.of({"error": {"code": "BadRequest", "message": "No."}}, status=400)

    operation = wired.after(refused, refused, refused)

    assert [each.at - NOON.timestamp() for each in wired.upstream.requests] == [0, 60, 600]
    assert (operation.final_status, operation.reason) == (FinalStatus.EXPIRED, "refused")
    wired.bridge.deliver_all()
    assert json.loads(wired.bridge.sender.posted[0].body)["data"]["error"] == {"code": "BadRequest", "message": "No."}


def test_the_deadline_ends_in_one_last_poll(wired: Wired) -> None:
    """The last poll is at exactly 24 h. Without a final status, the operation expires."""
    wired.bridge.register()
    wired.upstream.script("operation-1", "Running")
    wired.bridge.clock.advance(timedelta(hours=24) - timedelta(seconds=7))
    wired.bridge.sweep()
    assert due(wired.operation) == NOON + timedelta(hours=24)

    wired.bridge.clock.now = due(wired.operation)
    wired.bridge.sweep()

    assert (wired.operation.final_status, wired.operation.reason) == (FinalStatus.EXPIRED, "deadline")
    assert len(wired.upstream.requests) == 2


def test_the_reason_of_a_failure_is_fetched_from_the_job() -> None:
    """The operation's id is the job's id. The job's output is not passed on."""
    with Upstream.start() as upstream:
        proof = {"Ocp-Apim-Subscription-Key": upstream.key}

        def real(settings: Settings, _: FakeClock) -> SpeechService:
            return SpeechService(settings.sources, {"default": lambda: proof})

        bridge = harness(upstream=real, SPEECH_ENDPOINT=upstream.endpoint, BRIDGE_ENRICH="errors")
        submit(upstream, "operation-1")
        upstream.script("operation-1", "Failed")
        bridge.register()

        bridge.sweep()
        bridge.deliver_all()

        assert [each.path for each in upstream.requests if each.method == "GET"] == [
            "/avatar/operations/operation-1",
            "/avatar/batchsyntheses/operation-1",
        ]
        error = json.loads(bridge.sender.posted[0].body)["data"]["error"]
        assert error == {"code": "InvalidInput", "message": "The fake Speech service was set to fail this one."}
