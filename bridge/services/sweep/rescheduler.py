"""Collects what is to be moved, and commits it many at once: what was learnt is soon safe from a crash."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bridge.domain.time import Clock
from bridge.services.sweep.moving import Mover
from bridge.storage.writes.poll import MOVES_PER_TRANSACTION, DueMove

#: What was learnt is committed at least this often, so that a crash asks little again.
_FLUSH_AFTER = timedelta(seconds=5)


@dataclass(slots=True)
class _Batch:
    since: datetime
    moves: list[DueMove] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Batches:
    """The moves that are not committed yet, by partition."""

    mover: Mover
    clock: Clock
    by_partition: dict[str, _Batch] = field(default_factory=dict)

    def add(self, move: DueMove) -> None:
        """Take one more."""
        self.by_partition.setdefault(move.token.partition, _Batch(self.clock())).moves.append(move)

    def flush(self, *, everything: bool = False) -> None:
        """Commit full batches, old ones, and at the end all."""
        now = self.clock()
        for partition, batch in list(self.by_partition.items()):
            if everything or len(batch.moves) >= MOVES_PER_TRANSACTION or now - batch.since >= _FLUSH_AFTER:
                self.mover.move(self.by_partition.pop(partition).moves)
