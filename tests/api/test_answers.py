"""Answers to clients, in normal operation and during faults."""

import json
import logging

import azure.functions as func
import pytest
from standardwebhooks import Webhook

from bridge import __version__
from bridge.api.handlers import Handlers
from bridge.app import App
from bridge.domain.events import subscriber_of
from bridge.storage.table import ANY, Insert, Merge, Transaction
from tests.support.faults import CHANGE, faulty
from tests.support.harness import ENVIRONMENT, Harness, harness
from tests.support.http import BASE, Client, route_of
from tests.support.poll_errors import UNRESOLVED

GOOD = {
    "operationId": "operation-1",
    "callbackUrl": "https://receiver.example.com/hook?token=secret",
    "metadata": {"video": "intro"},
}


def test_a_registration_is_answered_with_every_field(bridge: Harness) -> None:
    """The answer has each field, and the signing secret."""
    created = Client.of(bridge).register(GOOD)

    secret, subscriber = created.body.pop("signingSecret"), created.body.pop("subscriber")
    public_id = created.body["id"]
    assert created.status == 201
    assert created.headers["Location"] == f"{BASE}/registrations/{public_id}"
    assert secret.startswith("whsec_")
    assert subscriber == subscriber_of("shared")
    assert created.body == {
        "id": public_id,
        "callbackUrl": "https://receiver.example.com/hook?token=secret",
        "events": ["Succeeded", "Failed", "Canceled", "Expired"],
        "metadata": {"video": "intro"},
        "format": "standard",
        "group": None,
        "state": "waiting",
        "since": "2026-11-23T12:00:00.000Z",
        "reason": None,
        "createdAt": "2026-11-23T12:00:00.000Z",
        "message": None,
        "nextAttemptAt": None,
        "deferredBy": None,
        "deliveredAt": None,
        "operation": {
            "id": "operation-1",
            "source": "default",
            "status": None,
            "reason": None,
            "registeredAt": "2026-11-23T12:00:00.000Z",
            "polls": 0,
            "lastPolledAt": None,
            "nextPollAt": "2026-11-23T12:00:00.000Z",
            "finishedAt": None,
            "lastError": None,
            "hint": None,
        },
        "attempts": [],
        "earlierAttempts": None,
    }


def test_registering_again_is_200_with_the_same(bridge: Harness) -> None:
    """The comparison uses normalized values."""
    client = Client.of(bridge)
    first = client.register(GOOD)
    second = client.register({**GOOD, "callbackUrl": "HTTPS://RECEIVER.example.com:443/hook?token=secret"})

    assert (second.status, second.body) == (200, first.body)


def test_registering_with_other_content_is_409(bridge: Harness) -> None:
    """The message has the remedy."""
    client = Client.of(bridge)
    client.register(GOOD)

    second = client.register({**GOOD, "metadata": None})

    assert (second.status, second.error["code"]) == (409, "RegistrationDiffers")


def test_the_twenty_first_registration_is_409(bridge: Harness) -> None:
    """The message explains how to make room."""
    client = Client.of(bridge)
    created = [client.register({**GOOD, "callbackUrl": f"https://a.example/{number}"}) for number in range(20)]

    answered = client.register({**GOOD, "callbackUrl": "https://a.example/20"})
    client.call(Handlers.cancel_registration, method="DELETE", id=created[7].body["id"])
    again = client.register({**GOOD, "callbackUrl": "https://a.example/20"})

    assert {each.status for each in created} == {201}
    assert (answered.status, answered.error["code"]) == (409, "TooManyRegistrations")
    assert answered.error["message"].endswith("Cancel one that has not ended to make room.")
    assert again.status == 201


@pytest.mark.parametrize(
    "location",
    [
        "https://speech.example.com/avatar/operations/operation-1?api-version=2024-08-01",
        "https://Speech.Example.com/avatar/operations/operation-1?api-version=1999-01-01",
        "https://speech.example.com/avatar/operations/operation-1",
    ],
)
def test_a_whole_operation_location_names_the_operation(bridge: Harness, location: str) -> None:
    """The location is the one that Speech returned. Its api-version is ignored."""
    created = Client.of(bridge).register({"operationLocation": location, "callbackUrl": GOOD["callbackUrl"]})

    assert (created.status, created.body["operation"]["id"]) == (201, "operation-1")


def test_a_location_of_another_endpoint_is_rejected_with_the_right_form(bridge: Harness) -> None:
    """A typical first mistake is the regional endpoint in place of the custom one."""
    location = "https://westeurope.api.cognitive.microsoft.com/avatar/operations/operation-1"
    answered = Client.of(bridge).register({"operationLocation": location, "callbackUrl": GOOD["callbackUrl"]})

    assert answered.targets == ["operationLocation"]
    assert "https://speech.example.com/avatar/operations/" in answered.error["details"][0]["message"]


