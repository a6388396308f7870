"""Verification data for clients and receivers: the secret of an origin, and the public keys."""

import azure.functions as func
import pytest

from bridge.api.handlers import Handlers
from bridge.app import App
from tests.support.harness import ENVIRONMENT, SIGNING_KEY, Harness, new_signing_key
from tests.support.http import BASE, Client, answer, route_of

NEW = new_signing_key()
HOOK = "https://receiver.example.com/hook"


def secret_of(bridge: Harness, url: str) -> dict[str, str]:
    """Request the secret of a callback."""
    body: dict[str, str] = Client.of(bridge).call(Handlers.signing_secret, f"/signing-secret?callbackUrl={url}").body
    return body


def test_the_secret_is_available_before_a_registration(bridge: Harness) -> None:
    """The secret equals that of the registration's answer. No row is read or written."""
    told = secret_of(bridge, HOOK)
    assert bridge.table.taken() == {}

    created = Client.of(bridge).register({"operationId": "operation-1", "callbackUrl": HOOK})

    assert told == {
        "audience": "https://receiver.example.com",
        "subscriber": created.body["subscriber"],
        "signingSecret": created.body["signingSecret"],
    }


def test_the_secret_is_the_same_for_all_callbacks_to_an_origin(bridge: Harness) -> None:
    """Any notation of the URL is possible. Another origin has another secret."""
    same = {secret_of(bridge, url)["signingSecret"] for url in (HOOK, "HTTPS://Receiver.example.com:443/other")}

    assert len(same) == 1
    assert secret_of(bridge, "https://other.example.com/")["signingSecret"] not in same


def test_the_secret_belongs_to_the_newest_key(bridge: Harness) -> None:
    """The newest key is the one that stays."""
    before = secret_of(bridge, HOOK)
    bridge.restart(BRIDGE_SIGNING_KEYS=f"{NEW},{SIGNING_KEY}")
    during = secret_of(bridge, HOOK)
    bridge.restart(BRIDGE_SIGNING_KEYS=NEW)

    assert during == secret_of(bridge, HOOK)
    assert during != before


@pytest.mark.parametrize(
    ("query", "targets"),
    [
        ("", ["callbackUrl"]),
        ("?callbackUrl=", ["callbackUrl"]),
        ("?callbackUrl=https://10.0.0.1/", ["callbackUrl"]),
        ("?callbackUrl=http://receiver.example.com/", ["callbackUrl"]),
        ("?origin=https://receiver.example.com", ["callbackUrl", "origin"]),
    ],
)
def test_a_secret_requires_a_valid_callback_url(bridge: Harness, query: str, targets: list[str]) -> None:
    """The rules are those of a registration."""
    refused = Client.of(bridge).call(Handlers.signing_secret, f"/signing-secret{query}")

    assert (refused.status, refused.targets) == (400, targets)


def test_public_keys_are_published_newest_first(bridge: Harness) -> None:
    """The ids equal those in ciphertexts. No private part is published."""
    [old] = Client.of(bridge).call(Handlers.signing_keys, "/signing-keys").body["value"]
    bridge.restart(BRIDGE_SIGNING_KEYS=f"{NEW},{SIGNING_KEY}")

    published = Client.of(bridge).call(Handlers.signing_keys, "/signing-keys")

    new = published.body["value"][0]
    assert published.body == {"value": [new, old]}
    assert set(new) == {"id", "publicKey"}
    assert new["publicKey"].startswith("whpk_")
    assert published.headers["Cache-Control"] == "public, max-age=3600"


def test_public_keys_are_not_sent_again_with_their_etag(bridge: Harness) -> None:
    """Unchanged keys give 304."""
    client = Client.of(bridge)
    etag = client.call(Handlers.signing_keys, "/signing-keys").headers["ETag"]

    def ask(known: str) -> int:
        return client.call(Handlers.signing_keys, "/signing-keys", headers={"If-None-Match": known}).status

    strong = etag.removeprefix("W/")
    assert [ask(known) for known in (etag, strong, f'"other", {etag}', "*")] == [304] * 4
    assert [ask(known) for known in ('"other"', "")] == [200, 200]
    bridge.restart(BRIDGE_SIGNING_KEYS=f"{NEW},{SIGNING_KEY}")
    client = Client.of(bridge)
    assert ask(etag) == 200


def test_a_misconfigured_app_names_no_setting_without_a_key() -> None:
    """The names of settings are only for callers with a key."""
    app = App.from_environment({**ENVIRONMENT, "BRIDGE_SIGNING_KEYS": ""})
    request = func.HttpRequest("GET", f"{BASE}/signing-keys", body=b"")

    with_key = Client(app).call(Handlers.signing_secret, "/signing-secret")
    anybody = answer(app.answer(route_of(Handlers.signing_keys), request))

    assert with_key.targets == ["BRIDGE_SIGNING_KEYS"]
    assert (anybody.status, anybody.error["code"], anybody.error["details"]) == (503, "Misconfigured", [])
    assert "BRIDGE" not in anybody.error["message"]
