"""The sweep: polls, notifications, messages and purges."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from bridge.domain.errors import Conflict, ConflictKind, StorageUnavailable
from bridge.domain.ids import OperationRef, RegistrationRef
from bridge.domain.operation import FinalStatus
from bridge.domain.registration import State
from bridge.domain.upstream import NoReply, Reply
from bridge.storage.keys import operation_partitions, partition_of, row_key
from bridge.storage.table import ANY, Delete, Insert, Merge, Transaction
from tests.support.faults import END, ENQUEUE, POLL_AGAIN, faulty
from tests.support.harness import NOON, Harness
from tests.support.poll_errors import TIMED_OUT


def in_partition(name: str, count: int) -> list[str]:
    """Return operation ids of one partition."""
    ids = (f"operation-{number}" for number in range(10_000))
    return [each for each in ids if partition_of(OperationRef("default", each)) == name][:count]


def test_one_request_serves_every_registration_of_an_operation(bridge: Harness) -> None:
    """The number of waiting callbacks is irrelevant."""
    bridge.register("operation-1", *(f"https://receiver.example.com/{number}" for number in range(5)))

    bridge.sweep()

    assert bridge.upstream.asked == [OperationRef("default", "operation-1")]


def test_a_running_operation_is_polled_again_after_the_interval(bridge: Harness) -> None:
    bridge.register()

    for _ in range(4):
        bridge.sweep()
        bridge.clock.advance(10)

    assert len(bridge.upstream.asked) == 2
    operation = bridge.aggregate().operation.record
    assert (operation.status, operation.polls) == ("Running", 2)
    assert operation.seen_running_at == NOON + timedelta(seconds=20)


@pytest.mark.parametrize(
    "reply",
    [TIMED_OUT, Reply(status=500, body=b""), Reply(status=200, body=b"<html>"), Reply(status=404, body=b"{}")],
)
def test_an_error_never_ends_an_operation(bridge: Harness, reply: Reply | NoReply) -> None:
    """The operation is polled again, and the error is visible."""
    bridge.register()
    bridge.upstream.script("operation-1", reply, "Succeeded")

    bridge.sweep()
    assert bridge.aggregate().operation.record.last_error
    bridge.clock.advance(15)
    bridge.sweep()

    operation = bridge.aggregate().operation.record
    assert (operation.final_status, operation.last_error) == (FinalStatus.SUCCEEDED, None)


def test_a_bug_with_one_operation_stops_no_other(bridge: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweep continues."""
    bridge.register("operation-1")
    bridge.register("operation-2")
    fetch_operation = bridge.upstream.fetch_operation

    def fail_for_one(ref: OperationRef) -> Reply | NoReply:
        if ref.id == "operation-1":
            raise ZeroDivisionError
        return fetch_operation(ref)

    monkeypatch.setattr(bridge.upstream, "fetch_operation", fail_for_one)
    bridge.upstream.script("operation-2", "Succeeded")

    bridge.sweep()

    assert bridge.aggregate("operation-2").operation.record.final_status is FinalStatus.SUCCEEDED
    assert "poll:default:operation-1" in bridge.due_keys()


@pytest.mark.parametrize("status", ["Succeeded", "Failed", "Canceled"])
def test_a_final_status_notifies_every_registration_with_a_matching_filter(bridge: Harness, status: str) -> None:
    """Filtered registrations get no callback."""
    wants_failures = bridge.request(url="https://failures.example.com/", events=(FinalStatus.FAILED,))
    wants_all = bridge.request()
    for request in (wants_failures, wants_all):
        bridge.registrations.register(request)
    bridge.upstream.script("operation-1", status)

    bridge.sweep()
    bridge.deliver_all()

    expected = State.DELIVERED if status == "Failed" else State.SKIPPED
    assert bridge.registration(wants_failures.ref).state is expected
    assert bridge.registration(wants_all.ref).state is State.DELIVERED


