"""Scenarios with deleted due rows, and with sweeps and deliveries that read wrong results from storage.

`calls.py` covers failed calls, which adapters detect. Here reads miss existing rows, which no adapter can detect, and
due rows vanish as after a foreign delete. Once the damage stops, every registration must still end.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from bridge.domain.ids import Kind
from bridge.domain.upstream import Reply
from bridge.storage.keys import operation_partitions
from bridge.storage.table import ANY, Delete, Row, Table, Transaction
from tests.proof import invariants, rows
from tests.proof.instance import Parts
from tests.proof.simulation import Loss, Simulation
from tests.support.poll_errors import TIMED_OUT

#: Operations, and as many jobs with the same ids.
_NAMES = tuple((f"twin-{number}", kind) for number in range(6) for kind in Kind)
_DAMAGED = timedelta(minutes=20)
#: Long enough for missing due rows to be long overdue, and for a scan of every partition.
_MENDED = timedelta(minutes=45)
_RETENTION = timedelta(days=31)
_DELETED, _BLIND = 0.05, 0.1
_REPLIES = ("Running", "NotStarted", "Succeeded", "Failed", TIMED_OUT, Reply(status=500), Reply(status=404))


@dataclass(slots=True)
class Damage:
    """The random source of the damage, and the phase of the scenario."""

    rng: random.Random
    #: Whether a sweep or a delivery runs now. Clients always read correct results.
    is_at_work: bool = False
    is_over: bool = False
    is_mended: bool = False


@dataclass(slots=True)
class BlindTable:
    """A table that sometimes misses rows on reads."""

    inner: Table
    damage: Damage

    def get(self, partition: str, key: str) -> Row | None:
        """Read one row, or miss an existing row."""
        return None if self._misses() else self.inner.get(partition, key)

    def range(
        self, partition: str, start: str, stop: str, *, limit: int | None = None, columns: Sequence[str] = ()
    ) -> Sequence[Row]:
        """Read a range, or miss all rows of the range.

        Attempts are always found, since a finished purge is not repeated.
        """
        found = self.inner.range(partition, start, stop, limit=limit, columns=columns)
        return [] if not start.startswith("att:") and self._misses() else found

    def commit(self, transaction: Transaction) -> dict[str, str]:
        return dict(self.inner.commit(transaction))

    def _misses(self) -> bool:
        return self.damage.is_at_work and not self.damage.is_over and self.damage.rng.random() < _BLIND


class DamagedSimulation(Simulation):
    """A simulation with deleted due rows. Rows are inconsistent until the damage is repaired."""

    def __init__(self, damage: Damage) -> None:
        self._damage = damage
        super().__init__(parts=Parts(table=lambda table: BlindTable(table, damage)))

    def check_rows(self) -> None:
        """Check the rows after the repair. A purge without a due row is detected only when overdue."""
        if self._damage.is_mended:
            found = [each for name in operation_partitions() for each in rows.problems(self.memory.rows(name))]
            if lost := [each for each in found if not (":purge:" in each and each.endswith(" is missing"))]:
                raise Loss("; ".join(lost))

    def damage(self) -> None:
        """Delete some due rows, then run timer and queue once."""
        for row in [row for name in operation_partitions() for row in self.memory.rows(name)]:
            if row.key.startswith("due:") and self._damage.rng.random() < _DELETED:
                self.memory.commit(Transaction(row.partition, (Delete(row.key, ANY),)))
        self._damage.is_at_work = True
        self.work(timedelta(seconds=10))
        self._damage.is_at_work = False

    def mend(self) -> None:
        """Run timer and queue until every partition was scanned. Idle sweeps count."""
        for _ in range(_MENDED // timedelta(minutes=1)):
            self.work(timedelta(minutes=1))

    def work(self, step: timedelta) -> None:
        """Tick the timer, work on the queue, and let time pass."""
        self.tick()
        self.drain()
        self.clock.advance(step)


def damaged(seed: int) -> str | None:
    """Run with damage drawn from a seed. Returns a description of the loss, if any."""
    rng = random.Random(seed)
    damage = Damage(rng)
    simulation = DamagedSimulation(damage)
    try:
        _live(simulation, rng)
        damage.is_over, damage.is_at_work = True, False
        simulation.mend()
        damage.is_mended = True
        for name, kind in _NAMES:
            simulation.upstream.script(name, "Succeeded", kind=kind)
        simulation.settle()
        invariants.check(simulation, repeats=True)
        simulation.clock.advance(_RETENTION)
        simulation.mend()
        simulation.forget()
    except Loss as loss:
        return f"seed {seed}: {loss}"
    return f"seed {seed}: left behind: {simulation.left()}" if simulation.left() else None


def _live(simulation: DamagedSimulation, rng: random.Random) -> None:
    """Register, cancel and redeliver at random while the damage happens."""
    end, names = simulation.clock() + _DAMAGED, list[str]()
    for name, kind in _NAMES:
        replies = [rng.choice(_REPLIES) for _ in range(rng.randint(1, 4))]
        simulation.upstream.script(name, *replies, kind=kind)
    simulation.receivers.script("https://a.example.com/", 500, 200)
    while simulation.clock() < end:
        if rng.random() < 0.2:
            name, kind = rng.choice(_NAMES)
            url = rng.choice(["https://a.example.com/", "https://b.example.com/"])
            names.append(simulation.register(name, url, kind=kind))
        if names and rng.random() < 0.03:
            simulation.cancel(rng.choice(names))
        if names and rng.random() < 0.03:
            simulation.redeliver(rng.choice(names))
        simulation.damage()
