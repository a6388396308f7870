"""Standard Webhooks signatures, and the secrets that they are made with.

Source: the Standard Webhooks specification, symmetric scheme `v1`: HMAC-SHA256 over `{id}.{timestamp}.{body}`.
No secret of a receiver is stored: it derives (HKDF, RFC 5869) from the bridge's signing keys, the owner and the
callback's origin, so it can be told before anything is registered and is the same on every instance.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bridge.core.times import to_millis

#: A signing key has at least this many bytes.
MIN_KEY_BYTES = 32

_SECRET_BYTES = 32
_PURPOSE = "bridge/v1/receiver-secret"


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """The key that one receiver verifies with. Has no readable form but the one asked for."""

    key: bytes

    def reveal(self) -> str:
        """Write it as receivers configure it: `whsec_…`."""
        return f"whsec_{base64.b64encode(self.key).decode()}"

    def sign(self, message_id: str, timestamp: int, body: bytes) -> str:
        """Make one `v1` signature; `timestamp` in whole seconds since 1970."""
        signed = b".".join((message_id.encode(), str(timestamp).encode(), body))
        digest = hmac.new(self.key, signed, hashlib.sha256).digest()
        return f"v1,{base64.b64encode(digest).decode()}"


@dataclass(frozen=True, slots=True, repr=False)
class Keyring:
    """The bridge's signing keys, newest first. Every key signs, so a key is replaced without losing a callback."""

    keys: tuple[bytes, ...]

    def secrets_for(self, *, owner: str, origin: str) -> Sequence[Secret]:
        """Derive the receiver's secrets, newest first."""
        info = f"{_PURPOSE}\n{owner}\n{origin}".encode()
        return [
            Secret(HKDF(algorithm=SHA256(), length=_SECRET_BYTES, salt=None, info=info).derive(key))
            for key in self.keys
        ]

    def headers(self, message_id: str, body: bytes, *, owner: str, origin: str, at: datetime) -> dict[str, str]:
        """Sign a message for one receiver: the three headers of the specification."""
        timestamp = to_millis(at) // 1000
        secrets = self.secrets_for(owner=owner, origin=origin)
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(secret.sign(message_id, timestamp, body) for secret in secrets),
        }
