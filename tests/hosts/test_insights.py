"""Application Insights after a long run of Microsoft's host: each event, each query, and no secret.

The run causes the events of `docs/log.md`. Events that require a special setting or failing storage have a separate
app.
"""

import base64
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from azure.data.tables import TableClient, UpdateMode
from azure.storage.queue import QueueClient, TextBase64EncodePolicy
from werkzeug import Response

from bridge.adapters.azure.clients import TABLE
from bridge.adapters.azure.queue import DELIVERIES_QUEUE
from bridge.domain.ids import OperationRef
from bridge.log import Event
from bridge.storage.keys import HEARTBEAT_KEY, SOURCES_PARTITION, partition_of, source_key
from bridge.storage.records import SCHEMA_VERSION
from local.answer import Answer
from local.azurite import Azurite
from local.settings import REPOSITORY
from local.upstream.catalogue import named
from tests.infra.queries import alert_queries, document_queries, search_queries, workbook_queries
from tests.support.harness import SIGNING_KEY
from tests.support.hosts import IS_DEPLOYED_PYTHON, KEY, Running, running_app, wait_until
from tests.support.insights import Sink, Trace, insights_sink
from tests.support.json_value import Json
from tests.support.kql import Workspace
from tests.support.tenant import KeyServer

pytestmark = pytest.mark.skipif(not IS_DEPLOYED_PYTHON, reason="takes minutes, and runs on what is deployed alone")

TABLE_OF_EVENTS = re.findall(
    r"^\| `([a-z.-]+)` \| (\w+) \| (.*?) \|", (REPOSITORY / "docs" / "log.md").read_text(), re.MULTILINE
)

#: The functions that write each event in this run.
WRITTEN_BY: dict[Event, set[str]] = {
    Event.MISCONFIGURED: {"sweep"},
    Event.REGISTERED: {"register"},
    Event.CANCELED: {"cancel_registration"},
    Event.REDELIVERY: {"redeliver"},
    Event.REGISTRATION_PURGED: {"cancel_registration"},
    Event.PINGED: {"ping"},
    Event.SECRET_SHOWN: {"signing_secret"},
    Event.REFUSED: {"status"},
    Event.NO_KEYS: {"status"},
    Event.SOURCE_POLLED: {"sweep"},
    Event.THROTTLED: {"sweep"},
    Event.DENIED: {"sweep"},
    Event.UNREACHABLE: {"sweep"},
    Event.CLOCK_AHEAD: {"sweep"},
    Event.UNKNOWN_STATUS: {"sweep"},
    Event.POLLED: {"sweep"},
    Event.FINISHED: {"sweep"},
    Event.PURGED: {"sweep"},
    Event.SWEPT: {"sweep"},
    Event.IDLE: {"sweep"},
    Event.DELETED: {"sweep"},
    Event.RESTORED: {"read_registration"},
    Event.ATTEMPTED: {"deliver"},
    Event.UNRECORDED: {"deliver"},
    Event.HELD_BACK: {"deliver"},
    Event.UNDECRYPTED: {"deliver"},
    Event.DEAD: {"deliver"},
    Event.DROPPED: {"deliver"},
    Event.ROW_UNREADABLE: {"deliver"},
    Event.STORAGE: {"sweep"},
    Event.STORAGE_REFUSED: {"sweep"},
    Event.QUEUE: {"sweep"},
}

#: Events that cannot be caused here, with the reason.
NOT_PROVOKED = {
    Event.FAILED: "takes a fault in the code",
    Event.CONTENDED: "takes other writers that are faster in every round of a request",
}

#: Fields of these events that appear when known.
OPTIONAL = {
    Event.STORAGE: {"registration", "operation", "source", "partition", "key"},
    Event.ROW_UNREADABLE: {"registration", "operation", "partition", "key", "queue_message", "inserted", "length"},
}

