"""Where a list goes on, as clients carry it about."""

import base64

import pytest

from bridge.core.cursor import Cursor
from bridge.core.keys import index_key
from bridge.core.registration import State
from tests.support.world import NOON, stage

KEY = index_key(State.DEAD, NOON, stage().wish().ref)
PLACE = KEY.split(":", 2)[2]


def test_a_cursor_comes_back_as_it_was_given() -> None:
    """Without the padding that an address would have to escape."""
    cursor = Cursor.of_key(KEY)

    assert cursor == Cursor(PLACE)
    assert cursor.since == NOON
    assert "=" not in cursor.text()
    assert Cursor.parse(cursor.text()) == cursor


@pytest.mark.parametrize("length", range(3, 7))
def test_any_length_comes_back(length: int) -> None:
    """However much padding was left out."""
    place = f"{PLACE[:13]}:default:{'a' * length}:{'0' * 16}"

    assert Cursor.parse(base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")) == Cursor(place)


@pytest.mark.parametrize("text", ["", "x", "nonsense", "ä", Cursor(PLACE[1:]).text(), Cursor(PLACE).text() + "*"])
def test_what_is_no_cursor_is_none(text: str) -> None:
    """Characters that belong into none are not overlooked."""
    assert Cursor.parse(text) is None


def test_a_row_that_is_no_index_row_has_no_place() -> None:
    """Somebody else wrote it."""
    assert Cursor.of_key("idx:dead:nonsense") is None
