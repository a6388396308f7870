"""Deliveries: claim, POST and record, with and without interruptions."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from standardwebhooks import Webhook

from bridge.domain.delivery import LEASE, DeliveryTask
from bridge.domain.errors import CommitUnknown, StorageUnavailable
from bridge.domain.events import subscriber_of
from bridge.domain.ids import RegistrationRef
from bridge.domain.outcome import Failure, Unreachable, answered
from bridge.domain.registration import State
from bridge.domain.retry import ATTEMPTS_PER_RUN, SCHEDULE
from bridge.services.queries import RegistrationView
from bridge.storage.keys import attempt_key, due_reference, partition_of, row_key
from bridge.storage.table import ANY, Delete, Merge, Transaction
from tests.support.faults import CLAIM, RECORD, faulty
from tests.support.harness import NOON, Harness

HOOK = "https://receiver.example.com/hook"


def pending(bridge: Harness) -> RegistrationRef:
    """Bring a registration to the point where the first task is in the queue."""
    ref = bridge.register()[0]
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()
    return ref


def view(bridge: Harness, ref: RegistrationRef) -> RegistrationView:
    """Look at a registration as a client does."""
    found = bridge.queries.registration(ref)
    assert found is not None
    return found


def live_on(bridge: Harness, time: timedelta, step: timedelta) -> None:
    """Run timer and queue for a while."""
    end = bridge.clock() + time
    while bridge.clock() < end:
        bridge.sweep()
        bridge.deliver_all()
        bridge.clock.advance(step)


def test_a_callback_describes_the_end(bridge: Harness) -> None:
    """The fields are exactly these."""
    ref = pending(bridge)

    bridge.deliver_all()

    assert json.loads(bridge.sender.posted[0].body) == {
        "type": "avatar.operation.succeeded",
        "timestamp": "2026-11-23T12:00:00.000Z",
        "data": {
            "operationId": "operation-1",
            "status": "Succeeded",
            "source": "default",
            "registrationId": ref.public_id,
            "audience": "https://receiver.example.com",
            "subscriber": subscriber_of("shared"),
            "metadata": None,
            "registeredAt": "2026-11-23T12:00:00.000Z",
            "observedAt": "2026-11-23T12:00:00.000Z",
            "notBefore": None,
            "reason": None,
            "operation": {"id": "operation-1", "status": "Succeeded"},
        },
    }


def test_a_callback_is_signed_for_its_receiver(bridge: Harness) -> None:
    """The public package verifies the callback with the secret from the registration's answer."""
    ref = pending(bridge)
    secret = bridge.settings.keyring.secrets_for(owner="shared", origin="https://receiver.example.com")[0]

    bridge.deliver_all()

    post = bridge.sender.posted[0]
    bridge_time = str(int(NOON.timestamp()))
    assert post.headers["webhook-timestamp"] == bridge_time
    expected = Webhook(secret.reveal()).sign(post.headers["webhook-id"], NOON, post.body.decode())
    assert expected in post.headers["webhook-signature"].split(" ")
    assert bridge.registration(ref).message_id == post.headers["webhook-id"]


def test_a_delivery_is_three_calls_to_the_table(bridge: Harness) -> None:
    """The calls are read, claim and record."""
    pending(bridge)
    bridge.table.taken()

    bridge.deliver_all()

    assert bridge.table.taken() == {"get": 1, "commit": 2}


def test_a_delivered_registration_leaves_only_its_purge_due(bridge: Harness) -> None:
    """One index row shows the state."""
    ref = pending(bridge)

    bridge.deliver_all()

    assert bridge.registration(ref).state is State.DELIVERED
    assert bridge.due_keys() == ["purge:default:operation-1"]
    assert bridge.index_keys() == [f"delivered:{due_reference(ref)}"]


def test_every_attempt_is_recorded(bridge: Harness) -> None:
    """The record has time, duration, address and result."""
    ref = pending(bridge)
    bridge.sender.script(
        HOOK,
        answered(503, address="203.0.113.7", body=b"busy"),
        Unreachable(error=Failure.TIMEOUT),
        answered(200, address="203.0.113.8", body=b"ok"),
    )
    bridge.sender.during = lambda: bridge.clock.advance(0.041)

    live_on(bridge, timedelta(minutes=10), timedelta(seconds=5))

    attempts = view(bridge, ref).attempts
    assert [each.number for each in attempts] == [1, 2, 3]
    assert [(each.status, each.error, each.body, each.address, each.duration_ms) for each in attempts] == [
        (503, None, "busy", "203.0.113.7", 41),
        (None, "timeout", None, None, 41),
        (200, None, "ok", "203.0.113.8", 41),
    ]


