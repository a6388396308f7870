"""The index by state: what a list shows of a registration without reading it, and the cursors of lists."""

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import datetime

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from bridge.domain.events import Format
from bridge.domain.ids import RegistrationRef
from bridge.domain.keyring import Keyring, Purpose, derive
from bridge.domain.operation import FinalStatus
from bridge.domain.registration import Registration, State
from bridge.storage.keys import index_key, index_since


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """One row, moved in the same transaction that changes the registration's state."""

    ref: RegistrationRef
    owner: str
    state: State
    #: When it came into that state; the list is in this order, newest first.
    since: datetime
    generation: datetime
    callback_url: str
    events: tuple[FinalStatus, ...]
    format: Format
    #: How the operation ended; None while it runs.
    final_status: FinalStatus | None = None
    reason: str | None = None
    message_id: str | None = None
    message_type: str | None = None
    #: When its present run of attempts began; rows of former versions do not say.
    run_began_at: datetime | None = None
    next_attempt_at: datetime | None = None
    deferred_by: str | None = None
    delivered_at: datetime | None = None

    @property
    def key(self) -> str:
        """The key of its row."""
        return index_key(self.state, self.since, self.ref)

    @classmethod
    def of(cls, registration: Registration) -> "IndexEntry":
        """Take out of a registration what a list shows."""
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
            run_began_at=registration.run_began_at,
            next_attempt_at=registration.next_attempt_at,
            deferred_by=registration.deferred_by,
            delivered_at=registration.delivered_at,
        )


def index_key_of(registration: Registration) -> str:
    """Return the key of the index row of a registration as it is."""
    return index_key(registration.state, registration.since, registration.ref)


#: The text of a cursor.
CURSOR_TEXT = re.compile(r"[A-Za-z0-9_-]{40,300}", re.ASCII)

#: The end of an index key: the inverted time and the registration.
_PLACE = re.compile(r"[0-9]{13}:[a-z0-9-]{1,32}:[a-zA-Z0-9._-]{3,64}:[0-9a-f]{16}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a list goes on: the place of the last entry that a client has seen."""

    place: str

    @property
    def since(self) -> datetime:
        """When that entry came into its state."""
        return index_since(self.place)

    @classmethod
    def of_key(cls, key: str) -> "Cursor | None":
        """Take the place out of the key of an index row; None where the row is nothing of ours."""
        place = key.split(":", 2)[-1]
        return cls(place) if _PLACE.fullmatch(place) else None


@dataclass(frozen=True, slots=True)
class CursorCipher:
    """Encrypts cursors for clients under the newest signing key, and decrypts under each key that is still there.

    The index holds the registrations of all owners, so a place can name a registration of another owner. A client gets
    it encrypted (AES-SIV, RFC 5297), for its owner and its filter alone. A cursor that was made up or comes from
    another list does not decrypt.
    """

    keyring: Keyring

    def encrypt(self, cursor: Cursor, *, owner: str | None, query: str) -> str:
        """Write a cursor for a client: the list of `owner`, None for the list of all, with the filter `query`."""
        ciphertext = _cipher(self.keyring.keys[0]).encrypt(cursor.place.encode(), [_context(owner, query)])
        return base64.urlsafe_b64encode(ciphertext).decode().rstrip("=")

    def decrypt(self, text: str, *, owner: str | None, query: str) -> Cursor | None:
        """Read what a client sent back; None if that is not a cursor of this list."""
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
    """Write what a cursor is for. No owner contains a line break, and the owner of all lists is no owner."""
    return f"{'' if owner is None else owner}\n{query}".encode()
