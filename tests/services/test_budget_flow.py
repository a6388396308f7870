"""The budget of a source over whole sweeps: the effects of a 429 and of a revoked key."""

import json

import pytest

from bridge.api.handlers import Handlers
from bridge.domain.errors import StorageUnavailable
from bridge.domain.ids import OperationRef
from bridge.domain.operation import FinalStatus, PollError, PollErrorKind
from bridge.domain.upstream import NoReply, Reply
from bridge.storage.table import ANY, Merge, Row, Transaction
from tests.support.faults import BUDGET, faulty
from tests.support.harness import Harness, harness
from tests.support.http import Client
from tests.support.poll_errors import NO_TOKEN, TIMED_OUT, http_error

UNAUTHORISED = Reply(status=401, body=b'{"error": {"code": "401", "message": "Access denied"}}')


@pytest.fixture
def slow() -> Harness:
    """Return a harness with a source that permits one request a second, so ten per sweep."""
    return harness(SPEECH_REQUESTS_PER_SECOND="1")


def register(bridge: Harness, count: int) -> None:
    """Register operations, a millisecond apart."""
    for number in range(count):
        bridge.register(f"operation-{number:03d}")
        bridge.clock.advance(0.001)


def asked(bridge: Harness) -> list[str]:
    """Return the polled operations since the last call."""
    taken, bridge.upstream.asked = [ref.id for ref in bridge.upstream.asked], []
    return taken


def status(bridge: Harness) -> dict[str, object]:
    """Return the source's part of the status."""
    [source] = Client.of(bridge).call(Handlers.status, "/status").body["sources"]
    return dict(source)


def test_the_oldest_and_the_newest_operations_alternate_and_the_rest_stays_due(slow: Harness) -> None:
    """Of new operations, one sweep polls ten and the next sweep ten others."""
    register(slow, 25)
    due = {slow.aggregate(f"operation-{number:03d}").operation.record.due for number in range(5, 20)}

    slow.sweep()

    first = [f"operation-{number:03d}" for number in (0, 24, 1, 23, 2, 22, 3, 21, 4, 20)]
    assert asked(slow) == first
    assert {slow.aggregate(f"operation-{number:03d}").operation.record.due for number in range(5, 20)} == due
    slow.clock.advance(10)
    slow.sweep()
    assert set(asked(slow)).isdisjoint(first)


def test_a_429_pauses_the_source_at_once(slow: Harness) -> None:
    """No further poll is made in this sweep, nor before the time of the answer. Then the rate is halved."""
    register(slow, 10)
    slow.upstream.script("operation-000", Reply(status=429, retry_after="38"), "Running")

    slow.sweep()
    assert asked(slow) == ["operation-000"]
    assert slow.aggregate("operation-000").operation.record.last_error == http_error(429)
    for _ in range(3):
        slow.clock.advance(10)
        slow.sweep()
        assert asked(slow) == []
    slow.clock.advance(10)
    slow.sweep()

    assert len(asked(slow)) == 5
    assert status(slow)["requestsPerSecond"] == 0.5


def test_a_pause_applies_to_other_instances(slow: Harness) -> None:
    """The pause is stored before the sweep ends."""
    register(slow, 1)
    slow.upstream.script("operation-000", Reply(status=429))

    slow.sweep()

    assert status(slow)["stoppedUntil"] == "2026-11-23T12:00:30.001Z"


@pytest.mark.parametrize("denial", [UNAUTHORISED, Reply(status=403), NO_TOKEN])
def test_a_rejected_credential_pauses_the_source_without_loss(
    slow: Harness, denial: Reply, caplog: pytest.LogCaptureFixture
) -> None:
    """The credential is invalid for a day, with one probe every quarter of an hour.

    Afterwards, every operation still exists.
    """
    caplog.set_level("ERROR")
    register(slow, 5)
    for number in range(5):
        slow.upstream.script(f"operation-{number:03d}", denial)
    for _ in range(6 * 60 * 26):
        slow.sweep()
        slow.clock.advance(10)

    source = status(slow)
    assert source["problem"] is not None
    assert "SPEECH_KEY" in str(source["advice"])
    assert len(asked(slow)) < 26 * 4 + 10
    assert any("source.denied" in record.message and "SPEECH_KEY" in record.message for record in caplog.records)
    for number in range(5):
        slow.upstream.script(f"operation-{number:03d}", "Succeeded")
    for _ in range(6 * 20):
        slow.sweep()
        slow.clock.advance(10)
    final_statuses = {slow.aggregate(f"operation-{number:03d}").operation.record.final_status for number in range(5)}
    assert final_statuses == {FinalStatus.SUCCEEDED}
    assert status(slow)["problem"] is None


