"""What the upstream's answers mean; the examples are those seen on the API and its siblings."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.operation import FinalStatus
from bridge.domain.upstream import (
    CLIENT_ERRORS,
    LONGEST_NAMED_STOP,
    MAX_BODY_BYTES,
    BadRequest,
    NoReply,
    NotFound,
    NoToken,
    Pending,
    PollResult,
    Reply,
    Terminal,
    Throttled,
    TransientError,
    Unauthorized,
    read,
)

EXAMPLES = json.loads((Path(__file__).parent.parent / "facts" / "upstream-responses.json").read_text())

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)

#: What each example is taken for.
KINDS = {
    "running (reference sample)": Pending,
    "not started": Pending,
    "succeeded (from the schema)": Terminal,
    "failed (from the schema)": Terminal,
    "canceled (video translation)": Terminal,
    "unknown status": Pending,
    "other letter case": Terminal,
    "status missing": TransientError,
    "another operation's id": TransientError,
    "not JSON": TransientError,
    "empty 204 for a job that does not exist": NotFound,
    "bad request": BadRequest,
    "bearer token on a regional host": BadRequest,
    "wrong key (gateway)": Unauthorized,
    "no role": Unauthorized,
    "not found (from the schema)": NotFound,
    "throttled with seconds": Throttled,
    "throttled without a hint": Throttled,
    "flat 500 (sibling)": TransientError,
    "unavailable": Throttled,
}


def reply_of(example: dict[str, Any]) -> Reply:
    """Write an example as it comes over the wire."""
    body = json.dumps(example["body"]) if "body" in example else example["text"]
    return Reply(status=example["status"], body=body.encode(), retry_after=example["headers"].get("Retry-After"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["name"])
def test_every_answer_that_was_seen_is_understood(example: dict[str, Any]) -> None:
    """Terminal, pending, or a fault that is asked again."""
    asked = example.get("body", {}).get("id", "operation-1")
    asked = "operation-1" if asked == "some-other-operation" else asked

    assert isinstance(read(reply_of(example), asked, NOON), KINDS[example["name"]])


@pytest.mark.parametrize(
    ("status", "final_status"),
    [
        ("Succeeded", FinalStatus.SUCCEEDED),
        ("FAILED", FinalStatus.FAILED),
        ("canceled", FinalStatus.CANCELED),
        ("Cancelled", FinalStatus.CANCELED),
        (" Succeeded ", FinalStatus.SUCCEEDED),
    ],
)
def test_letter_case_does_not_matter(status: str, final_status: FinalStatus) -> None:
    """The enumeration is open, and siblings write it differently."""
    result = read(Reply(status=200, body=json.dumps({"status": status}).encode()), "operation-1", NOON)

    assert isinstance(result, Terminal)
    assert result.final_status is final_status


@pytest.mark.parametrize("named", ["OPERATION-1", "operation-1", None])
def test_the_operation_is_recognised(named: str | None) -> None:
    """The reference promises neither the id nor its letter case."""
    result = read(Reply(status=200, body=json.dumps({"id": named, "status": "Running"}).encode()), "operation-1", NOON)

    assert result == Pending("Running")


@pytest.mark.parametrize(
    "body",
    [
        '{"id": 7, "status": "Running"}',
        '{"status": 7}',
        '{"status": " "}',
        "[]",
        "7",
        "",
        "NaN",
        "[" * 100_000,
        "\ud800",
        '{"status": null}',
        '{"n": ' + "9" * 5000 + "}",
    ],
)
def test_what_is_no_answer_is_a_fault(body: str) -> None:
    """Whatever it is."""
    assert isinstance(
        read(Reply(status=200, body=body.encode("utf-8", "surrogatepass")), "operation-1", NOON), TransientError
    )


def test_no_token_is_a_denied_credential() -> None:
    """Nobody was asked, and the source pauses all the same."""
    assert read(NoToken("no token: X"), "operation-1", NOON) == Unauthorized("no token: X", asked=False)


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("38", timedelta(seconds=38)),
        ("Mon, 23 Nov 2026 12:01:00 GMT", timedelta(minutes=1)),
        ("Mon, 23 Nov 2026 11:00:00 GMT", None),
        ("Tue, 23 Nov 2027 12:00:00 GMT", LONGEST_NAMED_STOP),
        ("999999999", LONGEST_NAMED_STOP),
        ("600.5", timedelta(seconds=601)),
        ("-5", None),
        ("soon", None),
        (None, None),
    ],
)
def test_a_429_may_say_for_how_long(header: str | None, wait: timedelta | None) -> None:
    """In seconds or by date; nonsense is no hint, and nobody stops a source for a year."""
    result = read(Reply(status=429, retry_after=header), "operation-1", NOON)

    assert result == Throttled("HTTP 429", wait)


def test_a_503_without_a_time_is_a_fault() -> None:
    """Of this one poll; with a time it stops the source."""
    assert isinstance(read(Reply(status=503), "operation-1", NOON), TransientError)


#: What each client error is taken for. All others are about a gateway or the moment.
ABOUT_THE_REQUEST = {400, 405, 413, 414, 415, 416, 422, 431}
ABOUT_THE_OPERATION = {404, 410}
ABOUT_THE_SOURCE = {401: Unauthorized, 403: Unauthorized, 429: Throttled}


def kind_of(status: int) -> type[PollResult]:
    """Say what a client error has to be taken for."""
    if status in ABOUT_THE_REQUEST:
        return BadRequest
    return NotFound if status in ABOUT_THE_OPERATION else ABOUT_THE_SOURCE.get(status, TransientError)


def test_the_table_has_each_client_error_with_a_reason() -> None:
    """From 400 to 499, and nothing else."""
    assert set(CLIENT_ERRORS) == set(range(400, 500))
    assert all(why for _, why in CLIENT_ERRORS.values())


@pytest.mark.parametrize("status", range(400, 500))
def test_each_client_error_is_taken_for_its_meaning(status: int) -> None:
    """With a body and without."""
    for body in (b"", b'{"error": {"code": "X", "message": "y"}}', b"<html>"):
        assert type(read(Reply(status=status, body=body), "operation-1", NOON)) is kind_of(status)


@pytest.mark.parametrize("status", [301, 408, 425, 500, 502, 599])
@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("120", timedelta(minutes=2)),
        ("600.5", timedelta(seconds=601)),
        ("Mon, 23 Nov 2026 12:01:00 GMT", timedelta(minutes=1)),
        ("999999999", LONGEST_NAMED_STOP),
        ("soon", None),
        (None, None),
    ],
)
def test_a_fault_may_say_for_how_long(status: int, header: str | None, wait: timedelta | None) -> None:
    """The next poll waits so long; the other operations of the source do not."""
    result = read(Reply(status=status, retry_after=header), "operation-1", NOON)

    assert result == TransientError(f"HTTP {status}", wait)


@pytest.mark.parametrize(
    ("error", "what"),
    [
        ({"code": "Quota"}, "HTTP 401 (Quota)"),
        ({"message": "No more"}, "HTTP 401 (No more)"),
        ({"code": "c" * 65, "message": "m" * 301}, f"HTTP 401 ({'c' * 64}: {'m' * 300})"),
        ({"message": "see https://a.example/?sig=1 or sig=abc"}, "HTTP 401 (see … or sig=…)"),
        ({}, "HTTP 401"),
        ("nothing", "HTTP 401"),
    ],
)
def test_an_error_is_told_as_far_as_it_is_there_and_fit_to_be_shown(error: object, what: str) -> None:
    """Code, message or both; not too long, and without what may be a secret."""
    body = json.dumps({"error": error}).encode()

    assert read(Reply(status=401, body=body), "operation-1", NOON) == Unauthorized(what)


def test_a_large_body_is_not_kept() -> None:
    """The end counts all the same."""
    body = json.dumps({"status": "Failed", "padding": "x" * MAX_BODY_BYTES}).encode()

    assert read(Reply(status=200, body=body), "operation-1", NOON) == Terminal(FinalStatus.FAILED, None)


@pytest.mark.parametrize(("padding", "is_kept"), [(-1, True), (0, True), (1, False)])
def test_a_body_is_kept_compact_and_up_to_its_limit(padding: int, *, is_kept: bool) -> None:
    """The size is that of compact JSON in UTF-8, however many escapes the stored text has."""
    frame = '{"status":"Failed","padding":""}'
    kept = frame.replace('""', f'"{"x" * (MAX_BODY_BYTES - len(frame) + padding)}"')
    body = kept.replace(":", " : ").encode()

    terminal = Terminal(FinalStatus.FAILED, kept if is_kept else None)
    assert read(Reply(status=200, body=body), "operation-1", NOON) == terminal


@pytest.mark.parametrize(("more", "is_kept"), [(0, True), (1, False)])
def test_a_body_of_many_scripts_is_measured_in_bytes_of_utf8(more: int, *, is_kept: bool) -> None:
    frame = len('{"status":"Failed","padding":""}')
    padding = "中" * ((MAX_BODY_BYTES - frame) // 3) + "x" * ((MAX_BODY_BYTES - frame) % 3 + more)
    body = json.dumps({"status": "Failed", "padding": padding}, ensure_ascii=False).encode()

    result = read(Reply(status=200, body=body), "operation-1", NOON)

    assert isinstance(result, Terminal)
    assert (result.body is not None) is is_kept


def test_a_body_that_no_json_can_carry_is_not_kept() -> None:
    """Python reads NaN; whoever gets the callback would not. The end counts all the same."""
    body = b'{"status": "Failed", "progress": NaN}'

    assert read(Reply(status=200, body=body), "operation-1", NOON) == Terminal(FinalStatus.FAILED, None)


def test_a_fault_says_what_the_upstream_said() -> None:
    """Code and message, for people, on one line."""
    body = b'{"error": {"code": "401", "message": "Access denied\\n because of the key"}}'

    assert read(Reply(status=401, body=body), "operation-1", NOON) == Unauthorized(
        "HTTP 401 (401: Access denied  because of the key)"
    )
    assert read(NoReply("timeout"), "operation-1", NOON) == TransientError("timeout")


@given(st.integers(100, 599), st.binary(max_size=300))
def test_any_bytes_can_be_read(status: int, body: bytes) -> None:
    """Without an exception."""
    assert read(Reply(status=status, body=body), "operation-1", NOON) is not None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["id", "status", "error", "code", "message"]), json_values))
def test_any_json_can_be_read(body: dict[str, Any]) -> None:
    """Without an exception, and what is kept is JSON."""
    result = read(Reply(status=200, body=json.dumps(body).encode()), "operation-1", NOON)

    if isinstance(result, Terminal) and result.body is not None:
        json.loads(result.body)
