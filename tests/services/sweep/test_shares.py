"""Fairness of sweeps: a bad source, operation or owner does not affect the others."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from bridge.app import compose
from bridge.domain.ids import OperationRef, RegistrationRef
from bridge.domain.operation import FinalStatus
from bridge.domain.registration import State
from bridge.domain.upstream import NoReply, Reply
from bridge.services.sweep import due_reader
from bridge.storage.keys import partition_of, row_key
from bridge.storage.table import Insert, Transaction
from tests.support.faults import BUDGET, faulty
from tests.support.harness import Harness, harness
from tests.support.log_lines import lines_of
from tests.support.poll_errors import NO_SOURCE, TIMED_OUT, UNRESOLVED

SECOND = json.dumps([{"name": "second", "endpoint": "https://second.example.com", "path": "avatar"}])
DENIED = Reply(status=401)


def ids_of(partition: str, count: int, *, source: str = "default", prefix: str = "operation") -> list[str]:
    found = (f"{prefix}-{number}" for number in range(100_000))
    return [next(each for each in found if partition_of(OperationRef(source, each)) == partition) for _ in range(count)]


def register(bridge: Harness, operation_id: str, *, source: str = "default", owner: str = "shared") -> RegistrationRef:
    request = bridge.request(operation_id)
    ref = RegistrationRef.of(OperationRef(source, operation_id), owner=owner, callback_url=request.callback_url)
    bridge.registrations.register(replace(request, ref=ref, owner=owner))
    return ref


def asked(bridge: Harness) -> list[str]:
    taken, bridge.upstream.asked = [ref.id for ref in bridge.upstream.asked], []
    return taken


def sweeps(bridge: Harness, count: int) -> None:
    for _ in range(count):
        bridge.sweep()
        bridge.clock.advance(10)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make pages of due rows small, so that a few rows fill one."""
    monkeypatch.setattr(due_reader, "ROWS_PER_PARTITION", 20)
    monkeypatch.setattr(due_reader, "_LEAST_ROOM", 5)


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("rows", [20, 21, 150])
@pytest.mark.parametrize("refusal", [DENIED, Reply(status=429, retry_after="3600"), TIMED_OUT])
def test_rows_of_a_paused_source_do_not_delay_others(rows: int, refusal: Reply | NoReply) -> None:
    bridge = harness(BRIDGE_SOURCES=SECOND)
    for each in ids_of("op0", rows):
        bridge.upstream.script(each, refusal)
        bridge.register(each)
    sweeps(bridge, 3)
    [other] = ids_of("op0", 1, source="second", prefix="other")
    asked(bridge)
    register(bridge, other, source="second")

    bridge.sweep()

    assert other in asked(bridge)


@pytest.mark.usefixtures("small_pages")
def test_postponed_rows_are_polled_after_the_pause_of_their_source() -> None:
    bridge = harness(BRIDGE_SOURCES=SECOND)
    refs = ids_of("op0", 60)
    for each in refs:
        bridge.upstream.script(each, DENIED)
        bridge.register(each)

    sweeps(bridge, 3)
    for each in refs:
        bridge.upstream.script(each, "Succeeded")
    postponed = [bridge.aggregate(each).operation.record.due for each in refs]
    assert len({due for due in postponed if due in {row.key for row in bridge.memory.rows("op0")}}) == len(refs)
    sweeps(bridge, 6 * 20)

    assert {bridge.aggregate(each).operation.record.final_status for each in refs} == {FinalStatus.SUCCEEDED}


@pytest.mark.usefixtures("small_pages")
def test_rows_of_a_slow_source_do_not_delay_others() -> None:
    bridge = harness(BRIDGE_SOURCES=SECOND, SPEECH_REQUESTS_PER_SECOND="0.1")
    for each in ids_of("op0", 60):
        bridge.register(each)
    [other] = ids_of("op0", 1, source="second", prefix="other")
    bridge.clock.advance(1)
    register(bridge, other, source="second")

    bridge.sweep()

    assert other in asked(bridge)


