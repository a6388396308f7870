"""The budget of a source over whole sweeps: what a 429 does, and what a revoked key does."""

import json

import pytest

from bridge.api.handlers import Handlers
from bridge.domain.errors import StorageUnavailable
from bridge.domain.ids import OperationRef
from bridge.domain.operation import FinalStatus
from bridge.domain.upstream import NoReply, NoToken, Reply
from bridge.storage.transaction import ANY, Merge, Row, Transaction
from tests.support.flaky import flaky
from tests.support.harness import Harness, harness
from tests.support.http import Client

UNAUTHORISED = Reply(status=401, body=b'{"error": {"code": "401", "message": "Access denied"}}')


@pytest.fixture
def slow() -> Harness:
    """Make a harness whose source may be asked once a second: ten times a sweep."""
    return harness(SPEECH_REQUESTS_PER_SECOND="1")


def register(bridge: Harness, count: int) -> None:
    """Register so many operations, a millisecond apart."""
    for number in range(count):
        bridge.register(f"operation-{number:03d}")
        bridge.clock.advance(0.001)


def asked(bridge: Harness) -> list[str]:
    """Take who was asked for since the last time."""
    taken, bridge.upstream.asked = [ref.id for ref in bridge.upstream.asked], []
    return taken


def status(bridge: Harness) -> dict[str, object]:
    """Read what the status says of the source."""
    [source] = Client.of(bridge).call(Handlers.status, "/status").body["sources"]
    return dict(source)


def test_the_oldest_and_the_newest_take_turns_and_the_rest_keeps_its_time(slow: Harness) -> None:
    """Of operations that were never asked for: ten in a sweep, and ten others in the next."""
    register(slow, 25)
    due = {slow.aggregate(f"operation-{number:03d}").operation.record.due for number in range(5, 20)}

    slow.sweep()

    first = [f"operation-{number:03d}" for number in (0, 24, 1, 23, 2, 22, 3, 21, 4, 20)]
    assert asked(slow) == first
    assert {slow.aggregate(f"operation-{number:03d}").operation.record.due for number in range(5, 20)} == due
    slow.clock.advance(10)
    slow.sweep()
    assert set(asked(slow)).isdisjoint(first)


def test_a_429_stops_the_source_at_once(slow: Harness) -> None:
    """Nobody else is asked in this sweep, nor before the time that it said; then at half the rate."""
    register(slow, 10)
    slow.upstream.tell("operation-000", Reply(status=429, retry_after="38"), "Running")

    slow.sweep()
    assert asked(slow) == ["operation-000"]
    assert slow.aggregate("operation-000").operation.record.last_error == "HTTP 429"
    for _ in range(3):
        slow.clock.advance(10)
        slow.sweep()
        assert asked(slow) == []
    slow.clock.advance(10)
    slow.sweep()

    assert len(asked(slow)) == 5
    assert status(slow)["requestsPerSecond"] == 0.5


def test_a_stop_is_remembered_by_other_instances(slow: Harness) -> None:
    """It is in the row before the sweep is over."""
    register(slow, 1)
    slow.upstream.tell("operation-000", Reply(status=429))

    slow.sweep()

    assert status(slow)["stoppedUntil"] == "2026-11-23T12:00:30.001Z"


@pytest.mark.parametrize("denial", [UNAUTHORISED, Reply(status=403), NoToken("no token: X")])
def test_a_denied_credential_pauses_the_source_and_loses_nothing(
    slow: Harness, denial: Reply | NoToken, caplog: pytest.LogCaptureFixture
) -> None:
    """For a day here: one probe a quarter of an hour, and when the key is back every operation is still there."""
    caplog.set_level("ERROR")
    register(slow, 5)
    for number in range(5):
        slow.upstream.tell(f"operation-{number:03d}", denial)
    for _ in range(6 * 60 * 26):
        slow.sweep()
        slow.clock.advance(10)

    source = status(slow)
    assert source["problem"] is not None
    assert "SPEECH_KEY" in str(source["advice"])
    assert len(asked(slow)) < 26 * 4 + 10
    assert any("source.denied" in record.message and "SPEECH_KEY" in record.message for record in caplog.records)
    for number in range(5):
        slow.upstream.tell(f"operation-{number:03d}", "Succeeded")
    for _ in range(6 * 20):
        slow.sweep()
        slow.clock.advance(10)
    final_statuses = {slow.aggregate(f"operation-{number:03d}").operation.record.final_status for number in range(5)}
    assert final_statuses == {FinalStatus.SUCCEEDED}
    assert status(slow)["problem"] is None


