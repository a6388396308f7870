"""Who calls, and what that lets them see: all holders of a function key as one, or each by the token of a tenant.

Whether a token is the tenant's own is found out in `bridge/adapters/entra/tokens.py`; here is what its claims mean.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeGuard

#: Whose registrations are where a function key is the whole trust: all holders of a key share them.
SHARED_OWNER = "shared"

#: Clocks, ours and the tenant's, may differ by so much.
LEEWAY = timedelta(minutes=1)

#: The last second of the year 9999.
_LAST_MOMENT = 253_402_300_799

#: The client that asked for the token. Entra puts one of them into each access token, by version 2.0 and 1.0, and
#: neither into an ID token (Microsoft's access token claims reference).
_CLIENT_CLAIMS = ("azp", "appid")

#: What an object id looks like. No other owner does, so nobody is given what is shared.
_OBJECT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


class Role(StrEnum):
    """What a caller may be given, as app roles of the bridge's own registration."""

    USE = "Bridge.Use"  #: sees and manages registrations of its own
    ADMIN = "Bridge.Admin"  #: those of all owners, and the status


class TokenError(StrEnum):
    """Why a token is not believed."""

    MISSING = "missing"  #: there is none
    MALFORMED = "malformed"  #: it is no token
    ALGORITHM = "algorithm"  #: it is not signed with RS256
    KEY = "key"  #: the tenant publishes no key of that id
    SIGNATURE = "signature"  #: somebody else has signed it, or changed it
    ISSUER = "issuer"  #: it is another tenant's
    AUDIENCE = "audience"  #: it is for somebody else
    CLAIMS = "claims"  #: it does not say for whom, or until when
    ID_TOKEN = "id-token"  # noqa: S105 - it shows a client who signed in, and gives no access
    EXPIRED = "expired"
    EARLY = "early"  #: it is not valid yet


#: Where tenants of Azure China sign in, by both names.
_AUTHORITIES_IN_CHINA = frozenset({"login.chinacloudapi.cn", "login.partner.microsoftonline.cn"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """Whose tokens are believed, and for whom they have to be."""

    #: The id of the tenant, in lower case.
    id: str
    #: The `aud` of tokens for the bridge.
    audience: str
    #: Where the tenant signs in.
    authority: str

    @property
    def issuer(self) -> str:
        """Who issues tokens of version 2.0, and publishes the keys of both versions."""
        return f"{self.authority}/{self.id}/v2.0"

    @property
    def issuers(self) -> tuple[str, str]:
        """Everybody who may have issued a token; the second does so in version 1.0, an app registration's default.

        Azure China has an issuer of version 1.0 of its own; Azure Government has that of the public cloud.
        """
        host = self.authority.removeprefix("https://")
        first_version = "sts.chinacloudapi.cn" if host in _AUTHORITIES_IN_CHINA else "sts.windows.net"
        return self.issuer, f"https://{first_version}/{self.id}/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """An authenticated caller, and what it may read."""

    #: Whose registrations are theirs.
    owner: str
    #: Whether they see those of all owners.
    can_read_all: bool

    @property
    def owner_filter(self) -> str | None:
        """The owner whose registrations they see; None where they see everybody's."""
        return None if self.can_read_all else self.owner

    @property
    def object_id(self) -> str | None:
        """The id that a token gave them; None where it is not known who they are."""
        return self.owner if _OBJECT_ID.fullmatch(self.owner) else None

    def can_read(self, owner: str) -> bool:
        """Tell whether they see a registration of `owner`."""
        return self.owner_filter in (None, owner)


#: Whoever holds a function key.
KEY_HOLDER = Principal(owner=SHARED_OWNER, can_read_all=True)

#: Whoever calls what anybody may call: owns nothing and sees nothing.
ANONYMOUS = Principal(owner="", can_read_all=False)


@dataclass(frozen=True, slots=True)
class InvalidToken:
    """The token is not believed, so nobody knows who calls."""

    why: TokenError


@dataclass(frozen=True, slots=True)
class InsufficientScope:
    """The token is right, and gives its holder nothing here."""


@dataclass(frozen=True, slots=True)
class KeysUnavailable:
    """The tenant's keys are not to be had, so nobody can say what a token is worth."""


def principal_of(claims: Mapping[str, object], now: datetime) -> Principal | InvalidToken | InsufficientScope:
    """Decide who holds a token whose signature, issuer and audience are right."""
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
    """Tell whether a claim is a NumericDate (RFC 7519, 2), as the tenant writes it: whole seconds since 1970.

    A time after the year 9999 is none: integers of JSON have no bound, and floats cannot be compared with all of them.
    """
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LAST_MOMENT