def test_an_unknown_operation_expires_after_ten_minutes(slow: Harness) -> None:
    """The receivers get the reason too."""
    register(slow, 1)
    slow.upstream.script("operation-000", Reply(status=404, body=b'{"error": {"code": "NotFound", "message": "x"}}'))
    for _ in range(6 * 12):
        slow.sweep()
        slow.deliver_all()
        slow.clock.advance(10)

    data = json.loads(slow.sender.posted[0].body)["data"]
    assert (data["status"], data["reason"]) == ("Expired", "notFound")
    operation = slow.aggregate("operation-000").operation.record
    assert operation.last_error == PollError(PollErrorKind.NOT_FOUND, "HTTP 404 (NotFound: x)")


def test_an_undocumented_status_is_logged_once(slow: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """One line per value, for any number of operations."""
    register(slow, 3)
    for number in range(3):
        slow.upstream.script(f"operation-{number:03d}", "Paused")

    for _ in range(5):
        slow.sweep()
        slow.clock.advance(20)

    assert len([record for record in caplog.records if "source.unknown-status" in record.message]) == 1


def test_a_sweep_logs_the_result_of_each_source(slow: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """The line has the counts of due, polled and finished operations, errors, the rest, and the rate."""
    caplog.set_level("INFO")
    register(slow, 12)
    slow.upstream.script("operation-000", "Succeeded")
    slow.upstream.script("operation-001", TIMED_OUT)
    caplog.clear()

    slow.sweep()

    [line] = [json.loads(record.message) for record in caplog.records if "source.polled" in record.message]
    assert {name: line[name] for name in ("source", "due", "asked", "finished", "faults", "left", "rate")} == {
        "source": "default",
        "due": 12,
        "asked": 10,
        "finished": 1,
        "faults": 1,
        "left": 2,
        "rate": 1.0,
    }


def test_unused_reserved_tokens_are_returned(slow: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweep's time limit ended the sweep early."""
    register(slow, 10)
    fetch_operation = slow.upstream.fetch_operation

    def slowly(ref: OperationRef) -> Reply | NoReply:
        slow.clock.advance(50)
        return fetch_operation(ref)

    monkeypatch.setattr(slow.upstream, "fetch_operation", slowly)
    slow.sweep()
    assert len(asked(slow)) == 1
    monkeypatch.setattr(slow.upstream, "fetch_operation", fetch_operation)
    slow.sweep()

    assert len(asked(slow)) == 9


def test_a_failed_reservation_prevents_polls() -> None:
    """Without the reservation, two sweeps could use the same tokens."""
    bridge, table = faulty()
    bridge.register()
    table.fail(BUDGET, table.down)

    bridge.sweep()
    assert bridge.upstream.asked == []
    bridge.sweep()
    assert len(bridge.upstream.asked) == 1


def test_a_storage_that_fails_after_a_conflict_does_not_end_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another sweep wrote the row, which cannot be read. No poll is made and no error is raised."""
    bridge, table = faulty()
    bridge.register()
    table.fail(BUDGET, table.conflict)

    def down(partition: str, key: str) -> Row | None:
        raise StorageUnavailable(f"no reply about {partition} {key}")

    monkeypatch.setattr(table.inner, "get", down)

    bridge.sweep()

    assert asked(bridge) == []
    assert bridge.due_keys() == ["poll:default:operation-1"]


def test_two_sweeps_that_meet_share_one_budget(slow: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reservation checks the row's ETag."""
    register(slow, 40)
    fetch_operation = slow.upstream.fetch_operation

    def meet(ref: OperationRef) -> Reply | NoReply:
        monkeypatch.setattr(slow.upstream, "fetch_operation", fetch_operation)
        slow.sweep()
        return fetch_operation(ref)

    monkeypatch.setattr(slow.upstream, "fetch_operation", meet)
    slow.sweep()

    assert len(asked(slow)) <= 10


def test_a_row_of_a_newer_version_does_not_stop_the_polls(slow: Harness) -> None:
    """Each sweep then uses a budget in memory."""
    register(slow, 12)
    slow.sweep()
    slow.memory.commit(Transaction("sources", (Merge("source:default", {"v": 2}, ANY),)))
    asked(slow)
    slow.clock.advance(20)

    slow.sweep()

    assert len(asked(slow)) == 10
