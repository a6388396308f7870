"""What a large table costs: sweeps and lists over Azurite, with much in the table against little.

The rows are made by a bridge over the table in memory and copied, so they are what a bridge writes.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

from bench.composed import Composed, Instant, Taker, composed
from bench.measuring import Figures, Pair, Scale, seconds
from bench.storage import Counted, counted
from bridge.domain.registration import State
from bridge.storage.keys import operation_partitions
from bridge.storage.table import MAX_WRITES, Insert, Table, Transaction
from bridge.testing import MemoryTable
from local.azurite import Azurite

#: What waits far from being due is due so much later.
_FAR = timedelta(days=365)

#: A delivery behind a backlog is deferred by at most this time.
_DEFERRED = timedelta(minutes=10)

_WRITERS = 2
_PAGE = 50

#: Callbacks go to so many hosts. A sweep sends 100 messages for a host, so one host would take a thousand sweeps.
_RECEIVERS = 200


def measure(scale: Scale) -> Figures:
    """Sweep and list in tables that differ in what is not due, in turns."""
    figures: dict[str, float] = {"growth.operations": scale.stored, "growth.operations.in_memory": scale.many}
    with Azurite.start() as azurite:
        few = _waiting(scale.few)
        with _stored(azurite, _waiting(scale.stored)) as large, _stored(azurite, few) as small:
            figures |= _sweeps("growth.waiting", large, small, scale)
        few, none = _finished(scale.few), MemoryTable()
        many = _finished(scale.stored)
        with _stored(azurite, many) as large, _stored(azurite, few) as small, _stored(azurite, none) as empty:
            figures |= {
                "list.finished": _lists(large.table, small.table, scale),
                "growth.queries_ms": 1000 * seconds(partial(_query_due, large)),
                "growth.queries_ms.few": 1000 * seconds(partial(_query_due, small)),
            }
            figures |= _sweeps("growth.finished", large, empty, scale)
    figures |= _sweeps_in_memory("growth.waiting", _waiting(scale.many), _waiting(scale.few), scale)
    many = _finished(scale.many)
    figures["list.finished.in_memory"] = _lists(many, few, scale)
    figures |= _sweeps_in_memory("growth.finished", many, none, scale)
    return figures


@contextmanager
def _stored(azurite: Azurite, rows: MemoryTable) -> Iterator[Counted]:
    """Put rows into a table of their own."""
    with counted(azurite) as storage:
        _copy(rows, storage)
        yield storage


def _sweeps(name: str, large: Counted, small: Counted, scale: Scale) -> Figures:
    """Sweep the same number of due operations in both: time and calls, the large table's over the small one's."""
    due = MemoryTable()
    _register(composed(table=due), scale.due, "due")
    for each in (large, small):
        _copy(due, each)
    large.taken(), small.taken()
    ratio = _sweeping(large.table, small.table, scale.long_rounds)
    return {name: ratio, f"{name}.calls": large.taken().total() / small.taken().total()}


def _sweeps_in_memory(name: str, large: MemoryTable, small: MemoryTable, scale: Scale) -> Figures:
    """Do the same with a table that finds a range by its keys, as the service does and its emulator does not."""
    for each in (large, small):
        _register(composed(table=each), scale.due, "due")
    return {f"{name}.in_memory": _sweeping(large, small, scale.lists)}


def _sweeping(large: Table, small: Table, rounds: int) -> float:
    bridges = [composed(table=each, upstream=Instant()) for each in (large, small)]
    first, second = (partial(seconds, bridge.sweep_later) for bridge in bridges)
    return Pair.alternating(first, second, rounds).ratio


def _query_due(storage: Counted) -> None:
    """Read an empty range in every partition. Its time is the cost of storage alone."""
    for name in operation_partitions():
        storage.table.range(name, "due:0", "due:1")


def _lists(large: Table, small: Table, scale: Scale) -> float:
    return Pair.alternating(partial(_list, large), partial(_list, small), scale.lists).ratio


def _list(table: Table) -> float:
    queries = composed(table=table).bridge.handlers.queries
    return seconds(lambda: _expect(len(queries.page([State.DELIVERED], limit=_PAGE, cursor=None).entries)))


def _expect(entries: int) -> None:
    if not entries:
        raise RuntimeError("nothing was listed")


def _waiting(count: int) -> MemoryTable:
    """Let so many wait, none of which is due for long."""
    table = MemoryTable()
    bridge = composed(table=table)
    bridge.clock.skip(_FAR)
    _register(bridge, count)
    return table


def _finished(count: int) -> MemoryTable:
    """Let so many end and be delivered."""
    table = MemoryTable()
    bridge = composed(table=table, upstream=Instant("Succeeded"), sender=Taker(), requests_per_second=1e5)
    _register(bridge, count)
    while bridge.has_deliveries() or bridge.due():
        if not bridge.due():  # deferred behind the backlog of their host
            bridge.clock.skip(_DEFERRED)
        bridge.bridge.sweep.sweep()
        for task in bridge.queue.take():
            bridge.bridge.deliver.deliver(task)
    return table


def _register(bridge: Composed, count: int, name: str = "operation") -> None:
    for number in range(count):
        bridge.register(f"{name}-{number:06d}", f"https://receiver-{number % _RECEIVERS}.example.com/")


def _copy(rows: MemoryTable, storage: Counted) -> None:
    """Copy what belongs to operations, as many rows at once as a transaction takes."""
    with ThreadPoolExecutor(_WRITERS) as pool:
        list(pool.map(partial(_copy_partition, rows, storage), operation_partitions()))


def _copy_partition(rows: MemoryTable, storage: Counted, partition: str) -> None:
    inserts = [Insert(row.key, row.values) for row in rows.rows(partition)]
    for start in range(0, len(inserts), MAX_WRITES):
        storage.table.commit(Transaction(partition, tuple(inserts[start : start + MAX_WRITES]), stamp=None, tx=""))
