"""Encryption at rest of a registration's secrets: its custom headers, and the query of its callback URL.

AES-256-GCM (NIST SP 800-38D) under keys that derive from the newest signing key, one for headers and one for queries.
A ciphertext names the signing key, so that a removed key can be distinguished from a changed row. The associated data
bind each ciphertext to its registration, generation, owner and stored callback URL: a changed row does not decrypt, so
the secret of one receiver cannot be sent to another.

The stored URL has `…` and a tag in place of a query. The tag is an HMAC of the whole URL: with a hash without a key,
any reader of a registration's id could test guesses of a short query. The id is a hash of the stored URL and so
verifies that URL without any key. The tag is computed once and stays when signing keys are replaced.
"""

import base64
import binascii
import hmac
import re
from dataclasses import dataclass, field, replace

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bridge.domain.callback_url import HIDDEN
from bridge.domain.custom_headers import OwnHeaders
from bridge.domain.ids import RegistrationRef
from bridge.domain.keyring import Keyring, Purpose, derive
from bridge.domain.outcome import Failure
from bridge.domain.registration import Registration
from bridge.domain.time import to_millis

#: The length of a nonce in bytes. A nonce is never used again with the same key.
NONCE_BYTES = 12

#: The length of a URL's tag in bytes.
_TAG_BYTES = 16

#: The version of the scheme, the id of the key, and nonce and ciphertext in base64.
_ENCRYPTED = re.compile(r"v2:([0-9a-f]{16}):([A-Za-z0-9+/=]+)")


@dataclass(frozen=True, slots=True)
class Secrets:
    """The parts of a registration that rows keep encrypted."""

    #: The whole callback URL, normalised.
    url: str = field(repr=False)
    headers: OwnHeaders = field(default_factory=OwnHeaders)


@dataclass(frozen=True, slots=True)
class DecryptionFailed:
    """A stored secret cannot be decrypted."""

    #: The reason and its remedy, fit for a log line.
    why: str
    #: Which secret: `HEADERS` or `CALLBACK_URL`.
    error: Failure = Failure.HEADERS


@dataclass(frozen=True, slots=True)
class HeaderCipher:
    """Encrypts with the newest key, and decrypts with any key that is still configured."""

    keyring: Keyring

    def tagged(self, request: Registration) -> Registration:
        """Replace the query of a client's URL by `…` and a tag, and update the registration's id to match."""
        before, _, query = request.callback_url.partition("?")
        if not query:
            return request
        operation = request.ref.operation
        whole = f"{request.owner}\n{operation.collection}\n{operation.id}\n{request.callback_url}"
        tag = hmac.digest(derive(self.keyring.keys[0], Purpose.QUERY_TAG), whole.encode(), "sha256")[:_TAG_BYTES]
        url = f"{before}?{HIDDEN}{tag.hex()}"
        ref = RegistrationRef.of(operation, owner=request.owner, callback_url=url)
        return replace(request, ref=ref, callback_url=url)

    def encrypt(self, registration: Registration, secrets: Secrets, *, nonce: bytes) -> Registration:
        """Return the registration with its secrets encrypted. A missing secret leaves the column empty.

        Call this last: the ciphertexts decrypt only in this registration and this generation.
        """
        query, headers = secrets.url.partition("?")[2].encode(), secrets.headers
        return replace(
            registration,
            headers=self._encrypted(Purpose.HEADER_ENCRYPTION, headers.write(), registration, nonce)
            if headers.given
            else None,
            query=self._encrypted(Purpose.QUERY_ENCRYPTION, query, registration, nonce)
            if HIDDEN in registration.callback_url
            else None,
        )

    def decrypt(self, registration: Registration) -> Secrets | DecryptionFailed:
        """Decrypt the secrets of a registration."""
        url = self.url(registration)
        if isinstance(url, DecryptionFailed) or registration.headers is None:
            return url if isinstance(url, DecryptionFailed) else Secrets(url)
        written = self._decrypted(Purpose.HEADER_ENCRYPTION, registration.headers, registration)
        return DecryptionFailed(written) if isinstance(written, str) else Secrets(url, OwnHeaders.read(written))

    def url(self, registration: Registration) -> str | DecryptionFailed:
        """Return the whole callback URL of a registration, with its query decrypted."""
        before, hidden, _ = registration.callback_url.partition(HIDDEN)
        if not hidden:
            return before
        query = self._decrypted(Purpose.QUERY_ENCRYPTION, registration.query or "", registration)
        return DecryptionFailed(query, Failure.CALLBACK_URL) if isinstance(query, str) else f"{before}{query.decode()}"

    def _encrypted(self, purpose: Purpose, secret: bytes, registration: Registration, nonce: bytes) -> str:
        cipher = AESGCM(derive(self.keyring.keys[0], purpose))
        text = base64.b64encode(nonce + cipher.encrypt(nonce, secret, _bound_to(registration))).decode()
        return f"v2:{self.keyring.public_keys()[0].id}:{text}"

    def _decrypted(self, purpose: Purpose, text: str, registration: Registration) -> bytes | str:
        """Decrypt a column. Returns a text with the reason if that is not possible."""
        found = _ENCRYPTED.fullmatch(text)
        if found is None:
            return "written in a way that this version does not know"
        ids = [public.id for public in self.keyring.public_keys()]
        if found[1] not in ids:
            return f"key {found[1]} is not in BRIDGE_SIGNING_KEYS any more: put it back, at the end"
        try:
            encrypted = base64.b64decode(found[2], validate=True)
            cipher = AESGCM(derive(self.keyring.keys[ids.index(found[1])], purpose))
            return cipher.decrypt(encrypted[:NONCE_BYTES], encrypted[NONCE_BYTES:], _bound_to(registration))
        except (binascii.Error, ValueError, InvalidTag):
            return f"damaged, or not of this registration and generation (key {found[1]})"


def _bound_to(registration: Registration) -> bytes:
    parts = (
        registration.ref.public_id,
        str(to_millis(registration.generation)),
        registration.owner,
        registration.callback_url,
    )
    return "\n".join(parts).encode()
