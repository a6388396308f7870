"""Who may call what, on the app of this repository: every route behind a host that enforces keys."""

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

#: The routes, as docs/api.md lists them. Another test compares that list with the app.
ROUTES = re.findall(r"^\| `([A-Z]+) (/api/[^`?]+)", (REPOSITORY / "docs" / "api.md").read_text(), re.MULTILINE)

#: Those that anybody may call.
OPEN = {
    ("GET", "/api/health"),
    ("HEAD", "/api/health"),
    ("GET", "/api/signing-keys"),
    ("GET", "/api/openapi.json"),
    ("GET", "/api/dashboard"),
}

#: What a call gets that is let in: the app has no settings but its storage, so nothing is read or written.
LET_IN = 503


#: Long before and long after these tests, in seconds since 1970: the host has a real clock.
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


#: What an app needs to be a whole one.
WHOLE = {name: value for name, value in ENVIRONMENT.items() if name.startswith(("SPEECH_", "BRIDGE_SIGNING"))}


@pytest.fixture(scope="module")
def by_key(azurite: Azurite) -> Iterator[HostProcess]:
    """Run the app with all its settings, for callers with a key."""
    with app_with(azurite, **WHOLE) as running:
        yield running


@pytest.fixture(scope="module")
def by_token(azurite: Azurite, tenant: KeyServer) -> Iterator[HostProcess]:
    """Run the app with all its settings, for callers with tokens."""
    with app_with(azurite, **WHOLE, **tenant.settings) as running:
        yield running


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=[" ".join(each) for each in ROUTES])
def test_every_route_needs_a_key_but_those_that_are_open(host: HostProcess, method: str, path: str) -> None:
    """A wrong key is as good as none."""
    url = host.url + path.replace("{id}", "some-id")

    without, wrong, right = (
        requests.request(method, url, headers=headers, timeout=10).status_code
        for headers in ({}, {"x-functions-key": "wrong"}, {"x-functions-key": "the-key"})
    )

    assert right == LET_IN
    assert {without, wrong} == ({LET_IN} if (method, path) in OPEN else {401})


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=[" ".join(each) for each in ROUTES])
def test_a_whole_app_needs_a_key_as_well(by_key: HostProcess, method: str, path: str) -> None:
    """It says itself who guards its routes; one that is misconfigured has not got so far."""
    url = by_key.url + path.replace("{id}", "some-id")

    without, wrong = (
        requests.request(method, url, headers=headers, timeout=10).status_code
        for headers in ({}, {"x-functions-key": "wrong"})
    )

    assert {without, wrong} == ({200} if (method, path) in OPEN else {401})


def test_the_routes_are_found_in_the_readme() -> None:
    """An empty table would prove nothing."""
    assert {("POST", "/api/registrations"), *OPEN} <= set(ROUTES)


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=[" ".join(each) for each in ROUTES])
def test_every_route_needs_a_token_but_those_that_are_open(by_token: HostProcess, method: str, path: str) -> None:
    """The host lets everybody through then, and the app nobody: a key is no token."""
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
    """The host asks for no key beside it."""
    admin = {"Authorization": f"Bearer {tenant.token(ANN, 'Bridge.Admin', **ALWAYS)}"}
    other = {"Authorization": f"Bearer {tenant.token(ANN, 'Other', **ALWAYS)}"}

    assert requests.get(f"{by_token.url}/api/status", headers=admin, timeout=10).status_code == 200
    assert requests.get(f"{by_token.url}/api/status", headers=other, timeout=10).status_code == 403


def test_an_app_for_tokens_with_wrong_settings_lets_nobody_in(azurite: Azurite, tenant: KeyServer) -> None:
    """No key is asked for, so nothing is told either: no setting is named to a stranger."""
    with app_with(azurite, **tenant.settings) as host:
        answers = [
            requests.request(method, host.url + path.replace("{id}", "some-id"), timeout=10)
            for method, path in ROUTES
            if (method, path) not in OPEN
        ]

    assert {each.status_code for each in answers} == {503}
    assert {str(each.json()["error"]["details"]) for each in answers} == {"[]"}


@pytest.mark.parametrize("value", ["Entra", "entra ", "none", "anonymous"])
def test_an_unknown_way_to_tell_callers_apart_keeps_the_keys(azurite: Azurite, tenant: KeyServer, value: str) -> None:
    """It is misconfigured, and who has a key is told so."""
    with app_with(azurite, **{**tenant.settings, "BRIDGE_AUTH": value}) as host:
        url = f"{host.url}/api/status"
        without = requests.get(url, timeout=10)
        right = requests.get(url, headers={"x-functions-key": "the-key"}, timeout=10)

    assert (without.status_code, right.status_code) == (401, 503)
    assert "BRIDGE_AUTH" in [each["target"] for each in right.json()["error"]["details"]]
