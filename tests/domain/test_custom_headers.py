"""Permitted custom headers, and their encryption."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.custom_headers import OwnHeaders, faults
from bridge.domain.header_cipher import DecryptionFailed, HeaderCipher, Secrets
from bridge.domain.keyring import Keyring
from bridge.domain.registration import Registration
from tests.support import factories

OLD, NEW = b"o" * 32, b"n" * 32
NONCE = b"twelve bytes"
SECRET = OwnHeaders({"Authorization": "Bearer hunter2", "X-Tenant": "blue"})
REQUEST = factories.registration()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Authorization", "Bearer hunter2"),
        ("X-Api-Key", "a b  c"),
        ("x_under.score!", "!~"),
        ("Cookie", "a=b"),
        ("X-Empty", ""),
        ("Accept-Language", "de"),
        ("X-Content-Type", "x"),
    ],
)
def test_a_custom_header_is_accepted(name: str, value: str) -> None:
    """Names: any except the bridge's own. Values: any that arrive unchanged."""
    assert faults({name: value}) == []


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "Content-Length",
        "content-type",
        "Transfer-Encoding",
        "Connection",
        "Keep-Alive",
        "Proxy-Authorization",
        "proxy-connection",
        "TE",
        "Trailer",
        "Upgrade",
        "HTTP2-Settings",
        "Expect",
        "Accept",
        "Accept-Encoding",
        "User-Agent",
        "webhook-id",
        "Webhook-Anything",
        "ce-id",
        "traceparent",
        "TraceState",
        "Webhook_Id",
        "webhook_signature",
        "Webhook-Timestamp",
        "Content_Length",
        "Transfer_Encoding",
        "Ce_Id",
        "user_agent",
        "HTTP2_Settings",
    ],
)
def test_a_header_of_the_bridge_is_rejected(name: str) -> None:
    """Letter case is irrelevant."""
    assert [target for target, _ in faults({name: "x"})] == [f"headers.{name}"]


@pytest.mark.parametrize(
    "value", ["a\r\nX: y", "a\rb", "a\nb", "a\0b", "a\tb", " a", "a ", "\x7f", "gr\u00fc\u00dfe", "\u2028"]
)
def test_a_value_that_would_not_arrive_unchanged_is_rejected(value: str) -> None:
    """The message does not repeat the value, which is usually a secret."""
    [(target, why)] = faults({"X-Key": value})

    assert target == "headers.X-Key"
    assert value not in why


def test_all_errors_are_named_at_once() -> None:
    """The errors cover each header by name, and all headers together."""
    given = {"Host": 7, "": "x", "x-a": "\n", "X-A": "x" * 4096} | {f"X-{number}": "" for number in range(8)}

    targets = [target for target, _ in faults(given)]

    assert targets == ["headers.Host", "headers.Host", "headers.", "headers.x-a", "headers.X-A", "headers", "headers"]


@pytest.mark.parametrize(
    ("given", "target", "why"),
    [
        ({"a b": "x"}, "headers.a b", "has a name that no header has: letters, digits and !#$%&'*+-.^_`|~"),
        ({"Host": "x"}, "headers.Host", "is the bridge's own, or belongs to the connection"),
        ({"X": 7}, "headers.X", "must be a string"),
        ({"x": "", "X": ""}, "headers.X", "is there twice: neither case nor `_` for `-` makes another name"),
        ({"x-a": "", "X_A": ""}, "headers.X_A", "is there twice: neither case nor `_` for `-` makes another name"),
        ({f"X-{number}": "" for number in range(11)}, "headers", "are more than 10"),
        (
            {"X": "\n"},
            "headers.X",
            "must be visible ASCII, with spaces only between: no control character, nothing to strip",
        ),
    ],
)
def test_a_rejected_header_names_the_necessary_change(given: dict[str, object], target: str, why: str) -> None:
    """Clients read these exact messages, with the header's name as given."""
    assert faults(given) == [(target, why)]


def test_at_most_ten_headers_are_accepted() -> None:
    """The limit is ten, so the eleventh is rejected."""
    assert faults({f"X-{number}": "" for number in range(10)}) == []


def test_headers_have_at_most_4_kib_together() -> None:
    """Names and values count."""
    assert faults({"X": "x" * 4095}) == []
    assert [target for target, _ in faults({"X": "x" * 4096})] == ["headers"]


