"""The verification of a received callback: genuine or not, with the exact problem."""

import base64
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from bridge.cli.verifying import CheckResult, Known, ReceivedCallback, is_genuine, verify
from bridge.domain.keyring import Keyring
from tests.support.cli import type_in
from tests.support.fake_bridge import FakeBridge
from tests.support.harness import NOON, SIGNING_KEY

ORIGIN = "https://hooks.example.com"
KEYRING = Keyring((base64.b64decode(SIGNING_KEY),))
FOREIGN = Keyring((b"another key, of 32 bytes or more.",))
OWNER = "sub_6ff70bae335b38c799aa207462716d3a"
DATA = {"audience": ORIGIN, "subscriber": OWNER, "metadata": {"größe": 1}}
BODY = json.dumps({"type": "t", "data": DATA}, ensure_ascii=False).replace(
    ": ", ":"
).replace(", ", ",").encode()  # fmt: skip
HEADERS = KEYRING.headers("msg_1", BODY, owner="shared", origin=ORIGIN, at=NOON)
SECRET = KEYRING.secrets_for(owner="shared", origin=ORIGIN)[0].reveal()
OTHER_SECRET = KEYRING.secrets_for(owner="shared", origin="https://other.example.com")[0].reveal()
PUBLIC = KEYRING.public_keys()[0].text
RECEIVED = ReceivedCallback(HEADERS, BODY)
KNOWN = Known(secrets=(SECRET,), public_keys=(PUBLIC,), audience=ORIGIN, subscriber=OWNER)

GOOD, BAD, SKIPPED = CheckResult.GOOD, CheckResult.BAD, CheckResult.SKIPPED


def with_header(name: str, value: str) -> ReceivedCallback:
    """Change a header."""
    return ReceivedCallback({**HEADERS, f"webhook-{name}": value}, BODY)


def without(name: str) -> ReceivedCallback:
    """Remove a header."""
    return ReceivedCallback({each: value for each, value in HEADERS.items() if each != name}, BODY)


def found(received: ReceivedCallback, known: Known, later: float = 0) -> dict[str, tuple[CheckResult, str]]:
    """Check a callback `later` seconds after the time of sending."""
    return {each.name: (each.result, each.text) for each in verify(received, known, NOON + timedelta(seconds=later))}


def test_a_genuine_callback_passes_every_check() -> None:
    """Both schemes, timestamp and audience are right, with clocks up to five minutes apart."""
    checks = verify(RECEIVED, KNOWN, NOON + timedelta(minutes=5))

    assert is_genuine(checks)
    assert {each.result for each in checks} == {GOOD}


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_named(name: str) -> None:
    """Without the header, no other check is possible."""
    checks = verify(without(name), KNOWN, NOON)

    assert [(each.result, each.text.startswith(f"{name} missing")) for each in checks] == [(BAD, True)]


