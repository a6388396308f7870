"""Foreign content in queue and table is skipped with a log line, and stops nothing."""

import json
import logging
from typing import Self

from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.api.handlers import Handlers
from bridge.app import App
from bridge.domain.errors import UnreadableRow
from bridge.domain.ids import Kind
from bridge.domain.registration import State
from bridge.domain.upstream import Reply
from bridge.storage.due import Due, read_due
from bridge.storage.keys import due_reference, operation_of, partition_of, registration_of
from bridge.storage.queue_message import read_task
from bridge.storage.records import SCHEMA_VERSION
from bridge.storage.table import ANY, Insert, Merge, Row, Transaction, Value
from tests.proof.fuzz_strategies import OTHER, URL, VICTIM, columns, keys, messages, writings
from tests.support.harness import Harness, harness
from tests.support.http import Client

READS = ((Handlers.list_registrations, "/registrations"), (Handlers.status, "/status"))
WRITTEN = ("op-operation", "op-registration", "due", "idx", "att", "heartbeat")


@given(st.binary(max_size=80) | messages.map(lambda message: json.dumps(message).encode()))
def test_any_queue_message_is_processed_dropped_or_skipped(body: bytes) -> None:
    """Foreign messages leave a log line and change no row."""
    bridge = harness()
    bridge.register(VICTIM)
    before = bridge.memory.rows()
    lines = Lines()

    with lines:
        App(bridge.bridge).deliver(body)

    assert bridge.memory.rows() == before
    assert ("queue_message" in lines.text) == (not is_task(body))


@given(keys)
def test_any_row_key_is_decoded_or_unreadable(key: str) -> None:
    """A readable key encodes back to the same text."""
    operation, registration = operation_of(key), registration_of(key)

    assert operation is None or due_reference(operation) == key
    assert registration is None or due_reference(registration) == key.replace("~", ":")
    due = read_any_due(Row("op0", f"due:{key}", "etag", {"v": SCHEMA_VERSION}))
    assert due is None or due.handle.key == f"due:{key}"


@given(
    st.lists(keys, max_size=5, unique=True),
    st.dictionaries(st.sampled_from(["v", "at", "generation", "number"]), columns),
)
def test_unreadable_due_and_index_rows_stop_nothing(names: list[str], values: dict[str, object]) -> None:
    """The unreadable rows sort before the bridge's rows in every range."""
    bridge = harness()
    ref = bridge.register(VICTIM)[0]
    bridge.upstream.script(VICTIM, "Succeeded")
    for prefix in ("due:0", "due:deliver:0", "idx:pending:", "idx:waiting:"):
        rows = tuple(Insert(f"{prefix}{name}", dict(values)) for name in names)  # type: ignore[arg-type]
        if rows:
            bridge.memory.commit(Transaction(partition_of(ref), rows))

    work(bridge)

    assert bridge.registration(ref).state is State.DELIVERED
    assert {Client.of(bridge).call(route, path).status for route, path in READS} == {200}


@settings(max_examples=250)
@given(
    st.sampled_from(WRITTEN),
    st.integers(0, 3),
    writings,
    st.sampled_from(["Succeeded", "Running", 404, 400, 500]),
    st.sampled_from(Kind),
)
@example("op-registration", 2, {"run_start": 10_000_000}, "Succeeded", Kind.OPERATION)
def test_an_overwritten_row_stops_no_other_operation(
    row_kind: str, ticks: int, changes: dict[str, Value], reply: str | int, kind: Kind
) -> None:
    """The change hits any column of any row, at any time. The callback of the other operation still arrives."""
    bridge = harness()
    bridge.register(VICTIM, kind=kind)
    bridge.upstream.script(VICTIM, "Running", Reply(status=reply) if isinstance(reply, int) else reply, kind=kind)
    bridge.sender.script(URL, 500, 200)
    work(bridge, ticks)
    for row in [row for row in bridge.memory.rows() if is_of_kind(row, row_kind)]:
        bridge.memory.commit(Transaction(row.partition, (Merge(row.key, changes, ANY),)))
    other = bridge.register(OTHER, "https://other.example.com/")[0]
    bridge.upstream.script(OTHER, "Succeeded")

    work(bridge)

    assert bridge.registration(other).state is State.DELIVERED
    assert {Client.of(bridge).call(route, path).status for route, path in READS} == {200}


@given(
    st.dictionaries(
        st.sampled_from(["rate", "tokens", "at", "changed_at", "stops", "pauses", "paused_until", "v"]),
        st.sampled_from(["nan", "inf", "-inf", "x", "{", b"1", 10**18, -(10**18), 1e308]),
        min_size=1,
    )
)
def test_an_overwritten_budget_does_not_end_a_sweep(changes: dict[str, str | bytes | float]) -> None:
    """An unreadable budget is skipped, and the sweep continues with the count in memory."""
    bridge = harness()
    bridge.register(VICTIM)
    bridge.sweep()
    bridge.memory.commit(Transaction("sources", (Merge("source:default", changes, ANY),)))

    work(bridge)

    assert Client.of(bridge).call(Handlers.status, "/status").status == 200


def work(bridge: Harness, ticks: int = 4) -> None:
    """Run timer and queue. No content may raise an error."""
    app = App(bridge.bridge)
    for _ in range(ticks):
        app.sweep()
        for task in bridge.queue.take():
            try:
                bridge.deliver(task)
            except Exception:
                if task.ref.operation.id != VICTIM:
                    raise
        bridge.clock.advance(15)


def is_of_kind(row: Row, kind: str) -> bool:
    """Return whether a row has the kind."""
    if kind.startswith("op-"):
        return row.key.startswith("op:") and row.key.endswith(":") == (kind == "op-operation")
    return row.key.startswith(kind)


def is_task(body: bytes) -> bool:
    """Return whether a body is a task of the bridge."""
    try:
        read_task(body)
    except UnreadableRow:
        return False
    return True


def read_any_due(row: Row) -> Due | None:
    """Read a due row. Returns None for an unreadable row."""
    try:
        return read_due(row)
    except UnreadableRow:
        return None


class Lines(logging.Handler):
    """Collects the log lines of the bridge."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += record.getMessage()

    def __enter__(self) -> Self:
        logging.getLogger("bridge").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("bridge").removeHandler(self)
