"""Alerts and charts read existing events and fields, and lines of the host."""

import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from bridge.adapters.azure.queue import DELIVERIES_QUEUE
from bridge.app import App
from bridge.domain.errors import StorageRefused
from bridge.domain.rate_limit import PAUSE_BACKOFF
from bridge.domain.retry import ATTEMPTS_PER_RUN, JITTER, SCHEDULE
from bridge.domain.upstream import Reply
from bridge.storage.table import Row
from infra.hooks.functions import function_names
from local.azurite import Azurite
from local.settings import REPOSITORY
from tests.infra.bicep import DEPLOYMENTS, snapshot
from tests.infra.queries import alert_queries, search_queries, workbook_queries
from tests.support.harness import ENVIRONMENT, Harness, harness
from tests.support.log_lines import written
from tests.support.poll_errors import UNRESOLVED

INFRA = REPOSITORY / "infra"
QUERIES = alert_queries()
CHARTS = workbook_queries()
SEARCHES = search_queries()
HOST = json.loads((REPOSITORY / "host.json").read_text())

#: Log lines of the host, not of the bridge.
OF_THE_HOST = {"poison-messages", "server-errors", "answers-of-the-api"}
#: Search terms for lines of every event.
OF_EVERY_EVENT = {"by-host", "by-webhook-id", "attempts-of-one-webhook-id", "what-was-sent-to-one-host"}


WRITTEN = written()


def events_of(query: str) -> set[str]:
    """Return the events that a query reads."""
    return set(re.findall(r"'([a-z]+\.[a-z-]+)'", query))


def fields_of(query: str) -> set[str]:
    """Return the log fields that a query reads. KQL has no `line.to`, so queries use `line['to']`."""
    return {dotted or quoted for dotted, quoted in re.findall(r"\bline(?:\.(\w+)|\['(\w+)'\])", query)} - {"event"}


@pytest.mark.parametrize(
    ("name", "query"),
    [*QUERIES.items(), *CHARTS.items(), *SEARCHES.items()],
    ids=[*QUERIES, *CHARTS, *SEARCHES],
)
def test_a_query_reads_existing_events_and_fields(name: str, query: str) -> None:
    """A renamed field would silence an alert for good."""
    events = WRITTEN.keys() if name in OF_EVERY_EVENT else events_of(query)

    assert events <= WRITTEN.keys()
    assert fields_of(query) <= {field for event in events for field in WRITTEN[event]}
    assert events or "line" not in query


def test_only_queries_of_host_lines_have_no_event() -> None:
    """All other queries filter by event name."""
    without = {name for name, query in {**QUERIES, **CHARTS, **SEARCHES}.items() if "where line.event" not in query}

    assert without == OF_THE_HOST | OF_EVERY_EVENT


def alerts(deployment: str = "default") -> dict[str, dict[str, Any]]:
    """Return the alert rules of a deployment, by query name."""
    rules = snapshot(deployment).of_type("Microsoft.Insights/scheduledQueryRules")
    return {name.removeprefix("bridge-"): each["properties"] for name, each in rules.items()}


def action_groups(deployment: str) -> list[str]:
    """Return the action groups of a deployment's alerts. All alerts have the same groups."""
    [found] = {tuple(each["actions"]["actionGroups"]) for each in alerts(deployment).values()}
    return list(found)


def test_every_query_is_an_alert_with_a_page_in_the_runbook() -> None:
    """The reverse holds too: every alert has a query."""
    found = alerts()
    pages = set(re.findall(r"^### `([a-z-]+)`", (INFRA / "README.md").read_text(), re.MULTILINE))

    assert found.keys() == QUERIES.keys() == pages
    assert {name: each["criteria"]["allOf"][0]["query"] for name, each in found.items()} == QUERIES


@pytest.mark.parametrize(("deployment", "least"), [("default", 1), ("always-ready", 20)], ids=["default", "chosen"])
def test_the_operator_chooses_the_number_of_dead_deliveries_for_the_alert(deployment: str, least: int) -> None:
    """`ALERT_DEAD_DELIVERIES` sets the number. The default is 1."""
    [criterion] = alerts(deployment)["dead-deliveries"]["criteria"]["allOf"]

    assert (criterion["timeAggregation"], criterion["operator"]) == ("Count", "GreaterThanOrEqual")
    assert criterion["threshold"] == least


def test_the_workbook_shows_what_the_alerts_read() -> None:
    """An alert's recipient finds the data as a chart."""
    shown = " ".join(CHARTS.values())

    for query in QUERIES.values():
        assert all(event in shown for event in events_of(query))
        assert fields_of(query) <= fields_of(shown)
    assert "AppRequests" in shown