#: Values that must appear in no log line and no request record.
SECRETS = {
    "the Speech key": "the-speech-key",
    "the signing key": SIGNING_KEY,
    "a signing secret": "whsec_",
    "the function key": KEY,
    "the storage key": "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq",
    "the path of a callback": "secret-path",
    "the query of a callback": "secret-query",
    "metadata": "secret-metadata",
    "a header of a callback": "secret-header",
    "the answer of a receiver": "secret-answer",
    "the answer of the service": "secret-of-speech",
    "a token": "secret-token",
}
#: A receiver that rejects every callback.
CLOSED = "127.0.0.1:9"
SECRET_PATH = "/secret-path?code=secret-query"
_DEBUG = {f"AzureFunctionsJobHost__logging__logLevel__Function.{name}.User": "Debug" for name in ("sweep", "deliver")}


@dataclass(frozen=True, slots=True)
class Run:
    """The telemetry of the run."""

    traces: list[Trace]
    items: list[Any]
    #: The telemetry of an app without problems.
    calm: list[Any]

    def of(self, event: Event) -> list[Trace]:
        return [each for each in self.traces if each.event.get("event") == event.value]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run one app per cause, side by side. A host sends its lines every 30 seconds."""
    folder, calm_folder = tmp_path_factory.mktemp("insights"), tmp_path_factory.mktemp("calm")
    with insights_sink(folder) as sink, insights_sink(calm_folder) as calm_sink, ExitStack() as stack:
        apps = _Apps(stack, folder, sink)
        with running_app("microsoft", calm_folder, stack.enter_context(Azurite.start()), **calm_sink.settings) as calm:
            _have_a_calm_day(calm)
            _provoke(apps)
            _wait_until_last_line_is_kept(calm, calm_sink)
        wait_until(
            lambda: set(WRITTEN_BY) - {each.event.get("event") for each in sink.traces}, lambda missing: not missing
        )
        return Run(sink.traces, sink.items, calm_sink.items)


class _Apps:
    """Starts apps that run until the end of the test."""

    def __init__(self, stack: ExitStack, folder: Path, sink: Sink) -> None:
        self._stack = stack
        self.sink = sink
        self._states = (folder / f"host{number}" for number in count())

    def storage(self) -> Azurite:
        return self._stack.enter_context(Azurite.start())

    def start(self, storage: Azurite, **own: str) -> Running:
        return self._stack.enter_context(self.running(storage, **own))

    @contextmanager
    def running(self, storage: Azurite, **own: str) -> Iterator[Running]:
        """Run an app during a block."""
        names = ("denied", "throttled", "silent")
        settings = {**self.sink.settings, **_DEBUG, "PYTHON_ENABLE_DEBUG_LOGGING": "1", **own}
        with running_app("microsoft", next(self._states), storage, more_sources=names, **settings) as bridge:
            yield bridge


def _provoke(apps: _Apps) -> None:
    """Cause all events in `WRITTEN_BY`."""
    storage, tables = apps.storage(), apps.storage()
    apart = replace(storage.ports, table=tables.ports.table).connection_string
    without_tables = apps.start(storage, AzureWebJobsStorage=apart, BRIDGE_POLL_SCHEDULE="*/5 * * * * *")
    _take_tables_away(without_tables, tables)
    bridge = apps.start(apps.storage(), BRIDGE_SIGNING_KEYS="short", BRIDGE_RETENTION="soon")
    _logged(bridge, Event.MISCONFIGURED)
    assert bridge.call("GET", "status").status_code == 503
    storage, refusing = apps.storage(), _azurite_with_another_key(apps)
    refused = replace(storage.ports, table=refusing.ports.table).connection_string
    _logged(apps.start(storage, AzureWebJobsStorage=refused), Event.STORAGE_REFUSED)
    storage = apps.storage()
    without_queue = replace(storage.ports, queue=1).connection_string
    _while_the_queue_is_down(apps.start(storage, AzureWebJobsStorage=without_queue))
    _ask_with_tokens(apps)
    storage = apps.storage()
    with apps.running(storage) as bridge:
        _live(bridge)
        _meddle(bridge)
        _wait_until_last_line_is_kept(bridge, apps.sink)
    new_key = base64.b64encode(sha256(b"another key").digest()).decode()
    _after_a_change_of_keys(apps.start(storage, BRIDGE_SIGNING_KEYS=new_key, BRIDGE_RETENTION="1s"))
    _logged(without_tables, Event.UNRECORDED)


def _have_a_calm_day(bridge: Running) -> None:
    """Deliver a callback without problems."""
    bridge.upstream.script("calm", "Succeeded")
    bridge.until(bridge.register("calm", "/calm"), "delivered")
    _logged(bridge, Event.ATTEMPTED)


def _wait_until_last_line_is_kept(bridge: Running, sink: Sink) -> None:
    """Wait until the sink has the host's last line so far. A host sends lines in order."""
    events = [line.strip() for line in bridge.host.lines.entries if line.strip().startswith('{"event"')]
    wait_until(lambda: json.dumps(events[-1]) in sink.file.read_text(encoding="utf-8"), bool)