def test_an_operation_that_is_not_there_expires_after_ten_minutes(slow: Harness) -> None:
    """With the reason, for its receivers too."""
    register(slow, 1)
    slow.upstream.tell("operation-000", Reply(status=404, body=b'{"error": {"code": "NotFound", "message": "x"}}'))
    for _ in range(6 * 12):
        slow.sweep()
        slow.deliver_all()
        slow.clock.advance(10)

    data = json.loads(slow.sender.posted[0].body)["data"]
    assert (data["status"], data["reason"]) == ("Expired", "notFound")
    operation = slow.aggregate("operation-000").operation.record
    assert operation.last_error == "HTTP 404 (NotFound: x)"


def test_an_undocumented_status_is_logged_once(slow: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """For each value, however many operations have it."""
    register(slow, 3)
    for number in range(3):
        slow.upstream.tell(f"operation-{number:03d}", "Paused")

    for _ in range(5):
        slow.sweep()
        slow.clock.advance(20)

    assert len([record for record in caplog.records if "source.unknown-status" in record.message]) == 1


def test_a_sweep_says_what_each_source_came_to(slow: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """One line: due, asked, finished, faults, left over, rate."""
    caplog.set_level("INFO")
    register(slow, 12)
    slow.upstream.tell("operation-000", "Succeeded")
    slow.upstream.tell("operation-001", NoReply("timeout"))
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


def test_what_was_reserved_and_not_used_goes_back(slow: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time budget ended the sweep early."""
    register(slow, 10)
    fetch_operation = slow.upstream.fetch_operation

    def slowly(ref: OperationRef) -> Reply | NoReply | NoToken:
        slow.clock.advance(50)
        return fetch_operation(ref)

    monkeypatch.setattr(slow.upstream, "fetch_operation", slowly)
    slow.sweep()
    assert len(asked(slow)) == 1
    monkeypatch.setattr(slow.upstream, "fetch_operation", fetch_operation)
    slow.sweep()

    assert len(asked(slow)) == 9


def test_a_reservation_that_storage_does_not_take_asks_nobody() -> None:
    """Without it two sweeps could spend the same tokens."""
    bridge, table = flaky()
    bridge.register()
    table.instead = [table.inner.commit, table.down]

    bridge.sweep()
    assert bridge.upstream.asked == []
    bridge.sweep()
    assert len(bridge.upstream.asked) == 1


def test_a_storage_that_fails_after_a_conflict_does_not_end_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another sweep has written the row, and what it wrote cannot be read: nobody is asked, and nothing is raised."""
    bridge, table = flaky()
    bridge.register()
    table.instead = [table.inner.commit, table.conflict]  # the heartbeat goes through, the reservation does not

    def down(partition: str, key: str) -> Row | None:
        raise StorageUnavailable(f"no reply about {partition} {key}")

    monkeypatch.setattr(table.inner, "get", down)

    bridge.sweep()

    assert asked(bridge) == []
    assert bridge.due_keys() == ["poll:default:operation-1"]


def test_two_sweeps_that_meet_share_one_budget(slow: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tokens are taken under the row's ETag."""
    register(slow, 40)
    fetch_operation = slow.upstream.fetch_operation

    def meet(ref: OperationRef) -> Reply | NoReply | NoToken:
        monkeypatch.setattr(slow.upstream, "fetch_operation", fetch_operation)
        slow.sweep()
        return fetch_operation(ref)

    monkeypatch.setattr(slow.upstream, "fetch_operation", meet)
    slow.sweep()

    assert len(asked(slow)) <= 10


def test_a_row_of_a_newer_version_does_not_stop_the_asking(slow: Harness) -> None:
    """Each sweep keeps its own count then."""
    register(slow, 12)
    slow.sweep()
    slow.memory.commit(Transaction("sources", (Merge("source:default", {"v": 2}, ANY),)))
    asked(slow)
    slow.clock.advance(20)

    slow.sweep()

    assert len(asked(slow)) == 10
