"""Keys invented by people are detected, and random keys pass."""

import base64
import hashlib

import pytest

from bridge.domain.keyring import weakness_of


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(bytes(32)).decode(),
        base64.b64encode(b"changeme" * 4).decode(),
        base64.b64encode(b"test key of 32 bytes, no secret!").decode(),
        base64.b64encode(b"\x00\xff" * 16).decode(),
        base64.b64encode(bytes(range(32))).decode(),
        base64.b64encode(bytes(range(64, 0, -2)) + b"\x00").decode(),
        base64.b64encode(hashlib.sha256(b"a password").hexdigest().encode()).decode(),
        "passwordpasswordpasswordpasswordpasswordpass",
        "correcthorsebatterystaplecorrecthorsebattery",
        "01234567890123456789012345678901234567890123",
        "MYVERYSECRETSIGNINGKEYTHATNOBODYEVERGUESSES1",
    ],
)
def test_a_made_up_key_is_weak(text: str) -> None:
    assert weakness_of(base64.b64decode(text), text) is not None


@pytest.mark.parametrize("size", [32, 48, 64])
def test_a_key_of_random_bytes_is_not_weak(size: int) -> None:
    for number in range(500):
        key = b"".join(hashlib.sha256(f"{number} {part}".encode()).digest() for part in range(2))[:size]
        assert weakness_of(key, base64.b64encode(key).decode()) is None