def _logged(bridge: Running, event: Event, text: str = "") -> None:
    """Wait until the host has received a line of an event."""
    name = f'"event": "{event.value}"'
    bridge.host.lines.wait_for(lambda lines: any(name in line and text in line for line in lines), 120)


def _ask_with_tokens(apps: _Apps) -> None:
    """Send a token while the tenant's keys are unavailable, and send a forged token."""
    tenant = KeyServer()
    tenant.instead = lambda: Response(status=503)
    token = {"Authorization": "Bearer secret-token"}
    bridge = apps.start(apps.storage(), **tenant.settings)
    wait_until(
        lambda: bridge.call("GET", "status", headers={"Authorization": f"Bearer {tenant.token()}"}),
        lambda it: it.status_code == 503,
    )
    _logged(bridge, Event.NO_KEYS)
    tenant.instead = None
    wait_until(lambda: bridge.call("GET", "status", headers=token), lambda it: it.status_code == 401)
    _logged(bridge, Event.REFUSED)
    tenant.stop()


def _live(bridge: Running) -> None:
    """Perform the actions of clients, receivers and the service, with and without errors."""
    bridge.upstream.script("good", "NotStarted", (2, "Succeeded"))
    bridge.upstream.script("odd", answers=[named("unknown status")])
    bridge.upstream.script("denied", always=named("wrong key (gateway)"))
    bridge.upstream.script("throttled", always=named("throttled with seconds"))
    bridge.receiver.answer("/gone", Answer(status=410, body=b"secret-answer"), then=204)
    for name in ("gone", "keys"):
        bridge.upstream.script(name, "Failed")
    good = bridge.register("good", SECRET_PATH, metadata={"a": "secret-metadata"}, headers={"X-A": "secret-header"})
    gone = bridge.register("gone", "/gone")
    odd = bridge.register("odd", "/odd")
    bridge.upstream.script("silent", always=Answer(status=500, body=b"secret-of-speech"))
    for source in ("denied", "throttled", "silent"):
        bridge.register(source, "/never", source=source)
    for each, state in ((good, "delivered"), (gone, "dead")):
        bridge.until(each, state)
    bridge.call("POST", f"registrations/{good['id']}/redeliver")
    bridge.call("DELETE", f"registrations/{odd['id']}")
    erased = bridge.register("erased", "/erased")
    for suffix in ("", "?purge=true"):
        bridge.call("DELETE", f"registrations/{erased['id']}{suffix}")
    bridge.call("POST", "callbacks/ping", json={"callbackUrl": f"{bridge.receiver.url}{SECRET_PATH}"})
    bridge.call("GET", f"signing-secret?callbackUrl={bridge.receiver.url}/")
    for event in (Event.DENIED, Event.THROTTLED, Event.UNKNOWN_STATUS, Event.IDLE, Event.POLLED, Event.PINGED):
        _logged(bridge, event)
    _fail_at_one_receiver(bridge)


def _fail_at_one_receiver(bridge: Running) -> None:
    """Deliver to a closed port until the circuit opens."""
    for number in range(8):
        bridge.upstream.script(f"closed-{number}", "Succeeded")
        bridge.register(f"closed-{number}", "/", callbackUrl=f"http://{CLOSED}/never")
    bridge.host.lines.wait_for(
        lambda lines: sum("delivery.attempted" in line and f'"{CLOSED}"' in line for line in lines) >= 4, 120
    )
    _logged(bridge, Event.HELD_BACK, CLOSED)


