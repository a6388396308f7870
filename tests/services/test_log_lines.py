"""Log lines of a registration, compared as a whole, since searches and alerts use their fields."""

from collections.abc import Callable
from typing import Any

import pytest

from bridge.domain.ids import RegistrationRef
from bridge.domain.registration import State
from bridge.log import Event
from bridge.services.sweep.rescheduler import Rescheduler
from bridge.storage.due import DueHandle
from bridge.storage.keys import partition_of
from bridge.storage.writes.poll import Reschedule
from tests.support.faults import CHANGE, faulty
from tests.support.harness import Harness
from tests.support.log_lines import lines_of


def ended(bridge: Harness) -> RegistrationRef:
    """Deliver a registration."""
    [ref] = bridge.register()
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()
    bridge.deliver_all()
    return ref


def waiting(bridge: Harness) -> RegistrationRef:
    """Register for a running operation."""
    return bridge.register()[0]


@pytest.mark.parametrize(
    ("begin", "order", "event", "was"),
    [
        (waiting, "cancel", Event.CANCELED, "waiting"),
        (ended, "redeliver", Event.REDELIVERY, "delivered"),
    ],
)
def test_a_request_of_a_client_is_one_line(
    begin: Callable[[Harness], RegistrationRef], order: str, event: Event, was: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The line has the registration and the previous state."""
    caplog.set_level("DEBUG")
    bridge, _ = faulty()
    ref = begin(bridge)

    getattr(bridge.registrations, order)(ref)

    assert lines_of(caplog, event) == [{"event": event, "registration": ref.public_id, "was": was}]


@pytest.mark.parametrize(
    ("begin", "order", "event", "was"),
    [
        (waiting, "cancel", Event.CANCELED, State.WAITING),
        (ended, "redeliver", Event.REDELIVERY, State.DELIVERED),
    ],
)
def test_a_late_commit_of_a_request_is_one_line_too(
    begin: Callable[[Harness], RegistrationRef],
    order: str,
    event: Event,
    was: State,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The line has the state before the commit."""
    caplog.set_level("DEBUG")
    bridge, table = faulty()
    ref = begin(bridge)
    table.fail(CHANGE, table.lands_late, table.late_lands_first)

    getattr(bridge.registrations, order)(ref)

    assert lines_of(caplog, event) == [{"event": event, "registration": ref.public_id, "was": was}]


def test_a_registration_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """The line has the destination and the state. A repeated registration has no line."""
    caplog.set_level("DEBUG")
    bridge, _ = faulty()

    ref, _ = waiting(bridge), waiting(bridge)

    line = {"event": "registration.created", "to": "receiver.example.com", "state": "waiting"}
    assert lines_of(caplog) == [{**line, "registration": ref.public_id}]


def test_a_repeated_request_has_no_line(caplog: pytest.LogCaptureFixture) -> None:
    """Canceling an ended registration changes nothing."""
    caplog.set_level("DEBUG")
    bridge, _ = faulty()

    bridge.registrations.cancel(ended(bridge))

    assert lines_of(caplog, Event.CANCELED) == []


@pytest.mark.parametrize("one_by_one", [False, True])
def test_due_rows_that_could_not_be_moved_are_named(caplog: pytest.LogCaptureFixture, *, one_by_one: bool) -> None:
    """The line has the partition of a batch without a reply, or the key of a row that storage rejected."""
    caplog.set_level("INFO")
    bridge, table = faulty()
    [ref] = bridge.register()
    rescheduler = Rescheduler(bridge.bridge.sweep.repository)
    handle = DueHandle(partition=partition_of(ref), key="due:1", etag="x")
    reschedule = Reschedule(handle=handle, key="due:2", columns={}, target="op:1", changes={})
    table.keep_failing(CHANGE, table.down if one_by_one else table.request_lost)

    assert rescheduler.commit([reschedule, reschedule]) == []

    alone: dict[str, Any] = {"step": "move due row", "key": "due:1", "error": "down"}
    together: dict[str, Any] = {"step": "move due rows", "partition": partition_of(ref), "error": "no reply"}
    expected = [alone] * 2 if one_by_one else [together]
    assert lines_of(caplog, Event.STORAGE) == [{"event": "storage.unavailable", **each} for each in expected]
