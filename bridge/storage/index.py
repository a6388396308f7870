"""The index by state: the columns that a list shows without reading registrations, and the cursors of lists."""

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import datetime

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from bridge.domain.callback_url import hosts_of
from bridge.domain.events import Format
from bridge.domain.ids import COLLECTION, OPERATION_ID, RegistrationRef
from bridge.domain.keyring import Keyring, Purpose, derive
from bridge.domain.operation import FinalStatus
from bridge.domain.outcome import LastAttempt
from bridge.domain.registration import DeferredBy, Registration, State
from bridge.domain.retry import DeadReason
from bridge.storage.keys import index_key, index_since


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """One row, moved by the transaction that changes the registration's state."""

    ref: RegistrationRef
    owner: str
    state: State
    #: When the registration entered its state. Lists have this order, newest first.
    since: datetime
    generation: datetime
    callback_url: str
    events: tuple[FinalStatus, ...]
    format: Format
    #: The final status of the operation, or None while it runs.
    final_status: FinalStatus | None = None
    reason: DeadReason | None = None
    message_id: str | None = None
    message_type: str | None = None
    group: str | None = None
    #: The last attempt of the current run whose outcome is known. Missing in rows of former versions.
    last_recorded: LastAttempt | None = None
    #: When the current run of attempts began. Missing in rows of former versions.
    run_began_at: datetime | None = None
    #: From when the delay of the delivery counts, if not from the start of the run.
    delay_from: datetime | None = None
    next_attempt_at: datetime | None = None
    deferred_by: DeferredBy | None = None
    delivered_at: datetime | None = None

    @property
    def key(self) -> str:
        """The key of its row."""
        return index_key(self.state, self.since, self.ref)

    @classmethod
    def of(cls, registration: Registration) -> "IndexEntry":
        """Copy the columns that a list shows."""
        return cls(
            ref=registration.ref,
            owner=registration.owner,
            state=registration.state,
            since=registration.since,
            generation=registration.generation,
            callback_url=registration.callback_url,
            events=registration.events,
            format=registration.format,
            final_status=registration.final_status,
            reason=registration.reason,
            message_id=registration.message_id,
            message_type=registration.message_type,
            group=registration.group,
            last_recorded=registration.last_recorded,
            run_began_at=registration.run_began_at,
            delay_from=registration.delay_from,
            next_attempt_at=registration.next_attempt_at,
            deferred_by=registration.deferred_by,
            delivered_at=registration.delivered_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryFilter:
    """The conditions of a list or a bulk redelivery. An entry has to meet all of them, and None is no condition."""

    #: The host of the callbacks, normalised: a name, which matches every port, or a name with its port.
    host: str | None = None
    #: The earliest time at which the registration entered its state.
    since: datetime | None = None
    #: The time before which the registration entered its state.
    until: datetime | None = None
    #: The outcome of the last attempt: a status, its class, or the class of a failure.
    outcome: str | None = None
    group: str | None = None

    def matches(self, entry: IndexEntry) -> bool:
        """Return whether an entry meets all conditions."""
        last = entry.last_recorded
        return (
            (self.host is None or self.host in hosts_of(entry.callback_url))
            and (self.since is None or self.since <= entry.since)
            and (self.until is None or entry.since < self.until)
            and (self.outcome is None or (last is not None and last.has(self.outcome)))
            and self.group in (None, entry.group)
        )


#: Matches every entry.
NO_CONDITIONS = EntryFilter()


def index_key_of(registration: Registration) -> str:
    """Return the key of the index row for the current state of a registration."""
    return index_key(registration.state, registration.since, registration.ref)


#: The format of a cursor's text.
CURSOR_TEXT = re.compile(r"[A-Za-z0-9_-]{40,300}", re.ASCII)

#: The end of an index key: the inverted time and the registration.
_PLACE = re.compile(rf"[0-9]{{13}}:{COLLECTION.pattern}:{OPERATION_ID.pattern}:[0-9a-f]{{16}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Cursor:
    """The position at which a list continues: after the last entry of the previous page."""

    place: str

    @property
    def since(self) -> datetime:
        """When the registration of that entry entered its state."""
        return index_since(self.place)

    @classmethod
    def of_key(cls, key: str) -> "Cursor | None":
        """Return the position of an index row's key, or None if the key is not the bridge's."""
        place = key.split(":", 2)[-1]
        return cls(place) if _PLACE.fullmatch(place) else None


@dataclass(frozen=True, slots=True)
class CursorCipher:
    """Encrypts cursors with the newest signing key, and decrypts with any key that is still configured.

    The index contains the registrations of all owners, so a position can name a registration of another owner. Cursors
    are therefore encrypted (AES-SIV, RFC 5297), bound to the client's owner and filter. A made-up cursor, or one of
    another list, does not decrypt.
    """

    keyring: Keyring

    def encrypt(self, cursor: Cursor, *, owner: str | None, query: str) -> str:
        """Encrypt a cursor for the list of `owner`, or of all owners for None, with the filter `query`."""
        ciphertext = _cipher(self.keyring.keys[0]).encrypt(cursor.place.encode(), [_context(owner, query)])
        return base64.urlsafe_b64encode(ciphertext).decode().rstrip("=")

    def decrypt(self, text: str, *, owner: str | None, query: str) -> Cursor | None:
        """Decrypt a client's cursor. Returns None if the text is not a cursor of this list."""
        try:
            ciphertext = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        for key in self.keyring.keys:
            try:
                return Cursor(_cipher(key).decrypt(ciphertext, [_context(owner, query)]).decode())
            except (InvalidTag, ValueError):
                continue
        return None


def _cipher(key: bytes) -> AESSIV:
    return AESSIV(derive(key, Purpose.CURSOR_ENCRYPTION))


def _context(owner: str | None, query: str) -> bytes:
    """Encode the list of a cursor. No owner contains a line break, and the empty owner means all owners."""
    return f"{'' if owner is None else owner}\n{query}".encode()
