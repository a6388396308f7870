"""The caller and the rights: all holders of a function key as one, or each holder of a token of the tenant.

`bridge/adapters/entra/tokens.py` verifies that a token is the tenant's own. This module interprets its claims.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeGuard

#: The owner of all registrations in key mode: all holders of a function key share them.
SHARED_OWNER = "shared"

#: The largest difference between the clocks of the bridge and of the tenant.
LEEWAY = timedelta(minutes=1)

#: The last second of the year 9999.
_LAST_MOMENT = 253_402_300_799

#: The client that requested the token. Entra puts one of these claims into each access token, `azp` in version 2.0 and
#: `appid` in version 1.0, and neither into an ID token (Microsoft's access token claims reference).
_CLIENT_CLAIMS = ("azp", "appid")

#: The format of an object id. No other owner has this form, so a token never grants the shared registrations.
_OBJECT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


class Role(StrEnum):
    """A right that a caller can have, an app role of the bridge's own app registration."""

    USE = "Bridge.Use"  #: reads and manages the caller's own registrations
    ADMIN = "Bridge.Admin"  #: reads and manages those of all owners, and the status


class TokenError(StrEnum):
    """Why a token is not accepted."""

    MISSING = "missing"  #: there is no token
    MALFORMED = "malformed"  #: the text is not a token
    ALGORITHM = "algorithm"  #: not signed with RS256
    KEY = "key"  #: the tenant publishes no key of that id
    SIGNATURE = "signature"  #: signed with another key, or changed
    ISSUER = "issuer"  #: issued by another tenant
    AUDIENCE = "audience"  #: issued for another application
    CLAIMS = "claims"  #: the object id, or the time of validity, is missing or malformed
    ID_TOKEN = "id-token"  #: it identifies a user to a client, and gives no access
    EXPIRED = "expired"
    EARLY = "early"  #: not valid yet


#: Where tenants of Azure China sign in, by both names.
_AUTHORITIES_IN_CHINA = frozenset({"login.chinacloudapi.cn", "login.partner.microsoftonline.cn"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """The tenant and audience of the accepted tokens."""

    #: The id of the tenant, in lower case.
    id: str
    #: The `aud` of tokens for the bridge.
    audience: str
    #: The URL at which the tenant signs in.
    authority: str

    @property
    def issuer(self) -> str:
        """The issuer of version 2.0 tokens. Its metadata lead to the keys of both versions."""
        return f"{self.authority}/{self.id}/v2.0"

    @property
    def issuers(self) -> tuple[str, str]:
        """All accepted issuers: of version 2.0, and of version 1.0, which is an app registration's default.

        Azure China has a separate issuer of version 1.0. Azure Government shares that of the public cloud.
        """
        host = self.authority.removeprefix("https://")
        first_version = "sts.chinacloudapi.cn" if host in _AUTHORITIES_IN_CHINA else "sts.windows.net"
        return self.issuer, f"https://{first_version}/{self.id}/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """An authenticated caller and its rights to read."""

    #: The owner of the registrations that the caller makes.
    owner: str
    #: Whether the caller reads the registrations of all owners.
    can_read_all: bool

    @property
    def owner_filter(self) -> str | None:
        """The owner to filter by, or None if the caller may read the registrations of all owners."""
        return None if self.can_read_all else self.owner

    @property
    def object_id(self) -> str | None:
        """The object id of the caller's token, or None if the caller has no identity."""
        return self.owner if _OBJECT_ID.fullmatch(self.owner) else None

    def can_read(self, owner: str) -> bool:
        """Return whether the caller may read a registration of `owner`."""
        return self.owner_filter in (None, owner)


#: Any holder of a function key.
KEY_HOLDER = Principal(owner=SHARED_OWNER, can_read_all=True)

#: A caller of a public route: owns no registrations and reads none.
ANONYMOUS = Principal(owner="", can_read_all=False)


@dataclass(frozen=True, slots=True)
class InvalidToken:
    """The token is not accepted, so the caller is unknown."""

    why: TokenError


@dataclass(frozen=True, slots=True)
class InsufficientScope:
    """The token is valid, but none of its roles grants access."""


@dataclass(frozen=True, slots=True)
class KeysUnavailable:
    """The tenant's keys cannot be fetched, so no token can be verified."""


def principal_of(claims: Mapping[str, object], now: datetime) -> Principal | InvalidToken | InsufficientScope:
    """Return the holder of a token. Its signature, issuer and audience are verified already."""
    ends, begins, object_id = claims.get("exp"), claims.get("nbf", 0), str(claims.get("oid")).lower()
    if not (_is_moment(ends) and _is_moment(begins) and _OBJECT_ID.fullmatch(object_id)):
        return InvalidToken(TokenError.CLAIMS)
    if not any(isinstance(claims.get(name), str) for name in _CLIENT_CLAIMS):
        return InvalidToken(TokenError.ID_TOKEN)
    at, leeway = now.timestamp(), LEEWAY.total_seconds()
    if at >= ends + leeway:
        return InvalidToken(TokenError.EXPIRED)
    if at < begins - leeway:
        return InvalidToken(TokenError.EARLY)
    given = claims.get("roles")
    roles = given if isinstance(given, list) else []
    if Role.ADMIN in roles or Role.USE in roles:
        return Principal(owner=object_id, can_read_all=Role.ADMIN in roles)
    return InsufficientScope()


def _is_moment(value: object) -> TypeGuard[int]:
    """Return whether a claim is a NumericDate (RFC 7519, 2) in the tenant's form: whole seconds since 1970.

    Times after the year 9999 are refused: JSON integers have no bound, and floats cannot be compared with all of them.
    """
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LAST_MOMENT