@pytest.mark.usefixtures("small_pages")
def test_foreign_rows_do_not_delay_others() -> None:
    bridge = harness()
    unreadable = [Insert(f"due:{number:013d}:poll:default:operation-{number}", {"v": 99}) for number in range(60)]
    bridge.memory.commit(Transaction("op0", tuple(unreadable)))
    [ours] = ids_of("op0", 1)
    bridge.register(ours)

    bridge.sweep()

    assert asked(bridge) == [ours]


@pytest.mark.usefixtures("small_pages")
def test_purges_do_not_delay_polls() -> None:
    bridge = harness()
    for each in ids_of("op0", 60):
        bridge.upstream.script(each, "Succeeded")
        bridge.register(each)
    sweeps(bridge, 60)
    bridge.deliver_all()
    assert {key.split(":")[0] for key in bridge.due_keys()} == {"purge"}
    bridge.clock.advance(timedelta(days=31))
    [ours] = ids_of("op0", 1, prefix="other")
    asked(bridge)
    bridge.register(ours)

    bridge.sweep()

    assert asked(bridge) == [ours]


@pytest.mark.usefixtures("small_pages")
def test_deliveries_do_not_wait_for_polls() -> None:
    bridge = harness()
    [ended] = ids_of("op0", 1, prefix="ended")
    bridge.upstream.script(ended, "Succeeded")
    bridge.sender.script("https://receiver.example.com/hook", 500, 200)
    bridge.register(ended)
    bridge.sweep()
    for each in ids_of("op0", 150):
        bridge.upstream.script(each, DENIED)
        bridge.register(each)
    bridge.deliver_all()
    bridge.clock.advance(5)

    bridge.sweep()

    assert bridge.deliver_all() == 1
    assert bridge.aggregate(ended).operation.record.final_status is FinalStatus.SUCCEEDED


def test_a_delivery_that_falls_due_while_polls_run_is_sent_before_they_end() -> None:
    bridge = harness()
    bridge.upstream.script("ended", "Succeeded")
    bridge.sender.script("https://receiver.example.com/hook", 500, 200)
    bridge.register("ended")
    bridge.sweep()
    bridge.deliver_all()
    for number in range(3):
        bridge.register(f"operation-{number}")
    fetch_operation, sent = bridge.upstream.fetch_operation, []

    def slowly(ref: OperationRef) -> Reply | NoReply:
        sent.append(len(bridge.queue.tasks))
        bridge.clock.advance(14)
        return fetch_operation(ref)

    bridge.upstream.fetch_operation = slowly  # type: ignore[method-assign]
    bridge.clock.advance(1)
    bridge.sweep()

    assert sent == [0, 1, 1]


def with_threads(bridge: Harness, pool: ThreadPoolExecutor) -> None:
    """Recreate the bridge with a thread pool for sweeps."""
    bridge.bridge = compose(
        bridge.settings, replace(bridge.dependencies, pools=replace(bridge.dependencies.pools, sweep=pool))
    )


def test_a_source_that_hangs_leaves_threads_to_the_others() -> None:
    """The healthy source is polled while all threads of the silent source wait."""
    bridge = harness(BRIDGE_SOURCES=SECOND, BRIDGE_SWEEP_THREADS="4")
    for number in range(40):
        bridge.register(f"silent-{number}")
    for number in range(5):
        register(bridge, f"healthy-{number}", source="second")
    fetch_operation, left = bridge.upstream.fetch_operation, threading.Semaphore(0)

    def hang(ref: OperationRef) -> Reply | NoReply:
        if ref.source == "default":
            assert left.acquire(timeout=60)
            left.release()
            return TIMED_OUT
        answer = fetch_operation(ref)
        if [each.source for each in bridge.upstream.asked].count("second") == 5:
            left.release()  # only now does a silent operation get its answer
        return answer

    bridge.upstream.fetch_operation = hang  # type: ignore[method-assign]
    with ThreadPoolExecutor(4) as pool:
        with_threads(bridge, pool)
        bridge.sweep()

    assert sorted(asked(bridge)) == [f"healthy-{number}" for number in range(5)]


