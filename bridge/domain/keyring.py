"""Standard Webhooks signatures, the keys that derive from the bridge's signing keys, and the check for weak keys.

Source: the Standard Webhooks specification, `v1` (HMAC-SHA256) and `v1a` (Ed25519), both over
`{id}.{timestamp}.{body}` and both in one header. Secrets of receivers are not stored. They derive from the bridge's
signing keys, the owner and the callback's origin, so a secret is available before any registration and is the same on
every instance. The key pair of `v1a` is the same for all receivers, which therefore check `data.audience`.
"""

import base64
import hashlib
import hmac
import string
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bridge.domain.time import to_millis

#: The minimal length of a signing key in bytes.
MIN_KEY_BYTES = 32

#: The length of every derived key in bytes.
DERIVED_BYTES = 32


class Purpose(StrEnum):
    """The use of a derived key. Never change a value: receivers would not verify, and rows would not decrypt.

    Each purpose has a separate key, so that the secret of a receiver gives no hint of the key of encrypted headers.
    The values carry a version. A new scheme gets a new version, and rows of the old one still decrypt.
    """

    RECEIVER_SECRET = "bridge/v1/receiver-secret"
    ED25519_SEED = "bridge/v1/ed25519-seed"
    HEADER_ENCRYPTION = "bridge/v1/header-encryption"
    QUERY_ENCRYPTION = "bridge/v1/query-encryption"
    QUERY_TAG = "bridge/v1/query-tag"
    CURSOR_ENCRYPTION = "bridge/v1/cursor-encryption"


@lru_cache(maxsize=1024)  # every attempt needs its receiver's secret and the key pair
def derive(key: bytes, purpose: Purpose, *context: str) -> bytes:
    """Derive the key for one purpose and `context`. No part of the context may contain a line break.

    Source: HKDF (RFC 5869) with SHA-256; the purpose and the context are its info string.
    """
    info = "\n".join((purpose, *context)).encode()
    return HKDF(algorithm=SHA256(), length=DERIVED_BYTES, salt=None, info=info).derive(key)


_PRINTABLE = frozenset(string.printable)

#: 32 random bytes have fewer distinct values than this with a probability below 1e-12.
_DIFFERENT = 16


def weakness_of(key: bytes, text: str) -> str | None:
    """Return why a key is weak, given as bytes and as base64 text, or None if no weakness is found.

    `GET /api/signing-keys` publishes a public key that derives from each signing key. A guessable signing key can
    therefore be found offline, and every receiver's secret with it. No rule finds all weak keys. These find texts,
    repetitions and sequences, and refuse a random key less than once in a thousand million.
    """
    if all(chr(byte) in _PRINTABLE for byte in key):
        return "is text, and text can be guessed"
    if len(set(key)) < _DIFFERENT or len({(after - before) % 256 for before, after in pairwise(key)}) < _DIFFERENT:
        return "repeats itself or counts, and can be guessed"
    if text.lower() == text or text.upper() == text:
        return "is words or digits written as base64, and can be guessed"
    return None


#: The length of a key's id in hexadecimal digits.
_KEY_ID_DIGITS = 16


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """The secret with which one receiver verifies. `repr` does not show the key; `reveal` does."""

    key: bytes

    def reveal(self) -> str:
        """Write the secret in the form that receivers configure: `whsec_…`."""
        return f"whsec_{base64.b64encode(self.key).decode()}"

    def sign(self, message_id: str, timestamp: int, body: bytes) -> str:
        """Make one `v1` signature. `timestamp` is in whole seconds since 1970."""
        digest = hmac.new(self.key, _signed(message_id, timestamp, body), hashlib.sha256).digest()
        return f"v1,{base64.b64encode(digest).decode()}"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key that verifies `v1a` signatures."""

    key: bytes

    @property
    def id(self) -> str:
        """The id of the signing key that this key derives from, as ciphertexts and `GET /api/signing-keys` use."""
        return hashlib.sha256(self.key).hexdigest()[:_KEY_ID_DIGITS]

    @property
    def text(self) -> str:
        """The key in the form that receivers configure: `whpk_…`."""
        return f"whpk_{base64.b64encode(self.key).decode()}"


@dataclass(frozen=True, slots=True, repr=False)
class KeyPair:
    """The key pair of `v1a`: the private key signs, the public key is published."""

    seed: bytes

    @property
    def public(self) -> PublicKey:
        """The public half."""
        return PublicKey(_private(self.seed).public_key().public_bytes_raw())

    def sign(self, message_id: str, timestamp: int, body: bytes) -> str:
        """Make one `v1a` signature. `timestamp` is in whole seconds since 1970."""
        signature = _private(self.seed).sign(_signed(message_id, timestamp, body))
        return f"v1a,{base64.b64encode(signature).decode()}"


@dataclass(frozen=True, slots=True, repr=False)
class Keyring:
    """The bridge's signing keys, newest first. Every key signs, so keys can be replaced without a lost callback."""

    keys: tuple[bytes, ...]

    def secrets_for(self, *, owner: str, origin: str) -> Sequence[Secret]:
        """Derive the receiver's secrets, newest first."""
        return [Secret(derive(key, Purpose.RECEIVER_SECRET, owner, origin)) for key in self.keys]

    def pairs(self) -> Sequence[KeyPair]:
        """Derive the key pairs, newest first."""
        return [KeyPair(derive(key, Purpose.ED25519_SEED)) for key in self.keys]

    def public_keys(self) -> Sequence[PublicKey]:
        """Derive the public keys, newest first."""
        return [pair.public for pair in self.pairs()]

    def headers(self, message_id: str, body: bytes, *, owner: str, origin: str, at: datetime) -> dict[str, str]:
        """Sign a message for one receiver. Returns the three headers of the specification.

        `at` is converted to seconds of UTC, whatever its time zone.
        """
        timestamp = to_millis(at) // 1000
        signers: tuple[Secret | KeyPair, ...] = (*self.secrets_for(owner=owner, origin=origin), *self.pairs())
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(signer.sign(message_id, timestamp, body) for signer in signers),
        }


@lru_cache(maxsize=16)  # there are at most 16 signing keys, and every attempt signs with each
def _private(seed: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(seed)


def _signed(message_id: str, timestamp: int, body: bytes) -> bytes:
    return b".".join((message_id.encode(), str(timestamp).encode(), body))
