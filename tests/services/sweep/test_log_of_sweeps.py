"""Log lines of sweeps: one complete line per event of a poll, a source or a purge."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any, NoReturn

import pytest

from bridge.domain.errors import StorageUnavailable
from bridge.domain.ids import OperationRef
from bridge.domain.upstream import NoReply, Reply
from bridge.log import Event
from bridge.storage.keys import SOURCES_PARTITION, partition_of, row_key, source_key
from bridge.storage.table import ANY, Delete, Merge, Transaction
from tests.support.faults import BUDGET, END, HEARTBEAT, OBSERVATION, PURGE, Step, faulty
from tests.support.harness import FakeUpstream, Harness, harness
from tests.support.log_lines import lines_of
from tests.support.poll_errors import UNCONNECTED

OPERATION = "default:operation-1"
SOURCE_POLLED = {
    "event": "source.polled",
    "source": "default",
    "due": 1,
    "asked": 1,
    "extra": 0,
    "finished": 0,
    "faults": 0,
    "left": 0,
    "rate": 100.0,
    "shadow_price": 1.0,
}
SWEPT = {
    "event": "sweep.finished",
    "enqueued": 0,
    "due": 1,
    "asked": 1,
    "finished": 0,
    "faults": 0,
    "left": 0,
    "purged": 0,
    "postponed": 0,
    "overdue": 0,
    "ms": 0,
}
POLLED = {"event": "operation.polled", "operation": OPERATION, "status": None, "error": None, "detail": None}
SOON, MINUTE = "2026-11-23T12:00:15.000Z", "2026-11-23T12:01:00.000Z"
LIMITED = {"error": "rate_limited", "detail": "HTTP 429"}
DENIED = {"error": "unauthorized", "detail": "HTTP 401"}
ADVICE = "check SPEECH_KEY, or the identity's role Cognitive Services Speech User and the custom subdomain"


@pytest.fixture(autouse=True)
def everything(caplog: pytest.LogCaptureFixture) -> None:
    """Log every level."""
    caplog.set_level("DEBUG", "bridge")


def ended_long_ago(bridge: Harness) -> None:
    """End an operation longer ago than the retention."""
    bridge.register()
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()
    bridge.deliver_all()
    bridge.clock.advance(timedelta(days=30, seconds=1))


def fails(_: object) -> NoReturn:
    """Raise an unexpected error."""
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("answer", "output", "polled", "counted", "rate"),
    [
        ("Running", None, {"status": "Running", "next": SOON}, {}, 100.0),
        (
            UNCONNECTED,
            None,
            {"error": "connection_failed", "detail": "no connection", "next": SOON},
            {"faults": 1},
            100.0,
        ),
        (
            "Strange",
            {"event": "source.unknown-status", "source": "default", "status": "Strange"},
            {"status": "Strange", "next": SOON},
            {},
            100.0,
        ),
        (
            Reply(status=429, retry_after="60"),
            {"event": "source.throttled", "source": "default", **LIMITED, "until": MINUTE},
            {**LIMITED, "next": MINUTE},
            {"faults": 1},
            50.0,
        ),
        (
            Reply(status=401),
            {"event": "source.denied", "source": "default", **DENIED, "until": MINUTE, "advice": ADVICE},
            {**DENIED, "next": MINUTE},
            {"faults": 1},
            100.0,
        ),
    ],
)
def test_a_poll_its_source_and_its_sweep_are_a_line_each(
    bridge: Harness,
    answer: str | Reply | NoReply,
    output: dict[str, Any] | None,
    polled: dict[str, Any],
    counted: dict[str, Any],
    rate: float,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An answer about the source adds one more line."""
    bridge.register()
    bridge.upstream.script("operation-1", answer)
    caplog.clear()

    bridge.sweep()

    rest = [POLLED | polled, SOURCE_POLLED | counted | {"rate": rate}, SWEPT | counted]
    assert lines_of(caplog) == ([output] if output else []) + rest


