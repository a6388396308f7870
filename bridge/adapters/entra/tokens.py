"""Tokens of a Microsoft Entra tenant: whether it has signed them, and for the bridge.

Nothing else is believed about who calls: App Service's `X-MS-CLIENT-PRINCIPAL` and the like are headers that anybody
can send where its authentication is off.
"""

from collections.abc import Mapping

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.types import Options

from bridge.adapters.entra.jwks import JwksCache
from bridge.domain.principal import InvalidToken, KeysUnavailable, Tenant, TokenError
from bridge.domain.time import Clock

#: The one algorithm that the tenant signs with. Taken from here and never from the token.
_ALGORITHM = "RS256"

#: Times are judged by `bridge/domain/principal.py`, which is told what time it is.
_CHECKED: Options = {
    "require": ["iss", "aud", "exp"],
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
}

#: What a fault of PyJWT means, by the first of these that it is.
_REASONS: tuple[tuple[type[jwt.PyJWTError], TokenError], ...] = (
    (jwt.InvalidSignatureError, TokenError.SIGNATURE),
    (jwt.InvalidAlgorithmError, TokenError.ALGORITHM),
    (jwt.InvalidIssuerError, TokenError.ISSUER),
    (jwt.InvalidAudienceError, TokenError.AUDIENCE),
    (jwt.MissingRequiredClaimError, TokenError.CLAIMS),
)

#: What PyJWT raises for a token, and Python's JSON for one that is deeper or has longer numbers than it reads.
_BROKEN = (jwt.PyJWTError, ValueError, RecursionError)


class EntraTokens:
    """Verifies the tokens of one tenant. Threads may share it."""

    def __init__(self, tenant: Tenant, clock: Clock) -> None:
        self._tenant = tenant
        self._keys = JwksCache(tenant, clock)

    def claims(self, token: str) -> Mapping[str, object] | InvalidToken | KeysUnavailable:
        """Verify signature, issuer and audience, and read the claims. Never raises for what a token holds."""
        key = self._key(token)
        return key if isinstance(key, InvalidToken | KeysUnavailable) else self._verified(token, key)

    def close(self) -> None:
        """Close the connections that were kept."""
        self._keys.close()

    def _key(self, token: str) -> RSAPublicKey | InvalidToken | KeysUnavailable:
        """Find the key that a token says it is signed with; nobody is asked for the keys of other algorithms."""
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
