"""Redelivers dead registrations after an outage of a receiver, found by the state index.

The redeliveries of one host are spread over a minute, so that a recovered receiver is not flooded.

Each redelivery is a separate transaction after which the registration is no longer `dead`. After a crash the same call
redelivers the rest, and nothing twice.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import islice

from bridge.domain.callback_url import host_and_port
from bridge.domain.errors import BridgeError, UnreadableRow
from bridge.domain.ids import RegistrationRef
from bridge.domain.registration import Registration, State
from bridge.domain.time import Clock
from bridge.log import Event, log
from bridge.pool import map_in_order
from bridge.services.queries import Queries
from bridge.storage.index import Cursor, EntryFilter, IndexEntry
from bridge.storage.records import Stored
from bridge.storage.repository import Commit, Repository, unchanged
from bridge.storage.writes import register

#: The time over which the redeliveries of one host begin.
SPREAD = timedelta(minutes=1)


def spread(hosts: Sequence[str]) -> list[timedelta]:
    """Return the wait of each delivery, by its host: evenly spread, in the given order, the first at once."""
    total, seen, waits = Counter(hosts), Counter[str](), list[timedelta]()
    for host in hosts:
        waits.append(SPREAD * (seen[host] / total[host]))
        seen[host] += 1
    return waits


#: The entries of a page of all owners, and the most pages per call. The pages of one owner are bounded elsewhere.
_PAGE, _PAGES = 100, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The registrations to redeliver."""

    #: The owner, or None for all owners.
    owner: str | None
    #: The earliest time of death.
    since: datetime
    #: The host of the callbacks, as a name or with its port. None for every host.
    host: str | None
    #: The most redeliveries, the last deaths first.
    limit: int
    #: Where an earlier call stopped, or None to begin with the newest.
    cursor: Cursor | None = None

    def includes(self, entry: IndexEntry) -> bool:
        """Return whether a dead registration matches."""
        return self.owner in (None, entry.owner) and EntryFilter(host=self.host).matches(entry)


@dataclass(frozen=True, slots=True)
class Started:
    """The result of a redelivery."""

    refs: Sequence[RegistrationRef]
    #: Where the next call continues, or None if all matching registrations have been read.
    cursor: Cursor | None


@dataclass(slots=True)
class _Walk:
    """A walk through a bounded part of the index."""

    #: Where the bound ended the walk, if it did.
    stopped_at: Cursor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeliver:
    """The use case."""

    repository: Repository
    queries: Queries
    clock: Clock
    #: Runs the steps in parallel.
    executor: Executor

    def redeliver(self, order: Order) -> Started:
        """Begin another run of each matching dead registration. Those of one host are spread over a minute.

        A call reads a bounded part of the index, so it can begin few runs and still return a cursor. Raises
        StorageUnavailable and Contended. The runs begun before that stay, and the same call again begins the rest.
        """
        walk, refs, last = _Walk(), list[RegistrationRef](), order.cursor
        found = self._found(order, walk)
        while len(refs) < order.limit and (chosen := list(islice(found, order.limit - len(refs)))):
            refs += self._begin_all(chosen)
            last = Cursor.of_key(chosen[-1].key)
        return Started(refs, walk.stopped_at if next(found, None) is None else last)

    def _begin_all(self, chosen: Sequence[IndexEntry]) -> Sequence[RegistrationRef]:
        """Begin all runs, even if some fail, and return the registrations of those that were begun."""
        refs = [entry.ref for entry in chosen]
        waits = spread([host_and_port(entry.callback_url) for entry in chosen])
        begin = partial(self._begin, self.clock())
        results = map_in_order(self.executor, begin, zip(refs, waits, strict=True))
        for result in results:
            if isinstance(result, BridgeError):
                raise result
        return [ref for ref, result in zip(refs, results, strict=True) if result is True]

    def _found(self, order: Order, walk: _Walk) -> Iterator[IndexEntry]:
        """Iterate over matching dead registrations, newest first, within the bounds of the order and of one call."""
        cursor, size, pages = order.cursor, _PAGE, _PAGES
        if order.owner is not None:
            size, pages = order.limit + 1, 1
        for _ in range(pages):
            page = self.queries.page([State.DEAD], limit=size, cursor=cursor, owner=order.owner)
            for entry in page.entries:
                if entry.since < order.since:
                    return
                if order.includes(entry):
                    yield entry
            cursor = page.cursor
            if cursor is None or cursor.since < order.since:
                return
        walk.stopped_at = cursor

    def _begin(self, now: datetime, one: tuple[RegistrationRef, timedelta]) -> bool | BridgeError:
        """Begin one run after its wait, and log the run. Returns whether a run has begun, or the error."""
        ref, wait = one
        try:
            return self.repository.transact(
                partial(self.repository.registration, ref), partial(_rerun, now, now + wait)
            )
        except UnreadableRow as error:
            log(Event.ROW_UNREADABLE, registration=ref.public_id, why=str(error))
            return False
        except BridgeError as error:
            return error


def _rerun(now: datetime, at: datetime, before: Stored[Registration] | None, tx: str) -> Commit[bool]:
    """Begin another run of a dead registration at `at`; False if there is none to begin."""
    if before is None or before.record.state is not State.DEAD or before.record.released:
        return unchanged(result=False)
    if before.record.wait_for_run(now) is not None:
        return unchanged(result=False)

    def then(_: str) -> bool:
        log(Event.REDELIVERY, registration=before.record.ref.public_id, was=State.DEAD.value)
        return True

    return Commit((register.redeliver_later(before, now, at, tx=tx),), then)
