"""Findings of `doctor`, about a bridge and about the settings in the environment: fine, or with advice."""

import base64
import socket
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from azure.storage.queue import QueueClient

from bridge.adapters.azure.queue import DELIVERIES_QUEUE
from bridge.dependencies import real_clock
from local.azurite import Azurite
from local.upstream import Upstream
from local.upstream.catalogue import named
from tests.support.cli import Said, type_in
from tests.support.fake_bridge import Answer, FakeBridge, attempt, problem, registration
from tests.support.harness import NOON, SIGNING_KEY

DATE = {"Date": "Mon, 23 Nov 2026 12:00:00 GMT"}
ALIVE = (200, {"status": "ok"}, DATE)
SOURCE = {
    "name": "default",
    "endpoint": "https://speech.example.com",
    "path": "avatar",
    "apiVersion": "2024-08-01",
    "requestsPerSecond": 1.0,
    "highestRequestsPerSecond": 1.0,
    "stoppedUntil": None,
    "pausedUntil": None,
    "problem": None,
    "advice": None,
}
#: The status of a source that rejected the credential.
DENIED = {
    "problem": {"kind": "unauthorized", "detail": "HTTP 401"},
    "advice": "check SPEECH_KEY",
    "pausedUntil": "2026",
}


def status(**own: Any) -> tuple[int, Any]:
    """Return the answer of a healthy bridge, with the given changes."""
    well: dict[str, Any] = {"lastSweepAt": "2026-11-23T11:59:30.000Z", "oldestOverdueAt": None, "registrations": {}}
    return 200, {**well, "sources": [SOURCE], **own}


def examine(fake: FakeBridge, seconds: float = 0) -> dict[str, dict[str, Any]]:
    """Run `doctor` on a clock at noon plus `seconds`. Returns the findings by name."""
    fake.script("GET registrations", (200, {"value": [], "nextLink": None}))
    now = NOON + timedelta(seconds=seconds)
    output = type_in("doctor", "--json", environment=fake.environment, clock=lambda: now)
    looked_at = {each["name"]: each for each in output.json["examined"]}
    assert output.exit == (0 if output.json["healthy"] else 1)
    assert output.json["healthy"] is all(each["health"] != "bad" for each in looked_at.values())
    return looked_at


def test_a_healthy_bridge_has_no_bad_finding(fake: FakeBridge) -> None:
    fake.script("GET health", ALIVE)
    fake.script("GET status", status())

    found = examine(fake)

    assert {each["health"] for each in found.values()} == {"good"}
    names = ["bridge", "clock", "access", "last sweep", "overdue", "source default", "registrations"]
    assert list(found) == names


@pytest.mark.parametrize(
    ("seen", "name", "words", "do"),
    [
        ({"lastSweepAt": None}, "last sweep", "none yet: the timer does not run", "check BRIDGE_POLL_SCHEDULE"),
        ({"lastSweepAt": "2026-11-23T11:55:00.000Z"}, "last sweep", "300 s ago", "check BRIDGE_POLL_SCHEDULE"),
        (
            {
                "queue": {
                    "problem": "the queue refuses (AuthorizationFailure)",
                    "advice": "check roles",
                    "since": "2026",
                }
            },
            "queue",
            "the queue refuses (AuthorizationFailure), since 2026",
            "check roles",
        ),
        ({"oldestOverdueAt": "2026-11-23T11:50:00.000Z"}, "overdue", "600 s late", "raise BRIDGE_SWEEP_THREADS"),
        (
            {"sources": [SOURCE | {"stoppedUntil": "2026-11-23T12:01:00.000Z"}]},
            "source default",
            "throttled: no polls until 2026-11-23T12:01:00.000Z",
            "lower SPEECH_REQUESTS_PER_SECOND",
        ),
        (
            {"sources": [SOURCE | DENIED]},
            "source default",
            "refuses the bridge's credential (unauthorized: HTTP 401); paused until 2026",
            "check SPEECH_KEY",
        ),
    ],
)
def test_a_problem_in_the_status_is_a_bad_finding_with_an_explanation(
    fake: FakeBridge, seen: dict[str, Any], name: str, words: str, do: str
) -> None:
    fake.script("GET health", ALIVE)
    fake.script("GET status", status(**seen))

    found = examine(fake)

    assert [each for each in found if found[each]["health"] == "bad"] == [name]
    assert words in found[name]["text"]
    assert do in found[name]["do"]


