"""How the command line calls the bridge: with what, and what it says when that does not work."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import type_in
from tests.support.played_bridge import Answer, PlayedBridge, problem

STATUS: dict[str, Any] = {"lastSweepAt": None, "oldestOverdueAt": None, "registrations": {}, "sources": []}
EMPTY: Answer = (200, {"value": [], "nextLink": None})


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "BRIDGE_URL is not set: export BRIDGE_URL="),
        ({"BRIDGE_URL": "bridge.example.com"}, "BRIDGE_URL is no address"),
        ({"BRIDGE_URL": "ftp://bridge.example.com"}, "BRIDGE_URL is no address"),
        ({"BRIDGE_URL": "http://[::1"}, "BRIDGE_URL is no address"),
        ({"BRIDGE_URL": "https://me:secret@bridge.example.com"}, "has a password in it"),
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
def test_the_address_may_end_as_people_copy_it(played: PlayedBridge, suffix: str) -> None:
    """With and without the routes' prefix."""
    played.tell("GET registrations", EMPTY)

    said = type_in("list", environment={"BRIDGE_URL": played.url + suffix})

    assert said.exit == 0, said.err


def test_key_and_token_go_in_headers(played: PlayedBridge) -> None:
    """Each where the platform looks for it."""
    played.tell("GET registrations", EMPTY)

    type_in("list", environment={**played.environment, "BRIDGE_KEY": "key", "BRIDGE_TOKEN": "token"})

    [call] = played.calls
    assert (call.headers["X-Functions-Key"], call.headers["Authorization"]) == ("key", "Bearer token")


def test_what_netrc_says_goes_nowhere(played: PlayedBridge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password for another thing on the same host."""
    played.tell("GET registrations", EMPTY)
    (tmp_path / "netrc").write_text("default login me password secret")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    type_in("list", environment=played.environment)

    assert "Authorization" not in played.calls[0].headers


def test_nobody_there_is_said_in_one_line() -> None:
    """With what to look at."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    said = type_in("list", environment={"BRIDGE_URL": f"http://127.0.0.1:{port}"})

    assert said.exit == 3
    assert (
        said.err == f"http://127.0.0.1:{port} does not answer (ConnectionError): is it running, and BRIDGE_URL right?\n"
    )


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, "", "HTTP 401: set BRIDGE_KEY to a function key of the app, or BRIDGE_TOKEN"),
        (404, "", "HTTP 404: nothing of the bridge answers there: BRIDGE_URL is the address of the function app"),
        (418, "", "HTTP 418 without a reason: look into the log of the function app"),
        *((status, "", f"HTTP {status}: the platform answered, not the bridge") for status in (500, 502, 503, 504)),
        (502, "<html>", "Run the command again; a ping is then sent twice"),
        (200, "<html>", "nothing of the bridge answers there"),
        (200, {"other": 1}, "is not this version of the bridge: its answer has no 'value'"),
        (
            503,
            problem("StorageUnavailable", "Storage does not answer."),
            "StorageUnavailable: Storage does not answer.",
        ),
        (
            503,
            problem("Misconfigured", "See details.", ("SPEECH_KEY", "has a character that no key has")),
            "Misconfigured: SPEECH_KEY has a character that no key has",
        ),
    ],
)
def test_a_refusal_says_what_to_do(played: PlayedBridge, status: int, body: object, words: str) -> None:
    """Whoever it comes from: the bridge, its host, or a stranger."""
    played.tell("GET registrations", (status, body))

    said = type_in("list", environment=played.environment)

    assert (said.exit, said.out, len(said.err.splitlines())) == (3, "", 1)
    assert words in said.err


def test_what_the_bridge_cannot_read_was_typed_wrong(played: PlayedBridge) -> None:
    """Everything that is wrong with it, in one line, with the exit code of what cannot be followed."""
    wrong = problem("InvalidRequest", "…", ("state", "is wrong"), ("limit", "is too"))
    played.tell("GET registrations", (400, wrong))

    said = type_in("list", environment=played.environment)

    assert (said.exit, said.out, said.err) == (2, "", "InvalidRequest: state is wrong; limit is too\n")


def test_a_refusal_says_when_to_come_back(played: PlayedBridge) -> None:
    """As `Retry-After` has it."""
    answer = (429, problem("TooManyPings", "Ten a minute at the most."), {"Retry-After": "17"})
    played.tell("POST callbacks/ping", answer)

    said = type_in("ping", "https://hooks.example.com/", environment=played.environment)

    assert (said.exit, said.err) == (3, "TooManyPings: Ten a minute at the most. Again in 17 s.\n")


def test_a_redirect_is_not_followed(played: PlayedBridge) -> None:
    """The key would go with it; where it leads is said."""
    played.tell("GET registrations", (302, "", {"Location": f"{played.url}/elsewhere"}))

    said = type_in("list", environment={**played.environment, "BRIDGE_KEY": "key"})

    assert (said.exit, len(played.calls)) == (3, 1)
    assert f"it redirects to {played.url}/elsewhere; set BRIDGE_URL to that" in said.err


@pytest.mark.parametrize("arguments", [("--json", "list"), ("list", "--json")])
def test_json_is_asked_for_before_or_after_the_command(played: PlayedBridge, arguments: tuple[str, ...]) -> None:
    """Answers on standard output, errors on the other one."""
    played.tell("GET registrations", EMPTY, (404, problem("NotFound", "There is no such page.")))

    listed = type_in(*arguments, environment=played.environment)
    refused = type_in(*arguments, environment=played.environment)

    assert listed.json == {"value": [], "nextLink": None}
    assert (refused.exit, refused.out) == (3, "")
    assert json.loads(refused.err)["error"]["code"] == "NotFound"


def test_status_without_a_sweep_is_shown(played: PlayedBridge) -> None:
    """A bridge that has just been made."""
    played.tell("GET status", (200, STATUS))
    played.tell("GET registrations", EMPTY)

    said = type_in("status", environment=played.environment)

    assert said.exit == 0
    assert said.out.splitlines()[0].split(maxsplit=2) == ["last", "sweep", "none yet"]


def test_keys_and_secrets_are_shown(played: PlayedBridge) -> None:
    played.tell("GET signing-keys", (200, {"value": [{"id": "0123", "publicKey": "whpk_AAAA"}]}))
    played.tell("GET signing-secret", (200, {"signingSecret": "whsec_AAAA"}))

    keys = type_in("keys", "list", environment=played.environment)
    secret = type_in("secret", "https://hooks.example.com/avatar", environment=played.environment)

    assert (keys.exit, keys.out) == (0, "0123\twhpk_AAAA\n")
    assert (secret.exit, secret.out) == (0, "whsec_AAAA\n")
    assert played.calls[1].path == "signing-secret?callbackUrl=https%3A%2F%2Fhooks.example.com%2Favatar"


@pytest.mark.parametrize(("opens", "code"), [(True, 0), (False, 1)])
def test_open_shows_the_page_in_the_browser(played: PlayedBridge, *, opens: bool, code: int) -> None:
    shown: list[str] = []

    def browse(url: str) -> bool:
        shown.append(url)
        return opens

    said = type_in("open", environment=played.environment, browse=browse)

    assert said.exit == code
    assert shown == [f"{played.url}/api/dashboard"]
    assert said.out == f"{played.url}/api/dashboard\n"


@pytest.mark.parametrize("arguments", [("-h",), ("list", "-h"), ("keys", "-h"), ("keys", "list", "-h")])
def test_help_has_a_short_form(arguments: tuple[str, ...]) -> None:
    said = type_in(*arguments)

    assert said.exit == 0
    assert "Usage:" in said.out
