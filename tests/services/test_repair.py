"""Missing due rows: every registration still ends, and no due row is deleted because of a read alone."""

import logging
from collections.abc import Sequence
from datetime import timedelta

import pytest

from bridge.api.handlers import Handlers
from bridge.domain.registration import State
from bridge.services.repair import OPERATIONS_PER_CHECK, ROWS_PER_CHECK
from bridge.storage.keys import due_reference, partition_of, row_key
from bridge.storage.repository import OVERDUE
from bridge.storage.table import ANY, Delete, Insert, Merge, Row, Table, Transaction
from tests.support.faults import RESTORE, FaultyTable
from tests.support.harness import Harness, harness
from tests.support.http import Client

LONG = OVERDUE + timedelta(minutes=3)


def forget_due_rows(bridge: Harness, kind: str = "") -> list[str]:
    """Delete due rows, which the bridge never does. Returns their keys."""
    rows = [row for row in bridge.memory.rows() if row.key.startswith("due:") and f":{kind}" in row.key]
    for row in rows:
        bridge.memory.commit(Transaction(row.partition, (Delete(row.key, ANY),)))
    return [row.key for row in rows]


def live(bridge: Harness, minutes: int) -> None:
    for _ in range(minutes):
        bridge.sweep()
        bridge.deliver_all()
        bridge.clock.advance(60)


class Blind(FaultyTable):
    """A table that returns no rows while `sees_nothing`."""

    sees_nothing = False

    def range(
        self, partition: str, start: str, stop: str, *, limit: int | None = None, columns: Sequence[str] = ()
    ) -> Sequence[Row]:
        rows = super().range(partition, start, stop, limit=limit, columns=columns)
        return [] if self.sees_nothing and start.startswith("op:") else rows


def blind() -> tuple[Harness, Blind]:
    tables: list[Blind] = []

    def wrap(inner: Table) -> Table:
        tables.append(Blind(inner))
        return tables[0]

    return harness(wrap), tables[0]


def test_a_read_that_finds_no_operation_deletes_no_due_row() -> None:
    bridge, table = blind()
    ref = bridge.register()[0]
    bridge.upstream.script("operation-1", "Succeeded")

    table.sees_nothing = True
    bridge.sweep()
    table.sees_nothing = False
    bridge.clock.advance(15)
    bridge.sweep()
    bridge.deliver_all()

    assert bridge.registration(ref).state is State.DELIVERED


def test_a_read_that_finds_no_operation_purges_nothing() -> None:
    bridge, table = blind()
    bridge.register()
    bridge.upstream.script("operation-1", "Succeeded")
    live(bridge, 1)
    bridge.clock.advance(timedelta(days=31))

    table.sees_nothing = True
    bridge.sweep()
    table.sees_nothing = False
    kept = bridge.due_keys()
    bridge.clock.advance(15)
    bridge.sweep()

    assert kept == ["purge:default:operation-1"]
    assert [row for row in bridge.memory.rows() if row.partition.startswith("op")] == []


