"""Alerts and charts read what the code writes: events, fields, and the host's own lines."""

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
from bridge.domain.upstream import NoReply, Reply
from bridge.storage.transaction import Row
from infra.hooks.functions import names_in
from local.azurite import Azurite
from local.settings import REPOSITORY
from tests.infra.bicep import DEPLOYMENTS, snapshot
from tests.infra.queries import alert_queries, search_queries, workbook_queries
from tests.support.harness import ENVIRONMENT, Harness, harness
from tests.support.log_lines import written

INFRA = REPOSITORY / "infra"
QUERIES = alert_queries()
CHARTS = workbook_queries()
SEARCHES = search_queries()
HOST = json.loads((REPOSITORY / "host.json").read_text())

#: What the host tells of itself; no line of ours.
OF_THE_HOST = {"poison-messages", "server-errors", "answers-of-the-api"}
#: What is searched for in lines of every event.
OF_EVERY_EVENT = {"by-host", "by-webhook-id", "attempts-of-one-webhook-id", "what-was-sent-to-one-host"}


WRITTEN = written()


def events_of(query: str) -> set[str]:
    """Find the events that a query reads."""
    return set(re.findall(r"'([a-z]+\.[a-z-]+)'", query))


def fields_of(query: str) -> set[str]:
    """Find the fields of lines that a query reads: `line.to` is no KQL, and written `line['to']`."""
    return {dotted or quoted for dotted, quoted in re.findall(r"\bline(?:\.(\w+)|\['(\w+)'\])", query)} - {"event"}


@pytest.mark.parametrize(
    ("name", "query"),
    [*QUERIES.items(), *CHARTS.items(), *SEARCHES.items()],
    ids=[*QUERIES, *CHARTS, *SEARCHES],
)
def test_a_query_reads_events_and_fields_that_are_written(name: str, query: str) -> None:
    """A field that was renamed would make an alert silent for ever."""
    events = WRITTEN.keys() if name in OF_EVERY_EVENT else events_of(query)

    assert events <= WRITTEN.keys()
    assert fields_of(query) <= {field for event in events for field in WRITTEN[event]}
    assert events or "line" not in query


def test_only_the_hosts_own_lines_are_read_without_an_event() -> None:
    """All others go by what the code calls them."""
    without = {name for name, query in {**QUERIES, **CHARTS, **SEARCHES}.items() if "where line.event" not in query}

    assert without == OF_THE_HOST | OF_EVERY_EVENT


def alerts(deployment: str = "default") -> dict[str, dict[str, Any]]:
    """Read the rules of a deployment, by the names of their queries."""
    rules = snapshot(deployment).of_type("Microsoft.Insights/scheduledQueryRules")
    return {name.removeprefix("bridge-"): each["properties"] for name, each in rules.items()}


def action_groups(deployment: str) -> list[str]:
    """Read where the alerts of a deployment go: all of them to the same groups."""
    [found] = {tuple(each["actions"]["actionGroups"]) for each in alerts(deployment).values()}
    return list(found)


def test_every_query_is_an_alert_with_a_page_in_the_runbook() -> None:
    """And every alert has its query."""
    found = alerts()
    pages = set(re.findall(r"^### `([a-z-]+)`", (INFRA / "README.md").read_text(), re.MULTILINE))

    assert found.keys() == QUERIES.keys() == pages
    assert {name: each["criteria"]["allOf"][0]["query"] for name, each in found.items()} == QUERIES


@pytest.mark.parametrize(("deployment", "least"), [("default", 1), ("always-ready", 20)], ids=["default", "chosen"])
def test_so_many_dead_deliveries_raise_the_alert_as_the_operator_chose(deployment: str, least: int) -> None:
    """`ALERT_DEAD_DELIVERIES`, and the first one where it is not set."""
    [criterion] = alerts(deployment)["dead-deliveries"]["criteria"]["allOf"]

    assert (criterion["timeAggregation"], criterion["operator"]) == ("Count", "GreaterThanOrEqual")
    assert criterion["threshold"] == least


