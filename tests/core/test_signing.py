"""Signatures, against vectors that public implementations agree on."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from bridge.core.signing import Keyring, Secret

VECTORS = json.loads((Path(__file__).parent.parent / "facts" / "signature-vectors.json").read_text())["v1"]
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
OLD, NEW = b"o" * 32, b"n" * 32


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["webhook-id"])
def test_signatures_are_those_of_the_public_vectors(vector: dict[str, str]) -> None:
    """Standard Webhooks, scheme v1."""
    secret = Secret(base64.b64decode(vector["secret"].removeprefix("whsec_")))

    assert (
        secret.sign(vector["webhook-id"], int(vector["webhook-timestamp"]), vector["body"].encode())
        == (vector["signature"])
    )


def test_receivers_have_secrets_of_their_own() -> None:
    """By owner and origin; the same on every instance, and never the bridge's key."""
    ring = Keyring((OLD,))

    def derived(owner: str, origin: str) -> str:
        return ring.secrets_for(owner=owner, origin=origin)[0].reveal()

    secrets = {
        derived(owner, origin) for owner in ("a", "b") for origin in ("https://a", "https://a:8443", "https://b")
    }
    assert len(secrets) == 6
    assert derived("shared", "https://hooks.example.com") == "whsec_anIulPc9qp7epY8C/UIa0PEzmEMANP+ZClsi0cNlVqc="


def test_secrets_do_not_show_by_accident() -> None:
    """Neither a key nor a ring prints what it holds."""
    ring = Keyring((OLD,))

    assert "ooo" not in repr(ring)
    assert "Secret object" in repr(ring.secrets_for(owner="a", origin="https://a")[0])


def test_every_key_signs() -> None:
    """So a receiver that knows either secret verifies, while a key is being replaced."""
    headers = Keyring((NEW, OLD)).headers("msg_1", b'{"a": 1}', owner="a", origin="https://a", at=NOON)

    for key in (NEW, OLD):
        secret = Keyring((key,)).secrets_for(owner="a", origin="https://a")[0].reveal()
        own = Webhook(secret).sign("msg_1", NOON, '{"a": 1}')
        assert own in headers["webhook-signature"].split(" ")


@given(
    st.binary(min_size=32, max_size=64),
    st.text(st.characters(codec="ascii", exclude_characters="."), min_size=1),
    st.text(st.characters(codec="utf-8")),
)
def test_what_is_signed_verifies_with_the_public_package(key: bytes, message_id: str, body: str) -> None:
    """For any key, id and body."""
    secret = Secret(key)

    assert secret.sign(message_id, int(NOON.timestamp()), body.encode()) == Webhook(secret.reveal()).sign(
        message_id, NOON, body
    )
