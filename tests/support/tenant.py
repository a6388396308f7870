"""A fake tenant that signs tokens and publishes keys over HTTP like Entra."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from werkzeug import Request, Response

from local.web import WebServer
from tests.support.harness import NOON, Harness, harness

TENANT = "0f0e0d0c-1111-2222-3333-444444444444"
AUDIENCE = "api://speech-bridge"
ANN, BOB, EVE, ROOT = (f"0000000{number}-aaaa-bbbb-cccc-dddddddddddd" for number in range(1, 5))
MINUTE, HOUR = 60, 3600


@cache
def private_key(name: str) -> RSAPrivateKey:
    """Return a key, created once per process."""
    return generate_private_key(public_exponent=65537, key_size=1024 if name == "short" else 2048)


def public_pem(name: str) -> bytes:
    """Return the public key as text, which a naive library could use as an HMAC secret."""
    public = private_key(name).public_key()
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def published(name: str) -> dict[str, Any]:
    """Return the public key in Entra's format."""
    written = jwt.algorithms.RSAAlgorithm.to_jwk(private_key(name).public_key(), as_dict=True)
    return {"kty": "RSA", "use": "sig", "kid": name, "n": written["n"], "e": written["e"]}


class KeyServer:
    """Publishes metadata and keys, and counts the requests."""

    def __init__(self) -> None:
        #: The names of the published keys.
        self.keys = ["first"]
        #: Additional published keys, unchanged.
        self.others: list[Any] = []
        #: Changes of the metadata.
        self.metadata: dict[str, Any] = {}
        #: The answer in place of the regular one, if any.
        self.instead: Callable[[], Response] | None = None
        #: Number of requests for keys.
        self.fetched = 0
        #: Number of all requests.
        self.asked = 0
        self._server = WebServer(self)
        #: The address of the server: the authority in the settings.
        self.url = self._server.url

    @property
    def issuer(self) -> str:
        """The issuer of the tokens."""
        return f"{self.url}/{TENANT}/v2.0"

    @property
    def settings(self) -> dict[str, str]:
        """Return the settings of an app that trusts this tenant."""
        return {
            "BRIDGE_AUTH": "entra",
            "BRIDGE_AUTH_TENANT": TENANT,
            "BRIDGE_AUTH_AUDIENCE": AUDIENCE,
            "BRIDGE_AUTH_AUTHORITY": self.url,
        }

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer like Entra."""
        self.asked += 1
        answer = self._answer(Request(environ).path) if self.instead is None else self.instead()
        return answer(environ, start_response)

    def token(
        self,
        caller: str = ANN,
        *roles: str,
        key: str = "first",
        head: Mapping[str, Any] | None = None,
        at: int = int(NOON.timestamp()),
        **claims: Any,
    ) -> str:
        """Sign a token that is valid for an hour from `at`. A claim with the value None is omitted."""
        output = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "exp": at + HOUR,
            "nbf": at,
            "iat": at,
            "oid": caller,
            "azp": "0c0c0c0c-5555-6666-7777-888888888888",
            "tid": TENANT,
            "roles": list(roles or ("Bridge.Use",)),
            **claims,
        }
        content = {name: value for name, value in output.items() if value is not None}
        said_first = {name: value for name, value in {"kid": key, **(head or {})}.items() if value is not None}
        return jwt.encode(content, private_key(key), "RS256", said_first)

    def stop(self) -> None:
        """Stop the server."""
        assert self._server.stop(10)

    def _answer(self, path: str) -> Response:
        if path == f"/{TENANT}/v2.0/.well-known/openid-configuration":
            return _json({"issuer": self.issuer, "jwks_uri": f"{self.url}/{TENANT}/keys", **self.metadata})
        if path == f"/{TENANT}/keys":
            self.fetched += 1
            return _json({"keys": [*self.others, *(published(name) for name in self.keys)]})
        return Response(status=404)


@contextmanager
def key_server() -> Iterator[KeyServer]:
    """Run a key server."""
    server = KeyServer()
    try:
        yield server
    finally:
        server.stop()


def guarded_by(tenant: KeyServer, **environment: str) -> Harness:
    """Return a harness that trusts a tenant."""
    bridge = harness()
    bridge.restart(**tenant.settings, **environment)
    return bridge


def _json(body: object) -> Response:
    return Response(json.dumps(body), mimetype="application/json")
