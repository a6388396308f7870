"""The exponential plan with the whole bridge: operations end, callbacks arrive, and no model is learnt."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import pytest

from bridge.api.handlers import Handlers
from bridge.domain.registration import State
from bridge.domain.upstream import Reply
from bridge.storage.keys import SOURCES_PARTITION, duration_key
from bridge.storage.table import Insert, Row, Table, Transaction
from tests.support.harness import Harness, harness
from tests.support.http import Client

HOOK = "https://receiver.example.com/hook"


class Watched:
    """A table that records the keys of all rows that were read or written."""

    def __init__(self, inner: Table) -> None:
        self.inner = inner
        self.keys: set[str] = set()

    def get(self, partition: str, key: str) -> Row | None:
        self.keys.add(key)
        return self.inner.get(partition, key)

    def range(
        self, partition: str, start: str, stop: str, *, limit: int | None = None, columns: Sequence[str] = ()
    ) -> Sequence[Row]:
        rows = self.inner.range(partition, start, stop, limit=limit, columns=columns)
        self.keys |= {row.key for row in rows}
        return rows

    def commit(self, transaction: Transaction) -> Mapping[str, str]:
        self.keys |= {write.key for write in transaction.writes}
        return self.inner.commit(transaction)


def live(bridge: Harness, operation_id: str, seconds: int, group: str | None = None) -> list[float]:
    """Run an operation for some time, with a sweep every 10 s. Returns the ages of the polls."""
    body = {"operationId": operation_id, "callbackUrl": HOOK, "group": group}
    assert Client.of(bridge).register(body).status == 201
    begin, ages = bridge.clock(), list[float]()
    while bridge.aggregate(operation_id).operation.record.final_status is None:
        age = (bridge.clock() - begin).total_seconds()
        assert age < 24 * 3600
        bridge.upstream.script(operation_id, "Succeeded" if age >= seconds else "Running")
        before = len(bridge.upstream.asked)
        bridge.sweep()
        ages += [age] * (len(bridge.upstream.asked) - before)
        bridge.clock.advance(10)
    bridge.deliver_all()
    return ages


@pytest.fixture
def watched() -> Iterator[tuple[Harness, Watched]]:
    """Return a bridge with the exponential plan, and with a stored model of the learnt plan."""
    tables: list[Watched] = []

    def watch(inner: Table) -> Table:
        tables.append(Watched(inner))
        return tables[0]

    bridge = harness(table=watch, BRIDGE_POLL_PLAN="exponential", BRIDGE_POLL_INTERVAL="10s")
    left = Insert(duration_key("default", None), {"v": 1, "completions": "1"})
    bridge.memory.commit(Transaction(SOURCES_PARTITION, (left,)))
    yield bridge, tables[0]
    assert [key for key in tables[0].keys if key.startswith("dur:")] == []
    assert [row.key for row in bridge.memory.rows(SOURCES_PARTITION) if row.key.startswith("dur:")] == [left.key]


def test_an_operation_is_polled_ever_more_rarely_and_its_callback_arrives(watched: tuple[Harness, Watched]) -> None:
    bridge, _ = watched

    ages = live(bridge, "operation-1", 3000, "short")

    assert ages[:5] == [0, 10, 20, 30, 40]
    assert all(later - age <= 0.25 * age + 20 for age, later in pairwise(ages))  # a gap, and up to one sweep
    assert len(ages) < 26
    assert 3000 <= ages[-1] <= 1.25 * 3000 + 20
    assert len(bridge.sender.posted) == 1


def test_status_and_overview_show_that_nothing_is_learnt(watched: tuple[Harness, Watched]) -> None:
    bridge, _ = watched
    live(bridge, "operation-1", 30, "short")

    [source] = Client.of(bridge).call(Handlers.status, "/status").body["sources"]
    [schedule] = Client.of(bridge).call(Handlers.overview, "/overview").body["schedules"]

    assert source["durations"] == {"completions": 0, "shares": [], "groups": []}
    assert source["shadowPrice"] == 1
    polls = schedule.pop("pollsAtSeconds")
    assert schedule == {
        "source": "default",
        "kind": "operation",
        "group": None,
        "plan": "exponential",
        "completions": 0,
        "shares": [],
        "medianSeconds": None,
    }
    assert (len(polls), polls[:3]) == (40, [0, 10, 20])


def test_operations_take_turns_while_the_budget_is_short(watched: tuple[Harness, Watched]) -> None:
    bridge, _ = watched
    bridge.restart(BRIDGE_POLL_PLAN="exponential", BRIDGE_POLL_INTERVAL="10s", SPEECH_REQUESTS_PER_SECOND="0.2")
    refs = [ref for number in range(10) for ref in bridge.register(f"operation-{number}")]

    for _ in range(30):  # 300 s, 60 requests
        bridge.sweep()
        bridge.clock.advance(10)
    asked = [bridge.upstream.asked.count(ref.operation) for ref in refs]
    for number in range(10):
        bridge.upstream.script(f"operation-{number}", "Succeeded")
    for _ in range(10):
        bridge.sweep()
        bridge.deliver_all()
        bridge.clock.advance(10)

    assert max(asked) - min(asked) <= 1
    assert sum(asked) >= 58
    assert {bridge.registration(ref).state for ref in refs} == {State.DELIVERED}


def test_a_time_that_the_source_names_is_waited_for(watched: tuple[Harness, Watched]) -> None:
    bridge, _ = watched
    bridge.register("operation-1")
    bridge.upstream.script("operation-1", Reply(status=429, retry_after="300"), "Succeeded")

    begin = bridge.clock()
    while len(bridge.upstream.asked) < 2:
        bridge.sweep()
        bridge.clock.advance(10)

    assert 300 <= (bridge.clock() - begin).total_seconds() - 10 <= 320


def test_a_high_price_falls_and_a_change_back_continues_learning() -> None:
    """The stored model remains."""
    bridge = harness(SPEECH_REQUESTS_PER_SECOND="0.1")
    for number in range(20):
        bridge.register(f"operation-{number}")
    for _ in range(30):
        bridge.sweep()
        bridge.clock.advance(10)
    [source] = Client.of(bridge).call(Handlers.status, "/status").body["sources"]
    assert source["shadowPrice"] > 1

    bridge.restart(BRIDGE_POLL_PLAN="exponential")
    live(bridge, "operation-20", 30)
    [simple] = Client.of(bridge).call(Handlers.status, "/status").body["sources"]
    bridge.restart()
    live(bridge, "operation-21", 30)
    [learnt] = Client.of(bridge).call(Handlers.status, "/status").body["sources"]

    assert simple["shadowPrice"] == 1
    assert learnt["durations"]["completions"] >= 1
