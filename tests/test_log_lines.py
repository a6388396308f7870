"""What the log says of a registration's life: whole lines, since searches and alerts are written for their fields."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from bridge.core.due import Token
from bridge.core.keys import RegistrationRef
from bridge.core.steps.polling import DueMove
from bridge.sweeping.moving import Mover
from tests.support.flaky import flaky
from tests.support.world import Stage


def lines(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    """Read the lines of one event, without its name."""
    read = [json.loads(record.message) for record in caplog.records if record.name == "bridge"]
    return [{name: value for name, value in line.items() if name != "event"} for line in read if line["event"] == event]


def ended(bridge: Stage) -> RegistrationRef:
    """Let a registration end as delivered."""
    [ref] = bridge.register()
    bridge.upstream.tell("operation-1", "Succeeded")
    bridge.sweep()
    bridge.deliver_all()
    return ref


def waiting(bridge: Stage) -> RegistrationRef:
    """Let a registration wait."""
    return bridge.register()[0]


@pytest.mark.parametrize(
    ("begin", "order", "event", "was"),
    [
        (waiting, "cancel", "registration.cancelled", "waiting"),
        (ended, "redeliver", "registration.redelivered", "delivered"),
    ],
)
def test_an_order_of_a_client_is_one_line(
    begin: Callable[[Stage], RegistrationRef], order: str, event: str, was: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Who it was about, and the state before."""
    caplog.set_level("DEBUG")
    bridge, _ = flaky()
    ref = begin(bridge)

    getattr(bridge.bridge.routes.use, order)(ref)

    assert lines(caplog, event) == [{"registration": ref.public_id, "was": was}]


def test_what_was_done_already_is_no_line(caplog: pytest.LogCaptureFixture) -> None:
    """Cancelling what has ended changes nothing."""
    caplog.set_level("DEBUG")
    bridge, _ = flaky()

    bridge.bridge.routes.use.cancel(ended(bridge))

    assert lines(caplog, "registration.cancelled") == []


@pytest.mark.parametrize("one_by_one", [False, True])
def test_due_rows_that_could_not_be_moved_are_named(caplog: pytest.LogCaptureFixture, *, one_by_one: bool) -> None:
    """A batch by its partition where no reply came, and one alone by its key where storage refused it."""
    caplog.set_level("INFO")
    bridge, table = flaky()
    [ref] = bridge.register()
    mover = Mover(table=table, token=lambda: "tx")
    token = Token(partition=ref.partition, key="due:1", etag="x")
    move = DueMove(token=token, key="due:2", columns={}, target="job:1", changes={})
    table.instead = [table.down] * 3 if one_by_one else [table.silent_loss] * 3

    assert mover.move([move, move]) == []

    expected: list[dict[str, Any]] = [
        {"step": "move due rows", "partition": ref.partition, "error": "no reply"},
    ]
    if one_by_one:
        expected = [{"step": "move due row", "key": "due:1", "error": "down"}] * 2
    assert lines(caplog, "storage.unavailable") == expected
