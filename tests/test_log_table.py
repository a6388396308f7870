"""The log agrees with docs/log.md, and contains no private data."""

import logging
import re
from pathlib import Path

import pytest

from bridge import log
from bridge.api.handlers import Handlers
from bridge.log import Event
from tests.support.harness import Harness
from tests.support.http import Client
from tests.support.log_lines import written

ROOT = Path(__file__).parent.parent
TABLE = re.findall(r"^\| `([a-z.-]+)` \| (\w+) \| (.*?) \|", (ROOT / "docs" / "log.md").read_text(), re.MULTILINE)

#: Data that only the client and the receiver may see.
SECRETS = ["secret-path", "secret-query", "secret-metadata", "secret-header", "secret-answer", "whsec_"]
HOOK = "https://receiver.example.com/secret-path?code=secret-query"
BODY = {
    "operationId": "operation-1",
    "callbackUrl": HOOK,
    "metadata": {"a": "secret-metadata"},
    "headers": {"X-A": "secret-header"},
}


def test_the_table_has_exactly_the_existing_events_and_fields() -> None:
    """The fields are compared with the code."""
    assert {event: set(re.findall(r"`(\w+)`", fields)) for event, _, fields in TABLE} == written()
    assert {event for event, _, _ in TABLE} == set(Event)


def test_the_table_has_the_level_of_every_event() -> None:
    """Alerts and the host's filter use the level."""
    levels = {event.value: logging.getLevelName(log._LEVELS.get(event, logging.INFO)).lower() for event in Event}

    assert {event: level for event, level, _ in TABLE} == levels


def test_every_field_is_explained() -> None:
    """The explanations are in the second table."""
    explained = (ROOT / "docs" / "log.md").read_text().split("| field | meaning |")[1]
    fields = {field for _, _, names in TABLE for field in re.findall(r"`(\w+)`", names)}
    plain = {"step", "partition", "key", "final_status", "advice", "problems", "kept"}  # names that explain themselves

    assert fields - plain <= set(re.findall(r"`(\w+)`", explained))


def test_log_lines_show_only_host_and_port_of_a_callback(bridge: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """The test covers a failure, a ping, a redelivery and a cancellation, with every log line."""
    caplog.set_level(logging.DEBUG)
    client = Client.of(bridge)
    public_id = client.register(BODY).body["id"]
    bridge.sender.script(HOOK, 500, 200)
    bridge.upstream.script("operation-1", "Succeeded")
    for _ in range(8):
        bridge.sweep()
        bridge.deliver_all()
        bridge.clock.advance(60)
    ping = b'{"callbackUrl": "https://receiver.example.com/secret-path?code=secret-query"}'
    json_type = {"Content-Type": "application/json"}
    client.call(Handlers.ping, "/callbacks/ping", method="POST", body=ping, headers=json_type)
    client.call(Handlers.redeliver, f"/registrations/{public_id}/redeliver", method="POST", id=public_id)
    bridge.deliver_all()
    client.register({**BODY, "operationId": "operation-2"})
    client.register({**BODY, "operationId": "operation-2", "metadata": {"a": "secret-metadata, another"}})
    other = client.register({**BODY, "operationId": "operation-3"}).body["id"]
    client.call(Handlers.cancel_registration, f"/registrations/{other}", method="DELETE", id=other)

    lines = [record.getMessage() for record in caplog.records if record.name == "bridge"]

    assert sum("delivery.attempted" in line for line in lines) >= 3
    assert [line for line in lines for secret in SECRETS if secret in line] == []