@pytest.mark.parametrize(("seconds", "words"), [(45, "45 s ahead of the bridge's"), (-45, "45 s behind the bridge's")])
def test_a_clock_difference_is_a_bad_finding(fake: FakeBridge, seconds: float, words: str) -> None:
    """The comparison uses the Date header of an answer."""
    fake.script("GET health", ALIVE)
    fake.script("GET status", status())

    found = examine(fake, seconds)

    assert (found["clock"]["health"], words in found["clock"]["text"]) == ("bad", True)
    assert examine(fake, 30)["clock"]["health"] == "good"


@pytest.mark.parametrize(
    ("health", "answer", "name", "words"),
    [
        ((503, {"status": "misconfigured"}, DATE), (503, problem("Misconfigured", "…", ("SPEECH_KEY", "is not set"))),
         "settings", "SPEECH_KEY: is not set"),
        (ALIVE, (401, ""), "access", "HTTP 401"),
        ((404, "", DATE), (404, ""), "bridge", "HTTP 404 at"),
        (ALIVE, (503, problem("StorageUnavailable", "Storage does not answer.")), "access", "StorageUnavailable"),
    ],
)  # fmt: skip
def test_a_rejected_credential_ends_the_examination(
    fake: FakeBridge,
    health: Answer,
    answer: Answer,
    name: str,
    words: str,
) -> None:
    """The finding explains the missing ones and has advice."""
    fake.script("GET health", health)
    fake.script("GET status", answer)

    found = examine(fake)

    assert (found[name]["health"], words in found[name]["text"]) == ("bad", True)
    assert found[name]["do"]
    assert "last sweep" not in found


def test_an_unreachable_bridge_is_one_line_with_advice() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    output = type_in("doctor", environment={"BRIDGE_URL": f"http://127.0.0.1:{port}"})

    assert output.exit == 1
    assert f"http://127.0.0.1:{port} does not answer" in output.out
    assert "check that it runs, and BRIDGE_URL" in output.out


def test_the_same_problem_of_many_registrations_is_one_finding(fake: FakeBridge) -> None:
    """The finding has the number of sources and one example."""
    ids = [f"default~operation-{number}~0123456789abcdef" for number in range(3)]
    dead = [registration(each, state="dead", reason="exhausted", attempts=[attempt(error="tls")]) for each in ids]
    fake.script("GET health", ALIVE)
    fake.script("GET status", status())
    nothing: Answer = (200, {"value": [], "nextLink": None})
    fake.script("GET registrations", nothing, nothing, (200, {"value": dead, "nextLink": None}))
    for each in dead:
        fake.script(f"GET registrations/{each['id']}", (200, each))

    output = type_in("doctor", environment=fake.environment, clock=lambda: NOON)

    assert output.exit == 1
    assert output.out.count("the receiver's certificate") == 1
    assert f"(tls); 3 registrations, {ids[0]} for one" in output.out
    assert "the certificate with its whole chain" in output.out


def test_without_anything_to_examine_doctor_names_the_settings_to_set() -> None:
    """Either an address or settings."""
    output = type_in("doctor")

    assert (output.exit, output.err) == (2, "nothing to examine: set BRIDGE_URL, or the app's settings\n")


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """Yield a fake Speech endpoint."""
    with Upstream.start(key="right-key") as running:
        yield running


