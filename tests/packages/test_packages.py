"""Public packages of Python and npm verify real callbacks from a real socket."""

import base64
import ipaddress
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest
import standardwebhooks
import svix.webhooks
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bridge.adapters.net.guard import Guard
from bridge.adapters.webhook_sender import HttpWebhookSender
from bridge.api.handlers import Handlers
from bridge.dependencies import real_clock
from bridge.domain.callback_url import CallbackRules
from local.azurite.install import node_with_packages
from local.receiver import Callback, Receiver
from tests.support.harness import SIGNING_KEY, harness, new_signing_key
from tests.support.http import Client
from tests.support.json_value import Json

OLD_KEY = new_signing_key()

OPENED = {
    "BRIDGE_CALLBACK_ALLOW_HTTP": "true",
    "BRIDGE_CALLBACK_ALLOWED_NETWORKS": "127.0.0.0/8",
    "BRIDGE_CALLBACK_ALLOWED_PORTS": "*",
}
RULES = CallbackRules(
    allow_http=True, allowed_networks=(ipaddress.ip_network("127.0.0.0/8"),), allowed_ports=None, keep_answers=True
)


class Told:
    """A callback with the receiver's keys: the values for each of two active keys."""

    def __init__(self, callback: Callback, known: list[tuple[str, str]]) -> None:
        self.callback = callback
        #: Secret and public key, newest first.
        self.known = known


@pytest.fixture(scope="module")
def told() -> Told:
    """Send one callback while two keys are active. A receiver may know either key."""
    sender = HttpWebhookSender(Guard(RULES), real_clock)
    with Receiver.start() as receiver:
        url = f"{receiver.url}/hook"
        bridge = harness(sender=sender)
        bridge.restart(**OPENED, BRIDGE_SIGNING_KEYS=f"{SIGNING_KEY},{OLD_KEY}")
        bridge.clock.now = real_clock()  # the packages read the machine's clock
        metadata = {"grüße": "🎬"}
        Client.of(bridge).register({"operationId": "operation-1", "callbackUrl": url, "metadata": metadata})
        bridge.upstream.script("operation-1", "Succeeded")
        bridge.sweep()
        bridge.deliver_all()
        [callback] = receiver.wait_for(1)
        known = []
        for key in (SIGNING_KEY, OLD_KEY):
            bridge.restart(**OPENED, BRIDGE_SIGNING_KEYS=key)
            secret = Client.of(bridge).call(Handlers.signing_secret, f"/signing-secret?callbackUrl={url}").body
            public = Client.of(bridge).call(Handlers.signing_keys, "/signing-keys").body
            known.append((secret["signingSecret"], public["value"][0]["publicKey"]))
    sender.close()
    return Told(callback, known)


def tampered(headers: Mapping[str, str], body: bytes) -> list[tuple[Mapping[str, str], bytes]]:
    """Return variants with a changed id, time or body."""
    later = str(int(headers["webhook-timestamp"]) + 1)
    return [
        ({**headers, "webhook-id": "msg_0"}, body),
        ({**headers, "webhook-timestamp": later}, body),
        (headers, body.replace(b"Succeeded", b"Failed")),
    ]


def verifies(public_key: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Verify `v1a` as docs/receiving.md shows it."""
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key.removeprefix("whpk_")))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    for each in headers["webhook-signature"].split(" "):
        version, _, signature = each.partition(",")
        if version == "v1a":
            try:
                key.verify(base64.b64decode(signature), signed)
            except InvalidSignature:
                continue
            return True
    return False


@pytest.mark.parametrize("package", [standardwebhooks, svix.webhooks], ids=["standardwebhooks", "svix"])
def test_packages_of_python_verify_a_callback(told: Told, package: ModuleType) -> None:
    """Whichever of the two secrets the receiver knows; nothing that was changed."""
    callback = told.callback

    for secret, _ in told.known:
        webhook = package.Webhook(secret)
        webhook.verify(callback.body, callback.headers)
        for headers, body in tampered(callback.headers, callback.body):
            with pytest.raises(standardwebhooks.WebhookVerificationError):
                webhook.verify(body, dict(headers))


def test_cryptography_verifies_a_callback(told: Told) -> None:
    """Either public key verifies, and no changed callback does."""
    callback = told.callback

    for _, public_key in told.known:
        assert verifies(public_key, callback.headers, callback.body)
        assert not any(verifies(public_key, *changed) for changed in tampered(callback.headers, callback.body))


def by_node(headers: Mapping[str, str], body: bytes, secret: str, public_key: str) -> Json:
    """Have Node verify a callback by every way it has."""
    folder = Path(__file__).parent
    node = node_with_packages(folder, "the packages of npm that verify callbacks, once", print)
    given = {"headers": dict(headers), "body": body.decode(), "secret": secret, "publicKey": public_key}
    done = subprocess.run(
        [node, folder / "verify.cjs"], input=json.dumps(given), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_packages_of_npm_verify_a_callback(told: Told) -> None:
    """Either key verifies, and no changed callback does."""
    callback = told.callback

    for known in told.known:
        assert by_node(callback.headers, callback.body, *known) == {"standardwebhooks": True, "svix": True, "v1a": True}
    for headers, body in tampered(callback.headers, callback.body):
        found = by_node(headers, body, *told.known[0])
        assert found == {"standardwebhooks": False, "svix": False, "v1a": False}


def test_the_documented_code_verifies_a_callback(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code accepts either key, but no other audience, no old callback and no changed one."""
    text = (Path(__file__).parents[2] / "docs" / "receiving.md").read_text()
    [code] = [block.split("```")[0] for block in text.split("```python\n") if "def verify(" in block]
    receiver: dict[str, Any] = {}
    exec(code, receiver)  # our own page
    callback, content = told.callback, cast("dict[str, Any]", told.callback.content)
    names = {name: content["data"][name] for name in ("audience", "subscriber")}
    verify = receiver["verify"]

    for _, public_key in told.known:
        receiver["KEYS"] = [public_key]
        assert verify(callback.body, callback.headers, **names) == content
        refused = [
            *((*each, names) for each in tampered(callback.headers, callback.body)),
            *((callback.headers, callback.body, {**names, name: "another"}) for name in names),
        ]
        for headers, body, expected in refused:
            with pytest.raises(ValueError, match="not a callback"):
                verify(body, headers, **expected)
    monkeypatch.setattr(receiver["time"], "time", lambda: int(callback.headers["webhook-timestamp"]) + 301)
    with pytest.raises(ValueError, match="not a callback"):
        verify(callback.body, callback.headers, **names)
