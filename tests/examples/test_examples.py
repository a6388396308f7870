"""Each receiver of `examples/` runs as a process and gets genuine and forged callbacks of the bridge."""

import base64
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from bridge.adapters.webhook_sender import HttpWebhookSender
from bridge.dependencies import real_clock
from bridge.domain.events import Format, Message, ping
from local.azurite import Azurite
from local.errors import LocalError
from tests.examples.conftest import NAMES, SETTINGS
from tests.examples.receivers import EXAMPLES, Example, start
from tests.examples.sending import AUDIENCE, NEWER, OWNER, REMOVED, Sender, message, signed

OTHER = "https://somebody.example.net"


def assert_only(receiver: Example, sender: Sender, *, not_worked_on: Message) -> None:
    """Send a good callback and wait for its work. By then, an accepted forgery would have been worked on as well."""
    last = message()
    assert sender.send(last) == 204
    receiver.wait_for(f"worked on {last.id}")
    assert receiver.count(f"worked on {not_worked_on.id}") == 0


def test_callback_is_accepted_and_processed(receiver: Example, sender: Sender) -> None:
    """The answer comes first, then the work."""
    sent = message()

    assert sender.send(sent) == 204

    receiver.wait_for(f"worked on {sent.id}")


def test_repeated_callback_is_accepted_and_processed_once(receiver: Example, sender: Sender) -> None:
    """Without a 2xx, the bridge would repeat the callback."""
    sent = message()
    assert sender.send(sent) == 204
    receiver.wait_for(f"worked on {sent.id}")

    assert sender.send(sent) == 204

    receiver.wait_for(f"{sent.id} came before")
    assert receiver.count(f"worked on {sent.id}") == 1


def test_simultaneous_copies_of_a_callback_are_processed_once(receiver: Example, sender: Sender) -> None:
    """The order of arrival is irrelevant."""
    sent = message()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(sender.send, [sent] * 4)) == [204] * 4

    receiver.wait_for(f"worked on {sent.id}")
    last = message()
    assert sender.send(last) == 204
    receiver.wait_for(f"worked on {last.id}")
    assert receiver.count(f"worked on {sent.id}") == 1


def test_callback_is_accepted_during_a_key_rotation(receiver: Example, sender: Sender) -> None:
    """The callback has two signatures: first by the new key, then by the known key."""
    sent = message()

    assert sender.post(sent.body, signed(sent, NEWER)) == 204

    receiver.wait_for(f"worked on {sent.id}")


def test_ping_is_accepted_without_processing(receiver: Example, sender: Sender) -> None:
    """A ping refers to no operation."""
    sent = ping(
        callback_url=f"{AUDIENCE}/callback",
        owner=OWNER,
        now=real_clock(),
        nonce=f"{id(receiver)}",
        format=Format.STANDARD,
    )

    assert sender.send(sent) == 204

    receiver.wait_for(f"{sent.id}: the bridge reaches this receiver")
    assert_only(receiver, sender, not_worked_on=sent)


def test_callback_of_another_client_is_rejected(receiver: Example, sender: Sender) -> None:
    """The other client registered this receiver's URL, so the audience and the `v1a` signature are right."""
    sent = message(owner="another-client")

    assert sender.post(sent.body, signed(sent, owner="another-client")) == 401

    assert_only(receiver, sender, not_worked_on=sent)


@pytest.mark.parametrize("part", ["webhook-id", "webhook-timestamp", "body"])
def test_tampered_callback_is_rejected(receiver: Example, sender: Sender, part: str) -> None:
    """Covers each signed part."""
    sent = message()
    headers = signed(sent)
    body = sent.body.replace(b"Succeeded", b"Failed") if part == "body" else sent.body
    changed = {
        "webhook-id": {"webhook-id": "msg_0"},
        "webhook-timestamp": {"webhook-timestamp": str(int(headers["webhook-timestamp"]) - 1)},
        "body": {},
    }

    assert sender.post(body, {**headers, **changed[part]}) == 401

    assert_only(receiver, sender, not_worked_on=sent)


@pytest.mark.parametrize("minutes", [-6, 6])
def test_callback_with_an_old_or_future_timestamp_is_rejected(receiver: Example, sender: Sender, minutes: int) -> None:
    """The timestamp is off by more than five minutes in either direction. The signature is right."""
    sent = message()

    assert sender.post(sent.body, signed(sent, age=timedelta(minutes=minutes))) == 401

    assert_only(receiver, sender, not_worked_on=sent)


@pytest.mark.parametrize("minutes", [-4, 4])
def test_small_clock_difference_is_accepted(receiver: Example, sender: Sender, minutes: int) -> None:
    """The limit is five minutes."""
    sent = message()

    assert sender.post(sent.body, signed(sent, age=timedelta(minutes=minutes))) == 204

    receiver.wait_for(f"worked on {sent.id}")