@pytest.mark.parametrize(
    "named",
    [
        {"jobId": "deck-1"},
        {"jobId": "deck-1", "source": "default"},
        {"jobLocation": "https://speech.example.com/avatar/batchsyntheses/deck-1?api-version=2024-08-01"},
        {"jobLocation": "https://speech.example.com/avatar/batchsyntheses/deck-1/", "source": "default"},
    ],
)
def test_a_job_is_registered_by_its_id_or_its_location(bridge: Harness, named: dict[str, str]) -> None:
    """The public id names the kind. An operation with the same id is another registration."""
    client = Client.of(bridge)

    created = client.register({"callbackUrl": GOOD["callbackUrl"], **named})
    operation = client.register({"callbackUrl": GOOD["callbackUrl"], "operationId": "deck-1"})

    assert (created.status, operation.status) == (201, 201)
    assert created.body["id"].startswith("default.jobs~deck-1~")
    assert operation.body["id"].startswith("default~deck-1~")


@pytest.mark.parametrize(
    ("named", "target", "words"),
    [
        ({"jobId": "deck-1", "source": "voices"}, "jobId", "avatar or texttospeech"),
        ({"jobLocation": "https://voices.example.com/customvoice/batchsyntheses/deck-1"}, "jobLocation", "/avatar/"),
        (
            {"jobLocation": "https://speech.example.com/avatar/batchsyntheses/deck-1", "source": "voices"},
            "source",
            "jobLocation",
        ),
    ],
)
def test_a_job_needs_a_source_with_jobs(named: dict[str, str], target: str, words: str) -> None:
    """The answer names the paths that have jobs, or the places of jobs."""
    voices = {"name": "voices", "endpoint": "https://voices.example.com", "path": "customvoice"}
    bridge = harness(BRIDGE_SOURCES=json.dumps([{**voices, "keyVariable": "SPEECH_KEY"}]))

    answer = Client.of(bridge).register({"callbackUrl": GOOD["callbackUrl"], **named})

    assert (answer.status, answer.targets) == (400, [target])
    assert words in answer.error["details"][0]["message"]
    assert bridge.memory.rows() == []


def test_a_location_of_a_job_is_rejected_if_no_source_has_jobs() -> None:
    bridge = harness(SPEECH_PATH="customvoice")
    location = "https://speech.example.com/customvoice/batchsyntheses/deck-1"

    answer = Client.of(bridge).register({"callbackUrl": GOOD["callbackUrl"], "jobLocation": location})

    assert answer.targets == ["jobLocation"]
    assert "avatar and texttospeech" in answer.error["details"][0]["message"]


def test_null_equals_a_missing_field(bridge: Harness) -> None:
    """Covers every optional field."""
    nothing = dict.fromkeys(
        ["operationLocation", "jobId", "jobLocation", "source", "events", "metadata", "headers", "format"]
    )

    assert Client.of(bridge).register({**GOOD, **nothing}).status == 201


def test_a_location_and_its_own_source_agree(bridge: Harness) -> None:
    """The same source twice is no contradiction."""
    location = "https://speech.example.com/avatar/operations/operation-1"
    body = {"operationLocation": location, "source": "default", "callbackUrl": GOOD["callbackUrl"]}

    assert Client.of(bridge).register(body).status == 201


def test_a_registration_is_shown_with_its_attempts(bridge: Harness) -> None:
    """The registration has one failed and one successful attempt."""
    client = Client.of(bridge)
    public_id = client.register(GOOD).body["id"]
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sender.script(str(GOOD["callbackUrl"]), 500, 200)
    bridge.sweep()
    bridge.deliver_all()
    bridge.clock.advance(5)
    bridge.sweep()
    bridge.deliver_all()

    shown = client.call(Handlers.read_registration, f"/registrations/{public_id}", id=public_id).body

    assert (shown["state"], shown["deliveredAt"]) == ("delivered", "2026-11-23T12:00:05.000Z")
    assert shown["message"] == {
        "id": bridge.sender.posted[0].headers["webhook-id"],
        "type": "avatar.operation.succeeded",
    }
    assert [(each["number"], each["status"]) for each in shown["attempts"]] == [(1, 500), (2, 200)]
    assert shown["operation"]["status"] == "Succeeded"
    assert shown["operation"]["nextPollAt"] is None
    assert "signingSecret" not in shown


