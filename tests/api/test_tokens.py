"""Authentication by token, with the test's key server."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import trustme
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from werkzeug import Response

from bridge.adapters.entra.jwks import JwksCache
from bridge.api.handlers import Handlers
from bridge.app import App
from bridge.domain.principal import KeysUnavailable, Tenant
from tests.hostile_receivers.receivers import recording_with
from tests.support.harness import NOON, FakeClock, Harness
from tests.support.http import Answer, Client
from tests.support.tenant import (
    ANN,
    AUDIENCE,
    HOUR,
    MINUTE,
    ROOT,
    TENANT,
    KeyServer,
    guarded_by,
    key_server,
    private_key,
    public_pem,
    published,
)

AT_NOON = int(NOON.timestamp())
#: Invalid NumericDate values, and values after the year 9999.
ABSURD_TIMES: tuple[object, ...] = (10**400, -(10**400), 2**63, 1e300, float(AT_NOON + HOUR), [], {})
FORWARDED = {
    "X-MS-CLIENT-PRINCIPAL": base64.b64encode(
        json.dumps({"claims": [{"typ": "roles", "val": "Bridge.Admin"}]}).encode()
    ),
    "X-MS-CLIENT-PRINCIPAL-ID": ROOT,
    "X-MS-TOKEN-AAD-ACCESS-TOKEN": "forwarded",
}


@pytest.fixture
def tenant() -> Iterator[KeyServer]:
    """Run a tenant with keys that the test may change."""
    with key_server() as running:
        yield running


@pytest.fixture
def guarded(tenant: KeyServer) -> Harness:
    """Return a harness that trusts the tenant."""
    return guarded_by(tenant)


def call(bridge: Harness, token: str | None, **headers: str) -> Answer:
    """Request a list."""
    return Client.of(bridge, token).call(Handlers.list_registrations, headers=headers)


def unsigned(**changes: object) -> str:
    """Return the first two parts of a token with an arbitrary header."""
    claims = {"iss": "x", "aud": AUDIENCE, "exp": AT_NOON + HOUR, "oid": ANN, "roles": ["Bridge.Admin"]}
    return ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"typ": "JWT", "kid": "first", **changes}, claims)
    )


def by_the_public_key(tenant: KeyServer) -> str:
    """Sign with the public key as an HMAC secret, which a naive library would accept."""
    _, claims, _ = tenant.token().split(".")
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"first"}').decode().rstrip("=")
    signature = hmac.new(public_pem("first"), f"{head}.{claims}".encode(), hashlib.sha256).digest()
    return f"{head}.{claims}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def changed(tenant: KeyServer) -> str:
    """Add a role after the signature."""
    head, _, signature = tenant.token().split(".")
    _, claims, _ = tenant.token(ANN, "Bridge.Admin").split(".")
    return f"{head}.{claims}.{signature}"


def token_with(**claims: Any) -> Callable[[KeyServer], str]:
    return lambda tenant: tenant.token(**claims)


def test_a_valid_token_is_accepted(guarded: Harness, tenant: KeyServer) -> None:
    """Covers both roles and both versions of tokens."""
    tokens = [
        tenant.token(),
        tenant.token(ANN, "Bridge.Admin"),
        tenant.token(ANN, "Other.Role", "Bridge.Use"),
        tenant.token(iss=f"https://sts.windows.net/{TENANT}/", ver="1.0", azp=None, appid="a-client"),
        tenant.token(aud=["another", AUDIENCE]),
        tenant.token(nbf=None),
        tenant.token(ANN.upper()),
    ]

    assert [call(guarded, token).status for token in tokens] == [200] * len(tokens)


@pytest.mark.parametrize(
    ("why", "make"),
    [
        ("algorithm", lambda _: unsigned(alg="none") + "."),
        ("algorithm", lambda tenant: f"{unsigned(alg='None')}.{tenant.token().split('.')[2]}"),
        ("algorithm", by_the_public_key),
        ("signature", changed),
        ("signature", lambda tenant: f"{unsigned(alg='RS256')}.{tenant.token().split('.')[2]}"),
        ("signature", lambda tenant: tenant.token(key="foreign", head={"kid": "first"})),
        ("key", lambda tenant: tenant.token(key="foreign")),
        ("key", lambda tenant: tenant.token(key="foreign", head={"jwk": published("foreign"), "jku": tenant.url})),
        ("key", lambda tenant: tenant.token(head={"kid": None})),
        ("audience", lambda tenant: tenant.token(aud="https://management.azure.com")),
        ("audience", lambda tenant: tenant.token(aud=AUDIENCE + "/")),
        ("claims", lambda tenant: tenant.token(aud=[])),
        ("claims", lambda tenant: tenant.token(aud=None)),
        ("issuer", lambda tenant: tenant.token(iss=f"{tenant.url}/another-tenant/v2.0")),
        ("issuer", lambda tenant: tenant.token(iss=tenant.issuer + "/")),
        ("claims", lambda tenant: tenant.token(iss=None)),
        ("expired", lambda tenant: tenant.token(exp=AT_NOON - MINUTE)),
        ("claims", lambda tenant: tenant.token(exp=None)),
        ("claims", lambda tenant: tenant.token(exp=True)),
        ("claims", lambda tenant: tenant.token(exp=str(AT_NOON + HOUR))),
        *(("claims", token_with(exp=time)) for time in ABSURD_TIMES),
        *(("claims", token_with(nbf=time)) for time in ABSURD_TIMES),
        ("id-token", lambda tenant: tenant.token(azp=None)),
        ("id-token", lambda tenant: tenant.token(azp=None, nonce="n", at_hash="h", preferred_username="ann")),
        ("id-token", lambda tenant: tenant.token(azp=["a-client"])),
        ("early", lambda tenant: tenant.token(nbf=AT_NOON + MINUTE + 1)),
        ("claims", lambda tenant: tenant.token(nbf="now")),
        ("claims", lambda tenant: tenant.token(oid=None)),
        ("claims", lambda tenant: tenant.token("shared")),
        ("claims", lambda tenant: tenant.token(oid=[ANN])),
        ("malformed", lambda _: "garbage"),
        ("malformed", lambda _: "a.b.c"),
        ("malformed", lambda _: "..."),
        ("malformed", lambda _: base64.urlsafe_b64encode(b"[" * 9000).decode() + ".e30."),
        ("malformed", lambda _: base64.urlsafe_b64encode(b'{"alg":' + b"9" * 9000 + b"}").decode() + ".e30."),
        ("malformed", lambda tenant: f"{tenant.token()}, Bearer {tenant.token()}"),
    ],
)
def test_an_invalid_token_is_401(
    guarded: Harness, tenant: KeyServer, why: str, make: Callable[[KeyServer], str]
) -> None:
    """The answer has the reason."""
    answer = call(guarded, make(tenant))

    assert (answer.status, answer.error["code"]) == (401, "Unauthorized")
    assert answer.error["message"] == f"The token is not accepted: {why}."
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r\n")))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_any_text_as_a_token_is_401(guarded: Harness, text: str) -> None:
    """Any text gives 401."""
    assert call(guarded, text).status == 401
    assert call(guarded, f"{unsigned(alg='RS256')}.{text}").status == 401


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "token"])
def test_a_missing_token_is_401_with_a_challenge(guarded: Harness, header: str | None) -> None:
    """The answer has the plain challenge of RFC 6750."""
    answer = call(guarded, None, **({} if header is None else {"Authorization": header}))

    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


def test_identity_headers_of_the_platform_are_ignored(guarded: Harness, tenant: KeyServer) -> None:
    """Any client can send those headers. They change nothing in addition to a token."""
    forwarded = {name: str(value) for name, value in FORWARDED.items()}

    assert call(guarded, None, **forwarded).status == 401
    assert Client.of(guarded, tenant.token()).call(Handlers.status, headers=forwarded).status == 403


def test_a_function_key_gives_no_access(guarded: Harness) -> None:
    """With tokens, a key does not identify the caller."""
    assert call(guarded, None, **{"x-functions-key": "the-key"}).status == 401


@pytest.mark.parametrize("roles", [[], ["bridge.use"], ["Other.Role"], "Bridge.Admin", None, {"Bridge.Admin": 1}])
def test_a_token_without_a_role_is_403(guarded: Harness, tenant: KeyServer, roles: object) -> None:
    """The token is valid, but grants no access."""
    answer = call(guarded, tenant.token(roles=roles))

    assert (answer.status, answer.error["code"]) == (403, "Forbidden")
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope"'


def test_clocks_may_differ_by_a_minute(guarded: Harness, tenant: KeyServer) -> None:
    """The limit is one minute in both directions."""
    late, early = tenant.token(exp=AT_NOON - MINUTE + 1), tenant.token(nbf=AT_NOON + MINUTE)

    assert (call(guarded, late).status, call(guarded, early).status) == (200, 200)
    guarded.clock.advance(1)
    assert call(guarded, late).status == 401


def test_keys_are_fetched_once_and_refreshed_by_the_hour(guarded: Harness, tenant: KeyServer) -> None:
    """A withdrawn key is valid for at most an hour."""
    token = tenant.token(exp=AT_NOON + 5 * HOUR)

    fetched = []
    for _ in range(4):
        assert call(guarded, token).status == 200
        fetched.append(tenant.fetched)
        guarded.clock.advance(timedelta(minutes=30))
    tenant.keys = ["second"]
    guarded.clock.advance(timedelta(hours=1))

    assert fetched == [1, 1, 2, 2]
    assert call(guarded, token).status == 401


def test_a_rotated_key_is_found_at_its_first_token(guarded: Harness, tenant: KeyServer) -> None:
    """An unknown key id causes a fetch. The old key is valid while published."""
    assert call(guarded, tenant.token()).status == 200
    guarded.clock.advance(timedelta(minutes=2))
    tenant.keys = ["first", "second"]

    assert call(guarded, tenant.token(key="second")).status == 200
    assert call(guarded, tenant.token()).status == 200
    assert tenant.fetched == 2


def test_unknown_key_ids_cost_one_fetch_a_minute(guarded: Harness, tenant: KeyServer) -> None:
    """Any number of invented ids cause one fetch. A token of another algorithm causes none."""
    call(guarded, tenant.token())
    for number in range(120):
        assert call(guarded, tenant.token(key="foreign", head={"kid": f"made-up-{number}"})).status == 401
        assert call(guarded, unsigned(alg="none", kid=f"other-{number}") + ".").status == 401
        guarded.clock.advance(1)

    assert tenant.fetched == 2


def test_a_token_of_another_algorithm_causes_no_fetch(guarded: Harness, tenant: KeyServer) -> None:
    """The rejection needs no key."""
    assert call(guarded, by_the_public_key(tenant)).status == 401
    assert call(guarded, unsigned(alg="none") + ".").status == 401
    assert tenant.asked == 0


@pytest.mark.parametrize("status", [203, 404, 500])
def test_keys_are_accepted_only_from_a_200(guarded: Harness, tenant: KeyServer, status: int) -> None:
    """The bodies of other answers are ignored."""
    everything = {"issuer": tenant.issuer, "jwks_uri": f"{tenant.url}/keys", "keys": [published("first")]}

    tenant.instead = lambda: Response(json.dumps(everything), status)
    assert call(guarded, tenant.token()).status == 503

    guarded.clock.advance(10)
    tenant.instead = lambda: Response(json.dumps(everything), 200)
    assert call(guarded, tenant.token()).status == 200


def test_keys_are_not_fetched_over_another_scheme(
    guarded: Harness, tenant: KeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    """With an `https:` authority, keys over `http:` could be replaced in transit."""
    tenant.metadata = {"jwks_uri": f"https{tenant.url.removeprefix('http')}/{TENANT}/keys"}

    assert call(guarded, tenant.token()).status == 503
    assert [json.loads(each.message)["why"] for each in caplog.records] == ["ValueError"]


def test_a_key_server_that_is_down_is_503_and_is_tried_again(tenant: KeyServer) -> None:
    """All calls are rejected meanwhile. After a failure, the next fetch follows after ten seconds."""
    bridge = guarded_by(tenant)
    tenant.instead = lambda: Response(status=500)

    first, second = call(bridge, tenant.token()), call(bridge, tenant.token())
    asked, tenant.instead = tenant.asked, None
    bridge.clock.advance(10)

    assert (first.status, first.error["code"]) == (503, "KeysUnavailable")
    assert first.headers["Retry-After"] == "5"
    assert (second.status, asked) == (503, 1)
    assert call(bridge, tenant.token()).status == 200


@pytest.mark.sockets
def test_a_key_server_that_is_gone_is_503() -> None:
    """The port is closed."""
    with key_server() as tenant:
        bridge, token = guarded_by(tenant), tenant.token()

    assert call(bridge, token).status == 503


def test_known_keys_outlast_a_key_server_for_a_day(guarded: Harness, tenant: KeyServer) -> None:
    """Tokens with an unknown key cannot be checked then."""
    token = tenant.token(exp=AT_NOON + 48 * HOUR)
    call(guarded, token)
    tenant.instead = lambda: Response(status=503)
    guarded.clock.advance(timedelta(hours=23))

    assert call(guarded, token).status == 200
    assert call(guarded, tenant.token(key="second", exp=AT_NOON + 48 * HOUR)).status == 503
    guarded.clock.advance(timedelta(hours=1))
    assert call(guarded, token).status == 503


def test_a_silent_tenant_delays_only_one_caller(guarded: Harness, tenant: KeyServer) -> None:
    """Callers with known keys continue while one caller waits for the refresh."""
    token = tenant.token(exp=AT_NOON + 48 * HOUR)
    call(guarded, token)
    guarded.clock.advance(timedelta(hours=2))
    asked, answering = threading.Event(), threading.Event()

    def silent() -> Response:
        asked.set()
        answering.wait(10)
        return Response(status=503)

    tenant.instead = silent
    with ThreadPoolExecutor(2) as callers:
        first = callers.submit(call, guarded, token)
        assert asked.wait(10)
        second = callers.submit(call, guarded, token).result(3)
        is_waiting = not first.done()
        answering.set()

    assert (second.status, is_waiting, first.result().status) == (200, True, 200)


@pytest.mark.sockets
@pytest.mark.filterwarnings("default")  # a raised warning would prevent the request
def test_a_tenant_with_an_invalid_certificate_is_not_trusted() -> None:
    """A party in the middle could otherwise publish keys."""
    with recording_with(trustme.CA().issue_cert("localhost")) as (port, received):
        keys = JwksCache(Tenant(id=TENANT, audience=AUDIENCE, authority=f"https://localhost:{port}"), FakeClock())
        found = keys.find("first")
        keys.close()

    assert isinstance(found, KeysUnavailable)
    assert received in ([], [b""])


@pytest.mark.parametrize(
    "answer",
    [
        lambda: Response("<html>", 200),
        lambda: Response("[]", 200),
        lambda: Response("{}", 200),
        lambda: Response("[" * 100_000, 200),
        lambda: Response(status=302, headers={"Location": "/elsewhere"}),
        lambda: Response('{"keys": []}' + " " * 2_000_000, 200),
    ],
    ids=["HTML", "an array", "nothing in it", "deep", "a redirect", "endless"],
)
def test_an_invalid_answer_of_the_key_server_is_503(
    guarded: Harness, tenant: KeyServer, answer: Callable[[], Response]
) -> None:
    """The answer is not a 500."""
    tenant.instead = answer

    assert call(guarded, tenant.token()).status == 503


@pytest.mark.parametrize(
    "metadata",
    [{"issuer": "https://login.example.com/other/v2.0"}, {"jwks_uri": "file:///etc/passwd"}, {"jwks_uri": None}],
    ids=["another issuer's", "keys elsewhere", "no keys"],
)
def test_metadata_of_another_issuer_is_ignored(guarded: Harness, tenant: KeyServer, metadata: dict[str, str]) -> None:
    """OpenID Connect Discovery requires the same issuer."""
    tenant.metadata = metadata

    assert call(guarded, tenant.token()).status == 503
    assert tenant.fetched == 0


def test_only_rsa_signing_keys_are_used(guarded: Harness, tenant: KeyServer) -> None:
    """Skipped: encryption keys, secrets, short keys and broken ones."""
    secret = base64.urlsafe_b64encode(b"a secret that somebody published").decode()
    tenant.others = [
        {"kty": "oct", "kid": "secret", "k": secret},
        {**published("encrypts"), "use": "enc"},
        published("short"),
        {"kty": "RSA", "kid": "broken", "n": "AQAB"},
        {"kty": "RSA", "kid": ["list"], "n": published("first")["n"], "e": "AQAB"},
        {"kty": "EC", "kid": "curve"},
    ]

    assert call(guarded, tenant.token()).status == 200
    assert call(guarded, tenant.token(key="encrypts")).status == 401
    with pytest.warns(match="below the minimum"):
        short = tenant.token(key="short")
    assert call(guarded, short).status == 401
    assert private_key("short").key_size < 2048


def test_a_misconfigured_app_with_public_routes_names_no_setting(tenant: KeyServer) -> None:
    """The routes are public then, so the answer names no setting. The log does."""
    app = App.from_environment(tenant.settings)

    answer = Client(app, tenant.token(ANN, "Bridge.Admin")).call(Handlers.status)

    assert (answer.status, answer.error["code"], answer.error["details"]) == (503, "Misconfigured", [])
