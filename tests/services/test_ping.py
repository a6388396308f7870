"""Pings of a receiver."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest
from standardwebhooks import Webhook

from bridge.adapters.net.guard import Guard
from bridge.adapters.webhook_sender import HttpWebhookSender
from bridge.api.handlers import Handlers
from bridge.domain.events import subscriber_of
from bridge.domain.outcome import Failure, Unreachable
from bridge.storage.table import ANY, Merge, Transaction
from tests.hostile_receivers.receivers import OK, living, replies
from tests.support.faults import PING, faulty
from tests.support.harness import FakeClock, Harness, harness
from tests.support.http import Answer, Client

HOOK = "https://receiver.example.com/hook"
JSON = {"Content-Type": "application/json"}


def ping(bridge: Harness, body: object = None, path: str = "/callbacks/ping") -> Answer:
    """Ping, by default the receiver."""
    raw = json.dumps({"callbackUrl": HOOK} if body is None else body).encode()
    return Client.of(bridge).call(Handlers.ping, path, method="POST", body=raw, headers=JSON)


def test_a_ping_is_sent_at_once_and_its_answer_returned() -> None:
    """The answer has the same fields as an attempt."""
    bridge = harness()

    answer = ping(bridge)

    [posted] = bridge.sender.posted
    assert answer.status == 200
    assert answer.body == {
        "message": {"id": posted.headers["webhook-id"], "type": "bridge.ping"},
        "at": "2026-11-23T12:00:00.000Z",
        "durationMs": 0,
        "address": "203.0.113.7",
        "status": 200,
        "error": None,
        "detail": None,
        "location": None,
        "body": None,
    }
    data = json.loads(posted.body)
    assert (data["type"], data["data"]) == (
        "bridge.ping",
        {"audience": "https://receiver.example.com", "subscriber": subscriber_of("shared")},
    )


def test_a_ping_is_signed_like_a_callback() -> None:
    """The receiver verifies the ping with the usual secret."""
    bridge = harness()
    client = Client.of(bridge)
    secret = client.call(Handlers.signing_secret, f"/signing-secret?callbackUrl={HOOK}").body["signingSecret"]

    ping(bridge)

    [posted] = bridge.sender.posted
    old = {**posted.headers}
    message, timestamp = old["webhook-id"], old["webhook-timestamp"]
    expected = Webhook(secret).sign(message, bridge.clock(), posted.body.decode())
    assert expected in old["webhook-signature"].split()
    assert timestamp == str(int(bridge.clock().timestamp()))
    assert base64.b64decode(secret.removeprefix("whsec_"))


def test_a_ping_can_be_a_cloudevent() -> None:
    """Some receivers require this format."""
    bridge = harness()

    ping(bridge, {"callbackUrl": HOOK, "format": "cloudevents"})

    [posted] = bridge.sender.posted
    assert posted.headers["Content-Type"] == "application/cloudevents+json"
    assert json.loads(posted.body)["source"] == "/speech-webhook-bridge"


def test_an_unreachable_receiver_is_reported() -> None:
    """The answer has the kind of the failure."""
    bridge = harness()
    bridge.sender.script(HOOK, Unreachable(error=Failure.DNS))

    answer = ping(bridge)

    assert (answer.status, answer.body["status"], answer.body["error"]) == (200, None, "dns")


@pytest.mark.sockets
def test_a_ping_arrives_over_a_real_socket() -> None:
    """The ping uses the sender of callbacks."""
    opened = {
        "BRIDGE_CALLBACK_ALLOW_HTTP": "true",
        "BRIDGE_CALLBACK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "BRIDGE_CALLBACK_ALLOWED_PORTS": "*",
        "BRIDGE_CALLBACK_KEEP_ANSWERS": "true",
    }
    sender = HttpWebhookSender(Guard(harness(None, None, None, None, **opened).settings.callback_rules), FakeClock())
    bridge = harness(None, sender, None, None, **opened)
    with living(replies(OK + b"Content-Length: 5\r\n\r\nhello")) as port:
        answer = ping(bridge, {"callbackUrl": f"http://127.0.0.1:{port}/"})

    sender.close()
    assert (answer.body["status"], answer.body["address"], answer.body["body"]) == (200, "127.0.0.1", "hello")


def test_all_instances_together_allow_ten_pings_a_minute() -> None:
    """The eleventh ping gets a time to retry. The count is in a row, not in memory."""
    bridge = harness()
    for _ in range(10):
        assert ping(bridge).status == 200
        bridge.clock.advance(1)
    bridge.restart()

    refused = ping(bridge)

    assert (refused.status, refused.error["code"], refused.headers["Retry-After"]) == (429, "TooManyPings", "50")
    assert len(bridge.sender.posted) == 10
    bridge.clock.advance(50)
    assert ping(bridge).status == 200


@pytest.mark.parametrize(
    ("body", "targets"),
    [
        ({}, ["callbackUrl"]),
        ({"callbackUrl": "http://10.0.0.1/"}, ["callbackUrl"]),
        ({"callbackUrl": HOOK, "format": "xml", "colour": "blue"}, ["format", "colour"]),
        ({"callbackUrl": 7}, ["callbackUrl"]),
    ],
)
def test_an_invalid_ping_is_rejected_before_sending(body: dict[str, Any], targets: list[str]) -> None:
    """The rules are those of a registration."""
    bridge = harness()

    answer = ping(bridge, body)

    assert (answer.status, answer.targets) == (400, targets)
    assert bridge.sender.posted == []


def test_two_pings_that_meet_are_both_counted() -> None:
    """The row's ETag detects the conflict."""
    bridge, table = faulty()
    ping(bridge)
    commit = table.inner.commit

    def after_another(transaction: Transaction) -> Mapping[str, str]:
        table.inner.commit(Transaction("pings", (Merge("recent", {"recent": "1,2,3,4,5,6,7,8,9,10"}, ANY),)))
        return commit(transaction)

    table.fail(PING, after_another)

    assert ping(bridge).status == 200
    assert len(bridge.sender.posted) == 2


