"""Queue messages: instances read each other's messages, and no others."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bridge.domain.delivery import DeliveryTask
from bridge.domain.errors import UnreadableRow
from bridge.domain.ids import OperationRef, RegistrationRef
from bridge.storage.queue_message import read_task, write_task
from tests.support.harness import NOON

REF = RegistrationRef.of(
    OperationRef("default", "operation-1"), owner="shared", callback_url="https://receiver.example.com/hook"
)
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TASK = DeliveryTask(ref=REF, generation=NOON + timedelta(milliseconds=7), number=3)


def test_a_task_survives_the_queue() -> None:
    """The task has registration, generation and attempt. The trace is optional."""
    assert read_task(write_task(TASK).encode()) == TASK
    assert set(json.loads(write_task(TASK))) == {"v", "registration", "generation", "attempt"}


def test_a_valid_trace_survives_the_queue() -> None:
    """A foreign value of the trace does not reject the task."""
    traced = replace(TASK, traceparent=TRACE)

    assert read_task(write_task(traced).encode()) == traced
    assert read_task(write_task(replace(TASK, traceparent="what-ever")).encode()) == TASK


def test_the_order_of_a_client_survives_the_queue() -> None:
    """A message without the field has no order."""
    ordered = replace(TASK, forced=True)

    assert read_task(write_task(ordered).encode()) == ordered
    assert json.loads(write_task(ordered))["forced"] is True


@pytest.mark.parametrize(
    "change", [{"another": 1}, {"v": 0}, {"generation": 0}, {"generation": 253_402_300_799_999}, {"attempt": 1}]
)
def test_a_message_of_the_previous_version_or_with_extra_fields_is_read(change: dict[str, Any]) -> None:
    """Old and new instances run side by side."""
    message = {**json.loads(write_task(TASK)), **change}

    assert read_task(json.dumps(message).encode()).ref == REF


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"v": 2}, "that is not a task of schema 1"),
        ({"v": -1}, "that is not a task of schema 1"),
        ({"generation": -1}, "that is not a task"),
        ({"generation": 253_402_300_800_000}, "that is not a task"),
        ({"attempt": 0}, "that is not a task"),
        ({"attempt": "3"}, "that is not a task"),
        ({"registration": "nobody"}, "about no registration"),
    ],
)
def test_a_foreign_message_is_rejected(change: dict[str, Any], why: str) -> None:
    """The log has the reason."""
    message = {**json.loads(write_task(TASK)), **change}

    with pytest.raises(UnreadableRow, match=f"a queue message {why}"):
        read_task(json.dumps(message).encode())