def test_a_receiver_that_never_answers_is_tried_for_75_hours_and_then_dead(bridge: Harness) -> None:
    """Ten attempts follow the schedule, with the same message."""
    ref = pending(bridge)
    bridge.sender.script(HOOK, Unreachable(error=Failure.CONNECT))
    times = []
    bridge.sender.during = lambda: times.append(bridge.clock())

    live_on(bridge, timedelta(hours=80), timedelta(seconds=30))

    assert bridge.registration(ref).state is State.DEAD
    assert bridge.registration(ref).reason == "exhausted"
    assert len(times) == ATTEMPTS_PER_RUN
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert all(wait <= gap <= wait + timedelta(seconds=30) for wait, gap in zip(SCHEDULE, gaps, strict=True))
    assert len({(post.headers["webhook-id"], post.body) for post in bridge.sender.posted}) == 1
    assert bridge.due_keys() == ["purge:default:operation-1"]


def test_a_410_is_not_retried(bridge: Harness) -> None:
    """410 means that the receiver unsubscribed."""
    ref = pending(bridge)
    bridge.sender.script(HOOK, 410)

    live_on(bridge, timedelta(hours=80), timedelta(minutes=5))

    assert len(bridge.sender.posted) == 1
    assert (bridge.registration(ref).state, bridge.registration(ref).reason) == (State.DEAD, "gone")


def test_a_dead_delivery_can_be_redelivered(bridge: Harness) -> None:
    """The run has all attempts."""
    ref = pending(bridge)
    bridge.sender.script(HOOK, 500)
    live_on(bridge, timedelta(hours=80), timedelta(minutes=1))
    bridge.registrations.redeliver(ref)

    live_on(bridge, timedelta(hours=80), timedelta(minutes=1))

    assert len(bridge.sender.posted) == 2 * ATTEMPTS_PER_RUN
    assert bridge.registration(ref).state is State.DEAD


def test_retry_after_lengthens_a_wait(bridge: Harness) -> None:
    """The receiver knows its own recovery time."""
    ref = pending(bridge)
    bridge.sender.script(HOOK, answered(503, address=None, retry_after=timedelta(hours=1)), 200)

    bridge.deliver_all()

    assert bridge.registration(ref).next_attempt_at == NOON + timedelta(hours=1)


def test_the_same_task_twice_makes_one_attempt(bridge: Harness) -> None:
    """Queues may deliver twice."""
    pending(bridge)
    task = bridge.queue.take()[0]

    bridge.deliver(task)
    bridge.deliver(task)

    assert len(bridge.sender.posted) == 1


def test_two_instances_with_the_same_task_make_one_attempt(bridge: Harness) -> None:
    """The second instance finds the lease of the first."""
    pending(bridge)
    task = bridge.queue.take()[0]
    bridge.sender.during = lambda: bridge.deliver(task)

    bridge.deliver(task)

    assert len(bridge.sender.posted) == 1


def test_the_next_attempt_is_at_the_end_of_the_lease_of_the_one_in_flight(bridge: Harness) -> None:
    """The time applies if this attempt is lost. Readers never see a time in the past."""
    ref = pending(bridge)
    seen = []
    bridge.sender.during = lambda: seen.append(bridge.registration(ref).next_attempt_at)

    bridge.deliver_all()

    assert seen == [NOON + LEASE]
    assert bridge.registration(ref).next_attempt_at is None


def test_a_task_before_its_time_is_dropped(bridge: Harness) -> None:
    """The due row causes another task at the right time."""
    ref = pending(bridge)
    bridge.sender.script(HOOK, answered(503, address=None, retry_after=timedelta(seconds=31)))
    bridge.deliver_all()

    bridge.deliver(DeliveryTask(ref=ref, generation=NOON, number=2))

    assert len(bridge.sender.posted) == 1


