"""What the upstream's answers mean; the examples are those seen on the API and its siblings."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.answer import MAX_BODY_BYTES, Fault, NoReply, Pending, Reply, Terminal, read
from bridge.core.operation import Verdict

EXAMPLES = json.loads((Path(__file__).parent.parent / "facts" / "upstream-responses.json").read_text())

KINDS = {"pending": Pending, "terminal": Terminal}


def reply_of(example: dict[str, Any]) -> Reply:
    """Write an example as it comes over the wire."""
    body = json.dumps(example["body"]) if "body" in example else example["text"]
    return Reply(example["status"], body.encode())


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["name"])
def test_every_answer_that_was_seen_is_understood(example: dict[str, Any]) -> None:
    """Terminal, pending, or a fault that is asked again."""
    asked = example.get("body", {}).get("id", "operation-1")
    asked = "operation-1" if asked == "some-other-operation" else asked

    assert isinstance(read(reply_of(example), asked), KINDS.get(example["meaning"], Fault))


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ("Succeeded", Verdict.SUCCEEDED),
        ("FAILED", Verdict.FAILED),
        ("canceled", Verdict.CANCELED),
        ("Cancelled", Verdict.CANCELED),
        (" Succeeded ", Verdict.SUCCEEDED),
    ],
)
def test_letter_case_does_not_matter(status: str, verdict: Verdict) -> None:
    """The enumeration is open, and siblings write it differently."""
    answer = read(Reply(200, json.dumps({"status": status}).encode()), "operation-1")

    assert isinstance(answer, Terminal)
    assert answer.verdict is verdict


@pytest.mark.parametrize("named", ["OPERATION-1", "operation-1", None])
def test_the_operation_is_recognised(named: str | None) -> None:
    """The reference promises neither the id nor its letter case."""
    answer = read(Reply(200, json.dumps({"id": named, "status": "Running"}).encode()), "operation-1")

    assert answer == Pending("Running")


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
    assert isinstance(read(Reply(200, body.encode("utf-8", "surrogatepass")), "operation-1"), Fault)


def test_a_large_body_is_not_kept() -> None:
    """The end counts all the same."""
    body = json.dumps({"status": "Failed", "padding": "x" * MAX_BODY_BYTES}).encode()

    assert read(Reply(200, body), "operation-1") == Terminal(Verdict.FAILED, None)


def test_a_fault_says_what_the_upstream_said() -> None:
    """Code and message, for people, on one line."""
    body = b'{"error": {"code": "401", "message": "Access denied\\n because of the key"}}'

    assert read(Reply(401, body), "operation-1") == Fault("HTTP 401 (401: Access denied  because of the key)")
    assert read(NoReply("timeout"), "operation-1") == Fault("timeout")


@given(st.integers(100, 599), st.binary(max_size=300))
def test_any_bytes_can_be_read(status: int, body: bytes) -> None:
    """Without an exception."""
    assert read(Reply(status, body), "operation-1") is not None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["id", "status", "error", "code", "message"]), json_values))
def test_any_json_can_be_read(body: dict[str, Any]) -> None:
    """Without an exception, and what is kept is JSON."""
    answer = read(Reply(200, json.dumps(body).encode()), "operation-1")

    if isinstance(answer, Terminal) and answer.body is not None:
        json.loads(answer.body)