@pytest.fixture
def own(upstream: Upstream) -> Iterator[dict[str, str]]:
    """Yield the settings of an app, on storage without other users."""
    with Azurite.start() as azurite:
        yield {
            "AzureWebJobsStorage": azurite.connection_string,
            "SPEECH_ENDPOINT": upstream.endpoint,
            "SPEECH_KEY": upstream.key,
            "BRIDGE_SIGNING_KEYS": SIGNING_KEY,
            "BRIDGE_POLL_SCHEDULE": "*/10 * * * * *",
        }


def directly(own: dict[str, str], seconds: float = 0) -> Said:
    """Check the settings, on a clock that is off by `seconds`."""
    return type_in("doctor", environment=own, clock=lambda: real_clock() + timedelta(seconds=seconds))


def test_right_settings_have_no_bad_finding(own: dict[str, str], upstream: Upstream) -> None:
    """Works before the first sweep: the check creates nothing and sends one request."""
    output = directly(own)

    assert output.exit == 0, output.out
    assert "the first sweep will create the table" in output.out
    assert "accepts the credential" in output.out
    assert len(upstream.requests) == 1
    assert directly(own).out == output.out


def test_a_wrong_setting_is_named() -> None:
    """The value never appears."""
    output = directly({"AzureWebJobsStorage": "UseDevelopmentStorage=true", "BRIDGE_SIGNING_KEYS": "c2hvcnQ="})

    assert output.exit == 1
    named_settings = (
        "SPEECH_ENDPOINT: is not set",
        "BRIDGE_SIGNING_KEYS: each key has",
        "BRIDGE_POLL_SCHEDULE: is not",
    )
    assert [each for each in named_settings if each not in output.out] == []
    assert "c2hvcnQ=" not in output.out


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("wrong key (gateway)", ("refuses the bridge's credential (unauthorized: HTTP 401", "check SPEECH_KEY")),
        ("no role", ("refuses the bridge's credential (permission_denied: HTTP 403", "Cognitive Services Speech User")),
        ("throttled without a hint", ("HTTP 429", "lower SPEECH_REQUESTS_PER_SECOND")),
        ("bad request", ("HTTP 400", "check SPEECH_PATH and SPEECH_API_VERSION")),
        ("not JSON", ("HTTP 200 without a JSON object", "check SPEECH_ENDPOINT")),
    ],
)
def test_an_error_of_speech_is_explained(
    own: dict[str, str], upstream: Upstream, answer: str, words: tuple[str, str]
) -> None:
    """The explanation comes from the table that polls use."""
    upstream.script_all(named(answer))

    output = directly(own)

    assert output.exit == 1
    assert [each for each in words if each not in output.out] == []


def test_a_clock_difference_to_storage_is_a_bad_finding(own: dict[str, str]) -> None:
    """The comparison uses the Date header of storage."""
    output = directly(own, seconds=90)

    assert output.exit == 1
    assert "ahead of the storage account's" in output.out


def test_storage_that_rejects_the_key_is_a_bad_finding(own: dict[str, str]) -> None:
    """The key belongs to another account. The connection string never appears."""
    before, _, after = own["AzureWebJobsStorage"].partition("AccountKey=")
    other = base64.b64encode(b"another key").decode()
    changed = f"{before}AccountKey={other};{after.partition(';')[2]}"

    output = directly({**own, "AzureWebJobsStorage": changed})

    assert output.exit == 1
    assert "storage refuses the bridge" in output.out
    assert "check the account's key" in output.out
    assert other not in output.out


def test_messages_in_the_poison_queue_are_a_bad_finding(own: dict[str, str]) -> None:
    """Poison messages mean failures of the function, not of a receiver."""
    with QueueClient.from_connection_string(own["AzureWebJobsStorage"], f"{DELIVERIES_QUEUE}-poison") as queue:
        queue.create_queue()
        queue.send_message("lost")

    output = directly(own)

    assert output.exit == 1
    assert "1 messages failed five times" in output.out
