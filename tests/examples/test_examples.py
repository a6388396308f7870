"""Each receiver of `examples/`, as a process, gets callbacks of the bridge, and what strangers make of them."""

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
    """Let something good follow: when that is worked on, what was refused would have been as well."""
    last = message()
    assert sender.send(last) == 204
    receiver.wait_for(f"worked on {last.id}")
    assert receiver.count(f"worked on {not_worked_on.id}") == 0


def test_callback_is_taken_and_worked_on(receiver: Example, sender: Sender) -> None:
    """Answered at once, worked on after that."""
    sent = message()

    assert sender.send(sent) == 204

    receiver.wait_for(f"worked on {sent.id}")


def test_replayed_callback_is_answered_and_worked_on_once(receiver: Example, sender: Sender) -> None:
    """A 2xx, or the bridge would try again for ever."""
    sent = message()
    assert sender.send(sent) == 204
    receiver.wait_for(f"worked on {sent.id}")

    assert sender.send(sent) == 204

    receiver.wait_for(f"{sent.id} came before")
    assert receiver.count(f"worked on {sent.id}") == 1


def test_callback_that_comes_several_times_at_once_is_worked_on_once(receiver: Example, sender: Sender) -> None:
    """Whichever of them is first."""
    sent = message()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(sender.send, [sent] * 4)) == [204] * 4

    receiver.wait_for(f"worked on {sent.id}")
    last = message()
    assert sender.send(last) == 204
    receiver.wait_for(f"worked on {last.id}")
    assert receiver.count(f"worked on {sent.id}") == 1


def test_callback_is_taken_while_keys_are_replaced(receiver: Example, sender: Sender) -> None:
    """Signed by a new key in front and by the one that the receiver knows."""
    sent = message()

    assert sender.post(sent.body, signed(sent, NEWER)) == 204

    receiver.wait_for(f"worked on {sent.id}")


def test_ping_is_answered_and_nothing_is_done(receiver: Example, sender: Sender) -> None:
    """It is about no operation."""
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


def test_callback_of_another_client_is_refused(receiver: Example, sender: Sender) -> None:
    """It registered this receiver's URL, so audience and signature by the public key are right."""
    sent = message(owner="another-client")

    assert sender.post(sent.body, signed(sent, owner="another-client")) == 401

    assert_only(receiver, sender, not_worked_on=sent)


@pytest.mark.parametrize("part", ["webhook-id", "webhook-timestamp", "body"])
def test_tampered_callback_is_refused(receiver: Example, sender: Sender, part: str) -> None:
    """Whatever is changed of what was signed."""
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
def test_recorded_callback_is_refused(receiver: Example, sender: Sender, minutes: int) -> None:
    """More than five minutes old, or from the future: its signature is right."""
    sent = message()

    assert sender.post(sent.body, signed(sent, age=timedelta(minutes=minutes))) == 401

    assert_only(receiver, sender, not_worked_on=sent)


@pytest.mark.parametrize("minutes", [-4, 4])
def test_clocks_may_differ(receiver: Example, sender: Sender, minutes: int) -> None:
    """By less than five minutes."""
    sent = message()

    assert sender.post(sent.body, signed(sent, age=timedelta(minutes=minutes))) == 204

    receiver.wait_for(f"worked on {sent.id}")


def test_callback_for_another_receiver_is_refused(receiver: Example, sender: Sender) -> None:
    """Passed on by it: with `v1a` its signature is right, and the audience tells."""
    sent = message(audience=OTHER)

    assert sender.post(sent.body, signed(sent, audience=OTHER)) == 401

    assert_only(receiver, sender, not_worked_on=sent)


def test_callback_signed_by_a_key_that_was_removed_is_refused(receiver: Example, sender: Sender) -> None:
    """Or by one that was never the bridge's."""
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
def test_nonsense_is_refused(receiver: Example, sender: Sender, changed: Mapping[str, str | None]) -> None:
    """With 401 and not 500. The function host itself refuses headers beyond ASCII, with 400."""
    sent = message()
    headers = {name: value for name, value in {**signed(sent), **changed}.items() if value is not None}

    status = sender.post(sent.body, headers)

    assert status == 401 or (status == 400 and not "".join(headers.values()).isascii())

    assert receiver.count(f"worked on {sent.id}") == 0


def test_body_that_is_too_large_is_refused(sender: Sender) -> None:
    """Before anything is made of it."""
    sent = message()

    assert sender.post(b" " * 70_000, signed(sent)) == 413


def test_body_that_is_no_text_is_refused(sender: Sender) -> None:
    """Bytes that no JSON begins with, and none at all."""
    headers = signed(message())

    assert [sender.post(body, headers) for body in (b"\xff\xfe", b"")] == [401, 401]


def test_what_was_worked_on_is_known_after_a_crash(receiver: Example, sender: Sender) -> None:
    """Killed and started again, and the same callback comes."""
    sent = message()
    assert sender.send(sent) == 204
    receiver.wait_for(f"worked on {sent.id}")
    receiver.service.kill()
    receiver.service.launch()

    assert sender.send(sent) == 204

    receiver.wait_for(f"{sent.id} came before")
    assert receiver.count(f"worked on {sent.id}") == 1


# Not the Azure Function: the queue gives a message that was being worked on out again after ten minutes.
@pytest.mark.parametrize("name", ["fastapi", "express"])
def test_what_was_answered_is_worked_on_after_a_crash(
    name: str, webhook_sender: HttpWebhookSender, tmp_path: Path
) -> None:
    """Killed as soon as it has answered, whatever it was at."""
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
def test_public_keys_without_an_audience_are_refused(
    name: str, webhook_sender: HttpWebhookSender, tmp_path: Path, azurite: Azurite
) -> None:
    """At the start; an Azure Function takes no callback and says why."""
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
    """Each folder is to be copied alone, so each has its own."""
    first, second = ((EXAMPLES / name / "verification.py").read_text() for name in ("fastapi", "azure-function"))

    assert first == second
