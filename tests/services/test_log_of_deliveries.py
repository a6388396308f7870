"""Log lines of deliveries: one complete line per event of a callback."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bridge.app import App
from bridge.domain.custom_headers import OwnHeaders
from bridge.domain.delivery import LEASE, DeliveryTask
from bridge.domain.ids import RegistrationRef
from bridge.domain.outcome import Failure, Outcome, Unreachable, answered
from bridge.domain.retry import ATTEMPTS_PER_RUN
from bridge.log import Event
from bridge.storage.keys import partition_of, row_key
from bridge.storage.table import ANY, Merge, Transaction
from tests.support.faults import CLAIM, RECORD, FaultyTable, faulty
from tests.support.harness import SIGNING_KEY, Harness, new_signing_key
from tests.support.log_lines import lines_of

HOOK = "https://receiver.example.com/hook"


@pytest.fixture(autouse=True)
def everything(caplog: pytest.LogCaptureFixture) -> None:
    """Log every level."""
    caplog.set_level("DEBUG", "bridge")


def first_task(bridge: Harness) -> DeliveryTask:
    """Bring a registration to the first task in the queue. Returns the task."""
    bridge.register()
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()
    [task] = bridge.queue.take()
    return task


def attempted(bridge: Harness, ref: RegistrationRef, **fields: Any) -> dict[str, Any]:
    """Return the line of an attempt, with the given changes."""
    usual = {
        "event": "delivery.attempted",
        "registration": ref.public_id,
        "attempt": 1,
        "message": bridge.registration(ref).message_id,
        "to": "receiver.example.com",
        "address": None,
        "status": None,
        "error": None,
        "ms": 41,
        "then": "retry",
        "next": None,
        "delay": None,
    }
    return usual | fields


def slowly(bridge: Harness, table: FaultyTable, seconds: float) -> Callable[[Transaction], Mapping[str, str]]:
    """Return a commit that takes this long."""

    def commit(transaction: Transaction) -> Mapping[str, str]:
        bridge.clock.advance(seconds)
        return table.inner.commit(transaction)

    return commit


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (
            answered(204, address="203.0.113.7"),
            {"address": "203.0.113.7", "status": 204, "then": "delivered", "delay": 0.041},
        ),
        (answered(410, address="203.0.113.7"), {"address": "203.0.113.7", "status": 410, "then": "dead: gone"}),
        (answered(503, address=None), {"status": 503, "next": "2026-11-23T12:00:05.041Z"}),
        (
            Unreachable(error=Failure.TIMEOUT, address="203.0.113.8"),
            {"address": "203.0.113.8", "error": "timeout", "next": "2026-11-23T12:00:05.041Z"},
        ),
    ],
)
def test_an_attempt_is_one_line(
    bridge: Harness, outcome: Outcome, expected: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The line has owner, destination, result and the next step."""
    task = first_task(bridge)
    bridge.sender.script(HOOK, outcome)
    bridge.sender.during = lambda: bridge.clock.advance(0.041)
    caplog.clear()

    bridge.deliver(task)

    assert lines_of(caplog) == [attempted(bridge, task.ref, **expected)]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda task: replace(task, generation=task.generation - timedelta(milliseconds=1)), "another generation"),
        (lambda task: replace(task, number=2), "another attempt"),
    ],
)
def test_a_skipped_task_is_one_line(
    bridge: Harness, change: Callable[[DeliveryTask], DeliveryTask], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The line has the reason."""
    task = change(first_task(bridge))
    caplog.clear()

    bridge.deliver(task)

    dropped = {"event": "delivery.dropped", "registration": task.ref.public_id, "attempt": task.number, "why": why}
    assert lines_of(caplog) == [dropped]


def test_a_task_for_an_ended_registration_is_one_line(bridge: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """The queue delivered the task twice."""
    task = first_task(bridge)
    bridge.deliver(task)
    caplog.clear()

    bridge.deliver(task)

    why = "it is delivered"
    assert lines_of(caplog) == [
        {"event": "delivery.dropped", "registration": task.ref.public_id, "attempt": 1, "why": why}
    ]


def test_a_claim_that_took_too_long_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing was sent."""
    bridge, table = faulty()
    task = first_task(bridge)

    table.fail(CLAIM, slowly(bridge, table, 16))
    caplog.clear()

    bridge.deliver(task)

    why = "the claim took too long"
    assert lines_of(caplog) == [
        {"event": "delivery.dropped", "registration": task.ref.public_id, "attempt": 1, "why": why}
    ]


def test_a_lease_that_is_just_long_enough_is_used() -> None:
    """The limit is 45 s. One millisecond less is too short."""
    bridge, table = faulty()
    task = first_task(bridge)

    table.fail(CLAIM, slowly(bridge, table, 15))

    bridge.deliver(task)

    assert len(bridge.sender.posted) == 1


def test_a_run_whose_last_attempt_was_lost_is_one_line(bridge: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """The line has the number of the attempt, and the row has the `tx`."""
    task = first_task(bridge)
    row = Merge(row_key(task.ref), {"last_attempt": ATTEMPTS_PER_RUN}, ANY)
    bridge.memory.commit(Transaction(partition_of(task.ref), (row,)))
    caplog.clear()

    bridge.deliver(replace(task, number=ATTEMPTS_PER_RUN + 1))

    assert lines_of(caplog) == [
        {"event": "delivery.dead", "registration": task.ref.public_id, "attempt": ATTEMPTS_PER_RUN}
    ]
    assert bridge.registration(task.ref).tx.startswith("token-")


def test_a_deferred_delivery_is_one_line(bridge: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """The line has the host, the reason and the time."""
    bridge.register("operation-1", *(f"{HOOK}/{number}" for number in range(6)))
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()
    tasks = bridge.queue.take()
    for number in range(6):
        bridge.sender.script(f"{HOOK}/{number}", Unreachable(error=Failure.CONNECT))
    for task in tasks[:-1]:
        bridge.deliver(task)
    bridge.clock.advance(1)  # the last delivery begins anew after the last attempt has failed
    bridge.registrations.cancel(tasks[-1].ref)
    bridge.registrations.redeliver(tasks[-1].ref)
    caplog.clear()

    bridge.deliver(tasks[-1])

    assert lines_of(caplog, Event.HELD_BACK) == [
        {
            "event": "delivery.held-back",
            "registration": tasks[-1].ref.public_id,
            "to": "receiver.example.com",
            "why": "circuitOpen",
            "until": "2026-11-23T12:00:30.000Z",
        }
    ]
    assert bridge.registration(tasks[-1].ref).tx.startswith("token-")


def test_headers_with_a_missing_key_are_one_line(bridge: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """The line is additional to the attempt's. The key is named, and the headers are not shown."""
    bridge.registrations.register(bridge.request(), OwnHeaders({"Authorization": "Bearer secret"}))
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()
    bridge.restart(BRIDGE_SIGNING_KEYS=new_signing_key())
    [task] = bridge.queue.take()
    caplog.clear()

    bridge.deliver(task)

    [undecrypted, attempt] = lines_of(caplog)
    why = undecrypted.pop("why")
    assert undecrypted == {"event": "delivery.secrets-unreadable", "registration": task.ref.public_id}
    assert "BRIDGE_SIGNING_KEYS" in why
    assert SIGNING_KEY not in why
    assert "secret" not in why
    assert (attempt["error"], attempt["then"]) == ("headers", "retry")


def test_an_attempt_that_could_not_be_recorded_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """The tries wait for a whole lease, with doubling waits. The fields are those of any attempt."""
    bridge, table = faulty()
    task = first_task(bridge)
    table.keep_failing(RECORD, table.down)
    caplog.clear()

    bridge.deliver(task)

    expected = attempted(
        bridge,
        task.ref,
        event="delivery.unrecorded",
        address="203.0.113.7",
        status=200,
        ms=0,
        then="delivered",
        delay=0,
    )
    assert lines_of(caplog) == [expected]
    assert bridge.pauses[:7] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 4.0]
    assert LEASE.total_seconds() <= sum(bridge.pauses) < LEASE.total_seconds() + 4


def test_nothing_is_recorded_once_the_lease_is_over(caplog: pytest.LogCaptureFixture) -> None:
    """No try begins at the end of the lease, since another instance may attempt by then."""
    bridge, table = faulty()
    task = first_task(bridge)

    table.keep_failing(RECORD, table.down)
    bridge.sender.during = lambda: bridge.clock.advance(60)
    caplog.clear()

    bridge.deliver(task)

    assert [line["event"] for line in lines_of(caplog)] == ["delivery.unrecorded"]
    assert bridge.pauses == []


def test_an_overwritten_registration_is_one_line(bridge: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """The registration is skipped."""
    task = first_task(bridge)
    bridge.memory.commit(Transaction(partition_of(task.ref), (Merge(row_key(task.ref), {"v": 99}, ANY),)))
    caplog.clear()

    bridge.deliver(task)

    why = "Registration of schema 99: this version reads 1 and the one before"
    assert lines_of(caplog) == [{"event": "row.unreadable", "registration": task.ref.public_id, "why": why}]


def test_task_for_an_unknown_registration_is_one_line(bridge: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """The level is one that is kept, since the message may belong to another deployment, or the table was replaced."""
    task = first_task(bridge)
    task = replace(task, ref=replace(task.ref, hash="f" * 16))
    caplog.clear()

    bridge.deliver(task)

    why = "a queue message without a registration"
    assert lines_of(caplog) == [{"event": "row.unreadable", "registration": task.ref.public_id, "why": why}]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_an_unreadable_message_is_one_line_with_its_id(bridge: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """The line has the id, the insertion time and the length. The content can be a secret."""
    caplog.clear()

    App(bridge.bridge).deliver(b"a secret", message_id="6a1b", inserted=bridge.clock())

    assert lines_of(caplog) == [
        {
            "event": "row.unreadable",
            "why": "a queue message that is not a task of schema 1",
            "queue_message": "6a1b",
            "inserted": "2026-11-23T12:00:00.000Z",
            "length": 8,
        }
    ]
