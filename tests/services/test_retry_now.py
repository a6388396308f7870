"""A client orders the next attempt of a pending run at once."""

from dataclasses import replace
from datetime import datetime, timedelta
from http import HTTPStatus

import pytest

from bridge.api.handlers import Handlers
from bridge.domain.delivery import LEASE, REDISPATCH, RESEND_AFTER, DeliveryTask
from bridge.domain.errors import StorageUnavailable
from bridge.domain.host_limits import FAILURES_TO_OPEN
from bridge.domain.ids import RegistrationRef
from bridge.domain.outcome import Failure, Outcome, Unreachable
from bridge.domain.registration import RUNS_AN_HOUR, DeferredBy, State
from bridge.domain.retry import ATTEMPTS_PER_RUN, SCHEDULE, DeadReason
from bridge.log import Event
from bridge.services.registrations import Accepted, TooManyRuns
from bridge.storage.keys import due_at, partition_of
from bridge.storage.table import ANY, Delete, Transaction
from tests.support.faults import CHANGE, faulty
from tests.support.harness import Harness
from tests.support.http import Answer, Client
from tests.support.log_lines import lines_of

HOST = "https://receiver.example.com"
HOOK = f"{HOST}/hook"
SILENT = Unreachable(error=Failure.TIMEOUT, address="203.0.113.7")


def failed(
    bridge: Harness, *outcomes: int | Outcome, operation_id: str = "operation-1", url: str = HOOK
) -> RegistrationRef:
    """Bring a registration behind its first attempts, which have these outcomes. By default one answer is 500."""
    bridge.sender.script(url, *(outcomes or (500,)))
    bridge.upstream.script(operation_id, "Succeeded")
    [ref] = bridge.register(operation_id, url)
    bridge.sweep()
    bridge.deliver_all()
    assert bridge.registration(ref).state is State.PENDING
    return ref


def open_circuit(bridge: Harness) -> None:
    """Let attempts at the host fail until its circuit opens."""
    for number in range(FAILURES_TO_OPEN):
        failed(bridge, SILENT, operation_id=f"failing-{number}", url=f"{HOST}/{number}")
    bridge.sender.posted.clear()


def deferred_by_circuit(bridge: Harness) -> RegistrationRef:
    """Bring a registration behind an open circuit, which has deferred its first attempt."""
    open_circuit(bridge)
    bridge.clock.advance(1)
    ref = failed(bridge, 200)
    held = bridge.registration(ref)
    assert (held.last_attempt, held.deferred_by) == (0, DeferredBy.CIRCUIT_OPEN)
    return ref


def retry(bridge: Harness, ref: RegistrationRef) -> Answer:
    """Order the next attempt by the API."""
    public_id = ref.public_id
    return Client.of(bridge).call(
        Handlers.redeliver, f"/registrations/{public_id}/redeliver", method="POST", id=public_id
    )


def shown_next(bridge: Harness, ref: RegistrationRef) -> datetime | None:
    """Return the time of the next attempt as the list shows it."""
    [entry] = [each for each in bridge.queries.page([State.PENDING], limit=50, cursor=None).entries if each.ref == ref]
    return entry.next_attempt_at


