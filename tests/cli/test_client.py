"""How the command line calls the bridge, and the messages for failed calls."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import type_in
from tests.support.fake_bridge import Answer, FakeBridge, problem

STATUS: dict[str, Any] = {"lastSweepAt": None, "oldestOverdueAt": None, "registrations": {}, "sources": []}
EMPTY: Answer = (200, {"value": [], "nextLink": None})


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "BRIDGE_URL is not set: export BRIDGE_URL="),
        ({"BRIDGE_URL": "bridge.example.com"}, "BRIDGE_URL is not an address"),
        ({"BRIDGE_URL": "ftp://bridge.example.com"}, "BRIDGE_URL is not an address"),
        ({"BRIDGE_URL": "http://[::1"}, "BRIDGE_URL is not an address"),
        ({"BRIDGE_URL": "https://me:secret@bridge.example.com"}, "contains a password"),
        ({"BRIDGE_URL": "http://bridge.example.com", "BRIDGE_KEY": "key"}, "use https"),
        ({"BRIDGE_URL": "http://bridge.example.com", "BRIDGE_TOKEN": "token"}, "use https"),
    ],
)
def test_an_invalid_environment_is_one_line(environment: dict[str, str], words: str) -> None:
    """The client makes no call and shows no secret."""
    output = type_in("list", environment=environment)

    assert (output.exit, output.out) == (2, "")
    assert len(output.err.splitlines()) == 1
    assert words in output.err
    assert "secret" not in output.err


@pytest.mark.parametrize("suffix", ["", "/", "/api", "/api/"])
def test_the_address_may_have_a_trailing_slash_or_the_route_prefix(fake: FakeBridge, suffix: str) -> None:
    fake.script("GET registrations", EMPTY)

    output = type_in("list", environment={"BRIDGE_URL": fake.url + suffix})

    assert output.exit == 0, output.err


def test_key_and_token_are_sent_in_headers(fake: FakeBridge) -> None:
    fake.script("GET registrations", EMPTY)

    type_in("list", environment={**fake.environment, "BRIDGE_KEY": "key", "BRIDGE_TOKEN": "token"})

    [call] = fake.calls
    assert (call.headers["X-Functions-Key"], call.headers["Authorization"]) == ("key", "Bearer token")


def test_a_netrc_entry_is_never_sent(fake: FakeBridge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry of `.netrc` for the same host can be the password of another service."""
    fake.script("GET registrations", EMPTY)
    (tmp_path / "netrc").write_text("default login me password secret")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    type_in("list", environment=fake.environment)

    assert "Authorization" not in fake.calls[0].headers


def test_an_unreachable_address_is_one_line_with_advice() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    output = type_in("list", environment={"BRIDGE_URL": f"http://127.0.0.1:{port}"})

    assert output.exit == 3
    assert (
        output.err == f"http://127.0.0.1:{port} does not answer (ConnectionError): check that it runs, and BRIDGE_URL\n"
    )


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, "", "HTTP 401: set BRIDGE_KEY to a function key of the app, or BRIDGE_TOKEN"),
        (404, "", "HTTP 404: there is no bridge at this address: set BRIDGE_URL to the address of the function app"),
        (418, "", "HTTP 418: it gives no reason: read the log of the function app"),
        *((status, "", f"HTTP {status}: the platform answered, not the bridge") for status in (500, 502, 503, 504)),
        (502, "<html>", "Run the command again; a ping is then sent twice"),
        (200, "<html>", "there is no bridge at this address"),
        (200, {"other": 1}, "is not this version of the bridge: the answer lacks 'value'"),
        (
            503,
            problem("StorageUnavailable", "Storage does not answer."),
            "StorageUnavailable: Storage does not answer.",
        ),
        (
            503,
            problem("Misconfigured", "See details.", ("SPEECH_KEY", "has a character that a key cannot have")),
            "Misconfigured: SPEECH_KEY has a character that a key cannot have",
        ),
    ],
)
def test_an_error_answer_has_advice(fake: FakeBridge, status: int, body: object, words: str) -> None:
    fake.script("GET registrations", (status, body))

    output = type_in("list", environment=fake.environment)

    assert (output.exit, output.out, len(output.err.splitlines())) == (3, "", 1)
    assert words in output.err