def test_an_operation_past_its_deadline_is_polled_once_more_and_expires(bridge: Harness) -> None:
    """The receivers get the event."""
    ref = bridge.register()[0]
    bridge.clock.advance(timedelta(hours=24, seconds=1))

    bridge.sweep()
    bridge.deliver_all()

    assert len(bridge.upstream.asked) == 1
    operation = bridge.aggregate().operation.record
    assert (operation.final_status, operation.reason) == (FinalStatus.EXPIRED, "deadline")
    assert bridge.registration(ref).state is State.DELIVERED
    assert bridge.sender.posted[0].body.startswith(b'{"type":"avatar.operation.expired"')


def test_a_final_status_at_the_last_poll_counts(bridge: Harness) -> None:
    """The upstream's answer overrides the deadline."""
    bridge.register()
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.clock.advance(timedelta(days=3))

    bridge.sweep()

    assert bridge.aggregate().operation.record.final_status is FinalStatus.SUCCEEDED


def test_the_most_overdue_operations_are_polled_first(bridge: Harness) -> None:
    """The partition is irrelevant."""
    for number in range(9):
        bridge.register(f"operation-{number}")
        bridge.clock.advance(1)

    bridge.sweep()

    assert [ref.id for ref in bridge.upstream.asked] == [f"operation-{number}" for number in range(9)]


