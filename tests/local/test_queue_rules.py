"""Decisions of the queue trigger."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from azure.functions.meta import Datum
from azure.storage.queue import QueueMessage

from local.host.queue_rules import polling_delay, read_body, trigger_metadata


@pytest.mark.parametrize(
    ("empty_polls", "expected"), [(1, 0.1), (2, 0.2), (3, 0.3), (4, 0.5), (5, 0.9), (6, 1.7), (7, 2), (5000, 2)]
)
def test_polling_slows_down_to_the_longest_interval(empty_polls: int, expected: float) -> None:
    """The interval starts at 100 ms after a message and doubles up to maxPollingInterval."""
    delay = polling_delay(empty_polls, timedelta(seconds=2), spread=1.0)

    assert delay == timedelta(seconds=expected)


def test_poll_intervals_of_instances_differ() -> None:
    """The increment is random within a fifth in both directions."""
    delays = [polling_delay(4, timedelta(minutes=1), spread) for spread in (0.8, 1.2)]

    assert delays == [timedelta(seconds=0.42), timedelta(seconds=0.58)]


@pytest.mark.parametrize(("content", "encoding"), [("Z3LDvMOfZQ==", "base64"), ("grüße", "none")])
def test_body_is_read_in_the_declared_encoding(content: str, encoding: str) -> None:
    """Both encodings of host.json give the same bytes."""
    assert read_body(content, encoding) == "grüße".encode()


@pytest.mark.parametrize("content", ['{"plain": "text"}', "YQ", "Y Q = =", "grüße"])
def test_body_in_another_encoding_is_rejected(content: str) -> None:
    """A missing encoding is detected, never guessed."""
    with pytest.raises(ValueError, match=r"base64|ASCII|padding"):
        read_body(content, "base64")


def received(body: str) -> QueueMessage:
    """Return a message like the storage client."""
    message = QueueMessage(content=base64.b64encode(body.encode()).decode())
    message.id = "message-1"
    message.dequeue_count = 2
    message.pop_receipt = "receipt"
    message.inserted_on = datetime(2026, 11, 23, 18, tzinfo=UTC)
    message.expires_on = datetime(2026, 11, 30, 18, tzinfo=UTC)
    message.next_visible_on = datetime(2026, 11, 23, 18, 10, tzinfo=UTC)
    return message


def test_metadata_describes_the_message() -> None:
    """Text is passed unchanged, other values as JSON."""
    metadata = trigger_metadata(received("hello"), "hello")

    assert metadata == {
        "QueueTrigger": Datum("hello", "string"),
        "Id": Datum("message-1", "string"),
        "DequeueCount": Datum("2", "json"),
        "PopReceipt": Datum("receipt", "string"),
        "InsertionTime": Datum('"2026-11-23T18:00:00+00:00"', "json"),
        "ExpirationTime": Datum('"2026-11-30T18:00:00+00:00"', "json"),
        "NextVisibleTime": Datum('"2026-11-23T18:10:00+00:00"', "json"),
    }


def test_properties_of_a_json_body_hide_those_of_the_message() -> None:
    """Azure does the same: both share one set of names. So an app must not trust the id if a body can have one."""
    body = '{"id": "mine", "dequeuecount": 7, "nested": {"a": 1}, "none": null, "other": true}'

    metadata = trigger_metadata(received(body), body)

    assert metadata["Id"] == Datum("mine", "string")
    assert metadata["DequeueCount"] == Datum("7", "string")
    assert metadata["other"] == Datum("True", "string")
    assert not {"nested", "none"} & set(metadata)


@pytest.mark.parametrize("body", ["[1]", '"text"', "{broken", "7", ""])
def test_other_bodies_hide_nothing(body: str) -> None:
    """Only JSON objects have properties."""
    assert trigger_metadata(received(body), body)["Id"] == Datum("message-1", "string")