def test_the_secret_of_the_answer_verifies_the_callback(bridge: Harness) -> None:
    """The verification uses the public package, like a receiver."""
    secret = Client.of(bridge).register(GOOD).body["signingSecret"]
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()
    bridge.deliver_all()

    post = bridge.sender.posted[0]
    signed = Webhook(secret).sign(post.headers["webhook-id"], bridge.clock.now, post.body.decode())
    assert signed in post.headers["webhook-signature"].split(" ")


def test_canceling_is_204(bridge: Harness) -> None:
    """A repeated cancel gives 204 too."""
    client = Client.of(bridge)
    public_id = client.register(GOOD).body["id"]

    for _ in range(2):
        canceled = client.call(
            Handlers.cancel_registration, f"/registrations/{public_id}", method="DELETE", id=public_id
        )
        assert (canceled.status, canceled.body) == (204, None)


def test_redelivering_is_202_after_the_first_message(bridge: Harness) -> None:
    """Before the first message, the answer is 409."""
    client = Client.of(bridge)
    public_id = client.register(GOOD).body["id"]
    early = client.call(Handlers.redeliver, f"/registrations/{public_id}/redeliver", method="POST", id=public_id)
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()
    bridge.deliver_all()

    again = client.call(Handlers.redeliver, f"/registrations/{public_id}/redeliver", method="POST", id=public_id)

    assert (early.status, early.error["code"]) == (409, "NoMessageYet")
    assert (again.status, again.body["state"]) == (202, "pending")


def test_an_operation_is_shown_with_its_registrations(bridge: Harness) -> None:
    """The registrations are in the order of their creation."""
    client = Client.of(bridge)
    ids = []
    for number in range(3):
        ids.append(client.register({**GOOD, "callbackUrl": f"https://a.example/{number}"}).body["id"])
        bridge.clock.advance(1)

    shown = client.call(Handlers.read_operation, "/operations/operation-1", id="operation-1").body

    assert [each["id"] for each in shown["registrations"]] == ids
    assert shown["polls"] == 0


def register_many(bridge: Harness, count: int) -> list[str]:
    """Register `count` operations, a second apart. Returns the registrations, newest first."""
    ids = []
    for number in range(count):
        body = {**GOOD, "operationId": f"operation-{number}"}
        ids.append(Client.of(bridge).register(body).body["id"])
        bridge.clock.advance(1)
    return ids[::-1]


def test_a_list_is_paged_newest_first(bridge: Harness) -> None:
    """Every registration is on exactly one page, and the last page has no link."""
    ids = register_many(bridge, 23)
    client = Client.of(bridge)
    seen: list[str] = []
    link: str | None = "/registrations?limit=10&code=key"

    while link:
        page = client.call(Handlers.list_registrations, link).body
        seen += [each["id"] for each in page["value"]]
        link = page["nextLink"] and page["nextLink"].removeprefix(BASE)
        assert link is None or "code=" not in link

    assert seen == ids


def test_a_list_of_a_state_shows_only_that(bridge: Harness) -> None:
    """The order is by the start of the state, newest first. Metadata and attempts are omitted."""
    register_many(bridge, 6)
    for number in (4, 2):
        bridge.upstream.script(f"operation-{number}", "Succeeded")
        bridge.sweep()
        bridge.clock.advance(60)
    bridge.deliver_all()

    page = Client.of(bridge).call(Handlers.list_registrations, "/registrations?state=delivered").body

    assert {each["operation"]["id"] for each in page["value"]} == {"operation-2", "operation-4"}
    assert {each["operation"]["status"] for each in page["value"]} == {"Succeeded"}
    assert {"metadata", "attempts"} & set(page["value"][0]) == set()
    waiting = Client.of(bridge).call(Handlers.list_registrations, "/registrations?state=waiting").body
    assert len(waiting["value"]) == 4


def test_a_list_shows_when_the_next_attempt_is(bridge: Harness) -> None:
    """The postponing step stores the time in the index."""
    Client.of(bridge).register(GOOD)
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sender.script(str(GOOD["callbackUrl"]), 500)
    bridge.sweep()
    bridge.deliver_all()

    [entry] = Client.of(bridge).call(Handlers.list_registrations, "/registrations?state=pending").body["value"]

    assert entry["nextAttemptAt"] == "2026-11-23T12:00:05.000Z"


def test_a_list_of_an_operation_shows_its_registrations(bridge: Harness) -> None:
    """The list needs no index, and can be filtered by state."""
    client = Client.of(bridge)
    ids = {client.register({**GOOD, "callbackUrl": f"https://a.example/{n}"}).body["id"] for n in range(3)}
    client.register({**GOOD, "operationId": "operation-2"})

    found = client.call(Handlers.list_registrations, "/registrations?operationId=operation-1").body
    none = client.call(Handlers.list_registrations, "/registrations?operationId=operation-1&state=dead").body

    assert {each["id"] for each in found["value"]} == ids
    assert (found["nextLink"], none["value"]) == (None, [])


