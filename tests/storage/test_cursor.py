"""Cursors of lists: opaque, and valid for one list of one owner."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.ids import Kind
from bridge.domain.keyring import Keyring
from bridge.domain.registration import State
from bridge.storage.index import CURSOR_TEXT, Cursor, CursorCipher
from bridge.storage.keys import index_key
from tests.support.factories import NOON, registration

KEY = index_key(State.DEAD, NOON, registration().ref)
PLACE = KEY.split(":", 2)[2]
CIPHER = CursorCipher(Keyring((b"k" * 32, b"o" * 32)))


@pytest.mark.parametrize("kind", Kind)
def test_a_cursor_comes_back_as_it_was_given(kind: Kind) -> None:
    """Jobs have their place in lists like operations."""
    key = index_key(State.DEAD, NOON, registration(kind=kind).ref)
    cursor = Cursor.of_key(key)
    assert cursor is not None

    text = CIPHER.encrypt(cursor, owner="ann", query="list dead")

    assert CIPHER.decrypt(text, owner="ann", query="list dead") == Cursor(key.split(":", 2)[2])
    assert cursor.since == NOON


@pytest.mark.parametrize(
    "reference", ["default.jobs", "default.job:abc", "Default:abc", "default:ab", "default:abc.", ""]
)
def test_a_key_of_another_form_has_no_cursor(reference: str) -> None:
    assert Cursor.of_key(f"idx:dead:{PLACE[:13]}:{reference}:{'0' * 16}") is None


@pytest.mark.parametrize("length", [3, 4, 5, 63, 64])
def test_a_cursor_of_any_length_is_one_word_of_an_address(length: int) -> None:
    place = f"{PLACE[:13]}:default:{'a' * length}:{'0' * 16}"

    text = CIPHER.encrypt(Cursor(place), owner=None, query="")

    assert CURSOR_TEXT.fullmatch(text)
    assert CIPHER.decrypt(text, owner=None, query="") == Cursor(place)


def test_a_cursor_shows_nothing_of_the_registration_that_it_names() -> None:
    text = CIPHER.encrypt(Cursor(PLACE), owner="ann", query="list dead")

    assert not any(part in text for part in PLACE.split(":"))


@pytest.mark.parametrize(
    ("owner", "query"), [("eve", "list dead"), (None, "list dead"), ("ann", "list waiting"), ("ann", "redeliver ")]
)
def test_a_cursor_of_another_list_is_invalid(owner: str | None, query: str) -> None:
    text = CIPHER.encrypt(Cursor(PLACE), owner="ann", query="list dead")

    assert CIPHER.decrypt(text, owner=owner, query=query) is None


def test_a_cursor_is_valid_as_long_as_its_key_exists() -> None:
    text = CIPHER.encrypt(Cursor(PLACE), owner="ann", query="")

    assert CursorCipher(Keyring((b"n" * 32, b"k" * 32))).decrypt(text, owner="ann", query="") == Cursor(PLACE)
    assert CursorCipher(Keyring((b"n" * 32,))).decrypt(text, owner="ann", query="") is None


@given(st.text(max_size=200))
def test_an_invented_text_is_no_cursor(text: str) -> None:
    assert CIPHER.decrypt(text, owner="ann", query="") is None


def test_a_row_that_is_no_index_row_has_no_place() -> None:
    assert Cursor.of_key("idx:dead:nonsense") is None