def test_a_400_is_a_usage_error_with_every_problem(fake: FakeBridge) -> None:
    """All problems appear in one line, and the exit code is that of a usage error."""
    wrong = problem("InvalidRequest", "…", ("state", "is wrong"), ("limit", "is too"))
    fake.script("GET registrations", (400, wrong))

    output = type_in("list", environment=fake.environment)

    assert (output.exit, output.out, output.err) == (2, "", "InvalidRequest: state is wrong; limit is too\n")


def test_an_error_answer_shows_retry_after(fake: FakeBridge) -> None:
    answer = (429, problem("TooManyPings", "Ten a minute at the most."), {"Retry-After": "17"})
    fake.script("POST callbacks/ping", answer)

    output = type_in("ping", "https://hooks.example.com/", environment=fake.environment)

    assert (output.exit, output.err) == (3, "TooManyPings: Ten a minute at the most. Try again in 17 s.\n")


def test_a_redirect_is_not_followed(fake: FakeBridge) -> None:
    """The key would leak to the redirect's target. The message names the target."""
    fake.script("GET registrations", (302, "", {"Location": f"{fake.url}/elsewhere"}))

    output = type_in("list", environment={**fake.environment, "BRIDGE_KEY": "key"})

    assert (output.exit, len(fake.calls)) == (3, 1)
    assert f"it redirects to {fake.url}/elsewhere; set BRIDGE_URL to that" in output.err


@pytest.mark.parametrize("arguments", [("--json", "list"), ("list", "--json")])
def test_json_option_works_before_and_after_the_command(fake: FakeBridge, arguments: tuple[str, ...]) -> None:
    """Answers go to standard output, errors to standard error."""
    fake.script("GET registrations", EMPTY, (404, problem("NotFound", "There is no such page.")))

    listed = type_in(*arguments, environment=fake.environment)
    refused = type_in(*arguments, environment=fake.environment)

    assert listed.json == {"value": [], "nextLink": None}
    assert (refused.exit, refused.out) == (3, "")
    assert json.loads(refused.err)["error"]["code"] == "NotFound"


def test_status_without_a_sweep_is_shown(fake: FakeBridge) -> None:
    """A new bridge has no sweep yet."""
    fake.script("GET status", (200, STATUS))
    fake.script("GET registrations", EMPTY)

    output = type_in("status", environment=fake.environment)

    assert output.exit == 0
    assert output.out.splitlines()[0].split(maxsplit=2) == ["last", "sweep", "none yet"]


def test_keys_and_secrets_are_shown(fake: FakeBridge) -> None:
    fake.script("GET signing-keys", (200, {"value": [{"id": "0123", "publicKey": "whpk_AAAA"}]}))
    fake.script("GET signing-secret", (200, {"signingSecret": "whsec_AAAA"}))

    keys = type_in("keys", "list", environment=fake.environment)
    secret = type_in("secret", "https://hooks.example.com/avatar", environment=fake.environment)

    assert (keys.exit, keys.out) == (0, "0123\twhpk_AAAA\n")
    assert (secret.exit, secret.out) == (0, "whsec_AAAA\n")
    assert fake.calls[1].path == "signing-secret?callbackUrl=https%3A%2F%2Fhooks.example.com%2Favatar"


@pytest.mark.parametrize(("opens", "code"), [(True, 0), (False, 1)])
def test_open_shows_the_page_in_the_browser(fake: FakeBridge, *, opens: bool, code: int) -> None:
    shown: list[str] = []

    def browse(url: str) -> bool:
        shown.append(url)
        return opens

    output = type_in("open", environment=fake.environment, browse=browse)

    assert output.exit == code
    assert shown == [f"{fake.url}/api/dashboard"]
    assert output.out == f"{fake.url}/api/dashboard\n"


@pytest.mark.parametrize("arguments", [("-h",), ("list", "-h"), ("keys", "-h"), ("keys", "list", "-h")])
def test_help_has_a_short_form(arguments: tuple[str, ...]) -> None:
    output = type_in(*arguments)

    assert output.exit == 0
    assert "Usage:" in output.out
