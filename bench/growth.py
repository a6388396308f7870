"""What a large table costs: sweeps and lists over Azurite, with much in the table against little.

The rows are made by a bridge over the table in memory and copied, so they are what a bridge writes.
"""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

from bench.composed import Composed, Instant, Taker, composed
from bench.measuring import Figures, Pair, Scale, seconds
from bench.storage import Counted, counted
from bridge.adapters.memory import MemoryTable
from bridge.core.keys import operation_partitions
from bridge.core.registration import State
from bridge.core.transaction import MAX_WRITES, Insert, Transaction
from local.azurite import Azurite

#: What waits far from being due is due so much later.
_FAR = timedelta(days=365)

_WRITERS = 2
_PAGE = 50


def measure(scale: Scale) -> Figures:
    """Sweep and list in tables that differ in what is not due, in turns."""
    figures: dict[str, float] = {"growth.operations": scale.stored}
    with Azurite.start() as azurite:
        with counted(azurite) as large, counted(azurite) as small:
            _copy(_waiting(scale.stored), large)
            _copy(_waiting(scale.few), small)
            figures |= _sweeps("growth.waiting", large, small, scale)
        with counted(azurite) as large, counted(azurite) as small, counted(azurite) as none:
            _copy(_finished(scale.stored), large)
            _copy(_finished(scale.few), small)
            pages = Pair.alternating(partial(_list, large), partial(_list, small), scale.lists)
            figures |= {"list.finished": pages.ratio}
            figures |= _sweeps("growth.finished", large, none, scale)
    return figures


def _sweeps(name: str, large: Counted, small: Counted, scale: Scale) -> Figures:
    """Sweep the same number of due operations in both: time and calls, the large table's over the small one's."""
    due = MemoryTable()
    _register(composed(table=due), scale.due, "due")
    for each in (large, small):
        _copy(due, each)
    bridges = [composed(table=each.table, upstream=Instant()) for each in (large, small)]
    first, second = (partial(seconds, bridge.sweep_later) for bridge in bridges)
    large.taken(), small.taken()
    pair = Pair.alternating(first, second, scale.long_rounds)
    return {name: pair.ratio, f"{name}.calls": large.taken().total() / small.taken().total()}


def _list(storage: Counted) -> float:
    show = composed(table=storage.table).bridge.routes.show
    return seconds(lambda: _expect(len(show.page([State.DELIVERED], limit=_PAGE, cursor=None).entries)))


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
    bridge = composed(table=table, upstream=Instant("Succeeded"), courier=Taker(), requests_per_second=1e5)
    _register(bridge, count)
    while bridge.due():
        bridge.bridge.sweep.sweep()
        for call in bridge.outbox.take():
            bridge.bridge.deliver.deliver(call)
    return table


def _register(bridge: Composed, count: int, name: str = "operation") -> None:
    for number in range(count):
        bridge.register(f"{name}-{number:06d}")


def _copy(rows: MemoryTable, storage: Counted) -> None:
    """Copy what belongs to operations, as many rows at once as a transaction takes."""
    with ThreadPoolExecutor(_WRITERS) as pool:
        list(pool.map(partial(_copy_partition, rows, storage), operation_partitions()))


def _copy_partition(rows: MemoryTable, storage: Counted, partition: str) -> None:
    inserts = [Insert(row.key, row.values) for row in rows.rows(partition)]
    for start in range(0, len(inserts), MAX_WRITES):
        storage.table.commit(Transaction(partition, tuple(inserts[start : start + MAX_WRITES]), stamp=None, tx=""))