def _meddle(bridge: Running) -> None:
    """Write foreign content into table and queue, and delete rows that the bridge expects."""
    storage = bridge.azurite.connection_string
    with (
        TableClient.from_connection_string(storage, TABLE) as table,
        QueueClient.from_connection_string(
            storage, DELIVERIES_QUEUE, message_encode_policy=TextBase64EncodePolicy()
        ) as queue,
    ):
        queue.send_message(json.dumps({"v": 99, "registration": "default~x~0", "generation": 0, "attempt": 1}))
        _logged(bridge, Event.ROW_UNREADABLE)
        _set_clocks_ahead(bridge, table)
        _let_a_source_be_silent_for_long(bridge, table)
        _poison(bridge)
        _lose_a_due_row(bridge, table)
        _lose_an_operation(bridge, table)
        _lose_the_last_attempt(bridge, table)
        _repeat_a_message(bridge, queue)


def _set_clocks_ahead(bridge: Running, table: TableClient) -> None:
    """Store the time of the last sweep as written by an instance with a clock one hour ahead."""
    row = table.get_entity(SOURCES_PARTITION, HEARTBEAT_KEY)
    table.update_entity({**_keys(row), "at": row["at"] + timedelta(hours=1)}, mode=UpdateMode.MERGE)
    _logged(bridge, Event.CLOCK_AHEAD)


def _let_a_source_be_silent_for_long(bridge: Running, table: TableClient) -> None:
    """Store four minutes of errors for a source that returns only errors."""
    key = source_key("silent")
    row = wait_until(lambda: table.get_entity(SOURCES_PARTITION, key), lambda it: it.get("silent_since"))
    since = row["silent_since"] - timedelta(minutes=4)
    table.update_entity({**_keys(row), "silent_since": since}, mode=UpdateMode.MERGE)
    _logged(bridge, Event.UNREACHABLE)


def _poison(bridge: Running) -> None:
    """Send a message that is not text. The function fails until the host gives up."""
    with QueueClient.from_connection_string(bridge.azurite.connection_string, DELIVERIES_QUEUE) as queue:
        queue.send_message(base64.b64encode(b"\xff\xfe").decode())
    bridge.host.lines.wait_for(lambda lines: any("Message has reached MaxDequeueCount" in line for line in lines), 120)


def _rows(table: TableClient, kind: str, operation: str) -> list[Any]:
    """Return the rows of a kind that belong to an operation of the default source."""
    partition = partition_of(OperationRef("default", operation))
    found = table.query_entities(f"PartitionKey eq '{partition}' and RowKey ge '{kind}:' and RowKey lt '{kind};'")
    return [row for row in found if f"default:{operation}" in row["RowKey"]]


def _lose_a_due_row(bridge: Running, table: TableClient) -> None:
    """Delete the due row of a long overdue operation, then read the registration."""
    bridge.upstream.script("lost", always=Answer(status=404, body=b"secret-of-speech"))
    created = bridge.register("lost", "/lost")
    _logged(bridge, Event.POLLED, "default:lost")
    operation = next(row for row in _rows(table, "op", "lost") if row["RowKey"].endswith("lost:"))
    for row in _rows(table, "due", "lost"):
        table.delete_entity(row["PartitionKey"], row["RowKey"])
    _, millis, *rest = operation["due"].split(":")
    long_ago = int(millis) - timedelta(minutes=20) // timedelta(milliseconds=1)
    due = ":".join(["due", str(long_ago), *rest])
    table.update_entity({**_keys(operation), "due": due}, mode=UpdateMode.MERGE)
    bridge.read(f"registrations/{created['id']}")
    _logged(bridge, Event.RESTORED)


def _keys(row: Json) -> dict[str, str]:
    return {"PartitionKey": row["PartitionKey"], "RowKey": row["RowKey"]}


