"""Where a list goes on: an encrypted text for clients, a place in the state index for the bridge.

The index holds the registrations of all owners, so a place can name a registration of another owner. A client gets it
encrypted (AES-SIV, RFC 5297), for its owner and its filter alone. A cursor that was made up or comes from another list
does not decrypt.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import datetime

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from bridge.domain.derivation import Purpose, derive
from bridge.domain.keyring import Keyring
from bridge.storage.keys import index_since

#: The text of a cursor.
CURSOR_TEXT = re.compile(r"[A-Za-z0-9_-]{40,300}", re.ASCII)

#: The end of an index key: the inverted time and the registration.
_PLACE = re.compile(r"[0-9]{13}:[a-z0-9-]{1,32}:[a-zA-Z0-9._-]{3,64}:[0-9a-f]{16}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Cursor:
    """Names the last entry that a client has seen."""

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
    """Encrypts under the newest signing key, and decrypts under each key that is still there."""

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
