"""Standard Webhooks signatures, and the secrets that they are made with.

Source: the Standard Webhooks specification, `v1` (HMAC-SHA256) and `v1a` (Ed25519), both over
`{id}.{timestamp}.{body}` and both in one header. No secret of a receiver is stored: it derives from the bridge's
signing keys, the owner and the callback's origin, so it can be told before anything is registered and is the same on
every instance. The key pair of `v1a` is the same for all receivers, which therefore check `data.audience`.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bridge.domain.derivation import Purpose, derive
from bridge.domain.time import to_millis

#: An id of a key has this many hexadecimal digits.
_KEY_ID_DIGITS = 16


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """The key that one receiver verifies with. Has no readable form but the one asked for."""

    key: bytes

    def reveal(self) -> str:
        """Write it as receivers configure it: `whsec_…`."""
        return f"whsec_{base64.b64encode(self.key).decode()}"

    def sign(self, message_id: str, timestamp: int, body: bytes) -> str:
        """Make one `v1` signature; `timestamp` in whole seconds since 1970."""
        digest = hmac.new(self.key, _signed(message_id, timestamp, body), hashlib.sha256).digest()
        return f"v1,{base64.b64encode(digest).decode()}"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """What everybody verifies `v1a` with."""

    key: bytes

    @property
    def id(self) -> str:
        """Name the signing key that it derives from, wherever one is to be told from another."""
        return hashlib.sha256(self.key).hexdigest()[:_KEY_ID_DIGITS]

    @property
    def text(self) -> str:
        """Write it as receivers configure it: `whpk_…`."""
        return f"whpk_{base64.b64encode(self.key).decode()}"


@dataclass(frozen=True, slots=True, repr=False)
class KeyPair:
    """The private half signs `v1a`; the public one is published."""

    seed: bytes

    @property
    def public(self) -> PublicKey:
        """The half that everybody may know."""
        return PublicKey(_private(self.seed).public_key().public_bytes_raw())

    def sign(self, message_id: str, timestamp: int, body: bytes) -> str:
        """Make one `v1a` signature; `timestamp` in whole seconds since 1970."""
        signature = _private(self.seed).sign(_signed(message_id, timestamp, body))
        return f"v1a,{base64.b64encode(signature).decode()}"


@dataclass(frozen=True, slots=True, repr=False)
class Keyring:
    """The bridge's signing keys, newest first. Every key signs, so a key is replaced without losing a callback."""

    keys: tuple[bytes, ...]

    def secrets_for(self, *, owner: str, origin: str) -> Sequence[Secret]:
        """Derive the receiver's secrets, newest first."""
        return [Secret(derive(key, Purpose.RECEIVER_SECRET, owner, origin)) for key in self.keys]

    def pairs(self) -> Sequence[KeyPair]:
        """Derive the key pairs, newest first."""
        return [KeyPair(derive(key, Purpose.ED25519_SEED)) for key in self.keys]

    def public_keys(self) -> Sequence[PublicKey]:
        """Derive what everybody may know, newest first."""
        return [pair.public for pair in self.pairs()]

    def headers(self, message_id: str, body: bytes, *, owner: str, origin: str, at: datetime) -> dict[str, str]:
        """Sign a message for one receiver: the three headers of the specification.

        `at` is read as seconds of UTC, whatever its zone.
        """
        timestamp = to_millis(at) // 1000
        signers: tuple[Secret | KeyPair, ...] = (*self.secrets_for(owner=owner, origin=origin), *self.pairs())
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(signer.sign(message_id, timestamp, body) for signer in signers),
        }


@lru_cache(maxsize=16)  # as many as there may be signing keys, and every attempt signs with them
def _private(seed: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(seed)


def _signed(message_id: str, timestamp: int, body: bytes) -> bytes:
    return b".".join((message_id.encode(), str(timestamp).encode(), body))
