"""The message of a registration: exact in a pipe, harmless on a terminal, and in the form that `verify` reads."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from bridge.domain.time import iso
from local.settings import REPOSITORY
from tests.support.cli import Terminal, type_in
from tests.support.fake_bridge import FakeBridge, problem
from tests.support.harness import NOON

ID = "default~operation-1~0123456789abcdef"
SECRET = "whsec_c2VjcmV0"
BODY = '{"type":"avatar.operation.succeeded","data":{"metadata":{"title":"gr\u00fc\u00dfe"},"audience":"https://a.example"}}'


def answer() -> dict[str, object]:
    """Return a signed message, as the bridge returns it."""
    signature = Webhook(SECRET).sign("msg_1", NOON, BODY)
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(NOON.timestamp())), "webhook-signature": signature}
    return {"headers": {**headers, "content-type": "application/json"}, "body": BODY}


def test_the_body_is_written_byte_for_byte(fake: FakeBridge) -> None:
    """Without a line break at its end, and in UTF-8 whatever the encoding of the terminal is."""
    fake.script(f"GET registrations/{ID}/message", (200, answer()))

    done = subprocess.run(
        [sys.executable, "-m", "bridge.cli", "message", ID],
        cwd=REPOSITORY,
        env={**fake.environment, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        timeout=120,
        check=True,
    )

    assert done.stdout == BODY.encode()


def test_the_headers_and_the_body_can_be_verified_from_files(fake: FakeBridge, tmp_path: Path) -> None:
    fake.script(f"GET registrations/{ID}/message", (200, answer()))
    for name, option in (("body", ()), ("headers", ("--headers",)), ("record", ("--json",))):
        output = type_in("message", ID, *option, environment=fake.environment)
        (tmp_path / name).write_bytes(output.out.encode())
    (tmp_path / "secret").write_text(SECRET)
    given = ("--secret-file", str(tmp_path / "secret"), "--at", iso(NOON), "--json")

    of_files = type_in("verify", "--headers", str(tmp_path / "headers"), "--body", str(tmp_path / "body"), *given)
    of_json = type_in("verify", str(tmp_path / "record"), *given)

    for output in (of_files, of_json):
        results = {each["name"]: each["result"] for each in json.loads(output.out)["checks"]}
        assert (results["headers"], results["timestamp"], results["v1"]) == ("good", "good", "good"), output.out


def test_a_terminal_gets_no_control_codes_of_a_message(fake: FakeBridge) -> None:
    fake.script(f"GET registrations/{ID}/message", (200, {"headers": {}, "body": "a\x1b]0;owned\x07b"}))

    output = type_in("message", ID, environment=fake.environment, out=Terminal())

    assert output.out == "a ]0;owned b\n"


@pytest.mark.parametrize(
    ("headers", "body"),
    [({}, "\ud800"), ({}, 5), ([], "{}"), ({"x": "a\r\nb"}, "{}"), ({"a b": "c"}, "{}"), ({"x": 5}, "{}")],
)
def test_an_answer_that_is_not_a_message_means_another_version(fake: FakeBridge, headers: object, body: object) -> None:
    fake.script(f"GET registrations/{ID}/message", (200, {"headers": headers, "body": body}))

    output = type_in("message", ID, environment=fake.environment)

    assert (output.exit, output.out) == (3, "")
    assert "is not this version of the bridge" in output.err


def test_a_registration_without_a_message_is_refused(fake: FakeBridge) -> None:
    fake.script(f"GET registrations/{ID}/message", (409, problem("NoMessageYet", "The operation has not ended.")))

    output = type_in("message", ID, environment=fake.environment)

    assert (output.exit, output.err) == (3, "NoMessageYet: The operation has not ended.\n")