def _lose_an_operation(bridge: Running, table: TableClient) -> None:
    """Delete an operation, but keep the due row."""
    bridge.upstream.script("orphan", "Running")
    bridge.register("orphan", "/orphan")
    for row in _rows(table, "op", "orphan"):
        table.delete_entity(row["PartitionKey"], row["RowKey"])
    _logged(bridge, Event.DELETED)


def _lose_the_last_attempt(bridge: Running, table: TableClient) -> None:
    """Move the start of the run back, so the next attempt is one more than a run permits."""
    bridge.upstream.script("last", "Succeeded")
    bridge.receiver.answer("/last", then=500)
    created = bridge.register("last", "/last")
    wait_until(lambda: bridge.read(f"registrations/{created['id']}"), lambda it: it["attempts"])
    row = next(row for row in _rows(table, "op", "last") if not row["RowKey"].endswith("last:"))
    table.update_entity({**_keys(row), "run_start": row["run_start"] - 9}, mode=UpdateMode.MERGE)
    bridge.until(created, "dead")
    _logged(bridge, Event.DEAD)


def _repeat_a_message(bridge: Running, queue: QueueClient) -> None:
    """Send a task that was completed long ago."""
    delivered = bridge.read("registrations?state=delivered&limit=1")["value"][0]
    queue.send_message(
        json.dumps({"v": SCHEMA_VERSION, "registration": delivered["id"], "generation": 0, "attempt": 1})
    )
    _logged(bridge, Event.DROPPED)


def _while_the_queue_is_down(bridge: Running) -> None:
    """End an operation while the queue's port is closed."""
    bridge.upstream.script("unsent", "Succeeded")
    bridge.register("unsent", "/unsent")
    _logged(bridge, Event.QUEUE)


def _after_a_change_of_keys(bridge: Running) -> None:
    """Redeliver with headers that were encrypted with a removed key. Purge ended registrations."""
    delivered = [each for each in bridge.read("registrations?state=delivered")["value"] if "~good~" in each["id"]]
    bridge.call("POST", f"registrations/{delivered[0]['id']}/redeliver")
    _logged(bridge, Event.UNDECRYPTED)
    bridge.upstream.script("brief", "Succeeded")
    bridge.register("brief", "/brief")
    _logged(bridge, Event.PURGED)


def _take_tables_away(bridge: Running, tables: Azurite) -> None:
    """Stop the table service between the POST of an attempt and the write of the result.

    Queues and blobs continue, since Microsoft's host ends without them.
    """
    bridge.upstream.script("away", "Succeeded")
    bridge.receiver.answer("/away", then=Answer(status=204, delay=8.0))
    bridge.register("away", "/away")
    bridge.receiver.wait_for(lambda came: any(each.path == "/away" for each in came), 120)
    tables.kill()
    _logged(bridge, Event.STORAGE)


