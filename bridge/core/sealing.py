"""A registration's own headers, encrypted at rest.

AES-256-GCM (NIST SP 800-38D) under a key that derives from the newest signing key. The ciphertext names that key, so
a key that was removed is told from a row that was tampered with. The associated data bind the ciphertext to its
registration, generation, owner and callback URL: a row that was changed does not decrypt, so the secret of one receiver
cannot be sent to another.
"""

import base64
import binascii
import re
from dataclasses import dataclass, replace

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bridge.core.derivation import Purpose, derive
from bridge.core.headers import OwnHeaders
from bridge.core.registration import Registration
from bridge.core.signing import Keyring
from bridge.core.times import to_millis

#: A nonce has this many bytes, and is never used again with the same key.
NONCE_BYTES = 12

#: The version of the scheme, the id of the key, and nonce and ciphertext in base64.
_SEALED = re.compile(r"v2:([0-9a-f]{16}):([A-Za-z0-9+/=]+)")


@dataclass(frozen=True, slots=True)
class Unopened:
    """The headers are there and cannot be decrypted."""

    #: Why, and what mends it; fit for a log line.
    why: str


@dataclass(frozen=True, slots=True)
class HeaderSeal:
    """Encrypts with the newest key, and decrypts with every one that is still there."""

    keyring: Keyring

    def sealed(self, registration: Registration, headers: OwnHeaders, *, nonce: bytes) -> Registration:
        """Give a registration its headers; none leave it without the column.

        To be done last: they open in this registration and this life only.
        """
        if not headers.given:
            return replace(registration, headers=None)
        newest = self.keyring.keys[0]
        ciphertext = _cipher(newest).encrypt(nonce, headers.write(), _bound_to(registration))
        text = base64.b64encode(nonce + ciphertext).decode()
        return replace(registration, headers=f"v2:{self.keyring.public_keys()[0].id}:{text}")

    def opened(self, registration: Registration) -> OwnHeaders | Unopened:
        """Read a registration's headers."""
        if registration.headers is None:
            return OwnHeaders()
        found = _SEALED.fullmatch(registration.headers)
        if found is None:
            return Unopened("they are written in a way that this version does not know")
        ids = [public.id for public in self.keyring.public_keys()]
        if found[1] not in ids:
            return Unopened(f"key {found[1]} is not in BRIDGE_SIGNING_KEYS any more: put it back, at the end")
        try:
            sealed = base64.b64decode(found[2], validate=True)
            cipher = _cipher(self.keyring.keys[ids.index(found[1])])
            return OwnHeaders.read(cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _bound_to(registration)))
        except (binascii.Error, ValueError, InvalidTag):
            return Unopened(f"they are damaged, or not of this registration and life (key {found[1]})")


def _cipher(key: bytes) -> AESGCM:
    return AESGCM(derive(key, Purpose.HEADER_ENCRYPTION))


def _bound_to(registration: Registration) -> bytes:
    parts = (
        registration.ref.public_id,
        str(to_millis(registration.life)),
        registration.owner,
        registration.callback_url,
    )
    return "\n".join(parts).encode()
