"""Access levels of this repository's app: every route behind a host that enforces keys."""

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from local.azurite import Azurite
from local.host.process import HostProcess
from local.settings import REPOSITORY
from tests.support.harness import ENVIRONMENT
from tests.support.tenant import ANN, KeyServer, key_server

#: The routes in docs/api.md. Another test compares them with the app.
ROUTES = re.findall(r"^\| `([A-Z]+) (/api/[^`?]+)", (REPOSITORY / "docs" / "api.md").read_text(), re.MULTILINE)

#: Public routes.
OPEN = {
    ("GET", "/api/health"),
    ("HEAD", "/api/health"),
    ("GET", "/api/signing-keys"),
    ("GET", "/api/openapi.json"),
    ("GET", "/api/dashboard"),
}

#: The answer to an authorized call: the app has only storage settings, so no row is read or written.
LET_IN = 503


#: Long before and long after these tests, in seconds since 1970, since the host uses the real clock.
ALWAYS: dict[str, Any] = {"nbf": 1_000_000_000, "exp": 4_000_000_000}


def app_with(azurite: Azurite, **settings: str) -> HostProcess:
    """Run the app behind a host that enforces a key, with storage and these settings."""
    environ = {
        "PATH": os.environ["PATH"],
        "AzureWebJobsStorage": azurite.connection_string,
        "BRIDGE_POLL_SCHEDULE": "0 0 0 1 1 *",
        **settings,
    }
    return HostProcess.start(environ, keys=["the-key"])


@pytest.fixture(scope="module")
def host(azurite: Azurite) -> Iterator[HostProcess]:
    """Run the app with a key."""
    with app_with(azurite) as running:
        yield running


@pytest.fixture(scope="module")
def tenant() -> Iterator[KeyServer]:
    """Run a tenant."""
    with key_server() as running:
        yield running


#: The settings of a complete app.
WHOLE = {name: value for name, value in ENVIRONMENT.items() if name.startswith(("SPEECH_", "BRIDGE_SIGNING"))}


@pytest.fixture(scope="module")
def by_key(azurite: Azurite) -> Iterator[HostProcess]:
    """Run the app with all settings, for callers with a key."""
    with app_with(azurite, **WHOLE) as running:
        yield running


@pytest.fixture(scope="module")
def by_token(azurite: Azurite, tenant: KeyServer) -> Iterator[HostProcess]:
    """Run the app with all settings, for callers with tokens."""
    with app_with(azurite, **WHOLE, **tenant.settings) as running:
        yield running


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=[" ".join(each) for each in ROUTES])
def test_every_route_needs_a_key_except_public_ones(host: HostProcess, method: str, path: str) -> None:
    """A wrong key is rejected like a missing one."""
    url = host.url + path.replace("{id}", "some-id")

    without, wrong, right = (
        requests.request(method, url, headers=headers, timeout=10).status_code
        for headers in ({}, {"x-functions-key": "wrong"}, {"x-functions-key": "the-key"})
    )

    assert right == LET_IN
    assert {without, wrong} == ({LET_IN} if (method, path) in OPEN else {401})


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=[" ".join(each) for each in ROUTES])
def test_a_configured_app_needs_a_key_as_well(by_key: HostProcess, method: str, path: str) -> None:
    """A complete app declares the authentication of its routes. A misconfigured app cannot."""
    url = by_key.url + path.replace("{id}", "some-id")

    without, wrong = (
        requests.request(method, url, headers=headers, timeout=10).status_code
        for headers in ({}, {"x-functions-key": "wrong"})
    )

    assert {without, wrong} == ({200} if (method, path) in OPEN else {401})


def test_the_routes_are_found_in_the_readme() -> None:
    """An empty table would pass the tests above."""
    assert {("POST", "/api/registrations"), *OPEN} <= set(ROUTES)


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=[" ".join(each) for each in ROUTES])
def test_every_route_needs_a_token_except_public_ones(by_token: HostProcess, method: str, path: str) -> None:
    """The host admits all calls then, and the app none without a token, even with a key."""
    url = by_token.url + path.replace("{id}", "some-id")

    without, key, wrong = (
        requests.request(method, url, headers=headers, timeout=10)
        for headers in ({}, {"x-functions-key": "the-key"}, {"Authorization": "Bearer wrong"})
    )

    assert {each.status_code for each in (without, key, wrong)} == ({200} if (method, path) in OPEN else {401})
    if (method, path) not in OPEN:
        assert [each.headers["WWW-Authenticate"] for each in (without, key)] == ["Bearer", "Bearer"]
        assert without.json()["error"]["code"] == "Unauthorized"


def test_a_token_is_enough(by_token: HostProcess, tenant: KeyServer) -> None:
    """The host requires no key in addition."""
    admin = {"Authorization": f"Bearer {tenant.token(ANN, 'Bridge.Admin', **ALWAYS)}"}
    other = {"Authorization": f"Bearer {tenant.token(ANN, 'Other', **ALWAYS)}"}

    assert requests.get(f"{by_token.url}/api/status", headers=admin, timeout=10).status_code == 200
    assert requests.get(f"{by_token.url}/api/status", headers=other, timeout=10).status_code == 403


def test_a_misconfigured_app_for_tokens_accepts_no_call(azurite: Azurite, tenant: KeyServer) -> None:
    """No key is required, so the answer names no setting."""
    with app_with(azurite, **tenant.settings) as host:
        answers = [
            requests.request(method, host.url + path.replace("{id}", "some-id"), timeout=10)
            for method, path in ROUTES
            if (method, path) not in OPEN
        ]

    assert {each.status_code for each in answers} == {503}
    assert {str(each.json()["error"]["details"]) for each in answers} == {"[]"}


@pytest.mark.parametrize("value", ["Entra", "entra ", "none", "anonymous"])
def test_an_unknown_authentication_setting_keeps_the_keys(azurite: Azurite, tenant: KeyServer, value: str) -> None:
    """The app is misconfigured, and callers with a key get the reason."""
    with app_with(azurite, **{**tenant.settings, "BRIDGE_AUTH": value}) as host:
        url = f"{host.url}/api/status"
        without = requests.get(url, timeout=10)
        right = requests.get(url, headers={"x-functions-key": "the-key"}, timeout=10)

    assert (without.status_code, right.status_code) == (401, 503)
    assert "BRIDGE_AUTH" in [each["target"] for each in right.json()["error"]["details"]]
