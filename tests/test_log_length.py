"""No log line exceeds Azure's limit, and a truncated line is still JSON."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.app import App
from bridge.domain.errors import Misconfigured
from bridge.log import MAX_LINE, Event, Field, _short, called_by, log


@pytest.fixture(autouse=True)
def everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "bridge")


def line_of(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """Return the only written line. Fails for a line that Azure would truncate."""
    [record] = [each for each in caplog.records if each.name == "bridge"]
    assert len(record.getMessage().encode()) <= MAX_LINE
    line: dict[str, Any] = json.loads(record.getMessage())
    return line


def test_hundreds_of_wrong_settings_are_one_line(caplog: pytest.LogCaptureFixture) -> None:
    problems = {
        f"SETTING_{number}": "is not set, and this is what to do about it: " + "x" * 100 for number in range(300)
    }

    App(Misconfigured(problems))

    line = line_of(caplog)
    first, more = line["problems"][:-1], line["problems"][-1]
    assert first == Misconfigured(problems).lines[: len(first)]
    assert len(first) >= 20
    assert more == f"and {300 - len(first)} more"


def test_one_setting_with_a_long_error_leaves_room_for_the_others(caplog: pytest.LogCaptureFixture) -> None:
    log(Event.MISCONFIGURED, problems=["A: " + "x" * 100_000, "B: is not set", "C: is not set"])

    problems = line_of(caplog)["problems"]
    assert (problems[0][:4], problems[0][-1], problems[1:]) == ("A: x", "…", ["B: is not set", "C: is not set"])


def test_line_of_the_longest_length_is_whole(caplog: pytest.LogCaptureFixture) -> None:
    frame = len(json.dumps({"event": "row.unreadable", "why": ""}))

    log(Event.ROW_UNREADABLE, why="x" * (MAX_LINE - frame))

    assert line_of(caplog)["why"] == "x" * (MAX_LINE - frame)


@pytest.mark.parametrize("letter", ["x", "\x00", '"', "ü", "🎬", "\ud800"])
@pytest.mark.parametrize("event", list(Event))
def test_text_of_any_length_in_any_event_is_cut_at_its_end(
    event: Event, letter: str, caplog: pytest.LogCaptureFixture
) -> None:
    why = "start " + letter * 40_000

    with called_by("192.0.2.1", owner="me"):
        log(event, registration="default~operation-1~0123456789abcdef", why=why, error="short")

    line = line_of(caplog)
    assert line["why"].startswith("start ")
    assert line["why"].endswith("…")
    assert len(line["why"].encode()) > 1_000
    rest = {name: value for name, value in line.items() if name != "why"}
    assert rest == {
        "event": event.value,
        "registration": "default~operation-1~0123456789abcdef",
        "error": "short",
        "caller": "192.0.2.1",
        "owner": "me",
    }


VALUES: st.SearchStrategy[Field] = st.one_of(
    st.none(),
    st.integers(),
    st.text(st.characters(codec=None), max_size=20).map(lambda text: text * 2_000),
    st.lists(st.text(max_size=10).map(lambda text: text * 300), max_size=30),
)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,10}", fullmatch=True), VALUES, max_size=12))
def test_any_line_fits_and_is_json(fields: dict[str, Field]) -> None:
    text = _short({"event": "row.unreadable", **fields})

    assert len(text.encode()) <= MAX_LINE
    assert json.loads(text).keys() == {"event": "row.unreadable", **fields}.keys()
