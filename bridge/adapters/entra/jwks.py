"""The keys that a tenant publishes, fetched on demand and cached (OpenID Connect Discovery 1.0; RFC 7517).

    fetched        refreshed from here on                      dropped
      |--- 1 h ------|........ if refreshing fails, kept ........| 24 h

A token with an unknown key id causes a new fetch, since the tenant may have replaced its keys. There is at most one
fetch per minute, so made-up tokens cost no more than that. After a failure the next fetch waits for ten seconds.
PyJWT's own client does not limit the total time of a fetch, repeats a failed fetch at once, and takes proxies from the
environment.
"""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from bridge.adapters.net.guard import ANYWHERE, Guard, Limits
from bridge.adapters.net.transport import GuardedClient
from bridge.domain.principal import KeysUnavailable, Tenant
from bridge.domain.time import Clock
from bridge.log import Event, log

#: Keys of this age are refreshed, so a key that the tenant has withdrawn is accepted no longer than this.
FRESH = timedelta(hours=1)
#: If refreshing fails, keys are kept up to this age.
KEPT = timedelta(hours=24)
#: The shortest time between two fetches, after an answer and after a failure.
PAUSE = timedelta(minutes=1)
PAUSE_AFTER_FAILURE = timedelta(seconds=10)

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)

#: Longer answers are refused. Real ones have some 20 KB.
_MAX_BYTES = 1_048_576
#: Smaller RSA keys are not used (NIST SP 800-131A).
_MIN_BITS = 2048

#: In seconds. A client waits meanwhile.
_LIMITS = Limits(attempt=5, lookup=3, connect=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """The cached keys."""

    #: By key id.
    keys: Mapping[str, RSAPublicKey]
    #: The time of the fetch.
    at: datetime
    #: The earliest time of the next fetch.
    pause_until: datetime
    #: Whether the last fetch failed.
    failed: bool

    def needs_fetch(self, key_id: str, now: datetime) -> bool:
        """Return whether to fetch the keys before a token with `key_id` is verified."""
        return now >= self.pause_until and (key_id not in self.keys or now - self.at >= FRESH)

    def find(self, key_id: str, now: datetime) -> RSAPublicKey | KeysUnavailable | None:
        """Return a key. After a failed fetch a missing key is KeysUnavailable, since the tenant may publish it."""
        found = self.keys.get(key_id) if now - self.at < KEPT else None
        return KeysUnavailable() if found is None and self.failed else found


_NOTHING = _Known(keys={}, at=_LONG_AGO, pause_until=_LONG_AGO, failed=True)


class JwksCache:
    """The signing keys of one tenant. Threads may share the cache. One thread at a time fetches."""

    def __init__(self, tenant: Tenant, clock: Clock) -> None:
        self._tenant = tenant
        self._clock = clock
        self._guard = Guard(ANYWHERE, _LIMITS)
        self._client = GuardedClient(self._guard)
        self._lock = threading.Lock()
        self._known = _NOTHING

    def find(self, key_id: str) -> RSAPublicKey | KeysUnavailable | None:
        """Return a key by its id, or None if the tenant publishes none of that id. Never raises for a network failure.

        Only a caller without a cached key waits for another thread's fetch, so a silent tenant delays no other caller.
        """
        known, now = self._known, self._clock()
        if known.needs_fetch(key_id, now):
            is_kept = isinstance(known.find(key_id, now), RSAPublicKey)
            if self._lock.acquire(blocking=not is_kept):
                try:
                    if self._known.needs_fetch(key_id, self._clock()):  # no other thread has fetched meanwhile
                        self._known = self._asked()
                finally:
                    self._lock.release()
        return self._known.find(key_id, self._clock())

    def close(self) -> None:
        """Close the kept connections."""
        self._client.close()

    def _asked(self) -> _Known:
        try:
            keys = self._fetch()
        except Exception as error:  # noqa: BLE001 - whatever an answer does to the libraries
            log(Event.NO_KEYS, why=type(error).__name__, kept=len(self._known.keys))
            return replace(self._known, pause_until=self._clock() + PAUSE_AFTER_FAILURE, failed=True)
        now = self._clock()
        return _Known(keys=keys, at=now, pause_until=now + PAUSE, failed=False)

    def _fetch(self) -> Mapping[str, RSAPublicKey]:
        """Fetch the metadata, and then the keys from the URL in the metadata."""
        metadata = self._get(f"{self._tenant.issuer}/.well-known/openid-configuration")
        if metadata["issuer"] != self._tenant.issuer:
            raise ValueError("the metadata is another issuer's")  # as Discovery, 4.3 demands
        where = str(metadata["jwks_uri"])
        if urlsplit(where).scheme != urlsplit(self._tenant.authority).scheme:
            raise ValueError("the keys are not where a connection is as safe")
        return dict(key for each in self._get(where)["keys"] if (key := _signing_key(each)) is not None)

    def _get(self, url: str) -> Mapping[str, Any]:
        accept = {"Accept": "application/json"}
        with (
            self._guard.attempt() as deadline,
            self._client.exchange("GET", url, accept, budget=2 * _MAX_BYTES) as answer,
        ):
            body = answer.read(_MAX_BYTES)
        if deadline.cut:
            raise TimeoutError
        if answer.status != HTTPStatus.OK:
            raise ConnectionError
        found: Mapping[str, Any] = json.loads(body)
        return found


def _signing_key(published: Mapping[str, Any]) -> tuple[str, RSAPublicKey] | None:
    """Decode one key and its id. Returns None for a key of another kind, which has to be ignored (RFC 7517, 5)."""
    if published.get("kty") != "RSA" or published.get("use", "sig") != "sig":
        return None
    key_id, public = published.get("kid"), {name: published.get(name) for name in ("kty", "n", "e")}
    try:
        key = jwt.PyJWK(public, "RS256").key
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    if isinstance(key_id, str) and isinstance(key, RSAPublicKey) and key.key_size >= _MIN_BITS:
        return key_id, key
    return None
