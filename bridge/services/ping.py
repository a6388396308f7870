"""Pings a receiver: a signed test message, sent at once, under the same rules as a callback.

take_ping  a crash costs one of the minute's pings
POST       a crash costs the answer to the client; no ping is repeated
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from bridge.domain.callback_url import host_and_port, origin_of
from bridge.domain.events import Format, Message, ping
from bridge.domain.keyring import Keyring
from bridge.domain.outcome import Outcome, Unreachable
from bridge.domain.rate_limit import Pings, take_ping
from bridge.domain.time import Clock
from bridge.log import Event, log
from bridge.ports import WebhookSender
from bridge.storage.keys import PINGS_KEY, PINGS_PARTITION
from bridge.storage.records import Stored, for_insert, for_merge, stored
from bridge.storage.repository import Commit, Repository, unchanged
from bridge.storage.table import Insert, Merge, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinged:
    """The result of a ping."""

    message: Message
    at: datetime
    took: timedelta
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class TooSoon:
    """Too many pings were sent recently."""

    #: The wait until the next ping is allowed.
    wait: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """The use case."""

    repository: Repository
    sender: WebhookSender
    keyring: Keyring
    clock: Clock

    def ping(self, callback_url: str, format: Format, *, owner: str) -> Pinged | TooSoon:
        """Send one ping to a normalised URL, if the rate limit allows it.

        Raises StorageUnavailable and Contended before the ping is sent.
        """
        wait = self.repository.transact(self._read, self._take)
        if wait is not None:
            return TooSoon(wait)
        begun, origin = self.clock(), origin_of(callback_url)
        message = ping(callback_url=callback_url, owner=owner, now=begun, nonce=self.repository.new_id(), format=format)
        signed = self.keyring.headers(message.id, message.body, owner=owner, origin=origin, at=begun)
        outcome = self.sender.post(callback_url, {**signed, "Content-Type": format.content_type}, message.body)
        pinged = Pinged(message=message, at=begun, took=self.clock() - begun, outcome=outcome)
        _tell(pinged, host_and_port(callback_url))
        return pinged

    def _read(self) -> Stored[Pings] | None:
        row = self.repository.table.get(PINGS_PARTITION, PINGS_KEY)
        return None if row is None else stored(Pings, None, row)

    def _take(self, before: Stored[Pings] | None, tx: str) -> Commit[timedelta | None]:
        """Count one ping under the row's ETag. Returns the wait if none is allowed now."""
        after = take_ping(Pings() if before is None else before.record, self.clock(), tx=tx)
        if isinstance(after, timedelta):
            return unchanged(after)
        new = Insert(PINGS_KEY, for_insert(after))
        write = new if before is None else Merge(PINGS_KEY, for_merge(after), before.etag)
        return Commit((Transaction(PINGS_PARTITION, (write,), stamp=PINGS_KEY, tx=tx),), lambda _: None)


def _tell(pinged: Pinged, host: str) -> None:
    outcome = pinged.outcome
    status, error = (None, outcome.error) if isinstance(outcome, Unreachable) else (outcome.status, None)
    log(Event.PINGED, message=pinged.message.id, to=host, address=outcome.address, status=status, error=error)
