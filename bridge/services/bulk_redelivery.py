"""Redelivers dead registrations and retries pending ones after an outage of a receiver, found by the state index.

The starts at one host are spread over a minute, so that a recovered receiver is not flooded.

Each start is a separate transaction. A dead registration is `pending` afterwards, and a pending one has its next
attempt within the minute. After a crash the same call starts the rest, and nothing twice.
"""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import islice

from bridge.domain.callback_url import host_and_port
from bridge.domain.delivery import is_last_lost
from bridge.domain.errors import BridgeError, UnreadableRow
from bridge.domain.ids import RegistrationRef
from bridge.domain.registration import Registration, State
from bridge.domain.time import Clock
from bridge.log import Event, log
from bridge.pool import map_in_order
from bridge.services.queries import Queries
from bridge.storage.index import NO_CONDITIONS, Cursor, EntryFilter, IndexEntry
from bridge.storage.records import Stored
from bridge.storage.repository import Commit, Repository, unchanged
from bridge.storage.writes import deliver, register

#: The time over which the starts at one host are spread.
SPREAD = timedelta(minutes=1)


def spread(hosts: Sequence[str]) -> list[timedelta]:
    """Return the wait of each start, by its host: evenly spread, in the given order, the first at once."""
    total, seen, waits = Counter(hosts), Counter[str](), list[timedelta]()
    for host in hosts:
        waits.append(SPREAD * (seen[host] / total[host]))
        seen[host] += 1
    return waits


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The registrations to start."""

    #: The owner, or None for all owners.
    owner: str | None
    #: Of `pending` and `dead`.
    states: Sequence[State]
    where: EntryFilter = NO_CONDITIONS
    #: The most registrations, the last changes of state first.
    limit: int
    #: Where an earlier call stopped, or None to begin with the newest.
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """The result of a redelivery."""

    #: The registrations of which an attempt begins within the minute.
    refs: Sequence[RegistrationRef]
    #: Where the next call continues, or None if all matching registrations have been read.
    cursor: Cursor | None


@dataclass(frozen=True, slots=True)
class Preview:
    """The registrations that the same order would start now."""

    entries: Sequence[IndexEntry]
    #: Whether the bounded read ended before the end.
    has_more: bool


@dataclass(frozen=True, slots=True)
class _Found:
    """The matching registrations of one call."""

    #: At most one more than the limit.
    entries: Sequence[IndexEntry]
    #: Where the bound ended the read, if it did.
    stopped_at: Cursor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """The start of one registration."""

    ref: RegistrationRef
    #: The state in which the index has it.
    state: State
    #: The time of the order.
    now: datetime
    #: The latest time of the next attempt.
    at: datetime
    #: Whether the attempt passes an open circuit: the first one of its host.
    is_first: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeliver:
    """The use case."""

    repository: Repository
    queries: Queries
    clock: Clock
    #: Runs the steps in parallel.
    executor: Executor

    def redeliver(self, order: Order) -> Started:
        """Start each matching registration: another run of a dead one, the next attempt of a pending one.

        A call reads a bounded part of the index, so it can start few and still return a cursor. Raises
        StorageUnavailable and Contended. The starts before that stay, and the same call again makes the rest.
        """
        refs, last, found = list[RegistrationRef](), order.cursor, self._find(order)
        left = iter(found.entries)
        while len(refs) < order.limit and (chosen := list(islice(left, order.limit - len(refs)))):
            refs += self._start_all(chosen)
            last = Cursor.of_key(chosen[-1].key)
        return Started(refs, found.stopped_at if next(left, None) is None else last)

    def preview(self, order: Order) -> Preview:
        """Return what `redeliver` would start, by the same read. Nothing changes. Raises StorageUnavailable."""
        found = self._find(order)
        entries = found.entries[: order.limit]
        return Preview(entries, has_more=len(found.entries) > len(entries) or found.stopped_at is not None)

    def _find(self, order: Order) -> _Found:
        """Read the matching registrations, newest first, within the bounds of a list: at most 32 queries."""
        page = self.queries.page(
            order.states, limit=order.limit + 1, cursor=order.cursor, owner=order.owner, where=order.where
        )
        return _Found(page.entries, page.cursor)

    def _start_all(self, chosen: Sequence[IndexEntry]) -> Sequence[RegistrationRef]:
        """Make all starts, even if some fail, and return the registrations of those that succeeded."""
        now, waits = self.clock(), spread([host_and_port(entry.callback_url) for entry in chosen])
        starts = [
            _Start(ref=entry.ref, state=entry.state, now=now, at=now + wait, is_first=not wait)
            for entry, wait in zip(chosen, waits, strict=True)
        ]
        results = map_in_order(self.executor, self._start, starts)
        for result in results:
            if isinstance(result, BridgeError):
                raise result
        return [start.ref for start, result in zip(starts, results, strict=True) if result is True]

    def _start(self, start: _Start) -> bool | BridgeError:
        """Make one start, and log it. Returns whether an attempt begins within the minute, or the error."""
        try:
            return self.repository.transact(partial(self.repository.registration, start.ref), partial(_started, start))
        except UnreadableRow as error:
            log(Event.ROW_UNREADABLE, registration=start.ref.public_id, why=str(error))
            return False
        except BridgeError as error:
            return error


def _started(start: _Start, before: Stored[Registration] | None, tx: str) -> Commit[bool]:
    """Decide a start. The result is False if there is nothing to start, or if the hour has no run or retry left."""
    if before is None or before.record.state is not start.state:
        return unchanged(result=False)
    match before.record.state:
        case State.DEAD if not before.record.released:
            step = register.redeliver_later
        case State.PENDING if _begins_soon(before.record, start):
            return unchanged(result=True)
        case State.PENDING:
            step = deliver.retry_later
        case _:
            return unchanged(result=False)
    if before.record.wait_for_run(start.now) is not None:
        return unchanged(result=False)
    public_id, was = before.record.ref.public_id, before.record.state.value

    def then(_: str) -> bool:
        log(Event.REDELIVERY, registration=public_id, was=was)
        return True

    return Commit((step(before, start.now, start.at, tx=tx, is_forced=start.is_first),), then)


def _begins_soon(registration: Registration, start: _Start) -> bool:
    """Return whether a pending registration needs no start: an attempt is in flight, or due by the time of the start.

    The same order, sent again within the minute, moves nothing either.
    """
    at = registration.next_attempt_at
    if at is None or at <= start.at or registration.is_in_flight(start.now) or is_last_lost(registration):
        return True
    return at <= start.now + SPREAD and registration.has_run_since(start.now - SPREAD)