def test_callback_for_another_receiver_is_rejected(receiver: Example, sender: Sender) -> None:
    """The other receiver forwards the callback. The `v1a` signature is right, so only the audience differs."""
    sent = message(audience=OTHER)

    assert sender.post(sent.body, signed(sent, audience=OTHER)) == 401

    assert_only(receiver, sender, not_worked_on=sent)


def test_callback_signed_by_a_removed_key_is_rejected(receiver: Example, sender: Sender) -> None:
    """The same holds for a key that never belonged to the bridge."""
    sent = message()

    assert sender.post(sent.body, signed(sent, REMOVED)) == 401

    assert_only(receiver, sender, not_worked_on=sent)


NONSENSE: Mapping[str, Mapping[str, str | None]] = {
    "no signature": {"webhook-signature": None},
    "an empty one": {"webhook-signature": ""},
    "no version": {"webhook-signature": "v1 v1a"},
    "another version": {"webhook-signature": f"v2,{base64.b64encode(b'2' * 64).decode()}"},
    "too short": {"webhook-signature": "v1,AA== v1a,AA=="},
    "no base64": {"webhook-signature": "v1,A v1a,A"},
    "nothing but spaces and commas": {"webhook-signature": "v1,, v1a,,  ,"},
    "not ASCII": {"webhook-signature": "v1,\xfc v1a,\xfc"},
    "no id": {"webhook-id": None},
    "no time": {"webhook-timestamp": None},
    "no number": {"webhook-timestamp": "now"},
    "a huge number": {"webhook-timestamp": "9" * 400},
    "no finite number": {"webhook-timestamp": "nan"},
}


@pytest.mark.parametrize("changed", NONSENSE.values(), ids=NONSENSE)
def test_malformed_headers_are_rejected(receiver: Example, sender: Sender, changed: Mapping[str, str | None]) -> None:
    """The status is 401, never 500. The function host rejects non-ASCII headers with 400."""
    sent = message()
    headers = {name: value for name, value in {**signed(sent), **changed}.items() if value is not None}

    status = sender.post(sent.body, headers)

    assert status == 401 or (status == 400 and not "".join(headers.values()).isascii())

    assert receiver.count(f"worked on {sent.id}") == 0


def test_oversized_body_is_rejected(sender: Sender) -> None:
    """The receiver rejects the body before parsing."""
    sent = message()

    assert sender.post(b" " * 70_000, signed(sent)) == 413


def test_body_that_is_not_json_is_rejected(sender: Sender) -> None:
    """Bodies: bytes that are not JSON, and an empty one."""
    headers = signed(message())

    assert [sender.post(body, headers) for body in (b"\xff\xfe", b"")] == [401, 401]


def test_processed_callback_is_remembered_after_a_crash(receiver: Example, sender: Sender) -> None:
    """The same callback arrives after a kill and a restart."""
    sent = message()
    assert sender.send(sent) == 204
    receiver.wait_for(f"worked on {sent.id}")
    receiver.service.kill()
    receiver.service.launch()

    assert sender.send(sent) == 204

    receiver.wait_for(f"{sent.id} came before")
    assert receiver.count(f"worked on {sent.id}") == 1


# Not for the Azure Function: the queue repeats a message in work only after ten minutes.
@pytest.mark.parametrize("name", ["fastapi", "express"])
def test_accepted_callback_is_processed_after_a_crash(
    name: str, webhook_sender: HttpWebhookSender, tmp_path: Path
) -> None:
    """The kill follows right after the answer."""
    sent = [message() for _ in range(20)]
    with start(name, SETTINGS["v1"], inbox=tmp_path / "inbox", storage="").service as service:
        receiver = Example(service, "/callback")
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(Sender(receiver, webhook_sender).send, sent)) == [204] * 20

        service.kill()
        service.launch()

        for operation in (json.loads(each.body)["data"]["operationId"] for each in sent):
            receiver.wait_for(f"{operation} is Succeeded")


@pytest.mark.parametrize("name", NAMES)
def test_public_keys_without_an_audience_are_rejected(
    name: str, webhook_sender: HttpWebhookSender, tmp_path: Path, azurite: Azurite
) -> None:
    """The process fails at the start. An Azure Function rejects callbacks with a reason."""
    settings = {"WEBHOOK_PUBLIC_KEYS": SETTINGS["v1a"]["WEBHOOK_PUBLIC_KEYS"]}
    why = "Set WEBHOOK_AUDIENCE and WEBHOOK_SUBSCRIBER beside WEBHOOK_PUBLIC_KEYS, which all receivers share."

    if name == "azure-function":
        receiver = start(name, settings, inbox=tmp_path / "inbox", storage=azurite.connection_string)
        with receiver.service:
            assert Sender(receiver, webhook_sender).send(message()) == 500
            receiver.wait_for(why)
    else:
        with pytest.raises(LocalError, match="does not start"):
            start(name, settings, inbox=tmp_path / "inbox", storage="")


def test_verification_is_the_same_in_both_python_examples() -> None:
    """Each folder can be copied alone, so each has a copy of the code."""
    first, second = ((EXAMPLES / name / "verification.py").read_text() for name in ("fastapi", "azure-function"))

    assert first == second