def logged(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Return the log lines so far."""
    return [json.loads(record.message) for record in caplog.records if record.name == "bridge"]


def denied(bridge: Harness) -> None:
    """Make the source reject the credential."""
    bridge.register()
    bridge.upstream.script("operation-1", Reply(status=401, body=b""))
    bridge.sweep()


def unreachable(bridge: Harness) -> None:
    """Make the source return only errors for some minutes."""
    bridge.register()
    bridge.upstream.script("operation-1", UNRESOLVED)
    for _ in range(60):
        bridge.sweep()
        bridge.clock.advance(10)


def late(bridge: Harness) -> None:
    """Stop the timer while work is due."""
    bridge.register()
    bridge.clock.advance(660)
    bridge.sweep()


def gone(bridge: Harness) -> None:
    """Make the receiver answer 410."""
    bridge.register()
    bridge.sender.script("https://receiver.example.com/hook", 410)
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()
    bridge.deliver_all()


def refused_by_storage(bridge: Harness) -> None:
    """Make storage reject the caller."""

    def refuse(*_: object, **__: object) -> Sequence[Row]:
        raise StorageRefused("table storage: AuthorizationFailure, HTTP status 403", "AuthorizationFailure")

    bridge.table.inner.range = refuse  # type: ignore[method-assign]
    bridge.sweep()


def refused_by_the_queue(bridge: Harness) -> None:
    """Make the queue reject the caller."""

    def refuse(*_: object, **__: object) -> None:
        raise StorageRefused("queue storage: AuthorizationFailure, HTTP status 403", "AuthorizationFailure")

    bridge.queue.send = refuse  # type: ignore[method-assign]
    bridge.register()
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()


def failing(bridge: Harness) -> None:
    """Make one attempt at the receiver fail."""
    bridge.register()
    bridge.sender.script("https://receiver.example.com/hook", 503)
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()
    bridge.deliver_all()


def exhausted(bridge: Harness) -> None:
    """Make all attempts at the receiver fail."""
    bridge.sender.script("https://receiver.example.com/hook", *[503] * ATTEMPTS_PER_RUN)
    bridge.register()
    bridge.upstream.script("operation-1", "Succeeded")
    for _ in range(ATTEMPTS_PER_RUN):
        bridge.sweep()
        bridge.deliver_all()
        bridge.clock.advance(30 * 3600)


@pytest.mark.parametrize(
    ("happens", "expected"),
    [
        (refused_by_storage, {"event": "storage.refused", "code": "AuthorizationFailure"}),
        (refused_by_the_queue, {"event": "queue.unavailable", "code": "AuthorizationFailure"}),
        (lambda bridge: bridge.sweep(), {"event": "sweep.finished", "overdue": 0}),
        (denied, {"event": "source.denied", "source": "default"}),
        (unreachable, {"event": "source.unreachable", "source": "default", "error": "dns_failed"}),
        (late, {"event": "sweep.finished", "overdue": 660}),
        (gone, {"event": "delivery.attempted", "then": "dead: gone", "status": 410}),
        (exhausted, {"event": "delivery.attempted", "then": "dead: exhausted"}),
        (failing, {"event": "delivery.attempted", "to": "receiver.example.com", "status": 503, "then": "retry"}),
    ],
    ids=[
        "storage-refused",
        "queue-unavailable",
        "no-sweep",
        "source-denied",
        "source-unreachable",
        "overdue",
        "no alert: a 410",
        "dead-deliveries",
        "receiver-failing",
    ],
)
def test_the_condition_of_an_alert_is_logged(
    caplog: pytest.LogCaptureFixture, happens: Callable[[Harness], None], expected: dict[str, Any]
) -> None:
    """The line begins with the text that the queries match."""
    caplog.set_level("INFO")

    happens(harness())

    assert any(expected.items() <= line.items() for line in logged(caplog))
    assert all(record.message.startswith('{"event"') for record in caplog.records if record.name == "bridge")


def test_a_misconfigured_app_logs_the_problem_at_each_tick(caplog: pytest.LogCaptureFixture) -> None:
    """An alert on a single line at the start would resolve while the app still does nothing."""
    app = App.from_environment({})
    caplog.clear()

    app.sweep()
    app.sweep()

    assert [line["event"] for line in logged(caplog)] == ["app.misconfigured"] * 2
    assert any("SPEECH_ENDPOINT" in problem for problem in logged(caplog)[0]["problems"])


def test_the_poison_queue_belongs_to_the_delivery_queue() -> None:
    """The host derives the name from the queue's name."""
    assert f"{DELIVERIES_QUEUE}-poison" in QUERIES["poison-messages"]
    assert f"{DELIVERIES_QUEUE}-poison" in CHARTS["poison-messages"]


def test_the_host_logs_every_line_that_alerts_read() -> None:
    """Each function logs at Information. Lines, requests and exceptions are not sampled."""
    levels = HOST["logging"]["logLevel"]
    functions = function_names(REPOSITORY)

    assert {name for name in levels if name.endswith(".User")} == {f"Function.{name}.User" for name in functions}
    assert all(level == "Information" for name, level in levels.items() if name.endswith(".User"))
    assert (levels["default"], levels["Function"]) == ("Information", "Warning")
    excluded = HOST["logging"]["applicationInsights"]["samplingSettings"]["excludedTypes"].split(";")
    assert {"Trace", "Request", "Exception"} <= set(excluded)


def test_the_longest_pause_is_within_the_alerts_window() -> None:
    """With a longer pause, the alert would resolve between two probes."""
    minutes = re.fullmatch(r"PT(\d+)M", alerts()["source-denied"]["windowSize"])

    assert minutes is not None
    assert timedelta(minutes=int(minutes[1])) >= 2 * PAUSE_BACKOFF.longest


def test_four_attempts_of_one_delivery_are_a_failing_receiver() -> None:
    """The window covers the alert's number of attempts, even though jitter shortens the waits between them."""
    query = QUERIES["receiver-failing"]
    window = alerts()["receiver-failing"]["windowSize"]
    attempts, minutes = re.search(r"attempts >= (\d+)", query), re.search(r"last_at - first_at >= (\d+)m", query)
    assert attempts is not None
    assert minutes is not None

    waits = sum(SCHEDULE[: int(attempts[1]) - 1], timedelta(0))

    assert (int(attempts[1]), int(minutes[1]), window) == (4, 25, "PT6H")
    assert timedelta(minutes=int(minutes[1])) <= waits * (1 - JITTER)
    assert waits * (1 + JITTER) < timedelta(hours=6)
    assert sum(SCHEDULE[: int(attempts[1]) - 2], timedelta(0)) * (1 + JITTER) < timedelta(minutes=int(minutes[1]))


def test_the_dead_delivery_alert_ignores_a_410() -> None:
    """A 410 means that the receiver unsubscribed."""
    words = set(re.findall(r"tostring\(line\.then\) == '([^']+)'", QUERIES["dead-deliveries"]))

    assert words == {"dead: exhausted"}


@pytest.fixture
def as_the_worker_begins() -> Iterator[None]:
    """Reset all loggers to their state before the import of the app."""
    loggers = [logging.getLogger(name) for name in ("azure", "urllib3")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.NOTSET)
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


@pytest.mark.usefixtures("as_the_worker_begins")
@pytest.mark.parametrize("is_there", [True, False], ids=["storage answers", "no answer"])
def test_no_library_writes_lines(azurite: Azurite, caplog: pytest.LogCaptureFixture, is_there: bool) -> None:
    """Library lines show URLs, one per call."""
    there = azurite.connection_string
    storage = there if is_there else re.sub(r"(127\.0\.0\.1):\d+", r"\1:1", there)
    caplog.set_level("INFO")

    App.from_environment({**ENVIRONMENT, "AzureWebJobsStorage": storage}).sweep()

    assert {record.name for record in caplog.records} <= {"bridge"}
    assert is_there or "storage.unavailable" in caplog.text


def test_without_an_address_alerts_notify_no_group() -> None:
    """The deployment then has no action group."""
    assert action_groups("default") == []
    assert not snapshot("default").of_type("Microsoft.Insights/actionGroups")


def test_an_address_gets_every_alert() -> None:
    """The deployment creates an action group."""
    group = snapshot("endpoint-with-key").one("Microsoft.Insights/actionGroups")

    assert action_groups("endpoint-with-key") == [group["id"]]
    assert [each["emailAddress"] for each in group["properties"]["emailReceivers"]] == ["operators@example.com"]


def test_an_existing_action_group_gets_every_alert() -> None:
    """The deployment creates no further group."""
    assert [each.rpartition("/")[2] for each in action_groups("named-speech")] == ["on-call"]
    assert not snapshot("named-speech").of_type("Microsoft.Insights/actionGroups")


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_an_alert_names_its_page_in_the_runbook(deployment: str) -> None:
    """The alert has a link if the address of the runbook is known."""
    found = {name: each["description"] for name, each in alerts(deployment).items()}

    place = "infra/README.md, Runbook, "
    if deployment == "named-speech":
        place = "https://github.com/example/bridge/blob/main/infra/README.md#"
    assert found == {name: f"What to do: {place}{name}" for name in QUERIES}
