"""Verification of tokens: whether the Microsoft Entra tenant has signed them, and for the bridge.

Only tokens identify a caller. App Service's `X-MS-CLIENT-PRINCIPAL` and similar headers are ignored: any client can
send them if the platform's authentication is off.
"""

from collections.abc import Mapping

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.types import Options

from bridge.adapters.entra.jwks import JwksCache
from bridge.domain.principal import InvalidToken, KeysUnavailable, Tenant, TokenError
from bridge.domain.time import Clock

#: The only algorithm of the tenant's signatures. Never taken from the token.
_ALGORITHM = "RS256"

#: `bridge/domain/principal.py` checks the times, with the bridge's clock.
_CHECKED: Options = {
    "require": ["iss", "aud", "exp"],
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
}

#: The reasons for exceptions of PyJWT. The first match counts.
_REASONS: tuple[tuple[type[jwt.PyJWTError], TokenError], ...] = (
    (jwt.InvalidSignatureError, TokenError.SIGNATURE),
    (jwt.InvalidAlgorithmError, TokenError.ALGORITHM),
    (jwt.InvalidIssuerError, TokenError.ISSUER),
    (jwt.InvalidAudienceError, TokenError.AUDIENCE),
    (jwt.MissingRequiredClaimError, TokenError.CLAIMS),
)

#: PyJWT's exceptions for a token, and those of Python's JSON parser for too deep nesting or too long numbers.
_BROKEN = (jwt.PyJWTError, ValueError, RecursionError)


class EntraTokens:
    """Verifies the tokens of one tenant. Threads may share the object."""

    def __init__(self, tenant: Tenant, clock: Clock) -> None:
        self._tenant = tenant
        self._keys = JwksCache(tenant, clock)

    def claims(self, token: str) -> Mapping[str, object] | InvalidToken | KeysUnavailable:
        """Verify signature, issuer and audience, and return the claims. Never raises for the content of a token."""
        key = self._key(token)
        return key if isinstance(key, InvalidToken | KeysUnavailable) else self._verified(token, key)

    def close(self) -> None:
        """Close the kept connections."""
        self._keys.close()

    def _key(self, token: str) -> RSAPublicKey | InvalidToken | KeysUnavailable:
        """Return the key that a token names. A token of another algorithm causes no fetch."""
        try:
            head = jwt.get_unverified_header(token)
        except _BROKEN:
            return InvalidToken(TokenError.MALFORMED)
        if head.get("alg") != _ALGORITHM:
            return InvalidToken(TokenError.ALGORITHM)
        key_id = head.get("kid")
        key = self._keys.find(key_id) if isinstance(key_id, str) else None
        return InvalidToken(TokenError.KEY) if key is None else key

    def _verified(self, token: str, key: RSAPublicKey) -> Mapping[str, object] | InvalidToken:
        audience, issuers = self._tenant.audience, self._tenant.issuers
        try:
            return jwt.decode(token, key, [_ALGORITHM], _CHECKED, audience=audience, issuer=issuers)
        except _BROKEN as error:
            return InvalidToken(next((why for kind, why in _REASONS if isinstance(error, kind)), TokenError.MALFORMED))
