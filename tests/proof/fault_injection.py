"""Injected faults, one of each kind that the proof covers. The proof must find every one."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain, count, islice
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

from bridge.domain import upstream
from bridge.domain.delivery import LEASE, DeliveryTask
from bridge.domain.errors import CommitUnknown
from bridge.domain.ids import OperationRef
from bridge.domain.outcome import Outcome
from bridge.ports import DeliveryQueue, WebhookSender
from bridge.storage import repository
from bridge.storage.table import ANY, Delete, Insert, Merge, Table, Transaction, Value, Write
from tests.proof.crashes import live, singles, trace
from tests.proof.instance import Parts
from tests.proof.interleavings import CLOCKS, handovers, run_race
from tests.proof.races import RACES
from tests.proof.scenarios import SCENARIOS
from tests.support.forwarding import ForwardingTable


class Twisted(ForwardingTable):
    """A table that alters the transactions of the bridge."""

    def __init__(self, inner: Table, writes: Callable[[Transaction], Sequence[Transaction]]) -> None:
        super().__init__(inner)
        #: Alters a transaction.
        self.writes = writes

    def commit(self, transaction: Transaction) -> Mapping[str, str]:
        etags: dict[str, str] = {}
        for each in self.writes(transaction):
            if each.writes:
                etags |= self.inner.commit(each)
        return etags


@dataclass(frozen=True, slots=True)
class Forgetful:
    """A queue that keeps only the first message of each attempt, so a lost message is never repeated."""

    inner: DeliveryQueue

    def create(self) -> None:
        """Do nothing: the queue exists."""

    def send(self, task: DeliveryTask, *, ttl: timedelta) -> None:
        """Send a message, unless the attempt had one before."""
        if ttl <= timedelta(minutes=2):
            self.inner.send(task, ttl=ttl)


@dataclass(slots=True)
class Renaming:
    """A sender that gives each attempt another message id."""

    inner: WebhookSender
    number: "count[int]"

    def address_of(self, origin: str) -> str | None:
        return self.inner.address_of(origin)

    def check_destination(self, url: str) -> str | None:
        return self.inner.check_destination(url)

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Send under a new message id."""
        return self.inner.post(url, {**headers, "webhook-id": f"{headers['webhook-id']}-{next(self.number)}"}, body)


class Hasty(ForwardingTable):
    """A table behind a bridge that does not find out about a commit without a reply."""

    def __init__(self, inner: Table, instead: Callable[[Table, Transaction], Mapping[str, str]]) -> None:
        super().__init__(inner)
        #: Called instead, with the table and the transaction.
        self.instead = instead

    def commit(self, transaction: Transaction) -> Mapping[str, str]:
        """Commit."""
        try:
            return self.inner.commit(transaction)
        except CommitUnknown:
            return self.instead(self.inner, transaction)


def _unfound() -> AbstractContextManager[object]:
    """Let a step find no commit of its own in the rows that it reads."""
    return patch.object(repository, "stamped", lambda _found, _tx: None)


def _mixed() -> AbstractContextManager[object]:
    """Give a job the rows of the operation with the same id."""
    return patch.object(OperationRef, "collection", property(lambda ref: ref.source))


def _kept_whole() -> AbstractContextManager[object]:
    """Keep the answer about a job like the answer about an operation, with its secrets."""
    read = upstream._job_result

    def whole(status: str, body: dict[str, Any], now: datetime) -> upstream.Pending | upstream.Terminal:
        result = read(status, body, now)
        return replace(result, body=json.dumps(body)) if isinstance(result, upstream.Terminal) else result

    return patch.object(upstream, "_job_result", whole)


def _split(transaction: Transaction) -> Sequence[Transaction]:
    half = len(transaction.writes) // 2
    first, second = transaction.writes[:half], transaction.writes[half:]
    return [replace(transaction, writes=first), replace(transaction, writes=second)]


def _without(left_out: Callable[[Write], bool]) -> Callable[[Table], Table]:
    def kept(transaction: Transaction) -> Sequence[Transaction]:
        return [replace(transaction, writes=tuple(each for each in transaction.writes if not left_out(each)))]

    return lambda table: Twisted(table, writes=kept)


def _unconditional(transaction: Transaction) -> Sequence[Transaction]:
    def free(write: Write) -> Write:
        return replace(write, etag=ANY) if isinstance(write, Merge | Delete) else write

    return [replace(transaction, writes=tuple(map(free, transaction.writes)))]