def test_a_killed_sweep_has_logged_its_commits(caplog: pytest.LogCaptureFixture) -> None:
    """The second poll waits for the log line of the first, so the sweep has not ended by then."""
    is_written = threading.Event()
    upstream = WaitingUpstream(is_written)
    bridge = harness(upstream=lambda *_: upstream)
    upstream.script("operation-1", "Succeeded")
    bridge.register("operation-1")
    bridge.register("operation-2")
    written = logging.Handler()
    written.emit = lambda record: is_written.set() if "operation.finished" in record.getMessage() else None  # type: ignore[method-assign]
    logging.getLogger("bridge").addHandler(written)

    with ThreadPoolExecutor(2, thread_name_prefix="sweep") as executor:
        bridge.dependencies = replace(bridge.dependencies, pools=replace(bridge.dependencies.pools, sweep=executor))
        bridge.restart()
        bridge.sweep()

    logging.getLogger("bridge").removeHandler(written)
    assert upstream.came == [True]
    assert [line["operation"] for line in lines_of(caplog, Event.FINISHED)] == [OPERATION]


class WaitingUpstream(FakeUpstream):
    """Answers the second poll when the log line of the first is written."""

    def __init__(self, is_written: threading.Event) -> None:
        super().__init__()
        self._is_written = is_written
        #: Whether the line came in time.
        self.came: list[bool] = []

    def fetch_operation(self, ref: OperationRef) -> Reply | NoReply:
        """Answer by script."""
        if ref.id == "operation-2":
            self.came.append(self._is_written.wait(20))
        return super().fetch_operation(ref)