def test_a_source_that_never_answers_is_probed_by_one_at_a_time(caplog: pytest.LogCaptureFixture) -> None:
    """After ten errors in a row, a probe follows after 15 s, 30 s and then each minute.

    Polls resume after the first answer.
    """
    bridge = harness()
    for number in range(40):
        bridge.upstream.script(f"operation-{number}", TIMED_OUT)
        bridge.register(f"operation-{number}")

    bridge.sweep()
    first = len(asked(bridge))
    counts = []
    for _ in range(12):
        bridge.clock.advance(10)
        bridge.sweep()
        counts.append(len(asked(bridge)))
    for number in range(40):
        bridge.upstream.script(f"operation-{number}", "Succeeded")
    sweeps(bridge, 8)

    assert first == 10
    assert counts == [0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0]
    assert len(set(asked(bridge))) == 40
    assert "source.unreachable" not in caplog.text  # reported only after three minutes


def test_the_probe_of_a_silent_source_is_an_operation_that_met_no_fault() -> None:
    """Twelve operations always fail. A new one shows that the source answers."""
    bridge = harness()
    for number in range(12):
        bridge.upstream.script(f"bad-{number}", Reply(status=500))
        bridge.register(f"bad-{number}")
    sweeps(bridge, 1)
    bridge.upstream.script("good", "Succeeded")
    bridge.register("good")

    sweeps(bridge, 7)

    assert bridge.aggregate("good").operation.record.final_status is FinalStatus.SUCCEEDED


REFUSALS = [
    Reply(status=429),
    Reply(status=429, retry_after="5"),
    Reply(status=503, retry_after="5"),
    Reply(status=403),
    Reply(status=401),
]


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("bad", [1, 3])
def test_a_rejection_of_some_operations_does_not_affect_the_others(refusal: Reply, bad: int) -> None:
    """From the third minute on, the rejection counts for the operation only. The first one counts for the source."""
    bridge = harness()
    for number in range(bad):
        bridge.upstream.script(f"bad-{number}", refusal)
        bridge.register(f"bad-{number}")
    for number in range(18 * bad):
        bridge.upstream.script(f"early-{number}", "Succeeded")
        bridge.register(f"early-{number}")
        sweeps(bridge, 1)
    late = []
    for number in range(40):
        bridge.upstream.script(f"late-{number}", "Succeeded")
        bridge.register(f"late-{number}")
        sweeps(bridge, 1)
        late.append(bridge.aggregate(f"late-{number}").operation.record.final_status)

    assert late == [FinalStatus.SUCCEEDED] * 40


@pytest.mark.parametrize("refusal", REFUSALS)
def test_an_operation_that_is_always_rejected_expires_at_its_deadline(refusal: Reply) -> None:
    bridge = harness(BRIDGE_OPERATION_DEADLINE="1h")
    bridge.upstream.script("bad", refusal)
    ref = register(bridge, "bad")
    for number in range(6 * 65):
        bridge.upstream.script(f"good-{number}", "Succeeded")
        bridge.register(f"good-{number}")
        sweeps(bridge, 1)

    operation = bridge.aggregate("bad").operation.record
    assert (operation.final_status, operation.reason) == (FinalStatus.EXPIRED, "deadline")
    assert operation.polls < 15
    assert bridge.registration(ref).state is State.PENDING


def test_after_a_pause_another_operation_is_the_probe() -> None:
    bridge = harness()
    bridge.upstream.script("bad", Reply(status=403))
    bridge.register("bad")
    bridge.sweep()
    bridge.upstream.script("good", "Succeeded")
    bridge.register("good")
    asked(bridge)
    bridge.clock.advance(60)

    bridge.sweep()

    assert asked(bridge) == ["good"]


def test_a_general_throttling_still_pauses_the_source() -> None:
    """The first 429 of each operation counts for the source, so no poll is made until the pause ends."""
    bridge = harness()
    for number in range(5):
        bridge.upstream.script(f"operation-{number}", Reply(status=429, retry_after="60"), "Running")
        bridge.register(f"operation-{number}")

    bridge.sweep()
    bridge.clock.advance(30)
    bridge.sweep()

    assert len(asked(bridge)) == 1