def _unleased(transaction: Transaction) -> Sequence[Transaction]:
    """End each claim at once, both in the registration and in the due row of the next attempt."""
    if not any(isinstance(each, Insert) and each.key.startswith("att:") for each in transaction.writes):
        return [transaction]
    return [replace(transaction, writes=tuple(map(_ended_at_once, transaction.writes)))]


def _ended_at_once(write: Write) -> Write:
    if isinstance(write, Insert) and write.key.startswith("due:"):
        return replace(write, key=_a_lease_earlier(write.key))
    if isinstance(write, Merge) and write.key.startswith("op:"):
        changed: dict[str, Value] = {"due": _a_lease_earlier(str(write.values["due"]))}
        for column in ("leased_until", "next_attempt_at"):
            at = write.values[column]
            changed[column] = at - LEASE if isinstance(at, datetime) else at
        return replace(write, values={**write.values, **changed})
    return write


def _a_lease_earlier(key: str) -> str:
    before, millis, after = re.split(r"(\d{13})", key, maxsplit=1)
    return f"{before}{int(millis) - LEASE // timedelta(milliseconds=1):013d}{after}"


def _renaming() -> Callable[[WebhookSender], WebhookSender]:
    numbers = count()
    return lambda sender: Renaming(sender, numbers)


def _unordered(transaction: Transaction) -> Sequence[Transaction]:
    """Lose the order of a client, in the registration and in the due row."""

    def without(write: Write) -> Write:
        if isinstance(write, Insert | Merge):
            values = {name: value for name, value in write.values.items() if name not in ("forced_attempt", "forced")}
            return replace(write, values=values)
        return write

    return [replace(transaction, writes=tuple(map(without, transaction.writes)))]


def _key(kind: str) -> Callable[[Write], bool]:
    return lambda write: isinstance(write, Insert) and kind in write.key


def _deleted(kind: str) -> Callable[[Write], bool]:
    return lambda write: isinstance(write, Delete) and write.key.startswith(kind)


#: The injected faults, by name.
INJECTED_FAULTS: Mapping[str, Callable[[], Parts]] = MappingProxyType(
    {
        "a step is split in two transactions": lambda: Parts(table=lambda table: Twisted(table, writes=_split)),
        "a due row of a delivery is forgotten": lambda: Parts(table=_without(_key(":deliver:"))),
        "a due row of a purge is forgotten": lambda: Parts(table=_without(_key(":purge:"))),
        "a due row stays after its step": lambda: Parts(table=_without(_deleted("due:"))),
        "an index row is forgotten": lambda: Parts(table=_without(_deleted("idx:"))),
        "attempts are not purged": lambda: Parts(table=_without(_deleted("att:"))),
        "a message is dropped and not repeated": lambda: Parts(queue=Forgetful),
        "a lease is ignored": lambda: Parts(table=lambda table: Twisted(table, writes=_unleased)),
        "an ETag is ignored": lambda: Parts(table=lambda table: Twisted(table, writes=_unconditional)),
        "a commit whose reply was lost is not looked for": lambda: Parts(patched=_unfound),
        "a commit without a reply is sent again": lambda: Parts(
            table=lambda table: Hasty(table, lambda inner, transaction: inner.commit(transaction))
        ),
        "a commit without a reply counts as done": lambda: Parts(
            table=lambda table: Hasty(table, lambda _, transaction: {transaction.stamp or "": "unknown"})
        ),
        "a job has the rows of an operation": lambda: Parts(patched=_mixed),
        "an answer about a job is kept whole": lambda: Parts(patched=_kept_whole),
        "a retry is not remembered": lambda: Parts(table=lambda table: Twisted(table, writes=_unordered)),
        "a message is named anew in each attempt": lambda: Parts(sender=_renaming()),
    }
)


def caught(parts: Parts) -> str | None:
    """Search for an injected fault with the same scenarios and races that the bridge must survive."""
    lived = (live(scenario, {}, parts) for scenario in SCENARIOS)
    met = (run_race(order, parts) for race in RACES for order in handovers(race, CLOCKS[0]))
    plans = ((scenario, plan) for scenario in SCENARIOS for plan in islice(singles(trace(scenario)), 0, None, 5))
    lived_badly = (live(scenario, plan, parts) for scenario, plan in plans)
    return next((str(failure) for failure in chain(lived, met, lived_badly) if failure is not None), None)


def missed(name: str) -> str | None:
    """Search for the injected fault with this name. Returns None if the proof finds the fault, otherwise a message."""
    parts = INJECTED_FAULTS[name]()
    with parts.patched():
        return None if caught(parts) else f"not found: {name}"