def _azurite_with_another_key(apps: _Apps) -> Azurite:
    """Start an Azurite that rejects the key of the others with 403."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AZURITE_ACCOUNTS", f"devstoreaccount1:{base64.b64encode(b'another key').decode()}")
        return apps.storage()


#: The fields of each line of a request.
OF_REQUESTS = {"caller", "owner", "request_id", "client_request_id"}


@pytest.mark.parametrize(("event", "level", "fields"), [row for row in TABLE_OF_EVENTS if row[0] not in NOT_PROVOKED])
def test_event_is_kept_with_its_fields_under_its_invocation(run: Run, event: str, level: str, fields: str) -> None:
    kept = run.of(Event(event))

    assert kept, "no such line was kept"
    documented = {"event", *re.findall(r"`(\w+)`", fields)}
    required = documented - OPTIONAL.get(Event(event), set())
    assert all(required <= set(each.event) <= documented | OF_REQUESTS for each in kept)
    expected = {"debug": "Verbose", "info": "Information"}.get(level, level.capitalize())
    assert {each.level for each in kept} == {expected}
    assert {f"Function.{name}.User" for name in WRITTEN_BY[Event(event)]} <= {each.category for each in kept}
    assert all(each.invocation for each in kept)


def test_each_event_is_provoked_or_justified() -> None:
    assert set(WRITTEN_BY) | set(NOT_PROVOKED) == set(Event)
    assert not set(WRITTEN_BY) & set(NOT_PROVOKED)


@pytest.mark.parametrize("what", SECRETS)
def test_telemetry_has_no_secret(run: Run, what: str) -> None:
    found = [json.dumps(item)[:500] for item in run.items if SECRETS[what] in json.dumps(item)]

    assert not found


def test_app_logs_only_events(run: Run) -> None:
    """The log has no line of a library and no URL."""
    others = [each.message for each in run.traces if each.category.endswith(".User") and not each.event]

    assert not others
    assert not [each.message for each in run.traces if each.event and "://" in each.message.replace("http://127", "")]


@pytest.fixture(scope="module")
def workspace(run: Run) -> Workspace:
    return Workspace(run.items)


@pytest.fixture(scope="module")
def long_workspace(run: Run) -> Workspace:
    """Return a workspace in which each second of the run counts as half an hour."""
    return Workspace(run.items, stretch=1800)


@pytest.fixture(scope="module")
def calm_workspace(run: Run) -> Workspace:
    return Workspace(run.calm)


@pytest.mark.parametrize("name", sorted(set(alert_queries()) - {"no-sweep"}))
def test_query_of_an_alert_finds_only_its_event(
    workspace: Workspace, long_workspace: Workspace, calm_workspace: Workspace, name: str
) -> None:
    query = alert_queries()[name]

    assert (long_workspace if name == "receiver-failing" else workspace).run(query)
    assert not calm_workspace.run(query)


def test_query_for_missing_sweeps_counts_sweeps(calm_workspace: Workspace) -> None:
    """The alert fires if there is no sweep."""
    query = alert_queries()["no-sweep"]

    assert calm_workspace.run(query)
    assert not Workspace([]).run(query)


#: The expected content of each tile of the workbook: a column with values.
SHOWN_BY_TILE: dict[str, tuple[str, set[Any]]] = {
    "sweeps-at-least-one-a-minute": ("sweeps", set()),
    "seconds-that-the-oldest-due-row-has-waited": ("overdue", set()),
    "questions-to-each-source": ("source", {"default", "denied", "throttled"}),
    "requests-a-second-that-each-source-allows": ("source", {"default", "denied", "throttled"}),
    "throttled-and-denied": ("what", {"denied source.denied", "throttled source.throttled"}),
    "operations-that-ended": ("final_status", {"Succeeded", "Failed"}),
    "attempts-by-what-follows": ("then", {"delivered", "dead: gone"}),
    "seconds-from-the-end-to-the-delivery": ("slow", set()),
    "milliseconds-of-an-attempt": ("slow", set()),
    "receivers-that-take-nothing": ("host", {CLOSED}),
    "slowest-receivers-in-milliseconds": ("host", {CLOSED}),
    "receivers-that-fail-most": ("host", {CLOSED}),
    "deliveries-that-died": ("attempt", {1}),
    "storage-that-did-not-answer-and-rows-that-were-set-aside": (
        "what",
        {"storage.unavailable", "storage.refused", "queue.unavailable", "row.unreadable"},
    ),
    "misconfigured-which-settings": ("problem", set()),
    "poison-messages": ("count_", {1}),
    "answers-of-the-api": ("status", {"2xx", "4xx", "5xx"}),
    "attempts-of-one-webhook-id": ("status", {410}),
    "what-was-sent-to-one-host": ("event", {"delivery.attempted"}),
}


@pytest.mark.parametrize("name", workbook_queries())
def test_tile_of_the_workbook_shows_the_run(
    run: Run, workspace: Workspace, long_workspace: Workspace, name: str
) -> None:
    column, values = SHOWN_BY_TILE[name]
    query = workbook_queries()[name].replace("{Host}", CLOSED).replace("{WebhookId}", _message_of_the_gone(run))

    rows = (long_workspace if name == "receivers-that-take-nothing" else workspace).run(query)

    assert rows
    assert values <= {row[column] for row in rows}


def _message_of_the_gone(run: Run) -> str:
    """Return the `webhook-id` of the message that was answered with 410."""
    return str(next(each.event["message"] for each in run.of(Event.ATTEMPTED) if each.event["status"] == 410))


@pytest.mark.parametrize("name", search_queries())
def test_search_query_finds_the_attempts(run: Run, workspace: Workspace, name: str) -> None:
    query = search_queries()[name].replace("hooks.example.com", CLOSED)

    assert workspace.run(query.replace("msg_0123456789abcdef0123456789abcdef", _message_of_the_gone(run)))


def test_runbook_query_shows_the_history_of_an_operation(run: Run, workspace: Workspace) -> None:
    (query,) = [each for each in document_queries().values() if "my-operation" in each]
    registration = run.of(Event.UNRECORDED)[0].event["registration"]
    source, operation, _ = registration.split("~")
    asked = query.replace("default~my-operation~25953b8bd31abfe6", registration).replace(
        "default:my-operation", f"{source}:{operation}"
    )

    rows = workspace.run(asked)

    events = {json.loads(row["line"])["event"] for row in rows}
    assert {"registration.created", "operation.finished", "delivery.unrecorded"} <= events


#: For each alert with log lines in the runbook: the event, and the field with the cause.
LOOKED_AT = [
    ("no-sweep", Event.STORAGE, "error"),
    ("overdue", Event.SOURCE_POLLED, "left"),
    ("overdue", Event.SOURCE_POLLED, "shadow_price"),
    ("overdue", Event.SWEPT, "ms"),
    ("queue-unavailable", Event.QUEUE, "code"),
    ("storage-refused", Event.STORAGE_REFUSED, "code"),
    ("source-denied", Event.DENIED, "error"),
    ("source-unreachable", Event.UNREACHABLE, "error"),
    ("poison-messages", Event.ROW_UNREADABLE, "queue_message"),
]

#: For the other alerts: the tile of the workbook.
TILES_LOOKED_AT = {
    "misconfigured": "which settings",
    "dead-deliveries": "Deliveries that died",
    "receiver-failing": "Receivers that take nothing",
}


def _section(alert: str) -> str:
    """Return the runbook's section about an alert."""
    text = (REPOSITORY / "infra" / "README.md").read_text().split(f"\n### `{alert}`\n")[1]
    return text.split("\n### ")[0]