def test_an_undocumented_status_is_one_line_per_instance(bridge: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """Further polls add no line."""
    bridge.register()
    bridge.upstream.script("operation-1", "Strange")

    for _ in range(3):
        bridge.sweep()
        bridge.clock.advance(60)

    assert len(lines_of(caplog, Event.UNKNOWN_STATUS)) == 1


def test_a_hundred_undocumented_statuses_are_lines_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    """An upstream with a new status each time does not fill the log."""
    bridge = harness(SPEECH_REQUESTS_PER_SECOND="100")
    bridge.register()
    bridge.upstream.script("operation-1", *(f"Strange-{number}" for number in range(110)))

    for _ in range(110):
        bridge.sweep()
        bridge.clock.advance(timedelta(minutes=5))

    assert len(lines_of(caplog, Event.UNKNOWN_STATUS)) == 100


def test_an_end_is_one_line(bridge: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """The line has the status, the number of polls, the age, and the number of callbacks."""
    bridge.register("operation-1", "https://receiver.example.com/1", "https://receiver.example.com/2")
    bridge.upstream.script("operation-1", "Running", "Succeeded")
    bridge.sweep()
    bridge.clock.advance(20.5)
    caplog.clear()

    bridge.sweep()

    finished = {
        "event": "operation.finished",
        "operation": OPERATION,
        "final_status": "Succeeded",
        "reason": None,
        "polls": 2,
        "age": 20.5,
        "callbacks": 2,
        "delay": 20.5,
    }
    assert lines_of(caplog) == [finished, SOURCE_POLLED | {"finished": 1}, SWEPT | {"finished": 1, "overdue": 5}]


def test_an_expired_operation_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """The line has the bridge's reason."""
    bridge = harness(BRIDGE_OPERATION_DEADLINE="1h")
    bridge.register()
    bridge.upstream.script("operation-1", "Running")
    bridge.sweep()
    bridge.clock.advance(3600)

    bridge.sweep()

    [line] = lines_of(caplog, Event.FINISHED)
    assert (line["final_status"], line["reason"], line["age"]) == ("Expired", "deadline", 3600.0)


def test_an_idle_sweep_is_a_line_of_the_lowest_level(bridge: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """Once a minute, the line has a normal level, to show that the timer ticks."""
    for _ in range(3):
        bridge.sweep()
        bridge.clock.advance(10)

    levels = [(record.levelname, line["event"]) for record, line in zip(caplog.records, lines_of(caplog), strict=True)]
    assert levels == [("INFO", "sweep.finished"), ("DEBUG", "sweep.idle"), ("DEBUG", "sweep.idle")]


def test_a_message_that_is_sent_again_counts(bridge: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """The previous message was lost."""
    bridge.register()
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()
    bridge.clock.advance(121)
    caplog.clear()

    bridge.sweep()

    assert lines_of(caplog) == [SWEPT | {"enqueued": 1, "due": 0, "asked": 0, "overdue": 1}]


def test_a_bug_at_a_poll_is_one_line(bridge: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """Only that poll fails. The error's message is omitted, since the text can contain a secret."""
    bridge.register()
    bridge.upstream.fetch_operation = fails  # type: ignore[assignment,method-assign] # a bug
    caplog.clear()

    bridge.sweep()

    error = {"error": "internal_error", "detail": "the bridge failed: ZeroDivisionError"}
    assert lines_of(caplog) == [
        {"event": "app.failed", "step": "poll", "operation": OPERATION, "error": "ZeroDivisionError"},
        POLLED | error | {"next": SOON},
        SOURCE_POLLED | {"faults": 1},
        SWEPT | {"faults": 1},
    ]


def test_a_bug_at_the_fetch_of_a_failure_is_a_line_for_each_try(caplog: pytest.LogCaptureFixture) -> None:
    """The event is sent without a reason, and both requests count."""
    bridge = harness(BRIDGE_ENRICH="errors")
    bridge.register()
    bridge.upstream.script("operation-1", "Failed")
    bridge.upstream.fetch_failure = fails  # type: ignore[assignment,method-assign] # a bug
    caplog.clear()

    bridge.sweep()

    failed = {"event": "app.failed", "step": "fetch failure", "operation": OPERATION, "error": "ZeroDivisionError"}
    assert lines_of(caplog, Event.FAILED) == [failed, failed]
    assert lines_of(caplog, Event.SOURCE_POLLED) == [SOURCE_POLLED | {"extra": 2, "finished": 1}]
    assert len(bridge.queue.take()) == 1


def test_a_purge_is_one_line(bridge: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """The sweep's line has the count."""
    ended_long_ago(bridge)
    caplog.clear()

    bridge.sweep()

    swept = SWEPT | {"due": 0, "asked": 0, "purged": 1, "overdue": 1}
    assert lines_of(caplog) == [{"event": "operation.purged", "operation": OPERATION}, swept]


def test_a_postponed_purge_has_no_line(bridge: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """A redelivery on the last day extends the retention."""
    ended_long_ago(bridge)
    [ref] = [bridge.request().ref]
    bridge.registrations.redeliver(ref)
    caplog.clear()

    bridge.sweep()

    assert lines_of(caplog) == [SWEPT | {"due": 0, "asked": 0, "overdue": 1}]
    assert bridge.due_keys()[-1] == f"purge:{OPERATION}"


def test_a_purge_without_an_operation_is_deleted(bridge: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """The purge is not counted."""
    ended_long_ago(bridge)
    ref = OperationRef("default", "operation-1")
    rows = bridge.memory.range(partition_of(ref), "op:", "op;")
    bridge.memory.commit(Transaction(partition_of(ref), tuple(Delete(row.key, ANY) for row in rows)))
    caplog.clear()

    bridge.sweep()

    assert bridge.due_keys() == []
    assert [(line["event"], line.get("purged")) for line in lines_of(caplog)] == [
        ("due.deleted", None),
        ("sweep.finished", 0),
    ]


@pytest.mark.parametrize(
    ("trouble", "expected"),
    [
        ("down", {"event": "storage.unavailable", "step": "purge", "operation": OPERATION, "error": "down"}),
        (
            "conflict",
            {"event": "storage.unavailable", "step": "purge", "operation": OPERATION, "error": "stale at write 0"},
        ),
        ("bug", {"event": "app.failed", "step": "purge", "operation": OPERATION, "error": "ZeroDivisionError"}),
    ],
)
def test_a_failed_purge_is_one_line(trouble: str, expected: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """The purge is due again at the next sweep."""
    bridge, table = faulty()
    ended_long_ago(bridge)
    table.fail(PURGE, fails if trouble == "bug" else getattr(table, trouble))
    caplog.clear()

    bridge.sweep()

    assert lines_of(caplog) == [expected, SWEPT | {"due": 0, "asked": 0, "overdue": 1}]
    assert bridge.due_keys() == [f"purge:{OPERATION}"]


def down(*_: object, **__: object) -> NoReturn:
    """Raise StorageUnavailable."""
    raise StorageUnavailable("down")


@pytest.mark.parametrize(
    ("begin", "step", "expected"),
    [
        (None, BUDGET, {"step": "budget", "source": "default"}),
        (None, HEARTBEAT, {"step": "heartbeat"}),
        ("Succeeded", END, {"step": "finish", "operation": OPERATION}),
        ("Succeeded", OBSERVATION, {"step": "durations"}),
    ],
)
def test_storage_that_refuses_a_step_of_a_sweep_is_one_line(
    begin: str | None, step: Step, expected: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The line names the step, and the sweep continues."""
    bridge, table = faulty()
    bridge.sweep()  # writes the heartbeat
    bridge.register()
    bridge.upstream.script("operation-1", "Running", begin or "Running")
    bridge.sweep()
    bridge.clock.advance(60 if step is HEARTBEAT else 30)
    table.fail(step, table.down)
    caplog.clear()

    bridge.sweep()

    assert lines_of(caplog, Event.STORAGE) == [{"event": "storage.unavailable", **expected, "error": "down"}]
    assert len(lines_of(caplog, Event.SWEPT)) == 1


def test_an_unsent_message_is_one_line(bridge: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """The due row causes another message."""
    [ref] = bridge.register()
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.queue.send = down  # type: ignore[method-assign] # refuses

    bridge.sweep()

    line = {"code": "", "error": "down", "registration": ref.public_id, "unsent": 1}
    assert lines_of(caplog, Event.QUEUE) == [{"event": "queue.unavailable", **line}]


def test_sources_that_cannot_be_read_are_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """The sweep continues with a budget in memory, and writes no heartbeat."""
    bridge, table = faulty()
    bridge.register()
    table.range = refusing(table.range)  # type: ignore[method-assign] # in one partition
    caplog.clear()

    bridge.sweep()

    line = {"event": "storage.unavailable", "step": "read sources", "error": "down"}
    assert lines_of(caplog, Event.STORAGE)[0] == line
    assert len(bridge.upstream.asked) == 1
    assert bridge.memory.get(SOURCES_PARTITION, "heartbeat") is None


def refusing(read: Callable[..., Any]) -> Callable[..., Any]:
    """Reject reads of source rows only."""

    def range_(partition: str, *args: Any, **kwargs: Any) -> object:
        return down() if partition == SOURCES_PARTITION else read(partition, *args, **kwargs)

    return range_


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            "operation",
            {"operation": OPERATION, "why": "Operation of schema 99: this version reads 1 and the one before"},
        ),
        (
            "budget",
            {
                "partition": SOURCES_PARTITION,
                "key": "source:default",
                "why": "Budget of schema 99: this version reads 1 and the one before",
            },
        ),
        (
            "model",
            {
                "partition": SOURCES_PARTITION,
                "key": "dur:default:",
                "why": "DurationModel of schema 99: this version reads 1 and the one before",
            },
        ),
    ],
)
def test_a_row_of_a_newer_version_is_one_line(
    bridge: Harness, row: str, expected: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The row is skipped, and the sweep continues."""
    bridge.register()
    bridge.upstream.script("operation-1", "Running", "Succeeded")
    bridge.sweep()
    bridge.clock.advance(61)
    bridge.register("operation-2")
    bridge.sweep()  # writes the duration model
    bridge.clock.advance(61)
    ref = OperationRef("default", "operation-2")
    bridge.upstream.script("operation-2", "Succeeded")
    keys = {
        "operation": (partition_of(ref), row_key(ref)),
        "budget": (SOURCES_PARTITION, source_key("default")),
        "model": (SOURCES_PARTITION, "dur:default:"),
    }
    partition, key = keys[row]
    bridge.memory.commit(Transaction(partition, (Merge(key, {"v": 99}, ANY),)))
    caplog.clear()

    bridge.sweep()

    written = {name: each.replace("operation-1", "operation-2") for name, each in expected.items()}
    assert lines_of(caplog, Event.ROW_UNREADABLE) == [{"event": "row.unreadable", **written}]
    assert len(lines_of(caplog, Event.SWEPT)) == 1


def test_a_bug_at_an_answer_is_one_line_and_the_operation_waits(
    bridge: Harness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The operation waits five minutes, since a newer version may handle the answer."""
    bridge.register()
    monkeypatch.setattr("bridge.services.sweep.poller.after_poll", lambda *_, **__: fails(None))
    caplog.clear()

    bridge.sweep()

    failed = {"event": "app.failed", "step": "poll", "operation": OPERATION, "error": "ZeroDivisionError"}
    assert lines_of(caplog)[:2] == [failed, POLLED | {"next": "2026-11-23T12:05:00.000Z"}]
