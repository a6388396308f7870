"""Signatures, checked with public vectors and with public packages."""

import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from bridge.domain.keyring import KeyPair, Keyring, PublicKey, Purpose, Secret, derive
from tests.support.strategies import moments

VECTORS = json.loads((Path(__file__).parent.parent / "facts" / "signature-vectors.json").read_text())
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
OLD, NEW = b"o" * 32, b"n" * 32
ORIGIN = "https://hooks.example.com"

KEYS = st.lists(st.binary(min_size=32, max_size=64), min_size=1, max_size=3, unique=True)
IDS = st.text(st.characters(codec="ascii", exclude_characters=".", exclude_categories=["C"]), min_size=1)
BODIES = st.text(st.characters(codec="utf-8")).map(str.encode)
MOMENTS = moments("1970-01-02", "2100-01-01")


class Timeless(Webhook):
    """The public package without the check of the time, so any timestamp can be verified."""

    def _Webhook__verify_timestamp(self, timestamp_header: str) -> datetime:
        return datetime.fromtimestamp(int(timestamp_header), tz=UTC)


def verified_v1(secret: Secret, headers: dict[str, str], body: bytes) -> bool:
    """Verify with a receiver's secret."""
    try:
        Timeless(secret.reveal()).verify(body, headers, json_parse=False)
    except WebhookVerificationError:
        return False
    return True


def verified_v1a(public: PublicKey, headers: dict[str, str], body: bytes) -> bool:
    """Verify with the public key."""
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.text.removeprefix("whpk_")))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    for each in headers["webhook-signature"].split(" "):
        version, _, signature = each.partition(",")
        try:
            if version == "v1a":
                key.verify(base64.b64decode(signature), signed)
                return True
        except InvalidSignature:
            continue
    return False


@pytest.mark.parametrize("vector", VECTORS["v1"], ids=lambda vector: vector["webhook-id"])
def test_symmetric_signatures_match_the_public_vectors(vector: dict[str, str]) -> None:
    """Standard Webhooks, scheme v1."""
    secret = Secret(base64.b64decode(vector["secret"].removeprefix("whsec_")))

    signature = secret.sign(vector["webhook-id"], int(vector["webhook-timestamp"]), vector["body"].encode())

    assert signature == vector["signature"]


@pytest.mark.parametrize("vector", VECTORS["v1a"], ids=lambda vector: vector["webhook-id"])
def test_asymmetric_signatures_match_the_public_vectors(vector: dict[str, str]) -> None:
    """Scheme v1a. The second half of the vector's key is the public key."""
    key = base64.b64decode(vector["private_key"])
    pair = KeyPair(key[:32])

    signature = pair.sign(vector["webhook-id"], int(vector["webhook-timestamp"]), vector["body"].encode())

    assert signature == vector["signature"]
    assert pair.public.key == key[32:]


def test_receivers_have_separate_secrets() -> None:
    """Secrets differ by owner and origin. Every instance derives the same secret, never the bridge's key."""
    ring = Keyring((OLD,))

    def derived(owner: str, origin: str) -> str:
        return ring.secrets_for(owner=owner, origin=origin)[0].reveal()

    secrets = {
        derived(owner, origin) for owner in ("a", "b") for origin in ("https://a", "https://a:8443", "https://b")
    }
    assert len(secrets) == 6
    assert derived("shared", ORIGIN) == "whsec_anIulPc9qp7epY8C/UIa0PEzmEMANP+ZClsi0cNlVqc="


def test_every_purpose_has_a_separate_key() -> None:
    """A receiver's secret reveals no key for signing or encryption. No version may change a derived key."""
    derived = {purpose: derive(OLD, purpose).hex() for purpose in Purpose}

    assert len({OLD.hex(), *derived.values()}) == 7
    assert {purpose: key[:16] for purpose, key in derived.items()} == {
        Purpose.RECEIVER_SECRET: "ab287a37cb3d9df6",
        Purpose.ED25519_SEED: "9e6753cca5b60e30",
        Purpose.HEADER_ENCRYPTION: "33892f2711c61d1f",
        Purpose.QUERY_ENCRYPTION: "0fb5684f9983a7b5",
        Purpose.QUERY_TAG: "bdff580399cdb2bc",
        Purpose.CURSOR_ENCRYPTION: "80d3bf69cf0580e9",
    }