@pytest.mark.parametrize("kind", ["poll", "purge"])
def test_a_due_row_whose_operation_is_gone_is_deleted_and_logged(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    bridge = harness()
    bridge.register()
    if kind == "purge":
        bridge.upstream.script("operation-1", "Succeeded")
        live(bridge, 1)
        bridge.clock.advance(timedelta(days=31))
    for row in [row for row in bridge.memory.rows() if row.key.startswith(("op:", "idx:"))]:
        bridge.memory.commit(Transaction(row.partition, (Delete(row.key, ANY),)))
    bridge.upstream.script("operation-1", "Succeeded")
    caplog.set_level(logging.WARNING)

    bridge.sweep()

    assert bridge.due_keys() == []
    assert '"event": "due.deleted"' in caplog.text


@pytest.mark.parametrize("kind", ["poll", "deliver"])
def test_a_sweep_restores_missing_due_rows_and_every_registration_ends(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    bridge = harness()
    ref = bridge.register()[0]
    bridge.upstream.script("operation-1", "Running", "Succeeded")
    if kind == "deliver":
        bridge.upstream.script("operation-1", "Succeeded")
        bridge.sweep()
        bridge.queue.take()
    [key] = forget_due_rows(bridge, kind)

    live(bridge, 30)

    assert bridge.registration(ref).state is State.DELIVERED
    assert f'"event": "due.restored", "key": "{key}"' in caplog.text


def test_an_operation_with_a_missing_purge_is_purged_nevertheless() -> None:
    bridge = harness()
    bridge.register()
    bridge.upstream.script("operation-1", "Succeeded")
    live(bridge, 1)
    forget_due_rows(bridge, "purge")
    bridge.clock.advance(timedelta(days=31))

    live(bridge, 30)

    assert [row for row in bridge.memory.rows() if row.partition.startswith("op")] == []


@pytest.mark.parametrize("how", ["register the same", "register another", "show it", "show the operation", "list it"])
def test_reading_a_stranded_operation_restores_its_due_row(bridge: Harness, how: str) -> None:
    client = Client.of(bridge)
    body = {"operationId": "operation-1", "callbackUrl": "https://receiver.example.com/hook"}
    public_id = client.register(body).body["id"]
    forget_due_rows(bridge)
    bridge.clock.advance(LONG)

    match how:
        case "register the same":
            client.register(body)
        case "register another":
            client.register({**body, "callbackUrl": "https://other.example.com/hook"})
        case "show it":
            client.call(Handlers.read_registration, f"/registrations/{public_id}", id=public_id)
        case "show the operation":
            client.call(Handlers.read_operation, "/operations/operation-1", id="operation-1")
        case _:
            client.call(Handlers.list_registrations, "/registrations?operationId=operation-1")

    assert bridge.due_keys() == ["poll:default:operation-1"]


def test_a_stranded_delivery_is_found_when_it_is_shown(bridge: Harness) -> None:
    ref = bridge.register()[0]
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()
    bridge.queue.take()
    forget_due_rows(bridge, "deliver")
    bridge.clock.advance(LONG)

    Client.of(bridge).call(Handlers.read_registration, f"/registrations/{ref.public_id}", id=ref.public_id)

    assert f"deliver:{due_reference(ref)}" in bridge.due_keys()


def test_an_existing_due_row_is_unchanged(bridge: Harness) -> None:
    bridge.register()
    bridge.clock.advance(LONG)
    before = bridge.memory.rows()

    shown = Client.of(bridge).call(Handlers.read_operation, "/operations/operation-1", id="operation-1")

    assert shown.status == 200
    assert bridge.memory.rows() == before


def test_showing_a_registration_that_is_not_overdue_has_no_extra_cost(bridge: Harness) -> None:
    ref = bridge.register()[0]
    bridge.table.taken()

    Client.of(bridge).call(Handlers.read_registration, f"/registrations/{ref.public_id}", id=ref.public_id)

    assert bridge.table.taken() == {"range": 2}


def test_a_pointer_to_a_foreign_due_row_is_unchanged(bridge: Harness) -> None:
    ref = bridge.register()[0]
    forget_due_rows(bridge)
    names = ["x", "due:x", "due:0000000000001:poll:default:other", "due:0000000000001:party:default:operation-1"]
    names += ["due:0000000000001:deliver:default:operation-1", ""]

    for name in names:
        change = Merge(row_key(ref.operation), {"due": name}, ANY)
        bridge.memory.commit(Transaction(partition_of(ref), (change,)))
        bridge.clock.advance(LONG)
        live(bridge, 9)

    assert bridge.due_keys() == []


@pytest.mark.parametrize("what", ["cancel", "redeliver"])
def test_a_missing_due_row_does_not_affect_a_client(bridge: Harness, what: str) -> None:
    ref = bridge.register()[0]
    registrations = bridge.registrations
    if what == "redeliver":
        bridge.upstream.script("operation-1", "Succeeded")
        live(bridge, 1)
        registrations.redeliver(ref)
    forget_due_rows(bridge, "poll" if what == "cancel" else "deliver")

    registrations.cancel(ref)

    assert bridge.registration(ref).state is State.CANCELED


def test_an_attempt_is_made_and_recorded_without_its_due_row(bridge: Harness) -> None:
    ref = bridge.register()[0]
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()
    forget_due_rows(bridge, "deliver")

    def forget() -> None:
        forget_due_rows(bridge, "deliver")

    bridge.sender.during = forget

    bridge.deliver_all()

    assert bridge.registration(ref).state is State.DELIVERED
    assert len(bridge.sender.posted) == 1


def test_a_check_looks_at_a_bounded_number_of_rows_and_goes_on_from_there() -> None:
    bridge = harness()
    count = ROWS_PER_CHECK // 2 + 10
    for number in range(8 * count):
        bridge.register(f"operation-{number}")
    places, repair = [""], bridge.sweeper.heartbeat.repair

    bridge.table.taken()
    while places[-1] != "op0":
        places.append(repair.check(places[-1]))

    assert bridge.table.taken() == {"range": len(places) - 1}
    assert len(places) > 9
    assert {place.partition(" ")[0] for place in places[1:]} == {f"op{number}" for number in range(8)}


def test_a_check_restores_a_bounded_number_of_operations_and_misses_none() -> None:
    bridge = harness()
    for number in range(100):
        bridge.register(f"operation-{number}")
    missing = forget_due_rows(bridge)
    bridge.clock.advance(LONG)
    place, most = "", 0

    for _ in range(16):
        before = len(bridge.due_keys())
        place = bridge.sweeper.heartbeat.repair.check(place)
        most = max(most, len(bridge.due_keys()) - before)

    assert len(bridge.due_keys()) == len(missing)
    assert most <= OPERATIONS_PER_CHECK


def test_the_place_of_the_next_check_is_stored_and_any_text_in_it_is_a_place() -> None:
    bridge = harness()
    bridge.register()
    bridge.sweep()
    [stored] = [row.values["checked"] for row in bridge.memory.rows("sources") if row.key == "heartbeat"]
    repair = bridge.sweeper.heartbeat.repair

    assert stored == "op1"
    assert [repair.check(place) for place in ("", "x", "op99", "op0 due:", "op0 op:zzz", "op7")] == [
        *["op1"] * 5,
        "op0",
    ]


def test_a_failed_check_ends_no_sweep() -> None:
    bridge, table = blind()
    bridge.register()
    bridge.clock.advance(LONG)
    forget_due_rows(bridge)

    table.fail(RESTORE, table.down, table.request_lost)
    for _ in range(20):
        bridge.sweep()
        bridge.clock.advance(60)

    assert bridge.due_keys() == ["poll:default:operation-1"]


def test_a_row_of_a_newer_version_is_not_touched(bridge: Harness) -> None:
    ref = bridge.register()[0]
    forget_due_rows(bridge)
    newer = Row(partition_of(ref), row_key(ref.operation), "", {"v": 99})
    bridge.memory.commit(Transaction(partition_of(ref), (Merge(newer.key, newer.values, ANY),)))
    bridge.memory.commit(
        Transaction(partition_of(ref), (Insert("op:x", {"v": 1, "due": "due:0000000000001:poll:x:y"}),))
    )

    live(bridge, 20)

    assert bridge.due_keys() == []