def test_a_clock_that_is_a_little_behind_drops_nothing(bridge: Harness) -> None:
    """The task came from the clock of the sweep. Clocks of instances agree within 30 s."""
    pending(bridge)

    bridge.clock.advance(-30)
    bridge.deliver_all()

    assert len(bridge.sender.posted) == 1


@pytest.mark.parametrize("number", [0, 2, 99])
def test_a_task_for_another_attempt_is_dropped(bridge: Harness, number: int) -> None:
    """Only the next attempt may be made."""
    ref = pending(bridge)

    bridge.deliver(DeliveryTask(ref=ref, generation=NOON, number=number))

    assert bridge.sender.posted == []


def test_an_attempt_that_was_never_recorded_counts_as_lost(bridge: Harness) -> None:
    """The process died after the POST. The receiver gets the message again, with the same id."""
    ref = pending(bridge)

    def die() -> None:
        bridge.sender.during = lambda: None
        raise SystemExit

    bridge.sender.during = die
    with pytest.raises(SystemExit):
        bridge.deliver_all()
    live_on(bridge, LEASE * 2, timedelta(seconds=10))

    assert [each.error_at(bridge.clock()) for each in view(bridge, ref).attempts] == ["lost", None]
    assert len({(post.headers["webhook-id"], post.body) for post in bridge.sender.posted}) == 1
    assert bridge.registration(ref).state is State.DELIVERED


