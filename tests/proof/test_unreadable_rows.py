"""Whatever somebody else writes into queue and table is skipped, with a log line, and stops nothing."""

import json
import logging
from typing import Self

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.api.handlers import Handlers
from bridge.app import App
from bridge.domain.errors import UnreadableRow
from bridge.domain.registration import State
from bridge.domain.upstream import Reply
from bridge.storage.due import Due, read_due
from bridge.storage.keys import due_reference, operation_of, partition_of, registration_of
from bridge.storage.queue_message import read_task
from bridge.storage.records import SCHEMA_VERSION
from bridge.storage.transaction import ANY, Insert, Merge, Row, Transaction, Value
from tests.proof.fuzz_strategies import OTHER, URL, VICTIM, columns, keys, messages, writings
from tests.support.harness import Harness, harness
from tests.support.http import Client

READS = ((Handlers.list_registrations, "/registrations"), (Handlers.status, "/status"))
WRITTEN = ("op-operation", "op-registration", "due", "idx", "att", "heartbeat")


@given(st.binary(max_size=80) | messages.map(lambda message: json.dumps(message).encode()))
def test_any_queue_message_is_followed_dropped_or_skipped(body: bytes) -> None:
    """With a log line where it is none of ours, and never with a row changed."""
    bridge = harness()
    bridge.register(VICTIM)
    before = bridge.memory.rows()
    lines = Lines()

    with lines:
        App(bridge.bridge).deliver(body)

    assert bridge.memory.rows() == before
    assert ("queue_message" in lines.text) == (not is_task(body))


@given(keys)
def test_any_row_key_names_something_or_is_unreadable(key: str) -> None:
    """What a key names writes itself the same."""
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
    """They are in every range that the bridge reads, before its own."""
    bridge = harness()
    ref = bridge.register(VICTIM)[0]
    bridge.upstream.tell(VICTIM, "Succeeded")
    for prefix in ("due:0", "due:deliver:0", "idx:pending:", "idx:waiting:"):
        rows = tuple(Insert(f"{prefix}{name}", dict(values)) for name in names)  # type: ignore[arg-type]
        if rows:
            bridge.memory.commit(Transaction(partition_of(ref), rows))

    work(bridge)

    assert bridge.registration(ref).state is State.DELIVERED
    assert {Client.of(bridge).call(route, path).status for route, path in READS} == {200}


@settings(max_examples=250)
@given(st.sampled_from(WRITTEN), st.integers(0, 3), writings, st.sampled_from(["Succeeded", "Running", 404, 400, 500]))
def test_a_row_that_somebody_wrote_over_stops_nothing_else(
    kind: str, ticks: int, changes: dict[str, Value], reply: str | int
) -> None:
    """Any column of any row, to anything, at any time of its life: the other operation's callback arrives."""
    bridge = harness()
    bridge.register(VICTIM)
    bridge.upstream.tell(VICTIM, "Running", Reply(status=reply) if isinstance(reply, int) else reply)
    bridge.sender.tell(URL, 500, 200)
    work(bridge, ticks)
    for row in [row for row in bridge.memory.rows() if is_of_kind(row, kind)]:
        bridge.memory.commit(Transaction(row.partition, (Merge(row.key, changes, ANY),)))
    other = bridge.register(OTHER, "https://other.example.com/")[0]
    bridge.upstream.tell(OTHER, "Succeeded")

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
def test_a_budget_that_somebody_wrote_over_does_not_end_a_sweep(changes: dict[str, str | bytes | float]) -> None:
    """What is no budget is skipped, and the sweep keeps its own count."""
    bridge = harness()
    bridge.register(VICTIM)
    bridge.sweep()
    bridge.memory.commit(Transaction("sources", (Merge("source:default", changes, ANY),)))

    work(bridge)

    assert Client.of(bridge).call(Handlers.status, "/status").status == 200


def work(bridge: Harness, ticks: int = 4) -> None:
    """Let timer and queue run; whatever they meet, they end."""
    app = App(bridge.bridge)
    for _ in range(ticks):
        app.sweep()
        for task in bridge.queue.take():
            try:
                bridge.bridge.deliver.deliver(task)
            except Exception:
                if task.ref.operation.id != VICTIM:
                    raise
        bridge.clock.advance(15)


def is_of_kind(row: Row, kind: str) -> bool:
    """Tell what a row is."""
    if kind.startswith("op-"):
        return row.key.startswith("op:") and row.key.endswith(":") == (kind == "op-operation")
    return row.key.startswith(kind)


def is_task(body: bytes) -> bool:
    """Tell whether a body is a message of ours."""
    try:
        read_task(body)
    except UnreadableRow:
        return False
    return True


def read_any_due(row: Row) -> Due | None:
    """Read a due row; None if it is unreadable."""
    try:
        return read_due(row)
    except UnreadableRow:
        return None


class Lines(logging.Handler):
    """Collects what the bridge logs."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.text += record.getMessage()

    def __enter__(self) -> Self:
        logging.getLogger("bridge").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("bridge").removeHandler(self)