def test_the_workbook_shows_what_the_alerts_read() -> None:
    """Whoever is told of something finds it as a chart."""
    shown = " ".join(CHARTS.values())

    for query in QUERIES.values():
        assert all(event in shown for event in events_of(query))
        assert fields_of(query) <= fields_of(shown)
    assert "AppRequests" in shown


def said(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Read the lines that were written."""
    return [json.loads(record.message) for record in caplog.records if record.name == "bridge"]


def denied(bridge: Harness) -> None:
    """Let the source refuse the credential."""
    bridge.register()
    bridge.upstream.tell("operation-1", Reply(status=401, body=b""))
    bridge.sweep()


def unreachable(bridge: Harness) -> None:
    """Let the source give nothing but faults for some minutes."""
    bridge.register()
    bridge.upstream.tell("operation-1", NoReply("dns"))
    for _ in range(60):
        bridge.sweep()
        bridge.clock.advance(10)


def late(bridge: Harness) -> None:
    """Let the timer stop for a while, with something due."""
    bridge.register()
    bridge.clock.advance(660)
    bridge.sweep()


def gone(bridge: Harness) -> None:
    """Let the receiver say that it is gone."""
    bridge.register()
    bridge.sender.tell("https://receiver.example.com/hook", 410)
    bridge.upstream.tell("operation-1", "Succeeded")
    bridge.sweep()
    bridge.deliver_all()


def refused_by_storage(bridge: Harness) -> None:
    """Let storage refuse its caller."""

    def refuse(*_: object, **__: object) -> Sequence[Row]:
        raise StorageRefused("table storage: AuthorizationFailure, HTTP status 403", "AuthorizationFailure")

    bridge.table.inner.range = refuse  # type: ignore[method-assign]
    bridge.sweep()


def refused_by_the_queue(bridge: Harness) -> None:
    """Let the queue refuse its caller."""

    def refuse(*_: object, **__: object) -> None:
        raise StorageRefused("queue storage: AuthorizationFailure, HTTP status 403", "AuthorizationFailure")

    bridge.queue.send = refuse  # type: ignore[method-assign]
    bridge.register()
    bridge.upstream.tell("operation-1", "Succeeded")
    bridge.sweep()


def failing(bridge: Harness) -> None:
    """Let the receiver fail once."""
    bridge.register()
    bridge.sender.tell("https://receiver.example.com/hook", 503)
    bridge.upstream.tell("operation-1", "Succeeded")
    bridge.sweep()
    bridge.deliver_all()


def exhausted(bridge: Harness) -> None:
    """Let the receiver fail until the schedule ends."""
    bridge.sender.tell("https://receiver.example.com/hook", *[503] * ATTEMPTS_PER_RUN)
    bridge.register()
    bridge.upstream.tell("operation-1", "Succeeded")
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
        (unreachable, {"event": "source.unreachable", "source": "default", "what": "dns"}),
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
def test_what_an_alert_waits_for_is_said(
    caplog: pytest.LogCaptureFixture, happens: Callable[[Harness], None], expected: dict[str, Any]
) -> None:
    """In a line that begins as the queries expect it."""
    caplog.set_level("INFO")

    happens(harness())

    assert any(expected.items() <= line.items() for line in said(caplog))
    assert all(record.message.startswith('{"event"') for record in caplog.records if record.name == "bridge")


def test_a_misconfigured_app_says_so_at_each_tick(caplog: pytest.LogCaptureFixture) -> None:
    """An alert that saw one line at the start would end while the app still does nothing."""
    app = App.from_environment({})
    caplog.clear()

    app.sweep()
    app.sweep()

    assert [line["event"] for line in said(caplog)] == ["app.misconfigured"] * 2
    assert any("SPEECH_ENDPOINT" in problem for problem in said(caplog)[0]["problems"])


def test_the_poison_queue_is_that_of_the_calls() -> None:
    """By the host's rule for its name."""
    assert f"{DELIVERIES_QUEUE}-poison" in QUERIES["poison-messages"]
    assert f"{DELIVERIES_QUEUE}-poison" in CHARTS["poison-messages"]


def test_the_host_lets_through_what_the_alerts_read() -> None:
    """Every function's own lines at Information, and no sampling of lines, requests or exceptions."""
    levels = HOST["logging"]["logLevel"]
    functions = names_in(REPOSITORY / "function_app.py")

    assert {name for name in levels if name.endswith(".User")} == {f"Function.{name}.User" for name in functions}
    assert all(level == "Information" for name, level in levels.items() if name.endswith(".User"))
    assert (levels["default"], levels["Function"]) == ("Information", "Warning")
    excluded = HOST["logging"]["applicationInsights"]["samplingSettings"]["excludedTypes"].split(";")
    assert {"Trace", "Request", "Exception"} <= set(excluded)


def test_the_longest_pause_is_within_the_alerts_window() -> None:
    """Otherwise it would end between two probes."""
    minutes = re.fullmatch(r"PT(\d+)M", alerts()["source-denied"]["windowSize"])

    assert minutes is not None
    assert timedelta(minutes=int(minutes[1])) >= 2 * PAUSE_BACKOFF.longest


def test_four_attempts_of_one_delivery_are_a_failing_receiver() -> None:
    """The alert waits for so many, so far apart; its window holds them, and the jitter shortens each wait."""
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


def test_a_410_is_no_dead_delivery_for_the_alert() -> None:
    """With it a receiver leaves, which is its own affair."""
    words = set(re.findall(r"tostring\(line\.then\) == '([^']+)'", QUERIES["dead-deliveries"]))

    assert words == {"dead: exhausted"}


@pytest.fixture
def as_the_worker_begins() -> Iterator[None]:
    """Let every logger write, as it does before the app is imported."""
    loggers = [logging.getLogger(name) for name in ("azure", "urllib3")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.NOTSET)
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


@pytest.mark.usefixtures("as_the_worker_begins")
@pytest.mark.parametrize("is_there", [True, False], ids=["storage answers", "nobody answers"])
def test_no_library_writes_lines(azurite: Azurite, caplog: pytest.LogCaptureFixture, is_there: bool) -> None:
    """Theirs show URLs, one for each call."""
    there = azurite.connection_string
    storage = there if is_there else re.sub(r"(127\.0\.0\.1):\d+", r"\1:1", there)
    caplog.set_level("INFO")

    App.from_environment({**ENVIRONMENT, "AzureWebJobsStorage": storage}).sweep()

    assert {record.name for record in caplog.records} <= {"bridge"}
    assert is_there or "storage.unavailable" in caplog.text


def test_without_an_address_alerts_only_show() -> None:
    """There is no group then."""
    assert action_groups("default") == []
    assert not snapshot("default").of_type("Microsoft.Insights/actionGroups")


def test_an_address_gets_every_alert() -> None:
    """By a group of the deployment."""
    group = snapshot("endpoint-with-key").one("Microsoft.Insights/actionGroups")

    assert action_groups("endpoint-with-key") == [group["id"]]
    assert [each["emailAddress"] for each in group["properties"]["emailReceivers"]] == ["operators@example.com"]


def test_an_existing_action_group_gets_every_alert() -> None:
    """No other group is made for it."""
    assert [each.rpartition("/")[2] for each in action_groups("named-speech")] == ["on-call"]
    assert not snapshot("named-speech").of_type("Microsoft.Insights/actionGroups")


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_an_alert_names_its_page_in_the_runbook(deployment: str) -> None:
    """As a link, if the address of the runbook is known."""
    found = {name: each["description"] for name, each in alerts(deployment).items()}

    place = "infra/README.md, Runbook, "
    if deployment == "named-speech":
        place = "https://github.com/example/bridge/blob/main/infra/README.md#"
    assert found == {name: f"What to do: {place}{name}" for name in QUERIES}