@pytest.mark.parametrize(
    ("received", "known", "later", "name", "words"),
    [
        (RECEIVED, KNOWN, 301, "timestamp", "2026-11-23T12:00:00.000Z is 301 s old, more than 300"),
        (RECEIVED, KNOWN, -301, "timestamp", "301 s ahead of this clock, more than 300: set the clock"),
        (with_header("timestamp", "2026-11-23"), KNOWN, 0, "timestamp", "'2026-11-23' is malformed"),
        (with_header("signature", "v1,AAA"), KNOWN, 0, "headers", "malformed at 'v1,AAA'"),
        (with_header("signature", "v1,AAAA"), KNOWN, 0, "headers", "malformed at 'v1,AAAA'"),
        (with_header("signature", "AAAA"), KNOWN, 0, "headers", "malformed at 'AAAA'"),
        (with_header("signature", HEADERS["webhook-signature"].split(" ")[1]), KNOWN, 0, "v1", "has no v1 signature"),
        (with_header("signature", HEADERS["webhook-signature"].split(" ")[0]), KNOWN, 0, "v1a", "has no v1a signature"),
        (
            RECEIVED,
            replace(KNOWN, secrets=(OTHER_SECRET,)),
            0,
            "v1",
            "a wrong secret (another origin's, or one that was",
        ),
        (RECEIVED, replace(KNOWN, secrets=("whsec_not base64",)), 0, "v1", "the secret is malformed"),
        (RECEIVED, replace(KNOWN, secrets=(SECRET.removeprefix("whsec_"),)), 0, "v1", "the secret is malformed"),
        (RECEIVED, replace(KNOWN, public_keys=(FOREIGN.public_keys()[0].text,)), 0, "v1a", "a wrong public key"),
        (RECEIVED, replace(KNOWN, public_keys=("whpk_AAAA",)), 0, "v1a", "a public key is malformed"),
        (
            RECEIVED,
            replace(KNOWN, audience="https://me.example"),
            0,
            "audience",
            f"for '{ORIGIN}', not for 'https://me",
        ),
        (RECEIVED, replace(KNOWN, subscriber="sub_me"), 0, "subscriber", f"for '{OWNER}', not for 'sub_me'"),
    ],
)
def test_a_single_problem_is_the_only_finding(
    received: ReceivedCallback, known: Known, later: float, name: str, words: str
) -> None:
    """The one finding names the cause. A changed timestamp also breaks the signatures."""
    output = found(received, known, later)

    assert output[name][0] is BAD
    assert words in output[name][1]
    wrong = {each for each, (result, _) in output.items() if result is BAD}
    broken_too = {"v1", "v1a"} if received.headers["webhook-timestamp"] != HEADERS["webhook-timestamp"] else set()
    assert wrong - {name} <= broken_too | ({"v1", "v1a"} if name == "headers" else set())
    assert not is_genuine(verify(received, known, NOON + timedelta(seconds=later)))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (BODY + b"\n", "white space was added at an end"),
        (b"\xef\xbb\xbf" + BODY, "a byte order mark was added"),
        (json.dumps(json.loads(BODY), indent=2).encode(), "its JSON was parsed and written again"),
    ],
)
def test_a_changed_body_and_a_wrong_key_are_distinguished(body: bytes, words: str) -> None:
    """Both schemes detect the change."""
    output = found(ReceivedCallback(HEADERS, body), KNOWN)

    for scheme in ("v1", "v1a"):
        assert output[scheme][0] is BAD
        assert f"the body was changed after it was signed: {words}" in output[scheme][1]


def test_converted_line_breaks_are_detected() -> None:
    """The bridge sends no line breaks, but another sender may."""
    body = b'{"data":\n{"audience":"https://hooks.example.com"}}'
    headers = KEYRING.headers("msg_1", body, owner="shared", origin=ORIGIN, at=NOON)

    output = found(ReceivedCallback(headers, body.replace(b"\n", b"\r\n")), KNOWN)

    assert "line breaks were converted" in output["v1"][1]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"data": []}', b"[" * 100_000, b"\xff"])
def test_a_body_of_another_type_raises_no_error(body: bytes) -> None:
    """The signature is wrong, and the body has no audience."""
    output = found(ReceivedCallback(HEADERS, body), KNOWN)

    assert {output[name][0] for name in ("v1", "v1a", "audience")} == {BAD}


@pytest.mark.parametrize("known", [replace(KNOWN, secrets=()), replace(KNOWN, public_keys=())])
def test_one_scheme_is_enough(known: Known) -> None:
    """The missing scheme is not checked."""
    checks = verify(RECEIVED, known, NOON)

    assert is_genuine(checks)
    assert [each.result for each in checks].count(SKIPPED) == 1


def test_without_a_key_nothing_is_genuine() -> None:
    """Even if all other checks pass."""
    assert not is_genuine(verify(RECEIVED, Known(secrets=(), public_keys=(), audience=ORIGIN), NOON))


def test_while_a_key_is_replaced_either_verifies() -> None:
    """The callback has two signatures per scheme, and the receiver knows one key."""
    both = Keyring((*FOREIGN.keys, *KEYRING.keys)).headers("msg_1", BODY, owner="shared", origin=ORIGIN, at=NOON)

    assert is_genuine(verify(ReceivedCallback(both, BODY), KNOWN, NOON))