def test_owners_share_the_polls_of_a_source() -> None:
    """Five of ten polls in a sweep are for the owner with few operations."""
    bridge = harness(SPEECH_REQUESTS_PER_SECOND="1")
    for number in range(200):
        register(bridge, f"many-{number}", owner="many")
        bridge.clock.advance(1)
    for number in range(5):
        register(bridge, f"few-{number}", owner="few")

    bridge.sweep()

    polled = asked(bridge)
    assert len(polled) == 10
    assert len([each for each in polled if each.startswith("few")]) == 5


def test_owners_take_turns_over_sweeps_if_a_sweep_has_one_poll() -> None:
    bridge = harness(SPEECH_REQUESTS_PER_SECOND="0.1")
    for number in range(30):
        register(bridge, f"many-{number}", owner="many")
    for owner in ("a", "z"):
        register(bridge, f"one-{owner}", owner=owner)
    bridge.clock.advance(10)

    polled = []
    for _ in range(3):
        bridge.sweep()
        polled += [each.split("-")[1] if each.startswith("one") else "many" for each in asked(bridge)]
        bridge.clock.advance(10)

    assert sorted(polled) == ["a", "many", "z"]


def test_operations_that_were_never_found_go_last() -> None:
    bridge = harness(SPEECH_REQUESTS_PER_SECOND="1")
    for number in range(10):
        bridge.upstream.script(f"missing-{number}", Reply(status=404))
        bridge.register(f"missing-{number}")
    bridge.sweep()
    bridge.clock.advance(20)
    for number in range(10):
        bridge.register(f"new-{number}")
    asked(bridge)

    bridge.sweep()

    assert sorted(asked(bridge)) == [f"new-{number}" for number in range(10)]


def test_a_pause_that_could_not_be_stored_is_stored_later() -> None:
    bridge, table = faulty()
    bridge.register()
    bridge.upstream.script("operation-1", Reply(status=429, retry_after="3600"), "Running")
    table.fail(BUDGET, table.inner.commit, *[table.down] * 4)  # the reservation succeeds

    bridge.sweep()
    table.mend()
    bridge.register("operation-2")
    sweeps(bridge, 30)

    assert [ref.id for ref in bridge.upstream.asked] == ["operation-1"]


def test_a_source_that_only_fails_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    bridge = harness()
    bridge.upstream.script("operation-1", UNRESOLVED)
    bridge.register()

    sweeps(bridge, 6 * 10)

    lines = [line for line in lines_of(caplog) if line["event"] == "source.unreachable"]
    assert len(lines) == 1
    assert lines[0]["source"] == "default"
    assert lines[0]["error"] == "dns_failed"
    assert "SPEECH_ENDPOINT" in str(lines[0]["advice"])


@pytest.mark.parametrize("fault", [TIMED_OUT, Reply(status=500), Reply(status=502), Reply(status=200)])
def test_no_operation_expires_while_its_source_is_silent(fault: Reply | NoReply) -> None:
    """The pause lasts for days past the deadline. Then the upstream's answer counts."""
    bridge = harness(BRIDGE_OPERATION_DEADLINE="1h")
    bridge.upstream.script("operation-1", fault)
    bridge.register()
    for _ in range(24 * 12 * 3):
        bridge.sweep()
        bridge.clock.advance(300)
    assert bridge.aggregate().operation.record.final_status is None

    bridge.upstream.script("operation-1", "Succeeded")
    sweeps(bridge, 40)

    assert bridge.aggregate().operation.record.final_status is FinalStatus.SUCCEEDED


def test_an_operation_of_a_source_that_was_removed_expires() -> None:
    bridge = harness(BRIDGE_SOURCES=SECOND, BRIDGE_OPERATION_DEADLINE="1h")
    ref = register(bridge, "operation-1", source="second")
    bridge.restart(BRIDGE_OPERATION_DEADLINE="1h")
    bridge.upstream.script("operation-1", NO_SOURCE)
    for _ in range(40):
        bridge.sweep()
        bridge.clock.advance(300)

    [row] = [row for row in bridge.memory.rows() if row.key == row_key(ref.operation)]
    assert row.values["final_status"] == "Expired"