def test_the_next_attempt_of_the_same_run_is_made_now(bridge: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """Registration and list show the time, the message is the same, and the schedule goes on after the attempt."""
    caplog.set_level("INFO")
    ref = failed(bridge)
    bridge.clock.advance(1)
    began = bridge.registration(ref).run_began_at
    before = bridge.registration(ref).next_attempt_at
    assert before is not None
    assert before > bridge.clock()

    answer = retry(bridge, ref)

    now = bridge.clock()
    assert (answer.status, answer.body["state"]) == (HTTPStatus.ACCEPTED, "pending")
    assert answer.body["nextAttemptAt"] == "2026-11-23T12:00:01.000Z"
    assert bridge.registration(ref).next_attempt_at == shown_next(bridge, ref) == now
    bridge.deliver_all()
    after = bridge.registration(ref)
    assert [each.headers["webhook-id"] for each in bridge.sender.posted] == [after.message_id] * 2
    assert (after.last_attempt, after.run_start, after.run_began_at) == (2, 1, began)
    assert after.next_attempt_at == now + SCHEDULE[1]
    [line] = lines_of(caplog, Event.REDELIVERY)
    assert (line["registration"], line["was"]) == (ref.public_id, "pending")


def test_an_open_circuit_does_not_stop_the_ordered_attempt(bridge: Harness) -> None:
    """The answer closes the circuit, so that a delivery without an order passes at once, too."""
    ref = deferred_by_circuit(bridge)

    assert retry(bridge, ref).status == HTTPStatus.ACCEPTED
    assert bridge.registration(ref).deferred_by is None
    bridge.deliver_all()

    assert bridge.registration(ref).state is State.DELIVERED
    failed_ref = bridge.register("another", HOOK)[0]
    bridge.upstream.script("another", "Succeeded")
    bridge.sweep()
    bridge.deliver_all()
    assert bridge.registration(failed_ref).state is State.DELIVERED


def test_an_ordered_attempt_without_an_answer_counts_and_does_not_lengthen_an_open_circuit(bridge: Harness) -> None:
    """The run goes on by its schedule, and other deliveries are deferred to the same end of the circuit as before."""
    ref = deferred_by_circuit(bridge)
    until = bridge.registration(ref).next_attempt_at
    bridge.sender.script(HOOK, SILENT)

    retry(bridge, ref)
    bridge.deliver_all()

    after = bridge.registration(ref)
    assert (after.last_attempt, after.next_attempt_at) == (1, bridge.clock() + SCHEDULE[0])
    assert not after.is_forced
    other = failed(bridge, 200, operation_id="other")
    assert bridge.registration(other).next_attempt_at == until


@pytest.mark.parametrize("lost", ["message", "message and due row"])
def test_an_order_survives_the_loss_of_its_message(bridge: Harness, lost: str) -> None:
    """The due row repeats the message, and a due row that is put back has the order as well."""
    ref = deferred_by_circuit(bridge)
    retry(bridge, ref)
    bridge.queue.take()
    if lost == "message and due row":
        due = str(bridge.registration(ref).due)
        bridge.memory.commit(Transaction(partition_of(ref), (Delete(due, ANY),)))
        bridge.bridge.handlers.registrations.repository.restore(ref.operation)

    bridge.clock.now = due_at(str(bridge.registration(ref).due)) or bridge.clock.now
    bridge.sweep()
    sent = [task for task in bridge.queue.take() if task.ref == ref]

    assert [task.forced for task in sent] == [True]


def test_an_order_during_an_attempt_changes_nothing(bridge: Harness) -> None:
    """The attempt in flight is the one that the client wants."""
    ref = failed(bridge)
    states: list[tuple[HTTPStatus | int, bool]] = []

    def order() -> None:
        before = bridge.memory.rows(partition_of(ref))
        status = retry(bridge, ref).status
        states.append((status, bridge.memory.rows(partition_of(ref)) == before))

    bridge.clock.advance(10)
    bridge.sender.during = order
    bridge.sweep()
    bridge.deliver_all()

    assert states == [(HTTPStatus.ACCEPTED, True)]
    assert bridge.registration(ref).last_attempt == 2
    assert bridge.queue.take() == []


def test_an_order_after_a_lost_attempt_is_not_moved_by_the_late_record(bridge: Harness) -> None:
    """The record of the lost attempt comes after the lease and after the order. It changes only its own row."""
    bridge.sender.script(HOOK, 500)
    bridge.upstream.script("operation-1", "Succeeded")
    [ref] = bridge.register("operation-1", HOOK)
    bridge.sweep()

    def order() -> None:
        bridge.sender.during = lambda: None
        bridge.clock.advance(LEASE)
        assert bridge.registrations.redeliver(ref) == Accepted()

    bridge.sender.during = order
    bridge.deliver_all()

    ordered = bridge.registration(ref)
    assert (ordered.is_forced, ordered.next_attempt_at) == (True, bridge.clock())
    bridge.deliver_all()
    assert [each.status for each in bridge.queries.attempts(bridge.registration(ref))] == [500, 500]


def test_a_second_order_before_the_attempt_changes_nothing(bridge: Harness) -> None:
    """It counts once, and one message is sent."""
    ref = failed(bridge)
    retry(bridge, ref)
    before = bridge.registration(ref)

    assert retry(bridge, ref).status == HTTPStatus.ACCEPTED

    assert bridge.registration(ref) == before
    assert len(before.runs) == len(bridge.queue.take()) == 1


def test_a_second_order_sends_again_once_the_first_message_must_be_lost(bridge: Harness) -> None:
    ref = failed(bridge)
    retry(bridge, ref)
    bridge.queue.take()
    bridge.clock.advance(REDISPATCH.first)

    retry(bridge, ref)

    assert len(bridge.queue.take()) == 1
    assert bridge.registration(ref).next_attempt_at == bridge.clock()


def test_the_orders_of_an_hour_are_limited_with_the_runs(bridge: Harness) -> None:
    """Retries and runs share one limit: the client cannot use either to send more."""
    ref = failed(bridge)
    for _ in range(ATTEMPTS_PER_RUN - 1):
        assert retry(bridge, ref).status == HTTPStatus.ACCEPTED
        bridge.deliver_all()
    bridge.clock.advance(1)
    assert bridge.registration(ref).state is State.DEAD
    assert retry(bridge, ref).status == HTTPStatus.ACCEPTED  # another run
    bridge.deliver_all()
    posted = len(bridge.sender.posted)
    assert bridge.registration(ref).state is State.PENDING

    refused = retry(bridge, ref)

    assert (refused.status, refused.error["code"]) == (HTTPStatus.TOO_MANY_REQUESTS, "TooManyRuns")
    assert int(refused.headers["Retry-After"]) == 3599
    assert len(bridge.registration(ref).runs) == RUNS_AN_HOUR
    assert bridge.deliver_all() == 0
    assert len(bridge.sender.posted) == posted
    assert isinstance(bridge.registrations.redeliver(ref), TooManyRuns)


def test_orders_use_up_the_attempts_of_the_run(bridge: Harness) -> None:
    """After the last attempt the registration is dead, like by the schedule."""
    ref = failed(bridge)

    for _ in range(ATTEMPTS_PER_RUN - 1):
        bridge.registrations.redeliver(ref)
        bridge.deliver_all()

    after = bridge.registration(ref)
    assert (after.state, after.reason, after.last_attempt) == (State.DEAD, DeadReason.EXHAUSTED, ATTEMPTS_PER_RUN)
    assert len(bridge.sender.posted) == ATTEMPTS_PER_RUN


def test_an_order_after_the_loss_of_the_last_attempt_changes_nothing(bridge: Harness) -> None:
    """The due row ends the run. An order cannot add an attempt."""
    ref = failed(bridge)
    for _ in range(ATTEMPTS_PER_RUN - 2):
        bridge.registrations.redeliver(ref)
        bridge.deliver_all()

    def order() -> None:
        bridge.sender.during = lambda: None
        bridge.clock.advance(LEASE)
        before = bridge.registration(ref)
        assert bridge.registrations.redeliver(ref) == Accepted()
        assert bridge.registration(ref) == before

    bridge.sender.during = order
    bridge.registrations.redeliver(ref)
    bridge.deliver_all()

    assert (bridge.registration(ref).state, bridge.queue.take()) == (State.DEAD, [])


def test_a_message_from_before_the_order_does_not_put_the_attempt_back(bridge: Harness) -> None:
    """It meets the open circuit first. The attempt goes out by the order, and no failed probe counts for it."""
    [ref] = bridge.register("operation-1", HOOK)
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()
    [message] = bridge.queue.take()
    open_circuit(bridge)
    retry(bridge, ref)
    ordered = bridge.registration(ref)

    bridge.deliver(message)

    assert bridge.registration(ref) == ordered
    bridge.deliver_all()
    assert bridge.registration(ref).state is State.DELIVERED
    assert bridge.registration(ref).last_attempt == 1


def test_an_order_ends_with_a_cancellation(bridge: Harness) -> None:
    """The first attempt of a later run waits for the circuit like every other."""
    ref = deferred_by_circuit(bridge)
    retry(bridge, ref)
    bridge.queue.take()

    bridge.registrations.cancel(ref)
    bridge.registrations.redeliver(ref)

    [task] = bridge.queue.take()
    assert task.forced is None


def test_an_order_ends_with_its_attempt_also_if_an_earlier_version_claims(bridge: Harness) -> None:
    """That version leaves the column as it is."""
    ref = failed(bridge)
    retry(bridge, ref)
    ordered = bridge.registration(ref)

    claimed = replace(ordered, last_attempt=ordered.last_attempt + 1)

    assert ordered.is_forced
    assert not claimed.is_forced


def test_an_order_with_a_lost_reply_sends_its_message() -> None:
    """The commit is recognised, and is not made twice."""
    bridge, table = faulty()
    ref = failed(bridge)
    table.fail(CHANGE, table.reply_lost)

    assert bridge.registrations.redeliver(ref) == Accepted()

    assert bridge.deliver_all() == 1
    assert len(bridge.registration(ref).runs) == 1


def test_an_order_with_a_failed_send_is_due_again_soon(bridge: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The due row moves to a short wait and keeps the order."""
    ref = deferred_by_circuit(bridge)

    with monkeypatch.context() as patched:
        patched.setattr(bridge.queue, "send", _unavailable)
        retry(bridge, ref)

    assert due_at(str(bridge.registration(ref).due)) == bridge.clock() + RESEND_AFTER
    bridge.clock.advance(RESEND_AFTER)
    bridge.sweep()
    assert [task.forced for task in bridge.queue.take() if task.ref == ref] == [True]


def _unavailable(_task: DeliveryTask, *, ttl: timedelta) -> None:
    raise StorageUnavailable(f"the queue does not answer, ttl {ttl}")


def test_open_circuits_of_many_orders_are_probed_one_at_a_time(bridge: Harness) -> None:
    """A host that does not answer gets the ordered attempts apart, and each goes out in the end."""
    open_circuit(bridge)
    bridge.clock.advance(1)
    urls = [f"{HOST}/many-{number}" for number in range(4)]
    refs = [failed(bridge, SILENT, operation_id=f"many-{number}", url=url) for number, url in enumerate(urls)]
    for ref in refs:
        retry(bridge, ref)
    bridge.sender.posted.clear()

    bridge.deliver_all()
    assert len(bridge.sender.posted) == 1
    for _ in range(12):
        bridge.clock.advance(10)
        bridge.sweep()
        bridge.deliver_all()

    assert {each.url for each in bridge.sender.posted} >= set(urls)