def test_a_signature_of_the_public_package_is_genuine() -> None:
    """The test does not depend on the bridge's signing code."""
    signature = Webhook(SECRET).sign("msg_1", NOON, BODY.decode())

    checks = verify(with_header("signature", signature), replace(KNOWN, public_keys=()), NOON)

    assert is_genuine(checks)


@pytest.fixture
def received(tmp_path: Path) -> Path:
    """Save two callbacks in the format of the local receiver, the genuine one first."""
    genuine = {"method": "POST", "headers": HEADERS, "body": BODY.decode()}
    renamed = {name: each for name, each in HEADERS.items() if name != "webhook-id"}
    ping = {"method": "POST", "headers": {**renamed, "Webhook-Id": "msg_2"}, "body": "{}"}
    path = tmp_path / "callbacks.json"
    path.write_text(json.dumps([genuine, ping]))
    return path


def test_a_file_of_callbacks_with_the_secret_in_the_environment(received: Path) -> None:
    """The default is the last callback in the file."""
    known = {"WEBHOOK_SECRET": SECRET}
    chosen = type_in("verify", str(received), "--id", "msg_1", environment=known, clock=lambda: NOON)
    last = type_in("verify", str(received), "--json", environment=known, clock=lambda: NOON)
    nobody = type_in("verify", str(received), "--id", "msg_3", environment=known)

    assert (chosen.exit, chosen.out.splitlines()[-1]) == (0, "genuine")
    assert (last.exit, last.json["genuine"], last.json["checks"][0]["text"]) == (1, False, "msg_2")
    assert (nobody.exit, "no callback with the webhook-id msg_3" in nobody.err) == (2, True)


@pytest.mark.parametrize("shape", [json.dumps(HEADERS), "\n".join(f"{name}: {each}" for name, each in HEADERS.items())])
def test_headers_and_body_in_separate_files(tmp_path: Path, shape: str) -> None:
    """The input is lines or JSON. Files and arguments give the receiver's keys and the time of arrival."""
    (tmp_path / "headers").write_text(shape)
    (tmp_path / "body").write_bytes(BODY)
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    files = ("--headers", str(tmp_path / "headers"), "--body", str(tmp_path / "body"))
    known = ("--secret-file", str(tmp_path / "secret"), "--public-key", PUBLIC, "--callback-url", f"{ORIGIN}/avatar")

    late = type_in("verify", *files, *known)
    at_the_time = type_in("verify", *files, *known, "--at", "2026-11-23T12:00:01Z")

    assert (late.exit, "--at sets the time of receipt" in late.out) == (1, True)
    assert at_the_time.exit == 0, at_the_time.out


def test_missing_keys_come_from_the_bridge(fake: FakeBridge, received: Path) -> None:
    """The bridge provides the public keys and the secret of the given URL."""
    fake.script("GET signing-keys", (200, {"value": [{"id": "k", "publicKey": PUBLIC}]}))
    fake.script("GET signing-secret", (200, {"audience": ORIGIN, "subscriber": OWNER, "signingSecret": SECRET}))
    url = ("--callback-url", f"{ORIGIN}/avatar")

    output = type_in("verify", str(received), "--id", "msg_1", *url, environment=fake.environment, clock=lambda: NOON)

    assert output.exit == 0
    assert output.out.count("good") == 6


@pytest.mark.parametrize(
    ("arguments", "text", "words"),
    [
        ((), "", "name one received callback, or both --headers and --body"),
        (("-",), "no JSON", "- is not a JSON object"),
        (("-",), "[]", "- has no callback"),
        (("https://hooks.example.com/callbacks",), "", "a URL of this machine"),
        (("/no/such/file",), "", "/no/such/file cannot be read"),
        (("-",), json.dumps({"headers": HEADERS, "body": "{}"}), "nothing to verify with: set WEBHOOK_SECRET"),
    ],
)
def test_unusable_input_is_a_usage_error(arguments: tuple[str, ...], text: str, words: str) -> None:
    """The message has advice."""
    output = type_in("verify", *arguments, stdin=text)

    assert (output.exit, output.out, words in output.err) == (2, "", True), output.err