def test_no_poll_is_begun_after_the_time_budget(bridge: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is due at the next sweep."""
    for number in range(9):
        bridge.register(f"operation-{number}")
    fetch_operation = bridge.upstream.fetch_operation

    def slowly(ref: OperationRef) -> Reply | NoReply:
        bridge.clock.advance(10)
        return fetch_operation(ref)

    monkeypatch.setattr(bridge.upstream, "fetch_operation", slowly)

    bridge.sweep()
    asked_first = len(bridge.upstream.asked)
    bridge.sweep()

    assert asked_first < 9
    assert {ref.id for ref in bridge.upstream.asked} == {f"operation-{number}" for number in range(9)}


def test_a_retry_is_enqueued_when_it_is_due(bridge: Harness) -> None:
    """The message is not sent earlier."""
    bridge.register()
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sender.script("https://receiver.example.com/hook", 500, 200)
    bridge.sweep()
    bridge.deliver_all()

    bridge.clock.advance(4)
    bridge.sweep()
    assert bridge.queue.tasks == []
    bridge.clock.advance(1)
    bridge.sweep()

    assert [task.number for task in bridge.queue.tasks] == [2]


def test_a_lost_message_is_sent_again_with_growing_waits(bridge: Harness) -> None:
    """Messages follow after 2, 4, 8 … minutes, at most an hour apart. Each message lives until the next one."""
    bridge.register()
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()

    sent_at = []
    for minute in range(1, 300):
        bridge.clock.now = NOON + timedelta(minutes=minute)
        before = len(bridge.queue.tasks)
        bridge.sweep()
        sent_at += [minute] * (len(bridge.queue.tasks) - before)

    assert sent_at == [2, 6, 14, 30, 62, 122, 182, 242]
    assert bridge.queue.ttls[:4] == [timedelta(minutes=minutes) for minutes in (2, 4, 8, 16)]


def test_a_due_row_without_a_registration_is_deleted(bridge: Harness) -> None:
    """Only the due row remained."""
    ref = bridge.register()[0]
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()
    bridge.queue.take()
    bridge.memory.commit(Transaction(partition_of(ref), (Delete(row_key(ref), ANY),)))

    bridge.clock.advance(180)
    bridge.sweep()

    assert bridge.queue.tasks == []
    assert bridge.due_keys() == ["purge:default:operation-1"]


def test_a_due_row_without_an_operation_is_deleted(bridge: Harness) -> None:
    """A purged operation stays purged, whatever the upstream answers."""
    for operation_id, status in (("operation-1", "Running"), ("operation-2", "Succeeded")):
        ref = bridge.register(operation_id)[0]
        bridge.upstream.script(operation_id, status)
        bridge.memory.commit(Transaction(partition_of(ref), (Delete(row_key(ref.operation), ANY),)))

    bridge.sweep()

    assert bridge.due_keys() == []


def test_a_batch_drops_a_conflicting_reschedule_and_commits_the_rest(bridge: Harness) -> None:
    """Two sweeps meet: each operation is rescheduled once, and polled once."""
    ids = in_partition("op0", 5)
    for each in ids:
        bridge.register(each)
    fetch_operation = bridge.upstream.fetch_operation
    bridge.sweep()
    bridge.clock.advance(15)
    taken = ids[2]
    operation = bridge.aggregate(taken).operation.record

    def meet(ref: OperationRef) -> Reply | NoReply:
        if ref.id == ids[0]:
            moved = (
                Delete(operation.due, ANY),
                Insert(operation.due.replace("due:1", "due:2"), {"v": 1}),
                Merge(row_key(operation.ref), {"due": operation.due.replace("due:1", "due:2")}, ANY),
            )
            bridge.memory.commit(Transaction("op0", moved))
        return fetch_operation(ref)

    bridge.upstream.fetch_operation = meet  # type: ignore[method-assign]
    bridge.sweep()

    polls = {each: bridge.aggregate(each).operation.record.polls for each in ids}
    assert polls == {each: 1 if each == taken else 2 for each in ids}
    assert bridge.aggregate(taken).operation.record.due.startswith("due:2")


def test_a_completed_operation_is_notified_even_if_its_due_row_was_lost(bridge: Harness) -> None:
    """Another sweep moved the due row while this one read the final status."""
    registered = bridge.register()[0]
    operation = bridge.aggregate().operation.record
    fetch_operation = bridge.upstream.fetch_operation

    def meet(ref: OperationRef) -> Reply | NoReply:
        later = operation.due.replace("due:1", "due:2")
        moved = (
            Delete(operation.due, ANY),
            Insert(later, {"v": 1}),
            Merge(row_key(operation.ref), {"due": later}, ANY),
        )
        bridge.memory.commit(Transaction(partition_of(registered), moved))
        return fetch_operation(ref)

    bridge.upstream.fetch_operation = meet  # type: ignore[method-assign]
    bridge.upstream.script("operation-1", "Succeeded")

    bridge.sweep()

    assert bridge.registration(registered).state is State.PENDING
    assert sorted(key.split(":")[0] for key in bridge.due_keys()) == ["deliver", "purge"]


def test_a_final_status_with_a_lost_reply_is_notified_once() -> None:
    """The commit is recognized, so the tasks are sent."""
    bridge, table = faulty()
    ref = bridge.register()[0]
    bridge.upstream.script("operation-1", "Succeeded")
    table.fail(END, table.reply_lost)

    bridge.sweep()

    assert bridge.registration(ref).state is State.PENDING
    assert bridge.deliver_all() == 1


def test_a_late_commit_of_a_final_status_sends_its_tasks() -> None:
    """The tasks are sent at once, not by the due row two minutes later."""
    bridge, table = faulty()
    bridge.register()
    bridge.upstream.script("operation-1", "Succeeded")
    table.fail(END, table.lands_late, table.late_lands_first)

    bridge.sweep()

    assert bridge.deliver_all() == 1


def test_an_expiry_does_not_end_a_new_registration(bridge: Harness) -> None:
    """The client canceled and registered again during the last poll of the old generation."""
    ref = bridge.register()[0]
    bridge.clock.advance(timedelta(hours=25))
    fetch_operation = bridge.upstream.fetch_operation

    def meet(asked: OperationRef) -> Reply | NoReply:
        bridge.upstream.fetch_operation = fetch_operation  # type: ignore[method-assign]
        bridge.registrations.cancel(ref)
        bridge.registrations.register(bridge.request())
        return fetch_operation(asked)

    bridge.upstream.fetch_operation = meet  # type: ignore[assignment,method-assign]
    bridge.sweep()

    assert bridge.registration(ref).state is State.WAITING
    assert bridge.due_keys() == ["poll:default:operation-1"]


def unreadable(bridge: Harness, ref: RegistrationRef) -> None:
    """Overwrite a row with the schema of a newer version."""
    row = bridge.memory.get(partition_of(ref), row_key(ref))
    assert row is not None
    bridge.memory.commit(Transaction(partition_of(ref), (Merge(row.key, {"v": 2}, ANY),)))


def test_a_registration_of_a_newer_version_delays_no_other(bridge: Harness) -> None:
    """The other registrations are notified. A newer version notifies the unreadable one later."""
    newer, ours = bridge.register("operation-1", "https://newer.example.com/", "https://ours.example.com/")
    unreadable(bridge, newer)
    bridge.upstream.script("operation-1", "Succeeded")

    for _ in range(60):
        bridge.sweep()
        bridge.deliver_all()
        bridge.clock.advance(10)

    assert bridge.registration(ours).state is State.DELIVERED
    assert len(bridge.sender.posted) == 1
    assert len(bridge.upstream.asked) <= 3
    assert bridge.due_keys() == ["poll:default:operation-1"]
    bridge.memory.commit(Transaction(partition_of(newer), (Merge(row_key(newer), {"v": 1}, ANY),)))
    for _ in range(60):
        bridge.sweep()
        bridge.deliver_all()
        bridge.clock.advance(10)
    assert bridge.registration(newer).state is State.DELIVERED


def test_an_operation_of_a_newer_version_is_left_to_it(bridge: Harness) -> None:
    """The operation is polled from time to time. No final status overwrites the row."""
    ref = bridge.register()[0]
    bridge.memory.commit(Transaction(partition_of(ref), (Merge(row_key(ref.operation), {"v": 2}, ANY),)))
    bridge.upstream.script("operation-1", "Succeeded")

    for _ in range(60):
        bridge.sweep()
        bridge.clock.advance(10)

    assert len(bridge.upstream.asked) <= 3
    assert bridge.due_keys() == ["poll:default:operation-1"]
    bridge.memory.commit(Transaction(partition_of(ref), (Merge(row_key(ref.operation), {"v": 1}, ANY),)))
    bridge.clock.advance(timedelta(minutes=10))
    bridge.sweep()
    assert bridge.registration(ref).state is State.PENDING


def test_no_message_is_sent_after_the_time_budget() -> None:
    """The rest is due at the next sweep. Messages of rows that moved earlier were sent."""
    bridge, table = faulty()
    for number in range(64):
        bridge.register(f"operation-{number}")
        bridge.upstream.script(f"operation-{number}", "Succeeded")
    bridge.sweep()
    bridge.queue.take()
    bridge.clock.advance(180)

    def slowly(transaction: Transaction) -> Mapping[str, str]:
        bridge.clock.advance(20)
        return table.inner.commit(transaction)

    table.keep_failing(ENQUEUE, slowly)
    began = bridge.clock()
    bridge.sweep()

    assert bridge.clock() - began <= timedelta(seconds=65)
    sent_at_once = len(bridge.queue.tasks)
    assert 0 < sent_at_once < 64
    table.mend()
    bridge.sweep()
    assert len(bridge.queue.tasks) == 64


def test_an_uncommitted_final_status_is_read_again() -> None:
    """The due row still exists."""
    bridge, table = faulty()
    bridge.register()
    bridge.upstream.script("operation-1", "Succeeded")
    table.fail(END, table.down)

    bridge.sweep()
    assert bridge.due_keys() == ["poll:default:operation-1"]
    bridge.sweep()

    assert bridge.deliver_all() == 1


def test_a_rejected_batch_is_committed_one_by_one() -> None:
    """One bad row does not delay the others."""
    bridge, table = faulty()
    ids = in_partition("op0", 3)
    for each in ids:
        bridge.register(each)
    table.fail(POLL_AGAIN, table.down, table.inner.commit, table.down, table.inner.commit)

    bridge.sweep()

    assert sorted(bridge.aggregate(each).operation.record.polls for each in ids) == [0, 1, 1]


def test_a_batch_with_an_unknown_conflict_is_committed_one_by_one() -> None:
    """Otherwise, a row of another writer could be dropped."""
    bridge, table = faulty()
    ids = in_partition("op0", 3)
    for each in ids:
        bridge.register(each)

    def nameless(_: Transaction) -> dict[str, str]:
        raise Conflict(ConflictKind.STALE, None)

    table.fail(POLL_AGAIN, nameless)

    bridge.sweep()

    assert [bridge.aggregate(each).operation.record.polls for each in ids] == [1, 1, 1]


def test_a_partition_that_cannot_be_read_delays_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The partition is due again at the next sweep."""
    bridge, table = faulty()
    ids = [*in_partition("op0", 1), *in_partition("op1", 1)]
    for each in ids:
        bridge.register(each)
    read = table.inner.range

    def sometimes(partition: str, *arguments: str, **options: object) -> object:
        if partition == "op0":
            raise StorageUnavailable("down")
        return read(partition, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(table.inner, "range", sometimes)

    bridge.sweep()

    assert [ref.id for ref in bridge.upstream.asked] == [ids[1]]


def test_unreadable_due_rows_are_skipped(bridge: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """The log has a line, and the sweep continues."""
    bridge.register()
    unreadable = [
        Insert("due:0000000000001:poll:default:operation-9", {"v": 99}),
        Insert("due:0000000000001:poll:default:operation-8", {"v": 1}),
        Insert("due:0000000000001:party:default:operation-7", {"v": 1}),
        Insert("due:0000000000001", {"v": 1}),
        Insert("due:0000000000001:deliver:nonsense", {}),
    ]
    bridge.memory.commit(Transaction("op3", tuple(unreadable)))

    bridge.sweep()

    assert [ref.id for ref in bridge.upstream.asked] == ["operation-1"]
    assert len([record for record in caplog.records if "row.unreadable" in record.message]) == len(unreadable)
    assert len([row for row in bridge.memory.rows("op3") if row.key.startswith("due:00")]) == len(unreadable)


@pytest.mark.parametrize(
    ("kind", "columns"),
    [
        ("due:", {"absences": -9}),
        ("op:", {"metadata": "{"}),
    ],
)
def test_an_operation_with_invalid_rows_delays_no_other(
    bridge: Harness, kind: str, columns: dict[str, str | int], caplog: pytest.LogCaptureFixture
) -> None:
    """The poll fails with a log line and is repeated later. Other operations continue."""
    bridge.register("operation-1")
    unreadable = [row for row in bridge.memory.rows() if row.key.startswith(kind) and not row.key.endswith(":")]
    for row in unreadable:
        bridge.memory.commit(Transaction(row.partition, (Merge(row.key, columns, ANY),)))
    ours = bridge.register("operation-2", "https://ours.example.com/")[0]
    bridge.upstream.script("operation-1", Reply(status=404) if "absences" in columns else "Succeeded")
    bridge.upstream.script("operation-2", "Succeeded")

    bridge.sweep()
    bridge.deliver_all()

    assert bridge.registration(ours).state is State.DELIVERED
    assert len([record for record in caplog.records if "app.failed" in record.message]) == 1
    assert "poll:default:operation-1" in bridge.due_keys()


def test_a_purge_with_invalid_rows_delays_no_other(bridge: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """The stored end is the end of time. The other operation is purged."""
    ids = ["operation-1", "operation-2"]
    refs = [bridge.register(each)[0] for each in ids]
    for each in ids:
        bridge.upstream.script(each, "Succeeded")
    bridge.sweep()
    bridge.deliver_all()
    end_of_time = {"since": datetime.max.replace(tzinfo=UTC)}
    bridge.memory.commit(Transaction(partition_of(refs[0]), (Merge(row_key(refs[0]), end_of_time, ANY),)))
    bridge.clock.advance(timedelta(days=31))

    bridge.sweep()

    assert bridge.due_keys() == ["purge:default:operation-1"]
    assert "app.failed" in caplog.text


def test_an_old_operation_is_purged_with_all_its_rows(bridge: Harness) -> None:
    """Thirty days after the end, only the heartbeat remains."""
    bridge.register("operation-1", "https://one.example.com/", "https://two.example.com/")
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()
    bridge.deliver_all()

    bridge.clock.advance(timedelta(days=30, seconds=1))
    bridge.sweep()

    assert [row.key for row in bridge.memory.rows()] == ["heartbeat", "source:default"]


def test_more_attempts_than_fit_in_a_transaction_are_purged_too(bridge: Harness) -> None:
    """Attempts are deleted in chunks before their registration."""
    ref = bridge.register()[0]
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()
    for _ in range(120):
        bridge.deliver_all()
        bridge.registrations.redeliver(ref)
    bridge.deliver_all()

    bridge.clock.advance(timedelta(days=31))
    bridge.sweep()

    assert [row.key for row in bridge.memory.rows()] == ["heartbeat", "source:default"]


def test_an_operation_with_a_live_delivery_is_kept(bridge: Harness) -> None:
    """The age is irrelevant."""
    ref = bridge.register()[0]
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()
    bridge.deliver_all()
    bridge.clock.advance(timedelta(days=29, hours=23))
    bridge.registrations.redeliver(ref)
    bridge.clock.advance(timedelta(hours=2))

    bridge.sweep()

    assert bridge.registration(ref).state is State.PENDING
    assert "purge:default:operation-1" in bridge.due_keys()


def test_a_late_redelivery_is_kept_for_its_own_retention(bridge: Harness) -> None:
    """The retention counts from the end of the redelivery, not from the end of the operation."""
    ref = bridge.register()[0]
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()
    bridge.deliver_all()
    bridge.clock.advance(timedelta(days=29))
    bridge.registrations.redeliver(ref)
    bridge.deliver_all()

    bridge.clock.advance(timedelta(days=2))
    bridge.sweep()
    assert bridge.registration(ref).state is State.DELIVERED
    bridge.clock.advance(timedelta(days=29))
    bridge.sweep()

    assert [row.key for row in bridge.memory.rows()] == ["heartbeat", "source:default"]


def test_the_heartbeat_is_written_once_a_minute(bridge: Harness) -> None:
    """An idle bridge is therefore cheap."""
    writes = 0
    for _ in range(30):
        bridge.sweep()
        writes += bridge.table.taken()["commit"]
        bridge.clock.advance(10)

    assert writes == 5


def test_an_unknown_outcome_of_a_batch_is_left_to_the_next_sweep() -> None:
    """The commit may have succeeded. The worst case is another poll."""
    bridge, table = faulty()
    bridge.register()
    table.fail(POLL_AGAIN, table.request_lost)

    bridge.sweep()
    bridge.sweep()

    assert len(bridge.upstream.asked) == 2
    assert bridge.aggregate().operation.record.polls == 1


def test_every_partition_is_swept(bridge: Harness) -> None:
    """Each partition has operations."""
    ids = [f"operation-{number}" for number in range(64)]
    refs: list[RegistrationRef] = []
    for each in ids:
        refs += bridge.register(each)
    assert {partition_of(ref) for ref in refs} == set(operation_partitions())

    bridge.sweep()

    assert {ref.id for ref in bridge.upstream.asked} == set(ids)
