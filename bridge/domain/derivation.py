"""What derives from the bridge's signing keys: one purpose, one key.

HKDF (RFC 5869) with SHA-256 and an info string for each purpose, so that what is told to a receiver says nothing about
what headers are encrypted with. The strings carry a version; another scheme gets another one, and what was made with
the old one still reads.
"""

from enum import StrEnum
from functools import lru_cache

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

#: A signing key has at least this many bytes.
MIN_KEY_BYTES = 32

#: Every derived key has this many.
DERIVED_BYTES = 32


class Purpose(StrEnum):
    """What a derived key is for. Never change one: receivers would not verify, rows would not open."""

    RECEIVER_SECRET = "bridge/v1/receiver-secret"  # noqa: S105 - a name, no secret
    ED25519_SEED = "bridge/v1/ed25519-seed"
    HEADER_ENCRYPTION = "bridge/v1/header-encryption"
    QUERY_ENCRYPTION = "bridge/v1/query-encryption"
    QUERY_TAG = "bridge/v1/query-tag"
    CURSOR_ENCRYPTION = "bridge/v1/cursor-encryption"


@lru_cache(maxsize=1024)  # every attempt asks for its receiver's secret and for the key pair
def derive(key: bytes, purpose: Purpose, *context: str) -> bytes:
    """Derive the key for one purpose, and for one `context` of it; no part of that contains a line break."""
    info = "\n".join((purpose, *context)).encode()
    return HKDF(algorithm=SHA256(), length=DERIVED_BYTES, salt=None, info=info).derive(key)