def test_public_keys_are_named_and_newest_first() -> None:
    """Every instance publishes the same order."""
    new, old = Keyring((NEW, OLD)).public_keys()

    assert new.id != old.id
    assert (old.id, old.text) == ("27cdfc6cbc83686d", "whpk_nhjT7fL3YXRr6SBpLhYgAKPId8G0AJoFeRkAlUpYMRA=")


def test_secrets_have_a_masked_representation() -> None:
    """The representation of keys, secrets, pairs and rings is masked."""
    ring = Keyring((OLD,))

    assert "ooo" not in repr(ring)
    assert "Secret object" in repr(ring.secrets_for(owner="a", origin="https://a")[0])
    assert "KeyPair object" in repr(ring.pairs()[0])


def test_the_signed_timestamp_is_utc_in_seconds() -> None:
    """The public package signs the wall clock of another zone, so the bridge does not use the package to sign."""
    ring, moment = Keyring((OLD,)), NOON + timedelta(milliseconds=999)
    elsewhere = moment.astimezone(timezone(timedelta(hours=5, minutes=30)))

    there, here = (ring.headers("msg_1", b"{}", owner="a", origin=ORIGIN, at=at) for at in (elsewhere, moment))

    assert there == here
    assert here["webhook-timestamp"] == str(int(NOON.timestamp()))


@given(KEYS, IDS, BODIES, MOMENTS)
def test_a_signature_verifies_under_every_active_key(
    keys: list[bytes], message_id: str, body: bytes, at: datetime
) -> None:
    """Checked with the public package and with cryptography, for each key that a receiver may know."""
    headers = Keyring(tuple(keys)).headers(message_id, body, owner="a", origin=ORIGIN, at=at)

    for key in keys:
        own = Keyring((key,))
        assert verified_v1(own.secrets_for(owner="a", origin=ORIGIN)[0], headers, body)
        assert verified_v1a(own.public_keys()[0], headers, body)


@given(BODIES.filter(bool), MOMENTS, st.data())
def test_a_changed_bit_does_not_verify(body: bytes, at: datetime, data: st.DataObject) -> None:
    """Covers id, time and body, with both schemes and every key."""
    ring = Keyring((NEW, OLD))
    headers = ring.headers("msg_0123456789abcdef", body, owner="a", origin=ORIGIN, at=at)
    part = data.draw(st.sampled_from(["webhook-id", "webhook-timestamp", "body"]))
    flipped = bytearray(body if part == "body" else headers[part].encode())
    place = data.draw(st.integers(0, len(flipped) - 1))
    flipped[place] ^= 1 << data.draw(st.integers(0, 0 if part == "webhook-timestamp" else 6))
    changed_body = bytes(flipped) if part == "body" else body
    changed = headers if part == "body" else {**headers, part: flipped.decode("latin-1")}

    for secret, public in zip(ring.secrets_for(owner="a", origin=ORIGIN), ring.public_keys(), strict=True):
        assert not verified_v1a(public, changed, changed_body)
        # The package decodes the body as UTF-8 before the verification, and rejects other bytes.
        readable = changed_body.decode("utf-8", "ignore").encode() == changed_body
        assert not (readable and verified_v1(secret, changed, changed_body))


@given(KEYS.filter(lambda keys: len(keys) > 1), BODIES)
def test_a_signature_does_not_verify_for_another_receiver_or_under_a_removed_key(
    keys: list[bytes], body: bytes
) -> None:
    """Each origin has a separate secret, and a removed key verifies no new signature."""
    removed, *active = keys
    headers = Keyring(tuple(active)).headers("msg_1", body, owner="a", origin=ORIGIN, at=NOON)

    assert not verified_v1(Keyring((removed,)).secrets_for(owner="a", origin=ORIGIN)[0], headers, body)
    assert not verified_v1a(Keyring((removed,)).public_keys()[0], headers, body)
    assert not verified_v1(Keyring((active[0],)).secrets_for(owner="a", origin="https://other")[0], headers, body)
