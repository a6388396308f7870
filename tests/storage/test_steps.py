"""Common properties of every step, seen at the table: identifiable transactions, and due rows for all rows."""

from collections.abc import Mapping
from datetime import timedelta

from bridge.domain.outcome import Failure, Unreachable
from bridge.domain.registration import State
from bridge.storage.keys import operation_partitions
from bridge.storage.table import Delete, Table, Transaction
from bridge.testing import MemoryTable
from tests.proof import rows
from tests.support.forwarding import ForwardingTable
from tests.support.harness import Harness, harness


class Recording(ForwardingTable):
    """A table that records every transaction, and the problems of the rows afterwards."""

    def __init__(self, inner: Table) -> None:
        assert isinstance(inner, MemoryTable)
        super().__init__(inner)
        self._rows = inner.rows
        self.made: list[Transaction] = []
        self.problems: list[str] = []

    def commit(self, transaction: Transaction) -> Mapping[str, str]:
        """Commit and record a transaction, then check the partition."""
        etags = super().commit(transaction)
        self.made.append(transaction)
        if transaction.partition in operation_partitions():
            self.problems += rows.problems(self._rows(transaction.partition))
        return etags


def recorded() -> tuple[Harness, Recording]:
    """Return a harness with recorded transactions."""
    tables: list[Recording] = []

    def wrap(inner: Table) -> Table:
        tables.append(Recording(inner))
        return tables[0]

    return harness(wrap), tables[0]


def live(bridge: Harness) -> None:
    """Run every step that a client, a receiver or the upstream can cause, up to the purge."""
    a, b, _ = bridge.register("operation-1", *(f"https://{name}.example.com/" for name in "abc"))
    registrations = bridge.registrations
    bridge.sweep()
    registrations.cancel(b)
    bridge.register("operation-1", "https://b.example.com/")
    bridge.sender.script("https://a.example.com/", 410)
    bridge.sender.script("https://c.example.com/", Unreachable(error=Failure.TIMEOUT), 200)
    bridge.upstream.script("operation-1", "Succeeded")
    go_on(bridge, minutes=1)
    bridge.register("operation-1", "https://d.example.com/")
    registrations.cancel(bridge.register("operation-1", "https://e.example.com/")[0])
    registrations.redeliver(a)
    go_on(bridge, minutes=10)
    for ref in bridge.register("operation-2"):
        registrations.cancel(ref)
    bridge.clock.advance(timedelta(days=29).total_seconds())
    registrations.redeliver(b)
    go_on(bridge, minutes=10)
    for _ in range(4):
        bridge.clock.advance(timedelta(days=15).total_seconds())
        bridge.sweep()


def go_on(bridge: Harness, *, minutes: int) -> None:
    """Run timer and queue."""
    for _ in range(2 * minutes):
        bridge.clock.advance(30)
        bridge.sweep()
        bridge.deliver_all()


def test_every_step_can_be_recognised_after_an_unknown_outcome() -> None:
    """Each transaction of an operation stores its `tx` on a row. Deletions need no `tx`."""
    bridge, table = recorded()

    live(bridge)

    steps = [made for made in table.made if made.partition in operation_partitions()]
    telling = [made for made in steps if not all(isinstance(write, Delete) for write in made.writes)]
    stamped = [
        [write.values.get("tx") for write in made.writes if write.key == made.stamp and not isinstance(write, Delete)]
        for made in telling
    ]
    assert len(telling) >= 30
    assert stamped == [[made.tx] for made in telling]
    assert all(made.tx for made in telling)


def test_after_every_step_each_row_has_its_due_row_and_its_index_row() -> None:
    """No row remains at the end."""
    bridge, table = recorded()

    live(bridge)

    assert table.problems == []
    assert [row.key for name in operation_partitions() for row in bridge.memory.rows(name)] == []


def test_a_late_redelivery_postpones_the_purge_by_its_retention() -> None:
    """The purge moves to that day, no further, and the row has the same time."""
    bridge = harness()
    (ref,) = bridge.register()
    bridge.upstream.script("operation-1", "Succeeded")
    go_on(bridge, minutes=1)
    bridge.clock.advance(timedelta(days=29).total_seconds())
    bridge.registrations.redeliver(ref)
    bridge.deliver_all()
    ended = bridge.registration(ref).since

    bridge.clock.advance(timedelta(days=2).total_seconds())
    bridge.sweep()
    moved = bridge.aggregate().operation.record.due
    bridge.clock.now = ended + timedelta(days=30) - timedelta(seconds=1)
    bridge.sweep()

    assert bridge.registration(ref).state is State.DELIVERED
    assert moved == bridge.aggregate().operation.record.due
    assert bridge.due_keys() == ["purge:default:operation-1"]
    bridge.clock.advance(1)
    bridge.sweep()
    assert bridge.due_keys() == []
