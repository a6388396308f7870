"""How the command line calls the bridge: with what, and what it says when that does not work."""

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
def test_an_environment_that_cannot_be_followed_is_one_line(environment: dict[str, str], words: str) -> None:
    """Nobody is called, and nothing secret is shown."""
    said = type_in("list", environment=environment)

    assert (said.exit, said.out) == (2, "")
    assert len(said.err.splitlines()) == 1
    assert words in said.err
    assert "secret" not in said.err


@pytest.mark.parametrize("suffix", ["", "/", "/api", "/api/"])
def test_the_address_may_end_as_people_copy_it(fake: FakeBridge, suffix: str) -> None:
    """With and without the routes' prefix."""
    fake.tell("GET registrations", EMPTY)

    said = type_in("list", environment={"BRIDGE_URL": fake.url + suffix})

    assert said.exit == 0, said.err


def test_key_and_token_go_in_headers(fake: FakeBridge) -> None:
    """Each where the platform looks for it."""
    fake.tell("GET registrations", EMPTY)

    type_in("list", environment={**fake.environment, "BRIDGE_KEY": "key", "BRIDGE_TOKEN": "token"})

    [call] = fake.calls
    assert (call.headers["X-Functions-Key"], call.headers["Authorization"]) == ("key", "Bearer token")


def test_what_netrc_says_goes_nowhere(fake: FakeBridge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password for another thing on the same host."""
    fake.tell("GET registrations", EMPTY)
    (tmp_path / "netrc").write_text("default login me password secret")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    type_in("list", environment=fake.environment)

    assert "Authorization" not in fake.calls[0].headers


def test_nobody_there_is_said_in_one_line() -> None:
    """With what to look at."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    said = type_in("list", environment={"BRIDGE_URL": f"http://127.0.0.1:{port}"})

    assert said.exit == 3
    assert (
        said.err == f"http://127.0.0.1:{port} does not answer (ConnectionError): check that it runs, and BRIDGE_URL\n"
    )


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, "", "HTTP 401: set BRIDGE_KEY to a function key of the app, or BRIDGE_TOKEN"),
        (404, "", "HTTP 404: there is no bridge at this address: set BRIDGE_URL to the address of the function app"),
        (418, "", "HTTP 418 without a reason: read the log of the function app"),
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
def test_a_refusal_says_what_to_do(fake: FakeBridge, status: int, body: object, words: str) -> None:
    """Whoever it comes from: the bridge, its host, or a stranger."""
    fake.tell("GET registrations", (status, body))

    said = type_in("list", environment=fake.environment)

    assert (said.exit, said.out, len(said.err.splitlines())) == (3, "", 1)
    assert words in said.err


def test_what_the_bridge_cannot_read_was_typed_wrong(fake: FakeBridge) -> None:
    """Everything that is wrong with it, in one line, with the exit code of what cannot be followed."""
    wrong = problem("InvalidRequest", "…", ("state", "is wrong"), ("limit", "is too"))
    fake.tell("GET registrations", (400, wrong))

    said = type_in("list", environment=fake.environment)

    assert (said.exit, said.out, said.err) == (2, "", "InvalidRequest: state is wrong; limit is too\n")


def test_a_refusal_says_when_to_come_back(fake: FakeBridge) -> None:
    """As `Retry-After` has it."""
    answer = (429, problem("TooManyPings", "Ten a minute at the most."), {"Retry-After": "17"})
    fake.tell("POST callbacks/ping", answer)

    said = type_in("ping", "https://hooks.example.com/", environment=fake.environment)

    assert (said.exit, said.err) == (3, "TooManyPings: Ten a minute at the most. Try again in 17 s.\n")


def test_a_redirect_is_not_followed(fake: FakeBridge) -> None:
    """The key would go with it; where it leads is said."""
    fake.tell("GET registrations", (302, "", {"Location": f"{fake.url}/elsewhere"}))

    said = type_in("list", environment={**fake.environment, "BRIDGE_KEY": "key"})

    assert (said.exit, len(fake.calls)) == (3, 1)
    assert f"it redirects to {fake.url}/elsewhere; set BRIDGE_URL to that" in said.err


@pytest.mark.parametrize("arguments", [("--json", "list"), ("list", "--json")])
def test_json_is_asked_for_before_or_after_the_command(fake: FakeBridge, arguments: tuple[str, ...]) -> None:
    """Answers on standard output, errors on the other one."""
    fake.tell("GET registrations", EMPTY, (404, problem("NotFound", "There is no such page.")))

    listed = type_in(*arguments, environment=fake.environment)
    refused = type_in(*arguments, environment=fake.environment)

    assert listed.json == {"value": [], "nextLink": None}
    assert (refused.exit, refused.out) == (3, "")
    assert json.loads(refused.err)["error"]["code"] == "NotFound"


def test_status_without_a_sweep_is_shown(fake: FakeBridge) -> None:
    """A bridge that has just been made."""
    fake.tell("GET status", (200, STATUS))
    fake.tell("GET registrations", EMPTY)

    said = type_in("status", environment=fake.environment)

    assert said.exit == 0
    assert said.out.splitlines()[0].split(maxsplit=2) == ["last", "sweep", "none yet"]


def test_keys_and_secrets_are_shown(fake: FakeBridge) -> None:
    fake.tell("GET signing-keys", (200, {"value": [{"id": "0123", "publicKey": "whpk_AAAA"}]}))
    fake.tell("GET signing-secret", (200, {"signingSecret": "whsec_AAAA"}))

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

    said = type_in("open", environment=fake.environment, browse=browse)

    assert said.exit == code
    assert shown == [f"{fake.url}/api/dashboard"]
    assert said.out == f"{fake.url}/api/dashboard\n"


@pytest.mark.parametrize("arguments", [("-h",), ("list", "-h"), ("keys", "-h"), ("keys", "list", "-h")])
def test_help_has_a_short_form(arguments: tuple[str, ...]) -> None:
    said = type_in(*arguments)

    assert said.exit == 0
    assert "Usage:" in said.out