def test_order_and_case_of_headers_are_irrelevant() -> None:
    """Different values make different headers."""
    assert SECRET.same_as(OwnHeaders({"x-tenant": "blue", "AUTHORIZATION": "Bearer hunter2"}))
    assert not SECRET.same_as(OwnHeaders({"x-tenant": "Blue", "authorization": "Bearer hunter2"}))
    assert not SECRET.same_as(OwnHeaders())


def test_headers_have_a_masked_representation() -> None:
    """Header values are usually secrets."""
    assert "hunter2" not in repr(SECRET)


def encrypted(*keys: bytes, headers: OwnHeaders = SECRET) -> Registration:
    """Return the registration with encrypted headers."""
    return HeaderCipher(Keyring(keys)).encrypt(REQUEST, Secrets(REQUEST.callback_url, headers), nonce=NONCE)


@given(st.dictionaries(st.text(), st.text()))
def test_encrypted_headers_decrypt(given_headers: dict[str, str]) -> None:
    """Order and values survive, under every key ring with the key."""
    registration = encrypted(OLD, headers=OwnHeaders(given_headers))

    decrypted = HeaderCipher(Keyring((NEW, OLD))).decrypt(registration)

    assert isinstance(decrypted, Secrets)
    assert list(decrypted.headers.given.items()) == list(given_headers.items())


def test_no_headers_leave_no_column() -> None:
    """Rows from before this feature have no column either."""
    registration = encrypted(OLD, headers=OwnHeaders())

    assert registration.headers is None
    assert HeaderCipher(Keyring((NEW,))).decrypt(registration) == Secrets(REQUEST.callback_url)


def test_the_newest_key_encrypts_and_is_named() -> None:
    """The id is the one of the published public key."""
    registration = encrypted(NEW, OLD)

    assert registration.headers is not None
    assert registration.headers.split(":")[1] == Keyring((NEW,)).public_keys()[0].id
    assert HeaderCipher(Keyring((NEW,))).decrypt(registration) == Secrets(REQUEST.callback_url, SECRET)


def test_a_removed_key_is_named() -> None:
    """The result names the key's id and the remedy, instead of a failed decryption."""
    decrypted = HeaderCipher(Keyring((NEW,))).decrypt(encrypted(OLD))

    assert isinstance(decrypted, DecryptionFailed)
    assert Keyring((OLD,)).public_keys()[0].id in decrypted.why
    assert "BRIDGE_SIGNING_KEYS" in decrypted.why


def test_headers_decrypt_in_their_own_row_and_generation_only() -> None:
    """Otherwise, write access to rows could send one receiver's secret to another receiver."""
    registration, cipher = encrypted(OLD), HeaderCipher(Keyring((OLD,)))
    elsewhere = factories.registration(url="https://attacker.example.com/")
    later = replace(registration, generation=registration.generation + timedelta(milliseconds=1))

    for moved in (replace(elsewhere, headers=registration.headers), later):
        assert isinstance(cipher.decrypt(moved), DecryptionFailed)
    assert cipher.decrypt(registration) == Secrets(REQUEST.callback_url, SECRET)


@pytest.mark.parametrize("text", ["", "v2:", "v1:0123456789abcdef:AAAA", "v2:ID:!", "v2:ID:A", "v2:ID:AAAA", "v2:ID:"])
def test_damaged_headers_raise_no_error(text: str) -> None:
    """The result reports that the headers cannot be decrypted."""
    column = text.replace("ID", Keyring((OLD,)).public_keys()[0].id)

    assert isinstance(HeaderCipher(Keyring((OLD,))).decrypt(replace(REQUEST, headers=column)), DecryptionFailed)


@given(st.data())
def test_a_changed_character_prevents_decryption(data: st.DataObject) -> None:
    """The whole ciphertext is authenticated, including the key id."""
    column = str(encrypted(OLD).headers)
    place = data.draw(st.integers(0, len(column) - 5))  # the last characters have bits that base64 ignores
    changed = data.draw(st.characters(codec="ascii").filter(lambda character: character != column[place]))
    damaged = replace(REQUEST, headers=column[:place] + changed + column[place + 1 :])

    assert isinstance(HeaderCipher(Keyring((OLD,))).decrypt(damaged), DecryptionFailed)
