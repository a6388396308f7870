"""The sentences that `make start` makes of the app's log, and the file that keeps the log."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bridge.domain.outcome import Failure
from bridge.log import Event
from local import narrator
from local.narrator import FAILURES, LogFile, Narrator, Sentence

OPERATION = {"operation": "default:my-op"}
REGISTRATION = {"registration": "default~my-op~0123456789abcdef"}


@pytest.fixture
def told() -> list[Sentence]:
    return []


@pytest.fixture
def take(told: list[Sentence]) -> Callable[..., None]:
    """Return a function that hands an event with its fields to a narrator."""
    narrator = Narrator(told.append)

    def take(event: Event, level: str = "INFO", **fields: Any) -> None:
        narrator.take(event.value, level, {"event": event.value, **fields})

    return take


def attempted(**fields: Any) -> Mapping[str, Any]:
    given = {"attempt": 1, "status": None, "error": None, "then": "retry", "next": "2026-11-30T17:10:45.290Z"}
    return {**REGISTRATION, **given, **fields}


@pytest.mark.parametrize(
    ("event", "fields", "expected"),
    [
        (Event.REGISTERED, {**REGISTRATION, "to": "127.0.0.1:7072"}, "registered: call back 127.0.0.1:7072"),
        (Event.POLLED, {**OPERATION, "status": "Running", "error": None}, "Speech returned Running"),
        (
            Event.POLLED,
            {**OPERATION, "status": None, "error": "HTTP 404"},
            "Speech returned no status: HTTP 404",
        ),
        (Event.FINISHED, {**OPERATION, "final_status": "Failed", "reason": None}, "Speech returned Failed"),
        (
            Event.FINISHED,
            {**OPERATION, "final_status": "Expired", "reason": "notFound"},
            "given up: Expired (notFound)",
        ),
        (
            Event.ATTEMPTED,
            attempted(error="connect"),
            "attempt 1 failed: connection refused; next attempt at 17:10:45 UTC",
        ),
        (Event.ATTEMPTED, attempted(status=500), "attempt 1 failed: HTTP 500; next attempt at 17:10:45 UTC"),
        (Event.ATTEMPTED, attempted(status=410, then="dead", next=None), "attempt 1 failed: HTTP 410; is dead"),
        (
            Event.ATTEMPTED,
            attempted(status=204, then="delivered", next=None),
            "delivered: attempt 1, HTTP 204",
        ),
        (Event.CANCELED, REGISTRATION, "canceled"),
    ],
)
def test_event_is_told_in_a_sentence_about_its_operation(
    take: Callable[..., None], told: list[Sentence], event: Event, fields: Mapping[str, Any], expected: str
) -> None:
    take(event, **fields)

    assert [(each.name, each.text) for each in told] == [("my-op", expected)]


def test_status_is_told_when_it_changes_and_not_at_each_poll(take: Callable[..., None], told: list[Sentence]) -> None:
    for status in ("NotStarted", "NotStarted", "Running", "Running"):
        take(Event.POLLED, "DEBUG", **OPERATION, status=status, error=None)

    assert [each.text for each in told] == ["Speech returned NotStarted", "Speech returned Running"]


def test_warning_without_a_sentence_is_told_with_its_fields(take: Callable[..., None], told: list[Sentence]) -> None:
    """Whatever its event: a person who watches must see that something is wrong."""
    take(Event.STORAGE, "WARNING", step="claim", error="no reply", registration=None)

    assert told == [Sentence(name="app", text="storage.unavailable: step: claim, error: no reply", bad=True)]


@pytest.mark.parametrize("event", [Event.SWEPT, Event.IDLE, Event.SECRET_SHOWN, Event.SOURCE_POLLED])
def test_housekeeping_is_not_told(take: Callable[..., None], told: list[Sentence], event: Event) -> None:
    take(event, ms=5, **OPERATION)

    assert told == []


@pytest.mark.parametrize("kind", list(Failure))
def test_every_failure_of_an_attempt_has_words(kind: str) -> None:
    assert FAILURES[kind] != kind


@pytest.fixture
def output() -> list[str]:
    return []


def test_log_is_one_json_object_a_line_and_events_are_not_shown_raw(
    tmp_path: Path, output: list[str], told: list[Sentence]
) -> None:
    """A traceback and a print of the app are shown, and kept too."""
    path = tmp_path / "log.jsonl"
    with LogFile(path, Narrator(told.append), output.append) as log:
        log.take('12:00:00 INFO bridge: {"event": "registration.created", "registration": "s~my-op~h", "to": "a:1"}')
        log.take("Traceback (most recent call last):")
        log.take('12:00:00 INFO bridge: {"event": broken')
        log.take("the function host listens on http://127.0.0.1:1 with register")

    kept = [json.loads(line) for line in path.read_text().splitlines()]
    assert kept[0] | {"time": ""} == {
        "time": "",
        "level": "INFO",
        "event": "registration.created",
        "registration": "s~my-op~h",
        "to": "a:1",
    }
    assert [each.get("line") for each in kept[1:3]] == output
    assert output == ["Traceback (most recent call last):", '12:00:00 INFO bridge: {"event": broken']
    assert len(kept) == 4
    assert [each.name for each in told] == ["my-op"]


def test_log_is_shown_as_json_without_a_narrator(tmp_path: Path, output: list[str]) -> None:
    with LogFile(tmp_path / "log.jsonl", None, output.append) as log:
        log.take('12:00:00 WARNING sweep: {"event": "source.throttled", "what": "HTTP 429"}')

    [shown] = map(json.loads, output)
    assert (shown["level"], shown["event"], shown["what"]) == ("WARNING", "source.throttled", "HTTP 429")


def test_log_of_earlier_starts_goes_on_until_it_is_large(
    tmp_path: Path, output: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.jsonl"
    monkeypatch.setattr(narrator, "MOST_LOG", 100)

    for number in range(3):
        with LogFile(path, None, output.append) as log:
            log.take(f"line {number}")

    assert [json.loads(line)["line"] for line in path.read_text().splitlines()] == ["line 2"]
    earlier = (tmp_path / "log.old.jsonl").read_text().splitlines()
    assert [json.loads(line)["line"] for line in earlier] == ["line 0", "line 1"]


def test_line_that_comes_after_the_end_is_shown_all_the_same(tmp_path: Path, output: list[str]) -> None:
    with LogFile(tmp_path / "log.jsonl", None, output.append) as log:
        pass

    log.take("the last line")

    assert output == ["the last line"]