def test_status_shows_the_health_of_the_bridge(bridge: Harness) -> None:
    """The status has counts, overdue rows, the last sweep and the sources, but no key."""
    register_many(bridge, 3)
    before = Client.of(bridge).call(Handlers.status, "/status").body
    bridge.sweep()

    shown = Client.of(bridge).call(Handlers.status, "/status").body

    assert before["lastSweepAt"] is None
    assert before["oldestOverdueAt"] == "2026-11-23T12:00:00.000Z"
    assert shown["lastSweepAt"] == "2026-11-23T12:00:03.000Z"
    assert shown["oldestOverdueAt"] is None
    assert shown["registrations"]["waiting"] == {"count": 3, "more": False}
    assert shown["registrations"]["dead"] == {"count": 0, "more": False}
    assert shown["queue"] == {"problem": None, "advice": None, "since": None}
    assert shown["sources"] == [
        {
            "name": "default",
            "endpoint": "https://speech.example.com",
            "path": "avatar",
            "apiVersion": "2024-08-01",
            "requestsPerSecond": 100.0,
            "highestRequestsPerSecond": 100.0,
            "stoppedUntil": None,
            "shadowPrice": 1.0,
            "pausedUntil": None,
            "durations": {"completions": 0.0, "shares": [], "groups": []},
            "unreachableSince": None,
            "problem": None,
            "advice": None,
        }
    ]
    assert "speech-key" not in json.dumps(shown)


def test_status_shows_a_source_that_only_fails(bridge: Harness) -> None:
    register_many(bridge, 1)
    bridge.upstream.script("operation-0", UNRESOLVED)
    for _ in range(60):
        bridge.sweep()
        bridge.clock.advance(10)

    [source] = Client.of(bridge).call(Handlers.status, "/status").body["sources"]

    assert source["unreachableSince"] == "2026-11-23T12:00:01.000Z"
    assert source["problem"] == {"kind": "dns_failed", "detail": "the name has no address"}
    assert source["advice"] == "check SPEECH_ENDPOINT, its name and the network's way to it"
    bridge.upstream.script("operation-0", "Running")
    for _ in range(60):
        bridge.sweep()
        bridge.clock.advance(10)
    [source] = Client.of(bridge).call(Handlers.status, "/status").body["sources"]
    assert (source["unreachableSince"], source["problem"], source["advice"]) == (None, None, None)


def test_storage_that_is_down_is_503_with_retry_after() -> None:
    """The answer never has a stack trace."""
    bridge, table = faulty()
    table.fail(CHANGE, table.down)

    answered = Client.of(bridge).register(GOOD)

    assert (answered.status, answered.error["code"]) == (503, "StorageUnavailable")
    assert answered.headers["Retry-After"] == "5"


def test_permanent_conflicts_are_503_with_a_separate_code() -> None:
    """The client can repeat the request at once."""
    bridge, table = faulty()
    table.keep_failing(CHANGE, table.conflict)

    refused = Client.of(bridge).register(GOOD)

    assert (refused.status, refused.error["code"], refused.headers["Retry-After"]) == (503, "Contended", "1")
    assert bridge.pauses == [0.01, 0.02, 0.04, 0.08, 0.16]


def test_a_row_of_another_version_is_503_with_a_reason(bridge: Harness) -> None:
    """The request succeeds once that version runs again."""
    client = Client.of(bridge)
    public_id = client.register(GOOD).body["id"]
    row = next(row for row in bridge.memory.rows() if row.key.startswith("op:") and not row.key.endswith(":"))
    bridge.memory.commit(Transaction(row.partition, (Merge(row.key, {"v": 2}, ANY),)))

    answers = [
        client.call(Handlers.read_registration, f"/registrations/{public_id}", id=public_id),
        client.call(Handlers.cancel_registration, f"/registrations/{public_id}", id=public_id),
        client.register(GOOD),
    ]

    assert [(each.status, each.error["code"]) for each in answers] == [(503, "UnreadableRow")] * 3
    assert client.call(Handlers.read_operation, "/operations/operation-1", id="operation-1").status == 200


