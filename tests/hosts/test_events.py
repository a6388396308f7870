"""Under Microsoft's host each event reaches Application Insights: with its fields, its level and its invocation."""

import json
import re
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from azure.data.tables import TableClient
from azure.storage.queue import QueueClient, TextBase64EncodePolicy

from bridge.adapters.clients import TABLE
from bridge.adapters.queue import DELIVERIES_QUEUE
from local.answer import Answer
from local.azurite import Azurite
from local.settings import REPOSITORY
from tests.support.hosts import PATIENCE, Running, running_app, wait_until
from tests.support.tools import tool

DOCUMENTED = re.findall(
    r"^\| `([a-z.-]+)` \| (\w+) \| (.*?) \|", (REPOSITORY / "docs" / "log.md").read_text(), re.MULTILINE
)
DOCUMENTED_LEVELS = {event: level for event, level, _ in DOCUMENTED}
FIELDS = {event: set(re.findall(r"`(\w+)`", fields)) for event, _, fields in DOCUMENTED}
LEVELS = {"error": "Error", "warning": "Warning", "info": "Information"}

#: Each event of the run below, by the function whose invocation the line belongs to.
PROVOKED = {
    "registration.created": "register",
    "registration.cancelled": "cancel_registration",
    "registration.redelivered": "redeliver_many",
    "callback.pinged": "ping",
    "secret.shown": "register",
    "source.asked": "sweep",
    "source.throttled": "sweep",
    "source.denied": "sweep",
    "source.unknown-status": "sweep",
    "operation.finished": "sweep",
    "sweep.finished": "sweep",
    "row.set-aside": "sweep",
    "delivery.attempted": "deliver",
}

#: The others, whose causes take hours, a storage that fails or another configuration. They are written by the same
#: function in the thread of the invocation, as the guard of the tests (tests/support/log_guard.py) holds all code to.
NOT_HERE = {
    "app.failed": "takes a fault in the code",
    "app.misconfigured": "takes wrong settings from the start",
    "caller.refused": "takes a tenant that signs tokens",
    "delivery.buried": "takes ten attempts that end with the instance",
    "delivery.headers-unreadable": "takes a signing key that was removed",
    "delivery.held-back": "takes a receiver that fails for minutes",
    "delivery.unrecorded": "takes storage that fails between a POST and its record",
    "due.deleted": "takes a row that vanishes under a sweep",
    "due.restored": "takes a due row that vanishes",
    "keys.unavailable": "takes a tenant whose keys cannot be had",
    "operation.purged": "takes an operation that ended a retention ago",
    "queue.unavailable": "takes a queue that fails",
    "storage.refused": "takes storage that refuses the app, which ends the host as well",
    "storage.unavailable": "takes storage that fails",
}

#: What no line may hold.
SECRETS = ("secret-path", "secret-query", "secret-header", "secret-metadata", "the-speech-key", "whsec_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    line: Mapping[str, Any]
    level: str
    category: str
    invocation: str


@contextmanager
def sink(file: Path) -> Iterator[str]:
    """Keep what the host sends to Application Insights; yields the connection string."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen([sys.executable, tool("insights-sink"), str(port), str(file)]) as running:
        try:
            url = f"http://127.0.0.1:{port}/"
            wait_until(lambda: is_listening(port), bool)
            key = "InstrumentationKey=00000000-0000-0000-0000-000000000001"
            yield f"{key};IngestionEndpoint={url};LiveEndpoint={url}"
        finally:
            running.terminate()


def is_listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), PATIENCE).close()
    except ConnectionRefusedError:
        return False
    return True


def kept_lines(file: Path) -> Iterator[Kept]:
    whole_lines = file.read_text().rpartition("\n")[0].splitlines()
    for item in map(json.loads, whole_lines):
        about = item["data"]["baseData"]
        if item["name"].endswith("AppTraces") and about["message"].startswith('{"event"'):
            more = about["properties"]
            yield Kept(
                line=json.loads(about["message"]),
                level=about["severityLevel"],
                category=more["Category"],
                invocation=more.get("InvocationId", ""),
            )


def provoke(running: Running) -> None:
    """Let everything happen that PROVOKED names."""
    secret = {"headers": {"X-A": "secret-header"}, "metadata": {"a": "secret-metadata"}}
    running.upstream.tell("kept-good", "Succeeded")
    running.upstream.tell("kept-dead", "Failed")
    running.receiver.answer("/gone", then=410)
    with TableClient.from_connection_string(running.azurite.connection_string, TABLE) as table:
        wait_until(lambda: running.read("status")["lastSweepAt"], bool)
        table.create_entity({"PartitionKey": "op0", "RowKey": "due:0:stranger", "v": 99})
    with QueueClient.from_connection_string(
        running.azurite.connection_string, DELIVERIES_QUEUE, message_encode_policy=TextBase64EncodePolicy()
    ) as queue:
        queue.send_message("of another program")
    running.until(running.register("kept-good", "/secret-path?code=secret-query", **secret), "delivered")
    running.until(running.register("kept-dead", "/gone"), "dead")
    order = {"state": "dead", "since": (datetime.now(UTC) - timedelta(hours=1)).isoformat()}  # noqa: TID251
    assert running.call("POST", "redeliver", json=order).json()["started"] == 1
    cancelled = running.register("kept-cancelled", "/hook")
    assert running.call("DELETE", f"registrations/{cancelled['id']}").status_code == 204
    assert running.call("POST", "callbacks/ping", json={"callbackUrl": f"{running.receiver.url}/ping"}).ok
    strange = Answer.of({"id": "kept-strange", "status": "Unheard-of"})
    throttled = Answer(status=429, headers={"Retry-After": "1"})
    running.upstream.tell("kept-strange", answers=[strange, throttled], always=Answer(status=401))
    running.register("kept-strange", "/hook")
    wait_until(lambda: running.read("status")["sources"][0]["pausedUntil"], bool)


def events_of(kept: Iterable[Kept]) -> set[str]:
    return {each.line["event"] for each in kept}


def test_each_event_is_kept_with_its_fields_its_level_and_its_invocation(tmp_path: Path, azurite: Azurite) -> None:
    file = tmp_path / "kept.jsonl"

    with sink(file) as connection:
        own = {"APPLICATIONINSIGHTS_CONNECTION_STRING": connection}
        with running_app("microsoft", tmp_path, azurite, **own) as running:
            provoke(running)
            # The host sends every 30 s.
            kept = wait_until(lambda: list(kept_lines(file)), lambda found: events_of(found) >= set(PROVOKED))

    by_event: dict[str, set[str]] = defaultdict(set)
    for each in kept:
        event = each.line["event"]
        function = re.fullmatch(r"Function\.(\w+)\.User", each.category)
        assert function is not None, each
        by_event[event].add(function[1])
        assert each.invocation, each
        assert set(each.line) <= FIELDS[event] | {"event", "caller", "owner"}, each
        assert each.level == LEVELS[DOCUMENTED_LEVELS[event]], each
    assert [event for event, function in PROVOKED.items() if function not in by_event[event]] == []
    assert "deliver" in by_event["row.set-aside"]
    assert [secret for secret in SECRETS if secret in file.read_text()] == []


def test_each_event_is_provoked_here_or_has_a_reason_not_to_be() -> None:
    assert set(PROVOKED) | set(NOT_HERE) == {event for event, level, _ in DOCUMENTED if level != "debug"}
    assert not set(PROVOKED) & set(NOT_HERE)
