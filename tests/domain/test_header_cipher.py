"""Custom headers at rest: they decrypt for their registration, or the result gives a reason."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from bridge.domain.callback_url import CallbackRules, normalise
from bridge.domain.custom_headers import OwnHeaders
from bridge.domain.header_cipher import NONCE_BYTES, DecryptionFailed, HeaderCipher, Secrets
from bridge.domain.keyring import Keyring
from bridge.domain.outcome import Failure
from bridge.domain.registration import Registration
from tests.support import factories

CIPHER = HeaderCipher(Keyring((b"k" * 32, b"o" * 32)))
HEADERS = OwnHeaders({"Authorization": "Bearer secret", "X-Team": "speech"})
KEY_ID = CIPHER.keyring.public_keys()[0].id


def encrypted(cipher: HeaderCipher = CIPHER) -> Registration:
    """Encrypt the headers of a registration."""
    request = factories.registration()
    return cipher.encrypt(request, Secrets(request.callback_url, HEADERS), nonce=b"n" * NONCE_BYTES)


def test_headers_decrypt_to_the_original() -> None:
    """The key can be the newest one, and later an older one."""
    registration = encrypted()

    assert registration.headers is not None
    assert registration.headers.startswith(f"v2:{KEY_ID}:")
    for keys in (CIPHER.keyring.keys, (b"z" * 32, *CIPHER.keyring.keys)):
        assert HeaderCipher(Keyring(keys)).decrypt(registration) == Secrets(registration.callback_url, HEADERS)


def test_a_registration_without_headers_has_none() -> None:
    """Neither encryption nor decryption changes anything."""
    registration = CIPHER.encrypt(encrypted(), Secrets(encrypted().callback_url), nonce=b"n" * NONCE_BYTES)

    assert registration.headers is None
    assert CIPHER.decrypt(registration) == Secrets(registration.callback_url)


@pytest.mark.parametrize("written", ["", "v1:0123456789abcdef:AAAA", "v2:0123:AAAA", "v2:0123456789abcdef:!"])
def test_an_unknown_format_is_reported(written: str) -> None:
    """The format can be that of a newer version, or foreign."""
    decrypted = CIPHER.decrypt(replace(encrypted(), headers=written))

    assert decrypted == DecryptionFailed("written in a way that this version does not know")


def test_a_missing_key_is_named() -> None:
    """The remedy is to add the key at the end, so the key does not sign or encrypt new values."""
    decrypted = HeaderCipher(Keyring((b"o" * 32,))).decrypt(encrypted())

    assert decrypted == DecryptionFailed(
        f"key {KEY_ID} is not in BRIDGE_SIGNING_KEYS any more: put it back, at the end"
    )


@pytest.mark.parametrize("change", ["body", "padding", "registration", "generation", "url", "owner"])
def test_tampered_headers_do_not_decrypt(change: str) -> None:
    """Copies from another row, or from an earlier generation, do not decrypt either."""
    registration = encrypted()
    text = str(registration.headers)
    match change:
        case "body":
            registration = replace(registration, headers=f"{text[:-8]}AAAA{text[-4:]}")
        case "padding":  # base64 that a lenient decoder would accept
            registration = replace(registration, headers=f"{text.rstrip('=')[:40]}={text[40:]}")
        case "registration":
            registration = replace(factories.registration("operation-2"), headers=text)
        case "url":
            registration = replace(registration, callback_url="https://evil.example.net/steal")
        case "owner":
            registration = replace(registration, owner="another")
        case _:
            registration = replace(registration, generation=registration.generation + timedelta(seconds=1))

    decrypted = CIPHER.decrypt(registration)

    assert decrypted == DecryptionFailed(f"damaged, or not of this registration and generation (key {KEY_ID})")


def test_a_stored_url_cannot_be_called() -> None:
    """Older versions do not know encrypted queries. They reject the URL, so no call is made without the secret."""
    rules = CallbackRules()
    url = normalise("https://hooks.example.com/hook?code=secret", rules)

    stored = CIPHER.tagged(factories.registration(url=url)).callback_url

    assert normalise(url, rules) == url
    assert normalise(stored, rules) != stored


def test_tags_differ_by_owner_operation_and_query() -> None:
    """Equal URLs of another owner, or of another operation, have different tags."""
    url = "https://hooks.example.com/hook?code=secret"
    requests_made = [
        factories.registration(url=url),
        replace(factories.registration(url=url), owner="another"),
        factories.registration("operation-2", url),
        factories.registration(url=f"{url}2"),
    ]

    tags = [CIPHER.tagged(request).callback_url for request in requests_made]

    assert len(set(tags)) == 4
    assert CIPHER.tagged(requests_made[0]).callback_url == tags[0]
    assert all(re.fullmatch(r"https://hooks\.example\.com/hook\?…[0-9a-f]{32}", tag) for tag in tags)


def test_query_and_headers_have_separate_keys() -> None:
    """Both use the same nonce, which a key may use only once. So neither decrypts as the other."""
    request = factories.registration(url="https://hooks.example.com/hook?code=secret")
    both = CIPHER.encrypt(CIPHER.tagged(request), Secrets(request.callback_url, HEADERS), nonce=b"n" * NONCE_BYTES)

    swapped = CIPHER.decrypt(replace(both, headers=both.query, query=both.headers))

    assert CIPHER.decrypt(both) == Secrets(request.callback_url, HEADERS)
    assert swapped == DecryptionFailed(
        f"damaged, or not of this registration and generation (key {KEY_ID})", Failure.CALLBACK_URL
    )
