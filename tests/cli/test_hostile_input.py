"""Secrets, odd text and hostile answers: each ends in one line, without a secret and without a control code."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn

import pytest

from bridge import __version__
from tests.support.cli import Terminal, type_in
from tests.support.fake_bridge import Answer, FakeBridge, attempt, registration

SECRET = "SECRETKEY1234567890"
EMPTY: Answer = (200, {"value": [], "nextLink": None})
LEAST = ("register", "--operation-id", "operation-1", "--callback-url", "https://hooks.example.com/avatar")
#: A window title, the clipboard, a cleared screen, a C1 code, right-to-left text, a bell, a lone surrogate.
ESCAPES = "\x1b]0;owned\x07\x1b]52;c;aGk=\x07\x1b[2J\x9b31m\u202egnp.exe\udc80\x00"
STATUS: dict[str, Any] = {
    "lastSweepAt": "2026-11-23T12:00:00.000Z",
    "oldestOverdueAt": None,
    "registrations": {},
    "sources": [],
}


def shows_control_codes(text: str) -> bool:
    return any(not each.isprintable() for each in text if each not in "\n\t")


@pytest.mark.parametrize("name", ["BRIDGE_KEY", "BRIDGE_TOKEN"])
@pytest.mark.parametrize("space", ["\r\n", "\n", " ", "\t\n"])
def test_white_space_around_a_secret_of_the_environment_is_dropped(fake: FakeBridge, name: str, space: str) -> None:
    fake.script("GET registrations", EMPTY)

    output = type_in("list", environment={**fake.environment, name: f"{space}{SECRET}{space}"})

    assert output.exit == 0, output.err
    sent = fake.calls[0].headers
    assert (sent.get("X-Functions-Key") or sent.get("Authorization", "").removeprefix("Bearer ")) == SECRET


@pytest.mark.parametrize("name", ["BRIDGE_KEY", "BRIDGE_TOKEN"])
@pytest.mark.parametrize("inside", ["\r\n", "\n", "\x00", "\x7f", "é", "\u2028", "\udc80"])
def test_a_secret_that_no_header_can_carry_is_named_and_never_shown(fake: FakeBridge, name: str, inside: str) -> None:
    output = type_in("list", environment={**fake.environment, name: f"{SECRET}{inside}{SECRET}"})

    assert (output.exit, output.out, fake.calls) == (2, "", [])
    assert output.err == f"{name} has a line break or another character that a header cannot carry: set it again\n"


@pytest.mark.parametrize("inside", ["\r\n", "\x00", "é"])
def test_a_secret_header_of_a_callback_is_checked_before_anything_is_sent(fake: FakeBridge, inside: str) -> None:
    environment = {**fake.environment, "RECEIVER": f"{SECRET}{inside}{SECRET}"}

    output = type_in(*LEAST, "--header-env", "Authorization: RECEIVER", environment=environment)

    assert (output.exit, output.out, fake.calls) == (2, "", [])
    assert "RECEIVER has a line break or another character" in output.err
    assert SECRET not in output.err


@pytest.mark.parametrize("number", ["1e400", "-1e999", "NaN", "Infinity", "-Infinity"])
def test_metadata_with_a_number_that_json_cannot_carry_is_wrong_input(fake: FakeBridge, number: str) -> None:
    output = type_in(*LEAST, "--metadata", f'{{"a": [{number}]}}', environment=fake.environment)

    assert (output.exit, output.out, fake.calls) == (2, "", [])
    assert "--metadata is not a JSON object, or has a number that JSON cannot express" in output.err


def test_metadata_that_is_nested_without_end_is_wrong_input(fake: FakeBridge) -> None:
    deep = '{"a":' * 200_000

    output = type_in(*LEAST, "--metadata", deep, environment=fake.environment)

    assert (output.exit, fake.calls, len(output.err.splitlines())) == (2, [], 1)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_may_begin_with_a_byte_order_mark(fake: FakeBridge, tmp_path: Path, encoding: str) -> None:
    fake.script("POST registrations", (201, registration(signingSecret="whsec_c2VjcmV0")))
    metadata, headers = tmp_path / "metadata", tmp_path / "headers"
    metadata.write_text('{"grüße": 1}', encoding=encoding)
    headers.write_text("X-Api-Key: of the file", encoding=encoding)

    output = type_in(*LEAST, "--metadata", f"@{metadata}", "--headers-file", str(headers), environment=fake.environment)

    assert output.exit == 0, output.err
    [call] = fake.calls
    assert (call.body["metadata"], call.body["headers"]) == ({"grüße": 1}, {"X-Api-Key": "of the file"})


def test_a_received_callback_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    record, secret = tmp_path / "record", tmp_path / "secret"
    record.write_text(json.dumps({"headers": {"webhook-id": "msg_1"}, "body": "{}"}), encoding="utf-8-sig")
    secret.write_text("whsec_c2VjcmV0", encoding="utf-8-sig")

    output = type_in("verify", str(record), "--secret-file", str(secret))

    assert output.exit == 1
    assert "webhook-timestamp and webhook-signature missing" in output.out


@pytest.mark.parametrize(
    "record",
    [
        {"headers": {"webhook-id": "msg_1"}, "body": "\udc80"},
        {
            "headers": dict.fromkeys(("webhook-id", "webhook-timestamp", "webhook-signature"), "\udc80"),
            "body": "{}",
        },
    ],
    ids=["body", "headers"],
)
def test_a_callback_that_is_not_valid_unicode_is_not_genuine(tmp_path: Path, record: dict[str, Any]) -> None:
    received, secret = tmp_path / "record", tmp_path / "secret"
    received.write_text(json.dumps(record))
    secret.write_text("whsec_c2VjcmV0")

    output = type_in("verify", str(received), "--secret-file", str(secret))

    assert output.exit in (1, 2)
    assert not shows_control_codes(output.out + output.err)


@pytest.mark.parametrize("is_terminal", [True, False], ids=["terminal", "pipe"])
@pytest.mark.parametrize(
    "arguments",
    [("list",), ("show", "default~operation-1~0123456789abcdef"), ("ping", "https://hooks.example.com/"), LEAST],
)
def test_escape_sequences_of_an_answer_reach_no_terminal(
    fake: FakeBridge, arguments: tuple[str, ...], *, is_terminal: bool
) -> None:
    hostile = registration(
        callbackUrl=f"https://hooks.example.com/{ESCAPES}",
        state="dead",
        reason=ESCAPES,
        metadata={ESCAPES: ESCAPES},
        attempts=[{**attempt(500), "body": ESCAPES, "address": ESCAPES}],
        operation={"status": ESCAPES, "lastError": {"kind": ESCAPES, "detail": ESCAPES}},
    )
    fake.script("GET registrations", (200, {"value": [hostile], "nextLink": None}))
    fake.script("GET registrations/default~operation-1~0123456789abcdef", (200, hostile))
    fake.script("POST registrations", (201, {**hostile, "signingSecret": ESCAPES}))
    fake.script("POST callbacks/ping", (200, {**attempt(500), "error": ESCAPES, "address": ESCAPES}))

    shown = type_in(*arguments, environment=fake.environment, out=Terminal() if is_terminal else None)
    as_json = type_in(*arguments, "--json", environment=fake.environment)

    ours = shown.out.replace("\x1b[", "") if is_terminal else shown.out  # the command line adds the colors
    assert not shows_control_codes(ours + shown.err + as_json.out + as_json.err)
    assert "\x1b]" not in shown.out
    assert "\x1b[2J" not in shown.out


def test_an_error_of_an_answer_reaches_no_terminal_as_escape_sequences(fake: FakeBridge) -> None:
    fake.script("GET registrations", (409, {"error": {"code": ESCAPES, "message": ESCAPES, "details": []}}))

    output = type_in("list", environment=fake.environment)

    assert output.exit == 3
    assert not shows_control_codes(output.err)


def test_a_field_that_an_answer_lacks_means_another_version(fake: FakeBridge) -> None:
    fake.script("GET status", (200, {**STATUS, "sources": [{}]}))

    output = type_in("doctor", environment=fake.environment)

    assert output.exit == 3
    assert output.err == "the service at BRIDGE_URL is not this version of the bridge: the answer lacks 'name'\n"


@pytest.mark.parametrize("time", ["soon", "2026-11-23T12:00:00", 5])
def test_an_invalid_time_means_another_version(fake: FakeBridge, time: object) -> None:
    fake.script("GET status", (200, {**STATUS, "lastSweepAt": time}))

    output = type_in("doctor", environment=fake.environment)

    assert output.exit == 3
    assert "is not this version of the bridge" in output.err


@pytest.mark.parametrize("cause", [KeyError("state"), IndexError("5"), TypeError("'int'"), ValueError("x\x1b[2J")])
@pytest.mark.parametrize("as_json", [False, True])
def test_a_bug_of_the_command_line_is_reported_as_one(
    fake: FakeBridge, monkeypatch: pytest.MonkeyPatch, cause: Exception, *, as_json: bool
) -> None:
    """Another version of the bridge is not blamed. The exit code is distinct, and the line names the place."""

    def wrong(*_: object) -> NoReturn:
        raise cause

    fake.script("GET status", (200, STATUS))
    fake.script("GET registrations", (200, {"value": [], "nextLink": None}))
    monkeypatch.setattr("bridge.cli.commands.operating.troubles", wrong)

    output = type_in(*(["--json"] if as_json else []), "status", environment=fake.environment)

    message = json.loads(output.err)["error"]["message"] if as_json else output.err
    assert (output.exit, output.out) == (70, "")
    assert message.startswith(f"this is a bug of the command line {__version__}: please report the command, and ")
    assert f"{type(cause).__name__}: " in message
    assert " at test_hostile_input.py:" in message
    assert len(output.err.splitlines()) == 1
    assert not shows_control_codes(output.err)


def test_a_field_that_a_later_answer_lacks_means_another_version(fake: FakeBridge) -> None:
    """`redeliver` with a time combines several answers."""
    first = {"started": 1, "registrations": ["a"], "more": True, "cursor": "c"}
    fake.script("POST redeliver", (202, first), (202, {"started": 1, "registrations": ["b"], "cursor": None}))

    output = type_in("redeliver", "--dead", "--since", "2h", environment=fake.environment)

    assert output.exit == 3
    assert "is not this version of the bridge: the answer lacks 'more'" in output.err


def test_an_id_with_a_nul_runs_no_command(fake: FakeBridge) -> None:
    odd = registration(state="delivered", attempts=[attempt(204)], operation={"id": "a\x00b", "status": "Succeeded"})
    fake.script("POST registrations", (201, {**odd, "signingSecret": "whsec_c2VjcmV0"}))
    fake.script("GET registrations/default~operation-1~0123456789abcdef", (200, odd))

    output = type_in(*LEAST, "--wait", "--", "true", environment=fake.environment)

    assert output.exit == 2
    assert "true cannot be run: its arguments or variables contain a NUL" in output.err


class Proxy(BaseHTTPRequestHandler):
    """Keeps the request lines that arrive."""

    seen: list[str]

    def do_GET(self) -> None:
        self.seen.append(self.requestline)
        self.send_error(502)

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing."""


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Set the proxy in every variable that `requests` reads. Yields the request lines that arrive there."""
    seen: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Kept", (Proxy,), {"seen": seen}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_port}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    yield seen
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_key_for_this_machine_is_never_sent_to_a_proxy(fake: FakeBridge, proxy: list[str], host: str) -> None:
    fake.script("GET registrations", EMPTY)
    url = fake.url.replace("127.0.0.1", host)

    output = type_in("list", environment={"BRIDGE_URL": url, "BRIDGE_KEY": SECRET})

    assert (output.exit, len(fake.calls), proxy) == (0, 1, []), output.err


def test_a_callback_of_this_machine_is_read_past_a_proxy(fake: FakeBridge, proxy: list[str]) -> None:
    output = type_in("verify", f"{fake.url}/callbacks", "--secret-file", "/dev/null")

    assert output.exit == 2
    assert (len(fake.calls), proxy) == (1, [])