def test_a_bug_before_the_claim_leaves_the_place_of_the_host_free(
    bridge: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = pending(bridge)

    def fail(_: str) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr(bridge.sender, "address_of", fail)
        with pytest.raises(RuntimeError):
            bridge.deliver_all()
    live_on(bridge, timedelta(minutes=5), timedelta(seconds=10))

    assert bridge.registration(ref).state is State.DELIVERED


def test_a_run_whose_last_attempt_was_lost_is_dead(bridge: Harness) -> None:
    """The message may have reached the receiver ten times."""
    ref = pending(bridge)
    bridge.sender.script(HOOK, 500)

    def die_at_the_last() -> None:
        if len(bridge.sender.posted) == ATTEMPTS_PER_RUN:
            raise SystemExit

    bridge.sender.during = die_at_the_last
    with pytest.raises(SystemExit):
        live_on(bridge, timedelta(hours=80), timedelta(minutes=1))
    live_on(bridge, timedelta(minutes=5), timedelta(seconds=10))

    assert len(bridge.sender.posted) == ATTEMPTS_PER_RUN
    assert (bridge.registration(ref).state, bridge.registration(ref).reason) == (State.DEAD, "exhausted")
    assert bridge.due_keys() == ["purge:default:operation-1"]


@pytest.mark.parametrize("took", [16, 25, 45])
def test_an_attempt_is_not_begun_when_too_little_of_the_lease_is_left(took: int) -> None:
    """After a slow claim, an instance with a clock 30 s ahead could attempt before the end of this attempt."""
    bridge, table = faulty()
    ref = pending(bridge)

    def slowly(transaction: Transaction) -> Mapping[str, str]:
        etags = table.inner.commit(transaction)
        bridge.clock.advance(took)
        return etags

    table.fail(CLAIM, slowly)
    bridge.deliver_all()
    assert bridge.sender.posted == []

    live_on(bridge, LEASE, timedelta(seconds=10))
    assert bridge.registration(ref).state is State.DELIVERED


def test_a_claim_whose_reply_was_lost_is_used() -> None:
    """The claim belongs to this instance, so the attempt is made at once."""
    bridge, table = faulty()
    ref = pending(bridge)
    table.fail(CLAIM, table.reply_lost)

    bridge.deliver_all()

    assert bridge.registration(ref).state is State.DELIVERED
    assert len(bridge.sender.posted) == 1


def test_a_claim_that_storage_refuses_makes_no_attempt() -> None:
    """The queue trigger raises an error, and the host calls again."""
    bridge, table = faulty()
    pending(bridge)
    table.fail(CLAIM, table.down)

    with pytest.raises(StorageUnavailable):
        bridge.deliver_all()

    assert bridge.sender.posted == []


@pytest.mark.parametrize("trouble", ["down", "request_lost", "reply_lost"])
def test_a_record_is_repeated_until_storage_accepts_it(trouble: str) -> None:
    """After the POST, only the record prevents a repetition."""
    bridge, table = faulty()
    ref = pending(bridge)
    wrong = getattr(table, trouble)
    table.fail(RECORD, wrong, wrong)

    bridge.deliver_all()

    assert bridge.registration(ref).state is State.DELIVERED
    assert view(bridge, ref).attempts[0].status == 200
    live_on(bridge, timedelta(minutes=5), timedelta(seconds=10))
    assert len(bridge.sender.posted) == 1


def test_a_permanent_storage_outage_after_the_post_repeats_the_delivery() -> None:
    """This is the only permitted duplicate, and the log has a line."""
    bridge, table = faulty()
    ref = pending(bridge)
    table.keep_failing(RECORD, table.down)

    bridge.deliver_all()
    table.mend()
    live_on(bridge, timedelta(minutes=5), timedelta(seconds=10))

    assert len(bridge.sender.posted) == 2
    assert bridge.sender.posted[0].headers["webhook-id"] == bridge.sender.posted[1].headers["webhook-id"]
    assert bridge.registration(ref).state is State.DELIVERED


@pytest.mark.parametrize("seconds", [12, 25, 40])
def test_an_outage_of_storage_after_the_post_costs_no_duplicate_within_the_lease(seconds: int) -> None:
    """The attempt is recorded as soon as storage is back."""
    bridge, table = faulty()
    ref = pending(bridge)

    def outage(transaction: Transaction) -> Mapping[str, str]:
        if bridge.clock() - NOON < timedelta(seconds=seconds):
            raise StorageUnavailable("the table is out of reach")
        return table.inner.commit(transaction)

    let_time_pass_in_pauses(bridge)
    table.keep_failing(RECORD, outage)
    bridge.deliver_all()
    table.mend()

    assert bridge.registration(ref).state is State.DELIVERED
    live_on(bridge, timedelta(minutes=5), timedelta(seconds=10))
    assert len(bridge.sender.posted) == 1


def let_time_pass_in_pauses(bridge: Harness) -> None:
    """Advance the clock while the bridge waits."""
    bridge.dependencies = replace(bridge.dependencies, sleep=bridge.clock.advance)
    bridge.restart()


def meanwhile(bridge: Harness, change: Callable[[], object]) -> None:
    """Call `change` during a POST."""

    def once() -> None:
        bridge.sender.during = lambda: None
        change()

    bridge.sender.during = once
    bridge.deliver_all()


def test_a_2xx_after_a_cancellation_is_recorded_and_changes_nothing(bridge: Harness) -> None:
    """The attempt was in flight, and the client was informed that the callback might arrive."""
    ref = pending(bridge)

    meanwhile(bridge, lambda: bridge.registrations.cancel(ref))

    assert bridge.registration(ref).state is State.CANCELED
    assert view(bridge, ref).attempts[0].status == 200


def test_a_2xx_after_cancellation_and_redelivery_ends_the_delivery(bridge: Harness) -> None:
    """The receiver has the message, so no repetition is needed."""
    ref = pending(bridge)

    def cancel_and_redeliver() -> None:
        bridge.registrations.cancel(ref)
        bridge.registrations.redeliver(ref)

    meanwhile(bridge, cancel_and_redeliver)

    assert bridge.registration(ref).state is State.DELIVERED
    bridge.deliver_all()
    assert len(bridge.sender.posted) == 1
    assert bridge.due_keys() == ["purge:default:operation-1"]


def test_a_failure_after_cancellation_and_redelivery_is_only_recorded(bridge: Harness) -> None:
    """The new run is unaffected."""
    ref = pending(bridge)
    bridge.sender.script(HOOK, 500, 200)

    def cancel_and_redeliver() -> None:
        bridge.registrations.cancel(ref)
        bridge.registrations.redeliver(ref)

    meanwhile(bridge, cancel_and_redeliver)

    assert bridge.registration(ref).state is State.PENDING
    bridge.deliver_all()
    assert [each.status for each in view(bridge, ref).attempts] == [500, 200]
    assert bridge.registration(ref).state is State.DELIVERED


def test_a_2xx_of_a_former_generation_does_not_end_the_new_one(bridge: Harness) -> None:
    """The answer concerned an earlier generation."""
    ref = pending(bridge)

    def begin_anew() -> None:
        bridge.registrations.cancel(ref)
        bridge.registrations.register(bridge.request())

    meanwhile(bridge, begin_anew)

    assert bridge.registration(ref).state is State.PENDING
    bridge.deliver_all()
    assert bridge.registration(ref).state is State.DELIVERED
    assert len({post.headers["webhook-id"] for post in bridge.sender.posted}) == 2


def test_a_record_after_its_lease_does_not_undo_what_came_later(bridge: Harness) -> None:
    """A frozen instance continues after a later attempt has decided."""
    ref = pending(bridge)
    bridge.sender.script(HOOK, 200, 500)

    def freeze() -> None:
        bridge.clock.advance(LEASE + timedelta(seconds=1))
        bridge.sweep()
        bridge.restart()  # another instance accepts the rejected task
        bridge.deliver_all()

    meanwhile(bridge, freeze)

    assert bridge.registration(ref).state is State.DELIVERED
    assert [each.status for each in view(bridge, ref).attempts] == [500, 200]


def test_an_enqueue_between_claim_and_record_changes_nothing(bridge: Harness) -> None:
    """The registration's ETag changes, but the claim still belongs to the attempt."""
    ref = pending(bridge)

    def sweep_past_the_lease() -> None:
        bridge.clock.advance(LEASE + timedelta(seconds=1))
        bridge.sweep()

    bridge.sender.during = sweep_past_the_lease
    bridge.deliver(bridge.queue.take()[0])
    bridge.sender.during = lambda: None

    assert bridge.registration(ref).state is State.DELIVERED
    bridge.deliver_all()
    assert len(bridge.sender.posted) == 1


def test_a_record_is_not_tried_after_the_lease() -> None:
    """Another instance may attempt by then, and the function's time is limited."""
    bridge, table = faulty()
    pending(bridge)

    def slowly(_: Transaction) -> Mapping[str, str]:
        bridge.clock.advance(10)
        raise CommitUnknown("no reply")

    table.keep_failing(RECORD, slowly)
    bridge.deliver_all()

    assert bridge.clock() - NOON <= LEASE + timedelta(seconds=10)


def test_a_redelivery_after_an_unseen_record_is_made() -> None:
    """The record succeeded, the client saw the result and redelivered. That run belongs to the client."""
    bridge, table = faulty()
    ref = pending(bridge)

    def commit_unseen_then_redeliver(transaction: Transaction) -> Mapping[str, str]:
        table.inner.commit(transaction)
        bridge.registrations.redeliver(ref)
        raise CommitUnknown("no reply")

    table.fail(RECORD, commit_unseen_then_redeliver)
    bridge.deliver_all()
    assert bridge.registration(ref).state is State.PENDING
    bridge.deliver_all()

    assert len(bridge.sender.posted) == 2


def test_a_purge_that_gave_way_to_a_redelivery_costs_no_duplicate(bridge: Harness) -> None:
    """The purge deleted the attempt's row before the conflict."""
    ref = pending(bridge)

    def purge_half() -> None:
        bridge.memory.commit(Transaction(partition_of(ref), (Delete(attempt_key(ref, 1), ANY),)))

    meanwhile(bridge, purge_half)
    live_on(bridge, timedelta(minutes=5), timedelta(seconds=10))

    assert bridge.registration(ref).state is State.DELIVERED
    assert len(bridge.sender.posted) == 1


def test_a_pending_row_without_a_message_is_skipped(bridge: Harness) -> None:
    """The row is foreign, so nothing is sent."""
    ref = pending(bridge)
    bridge.memory.commit(Transaction(partition_of(ref), (Merge(row_key(ref), {"message_body": ""}, ANY),)))

    bridge.deliver_all()

    assert bridge.sender.posted == []


def test_a_log_line_describes_the_attempt(bridge: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """One line, with host and port only."""
    caplog.set_level("INFO")
    bridge.registrations.register(bridge.request(url="https://receiver.example.com/hook?token=secret"))
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()
    caplog.clear()

    bridge.deliver_all()

    [line] = [json.loads(record.message) for record in caplog.records]
    assert line["event"] == "delivery.attempted"
    assert (line["to"], line["status"], line["then"]) == ("receiver.example.com", 200, "delivered")
    assert "secret" not in caplog.text
