"""The learnt durations during sweeps: read once per sweep, updated by every answer, written when an operation ends.

Observations of running operations are written once a minute. A crash before that loses them, which costs only some
accuracy. Concurrent writes of two instances merge: observations are added to the current state of the row.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

from bridge.domain.errors import BridgeError, UnreadableRow
from bridge.domain.operation import PollState
from bridge.domain.upstream import Pending, PollResult, Terminal
from bridge.learnt.durations import DurationModel, HazardCurve, Observations
from bridge.learnt.plan import seconds, seen_age
from bridge.log import Event, log
from bridge.storage.keys import DURATION_PREFIX, SOURCES_PARTITION, after, duration_key
from bridge.storage.records import Stored, for_insert, for_merge, stored
from bridge.storage.repository import Commit, Repository
from bridge.storage.table import MAX_WRITES, Delete, Insert, Merge, Row, Transaction, Write

#: The most groups of a source with separate models. A further one replaces the least recently updated one.
MAX_GROUPS = 64

_LONG_AGO = datetime.min.replace(tzinfo=UTC)

#: Observations of running operations are written after this time.
_WRITE_AFTER = timedelta(minutes=1)


class DurationStore:
    """The duration models of all sources and groups, as this instance knows them. Threads may share it."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._clock = repository.clock
        self._lock = threading.Lock()
        self._known: Mapping[str, Stored[DurationModel]] = {}
        self._unreadable: frozenset[str] = frozenset()
        #: Replaced groups. Their rows are deleted with the next write.
        self._replaced: dict[str, Stored[DurationModel]] = {}
        self._curves: dict[str, HazardCurve] = {}
        self._observed: dict[str, Observations] = {}
        self._written_at = self._clock()

    def begin(self, rows: Sequence[Row]) -> None:
        """Load the rows that a sweep has read."""
        known: dict[str, Stored[DurationModel]] = {}
        unreadable: set[str] = set()
        for row in rows:
            if row.key.startswith(DURATION_PREFIX):
                try:
                    known[row.key] = stored(DurationModel, None, row)
                except UnreadableRow as error:
                    unreadable.add(row.key)
                    log(Event.ROW_UNREADABLE, partition=row.partition, key=row.key, why=str(error))
        with self._lock:
            self._replaced = {key: known.pop(key) for key in self._replaced if key in known}
            self._known, self._unreadable, self._curves = known, frozenset(unreadable), {}

    def read(self, rows: Sequence[Row]) -> "DurationStore":
        """Make a store with other rows. This one stays as it is."""
        store = DurationStore(self._repository)
        store.begin(rows)
        return store

    def groups(self, collection: str) -> Sequence[str]:
        """Return the names of the groups of a source, sorted."""
        return sorted(key.removeprefix(duration_key(collection, None)) for key in self._groups(collection))

    def model(self, collection: str, group: str | None) -> DurationModel:
        """Return the model of a source or a group, without the part that a group takes from its source."""
        known = self._known.get(duration_key(collection, group))
        return DurationModel() if known is None else known.record

    def curve(self, collection: str, group: str | None) -> HazardCurve:
        """Return the hazards of a group, based on the source's until the group has observations, or of the source."""
        with self._lock:
            return self._curve(collection, self._group(collection, group))

    def observe(self, poll_state: PollState, result: PollResult, now: datetime) -> None:
        """Learn from an answer: the operation still runs, or has ended since the last poll that saw it running.

        The first answer about a job shows when its age began. If the last one has both times, the duration is exact:
        the two are of the same clock, so the duration holds even if that clock is ahead.
        """
        if not isinstance(result, Pending | Terminal):
            return  # no evidence of a duration
        state = replace(poll_state, created_at=result.created_at or poll_state.created_at)
        seen, age = seen_age(state), seconds(now - state.began_at)
        exact = _exact_age(state, result)
        if exact is None and age <= seen:
            return
        collection = poll_state.ref.collection
        with self._lock:
            for group in dict.fromkeys((None, self._observed_group(collection, poll_state.group))):
                observations = self._observed.setdefault(duration_key(collection, group), Observations())
                curve = self._curve(collection, group)
                if exact is not None:
                    observations.end_at(curve, seen, exact)
                else:
                    learn = observations.end if isinstance(result, Terminal) else observations.running
                    learn(curve, seen, age)

    def end(self) -> None:
        """Write the observations if it is time. Never fails a sweep: observations that cannot be written are lost."""
        with self._lock:
            ended = any(observations.ended for observations in self._observed.values())
            if not self._observed or not (ended or self._clock() - self._written_at >= _WRITE_AFTER):
                return
            observed, self._observed = self._observed, {}
            self._written_at = self._clock()
        keys = [*observed, *self._replaced]
        for start in range(0, len(keys), MAX_WRITES):
            self._merge({key: observed.get(key) for key in keys[start : start + MAX_WRITES]})

    def _merge(self, observed: Mapping[str, Observations | None]) -> None:
        """Add observations to the rows. After a conflict the rows are read again."""
        read = partial(self._repository.table.range, SOURCES_PARTITION, DURATION_PREFIX, after(DURATION_PREFIX))
        try:
            self._repository.transact(read, partial(self._rewrite, observed), first=partial(self._write, observed))
        except BridgeError as error:
            log(Event.STORAGE, step="durations", error=str(error))

    def _rewrite(self, observed: Mapping[str, Observations | None], rows: Sequence[Row], tx: str) -> Commit[None]:
        self.begin(rows)
        return self._write(observed, tx)

    def _write(self, observed: Mapping[str, Observations | None], tx: str) -> Commit[None]:
        """Add the observations to each row, and delete the rows of replaced groups."""
        now, writes = self._clock(), list[Write]()
        for key, observations in observed.items():
            before, replaced = self._known.get(key), self._replaced.get(key)
            if observations is None:
                writes += [] if replaced is None else [Delete(key, replaced.etag)]
            elif before is not None:
                writes.append(Merge(key, {**for_merge(before.record.learn(observations, now)), "tx": tx}, before.etag))
            elif key not in self._unreadable:
                writes.append(Insert(key, {**for_insert(DurationModel().learn(observations, now)), "tx": tx}))
        stamp = next((write.key for write in writes if not isinstance(write, Delete)), None)
        transaction = Transaction(SOURCES_PARTITION, tuple(writes), stamp=stamp, tx=tx)
        return Commit((transaction,) if writes else (), lambda _: self._forget_replaced(observed))

    def _forget_replaced(self, observed: Mapping[str, Observations | None]) -> None:
        for key in observed:
            self._replaced.pop(key, None)

    def _group(self, collection: str, group: str | None) -> str | None:
        """Return the group if it has a separate model or can get one, otherwise None."""
        if group is None or duration_key(collection, group) in {*self._known, *self._observed}:
            return group
        return group if len(self._groups(collection)) < MAX_GROUPS else None

    def _observed_group(self, collection: str, group: str | None) -> str | None:
        """Return the group to observe. If all places are taken, it replaces the least recently updated group.

        None if every group was updated since the last write.
        """
        if group is None or self._group(collection, group) is not None:
            return group
        waiting = [key for key in self._groups(collection) if key not in self._observed]
        if not waiting:
            return None
        oldest = min(waiting, key=lambda key: (self._known[key].record.observed_at or _LONG_AGO, key))
        known = dict(self._known)
        self._replaced[oldest] = known.pop(oldest)
        # The group was replaced before, and its row is not deleted yet.
        back = self._replaced.pop(duration_key(collection, group), None)
        self._known = known if back is None else {**known, duration_key(collection, group): back}
        self._curves = {}
        return group

    def _groups(self, collection: str) -> set[str]:
        """Return the row keys of the groups of a source."""
        prefix = duration_key(collection, None)
        return {key for key in (*self._known, *self._observed) if key.startswith(prefix) and key != prefix}

    def _curve(self, collection: str, group: str | None) -> HazardCurve:
        key = duration_key(collection, group)
        if key not in self._curves:
            lean_on = None if group is None else self._curve(collection, None)
            self._curves[key] = self.model(collection, group).curve(lean_on)
        return self._curves[key]


def _exact_age(poll_state: PollState, result: Pending | Terminal) -> float | None:
    """Return the age in seconds at which a job ended, or None if the upstream's times do not show that."""
    if not isinstance(result, Terminal) or result.ended_at is None or poll_state.created_at is None:
        return None
    age = (result.ended_at - poll_state.created_at).total_seconds()
    return age if age >= 0 else None