def test_a_lost_reply_counts_as_one_ping() -> None:
    """The row has the `tx` of the writer."""
    bridge, table = faulty()
    table.fail(PING, table.reply_lost)

    assert ping(bridge).status == 200

    row = bridge.memory.get("pings", "recent")
    assert row is not None
    assert len(str(row.values["recent"]).split(",")) == 1
    assert str(row.values["tx"]).startswith("token-")


def test_two_simultaneous_pings_have_different_ids() -> None:
    """Each ping is a separate message."""
    bridge = harness()

    first, second = (ping(bridge).body["message"]["id"] for _ in range(2))

    assert first != second


def test_no_ping_is_sent_without_storage() -> None:
    """The limit could not be enforced."""
    bridge, table = faulty()
    table.fail(PING, table.down)

    assert ping(bridge).status == 503
    assert bridge.sender.posted == []


def test_a_ping_is_logged_with_its_caller(caplog: pytest.LogCaptureFixture) -> None:
    """The URL is not logged."""
    caplog.set_level("INFO")
    bridge = harness()
    bridge.sender.script(HOOK, 204, Unreachable(error=Failure.TIMEOUT, address="203.0.113.7"))

    ids = [ping(bridge).body["message"]["id"] for _ in range(2)]

    lines = [json.loads(record.message) for record in caplog.records if "callback.pinged" in record.message]
    known = {"event": "callback.pinged", "to": "receiver.example.com", "caller": "unknown"}
    assert len({line.pop("request_id") for line in lines}) == 2
    assert lines == [
        {**known, "message": ids[0], "address": None, "status": 204, "error": None},
        {**known, "message": ids[1], "address": "203.0.113.7", "status": None, "error": "timeout"},
    ]