def test_unreadable_rows_do_not_hide_the_status(bridge: Harness) -> None:
    """Any keys are possible."""
    keys = ("due:abc", "due:", "due:0;", "due:0x:poll:", "due:0000000000001:party", "idx:dead:nonsense")
    bridge.memory.commit(Transaction("op3", tuple(Insert(key, {"v": 1}) for key in keys)))

    status = Client.of(bridge).call(Handlers.status, "/status")

    assert (status.status, status.body["oldestOverdueAt"]) == (200, "1970-01-01T00:00:00.001Z")
    assert Client.of(bridge).call(Handlers.list_registrations, "/registrations?state=dead").body["value"] == []


def test_a_repeated_registration_is_three_calls_to_the_table(bridge: Harness) -> None:
    """The calls are one that fails, the range of the operation, and the attempts."""
    client = Client.of(bridge)
    client.register(GOOD)
    bridge.table.taken()

    client.register(GOOD)

    assert bridge.table.taken() == {"commit": 1, "range": 2}


def test_a_callback_to_an_inner_address_is_rejected_at_registration(bridge: Harness) -> None:
    """The address of the name is checked at registration."""
    bridge.sender.refused_destinations[str(GOOD["callbackUrl"])] = "leads to an address that is not public"

    answered = Client.of(bridge).register(GOOD)

    assert (answered.status, answered.targets) == (400, ["callbackUrl"])
    assert bridge.memory.rows() == []


def test_a_bug_is_500_without_a_stack_trace(
    bridge: Harness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has the stack trace."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("the cause")

    monkeypatch.setattr(bridge.memory, "range", fail)

    answered = Client.of(bridge).call(Handlers.list_registrations)

    assert (answered.status, answered.error["code"]) == (500, "InternalError")
    assert "cause" not in json.dumps(answered.body)
    assert "ZeroDivisionError" in caplog.text


def test_a_misconfigured_app_names_every_setting_and_does_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Every route but health answers 503, and a sweep does nothing. Log lines at each tick have the reason."""
    app = App.from_environment({**ENVIRONMENT, "BRIDGE_SIGNING_KEYS": "c2hvcnQ=", "SPEECH_ENDPOINT": ""})

    answered = Client(app).register(GOOD)
    app.sweep()

    assert (answered.status, answered.error["code"]) == (503, "Misconfigured")
    assert set(answered.targets) == {"BRIDGE_SIGNING_KEYS", "SPEECH_ENDPOINT"}
    line, again = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert line == again
    assert "BRIDGE_SIGNING_KEYS" in line
    assert "SPEECH_ENDPOINT" in line
    assert "c2hvcnQ" not in line + json.dumps(answered.body)


@pytest.mark.parametrize(
    ("change", "target"),
    [
        ({"AzureWebJobsStorage": "nonsense"}, "AzureWebJobsStorage"),
        ({"SPEECH_KEY": "", "AZURE_TOKEN_CREDENTIALS": "nonsense"}, "AZURE_TOKEN_CREDENTIALS"),
    ],
)
def test_an_error_of_a_library_is_named_too(
    change: dict[str, str], target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error has the name of the setting."""
    for name, value in change.items():
        monkeypatch.setenv(name, value)

    answered = Client(App.from_environment({**ENVIRONMENT, **change})).register(GOOD)

    assert (answered.status, answered.targets) == (503, [target])


def test_health_shows_only_alive_or_misconfigured(bridge: Harness) -> None:
    """Health is public."""
    alive, broken = Client.of(bridge).health(), Client(App.from_environment({})).health()

    assert (alive.status, alive.body) == (200, {"status": "ok", "version": __version__})
    assert (broken.status, broken.body) == (503, {"status": "misconfigured", "version": __version__})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"{}",
        b"[]",
        b'{"v": 99, "registration": "default~abc~0123456789abcdef", "generation": 1, "attempt": 1}',
        b'{"v": 1, "registration": "nonsense", "generation": 1, "attempt": 1}',
        b"\xff",
        b'{"v": 1, "registration": "default~abc~0123456789abcdef", "generation": 99999999999999999, "attempt": 1}',
    ],
)
def test_an_unreadable_queue_message_is_skipped(bridge: Harness, body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """The log has a line, and no row changes."""
    App(bridge.bridge).deliver(body)

    assert "row.unreadable" in caplog.text
    assert bridge.table.taken() == {}


def test_headers_are_accepted_in_any_letter_case(bridge: Harness) -> None:
    """HTTP requires this."""
    assert Client.of(bridge).register(GOOD, CONTENT_TYPE="application/json").status == 201


def test_answers_are_not_cached(bridge: Harness) -> None:
    """A later answer can differ."""
    response = App(bridge.bridge).answer(route_of(Handlers.status), func.HttpRequest("GET", f"{BASE}/status", body=b""))

    assert response.headers["Cache-Control"] == "no-store"
    assert response.mimetype == "application/json"