@pytest.mark.parametrize(("alert", "event", "field"), LOOKED_AT)
def test_log_line_in_the_runbook_has_the_cause(workspace: Workspace, alert: str, event: Event, field: str) -> None:
    rows = workspace.run(
        f"""AppTraces
        | where Message startswith '{{"event"'
        | extend line = parse_json(Message)
        | where line.event == '{event.value}'
        | project cause = tostring(line.{field})"""
    )

    assert {event.value, field} <= set(re.findall(r"`([^`]+)`", _section(alert)))
    assert [row for row in rows if row["cause"] or event is Event.QUEUE], "without a code the queue did not answer"


def test_tables_in_the_runbook_have_the_cause(run: Run, workspace: Workspace) -> None:
    answers = workspace.run("AppRequests | summarize count() by Name, ResultCode")
    faults = [item["data"]["baseData"] for item in run.items if item["name"].endswith("AppExceptions")]

    assert {"AppRequests", "Name", "ResultCode"} <= set(re.findall(r"`([^`]+)`", _section("server-errors")))
    assert ("status", "503") in {(row["Name"], row["ResultCode"]) for row in answers}
    assert "`AppExceptions` of the function `deliver`" in _section("poison-messages")
    assert any("deliver" in json.dumps(each) for each in faults)


def test_runbook_covers_each_alert_like_these_tests() -> None:
    tried = {alert for alert, _, _ in LOOKED_AT} | set(TILES_LOOKED_AT) | {"server-errors"}

    assert tried == set(alert_queries())
    assert all(
        f"*{tile}" in _section(alert) or f"{tile}*" in _section(alert) for alert, tile in TILES_LOOKED_AT.items()
    )


@pytest.mark.parametrize("name", document_queries())
def test_query_of_a_document_finds_nothing_without_problems(calm_workspace: Workspace, name: str) -> None:
    assert not calm_workspace.run(document_queries()[name])
