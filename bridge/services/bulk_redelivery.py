"""Redelivers dead registrations, after an outage at the receiver's: found by the state index, begun one by one.

Those of one host are spread over a minute, so that a receiver that is back is not flooded.

Each is one transaction of its own and leaves `dead` by it, so a crash on the way leaves the rest to the same call
sent again, and nothing is begun twice.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from urllib.parse import urlsplit

from bridge.domain.callback_url import DEFAULT_PORTS, host_and_port, origin_of
from bridge.domain.errors import BridgeError, UnreadableRow
from bridge.domain.ids import RegistrationRef
from bridge.domain.registration import Registration, State
from bridge.domain.time import Clock
from bridge.log import Event, log
from bridge.pool import map_in_order
from bridge.services.queries import Queries
from bridge.storage.index import Cursor, IndexEntry
from bridge.storage.keys import partition_of, row_key
from bridge.storage.records import stored
from bridge.storage.repository import Waits, commit, transact
from bridge.storage.table import Table
from bridge.storage.writes import register

#: The redeliveries to one host begin over this time.
SPREAD = timedelta(minutes=1)


def spread(hosts: Sequence[str]) -> list[timedelta]:
    """Say for each delivery, by its host, after how long it begins: evenly, in the order given, the first at once."""
    total, seen, waits = Counter(hosts), Counter[str](), list[timedelta]()
    for host in hosts:
        waits.append(SPREAD * (seen[host] / total[host]))
        seen[host] += 1
    return waits


#: Entries of everybody's that are looked at together, and how often in one call. An owner's page is bounded by itself.
_PAGE, _PAGES = 100, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Which ones are to be redelivered."""

    #: Whose; None for everybody's.
    owner: str | None
    #: Those that died at this time or later.
    since: datetime
    #: Those whose callbacks go to this host, as a name or with its port; None for every one.
    host: str | None
    #: So many at the most, the last that died first.
    limit: int
    #: Where an earlier call stopped; None for the newest.
    cursor: Cursor | None = None

    def includes(self, entry: IndexEntry) -> bool:
        """Tell whether a dead registration is meant."""
        where = urlsplit(origin_of(entry.callback_url))
        name = f"[{where.hostname}]" if ":" in (where.hostname or "") else where.hostname
        port = where.port or DEFAULT_PORTS[where.scheme]
        return self.owner in (None, entry.owner) and self.host in (None, name, f"{name}:{port}")


@dataclass(frozen=True, slots=True)
class Started:
    """What was begun."""

    refs: Sequence[RegistrationRef]
    #: Where the next call goes on; None if all that is meant has been looked at.
    cursor: Cursor | None


@dataclass(slots=True)
class _Walk:
    """A walk through a bounded part of the index."""

    #: Where the bound ended the walk; None if it did not.
    stopped_at: Cursor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeliver:
    """The use case, with everything that it needs."""

    table: Table
    queries: Queries
    clock: Clock
    #: Makes a random text that no other call makes.
    new_id: Callable[[], str]
    #: Waits between the rounds of a step that others were faster at.
    waits: Waits
    #: Runs the steps, some at once.
    executor: Executor

    def redeliver(self, order: Order) -> Started:
        """Begin another run of each dead registration that is meant, those of one host spread over a minute.

        A call looks at a bounded part of the index, so it may begin few and have a cursor all the same. Raises
        StorageUnavailable and Contended; what was begun by then is, and the same call again begins the rest.
        """
        walk, refs, last = _Walk(), list[RegistrationRef](), order.cursor
        found = self._found(order, walk)
        while len(refs) < order.limit and (chosen := list(islice(found, order.limit - len(refs)))):
            refs += self._begin_all(chosen)
            last = Cursor.of_key(chosen[-1].key)
        return Started(refs, walk.stopped_at if next(found, None) is None else last)

    def _begin_all(self, chosen: Sequence[IndexEntry]) -> Sequence[RegistrationRef]:
        """Begin each, whatever becomes of the others; returns those that were begun."""
        refs = [entry.ref for entry in chosen]
        waits = spread([host_and_port(entry.callback_url) for entry in chosen])
        begin = partial(self._begin, self.clock())
        results = map_in_order(self.executor, begin, zip(refs, waits, strict=True))
        for result in results:
            if isinstance(result, BridgeError):
                raise result
        return [ref for ref, result in zip(refs, results, strict=True) if result is True]

    def _found(self, order: Order, walk: _Walk) -> Iterator[IndexEntry]:
        """Walk through the index of what is dead, newest first, as far back as is meant and one call may look."""
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
        """Begin one after its wait, and log that; returns whether it was begun, or what kept it from that."""
        ref, wait = one
        tx = self.new_id()
        try:
            is_begun = transact(lambda: self._try_to_begin(ref, now, wait, tx), self.waits)
        except UnreadableRow as error:
            log(Event.ROW_UNREADABLE, registration=ref.public_id, why=str(error))
            return False
        except BridgeError as error:
            return error
        if is_begun:
            log(Event.REDELIVERY, registration=ref.public_id, was=State.DEAD.value)
        return is_begun

    def _try_to_begin(self, ref: RegistrationRef, now: datetime, wait: timedelta, tx: str) -> bool:
        row = self.table.get(partition_of(ref), row_key(ref))
        if row is None:
            return False
        before = stored(Registration, ref, row)
        if before.record.tx == tx:  # a commit of ours that landed late
            return True
        record = before.record
        if record.state is not State.DEAD or record.released or record.wait_for_run(now) is not None:
            return False
        commit(self.table, register.redeliver_later(before, now, now + wait, tx=tx))
        return True
