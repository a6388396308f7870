"""Requests of clients: register, cancel, redeliver."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from bridge.domain.errors import CommitUnknown, Contended, StorageUnavailable
from bridge.domain.events import Format
from bridge.domain.operation import FinalStatus
from bridge.domain.registration import State
from bridge.services.registrations import Accepted, Created, Differs, Existing, NoMessage, RegistrationNotFound, TooMany
from bridge.storage.keys import due_reference
from tests.support.faults import CHANGE, REGISTER_FURTHER, faulty
from tests.support.harness import NOON, Harness
from tests.support.http import Client

HOOK = "https://receiver.example.com/hook"


def finish(bridge: Harness, operation_id: str = "operation-1", status: str = "Succeeded") -> None:
    """End the operation at the upstream, and poll."""
    bridge.upstream.script(operation_id, status)
    bridge.clock.advance(60)
    bridge.sweep()


def test_a_new_registration_waits_and_its_operation_is_due_at_once(bridge: Harness) -> None:
    """The operation may have ended long ago."""
    result = bridge.registrations.register(bridge.request())

    assert isinstance(result, Created)
    assert result.registration.state is State.WAITING
    assert bridge.due_keys() == ["poll:default:operation-1"]
    assert bridge.aggregate().operation.record.due.startswith("due:1795435200000:poll:")


def test_a_new_registration_is_one_call_to_the_table(bridge: Harness) -> None:
    """No read precedes the call."""
    bridge.register()

    assert bridge.table.taken() == {"commit": 1}


def test_a_further_registration_is_three_calls_to_the_table(bridge: Harness) -> None:
    """The calls are one that fails, a read, and one that succeeds."""
    bridge.register()
    bridge.table.taken()

    bridge.register("operation-1", "https://other.example.com/")

    assert bridge.table.taken() == {"commit": 2, "range": 1}


def test_registering_the_same_again_finds_the_first(bridge: Harness) -> None:
    """Nothing is written for it."""
    bridge.registrations.register(bridge.request())
    bridge.clock.advance(10)

    result = bridge.registrations.register(bridge.request())

    assert isinstance(result, Existing)
    assert result.registration.generation == NOON


def test_registering_the_same_metadata_written_differently_changes_nothing(bridge: Harness) -> None:
    register = bridge.registrations.register
    register(replace(bridge.request(), metadata='{"a":1,"b":[true]}'))

    result = register(replace(bridge.request(), metadata='{"b":[true],"a":1.0}'))

    assert isinstance(result, Existing)


@pytest.mark.parametrize(
    "change",
    [
        {"events": (FinalStatus.FAILED,)},
        {"metadata": '{"a":1}'},
        {"group": "long"},
        {"format": Format.CLOUDEVENTS},
        {"metadata": '{"a":1}', "group": "long"},
    ],
)
def test_registering_the_same_with_other_content_differs(bridge: Harness, change: Mapping[str, object]) -> None:
    """A client that wants other content must cancel first. The result names the registration and what differs."""
    request = bridge.request()
    bridge.registrations.register(request)

    result = bridge.registrations.register(replace(request, **change))  # type: ignore[arg-type]
    assert result == Differs(request.ref, list(change))


def test_an_operation_has_at_most_twenty_registrations(bridge: Harness) -> None:
    """The end of an operation must fit into one transaction."""
    bridge.register("operation-1", *(f"https://receiver.example.com/{number}" for number in range(20)))

    assert bridge.registrations.register(bridge.request(url="https://receiver.example.com/20")) == TooMany()


def test_the_end_of_an_operation_with_twenty_registrations_is_one_transaction(bridge: Harness) -> None:
    """The transaction has 83 rows, for twenty callbacks."""
    bridge.register("operation-1", *(f"https://receiver.example.com/{number}" for number in range(20)))

    finish(bridge)

    assert bridge.deliver_all() == 20
    assert len(bridge.sender.posted) == 20


def test_registering_for_an_ended_operation_delivers_at_once(bridge: Harness) -> None:
    """The upstream is not polled again."""
    bridge.register()
    finish(bridge)
    bridge.deliver_all()
    asked = len(bridge.upstream.asked)

    result = bridge.registrations.register(bridge.request(url="https://late.example.com/"))

    assert isinstance(result, Created)
    assert result.registration.state is State.PENDING
    assert bridge.deliver_all() == 1
    assert bridge.sender.posted[-1].url == "https://late.example.com/"
    bridge.clock.advance(60)
    bridge.sweep()
    assert len(bridge.upstream.asked) == asked


def test_a_late_registration_gets_the_same_data(bridge: Harness) -> None:
    """The data has the last time seen running, the time of the end, and the upstream's answer, in any letter case."""
    bridge.upstream.script("operation-1", "Running")
    bridge.register()
    bridge.sweep()
    finish(bridge)
    late = bridge.request("operation-1", "https://late.example.com/", metadata='{"name":"Größe"}')
    bridge.registrations.register(late)
    bridge.deliver_all()

    first, second = (json.loads(each.body)["data"] for each in bridge.sender.posted)
    same = ("operationId", "status", "observedAt", "notBefore", "operation", "reason")
    assert [second[name] for name in same] == [first[name] for name in same]
    assert (first["notBefore"], first["operation"]["status"]) == ("2026-11-23T12:00:00.000Z", "Succeeded")
    assert "Größe".encode() in bridge.sender.posted[1].body


def test_registering_for_a_filtered_final_status_is_skipped(bridge: Harness) -> None:
    """The filter covers failures only, and the operation succeeded."""
    bridge.register()
    finish(bridge)
    bridge.queue.take()

    result = bridge.registrations.register(
        bridge.request(url="https://late.example.com/", events=(FinalStatus.FAILED,))
    )

    assert isinstance(result, Created)
    assert result.registration.state is State.SKIPPED
    assert bridge.queue.tasks == []


def test_registering_for_an_expired_operation_polls_again(bridge: Harness) -> None:
    """An expired operation is reopened, and its age starts again."""
    first = bridge.register()[0]
    bridge.clock.advance(timedelta(hours=25))
    bridge.sweep()
    assert bridge.aggregate().operation.record.final_status is FinalStatus.EXPIRED

    bridge.register("operation-1", "https://late.example.com/")
    finish(bridge)

    assert bridge.aggregate().operation.record.final_status is FinalStatus.SUCCEEDED
    notified = {each.record.ref: each.record.final_status for each in bridge.aggregate().registrations.values()}
    assert notified.pop(first) is FinalStatus.EXPIRED
    assert list(notified.values()) == [FinalStatus.SUCCEEDED]


def test_canceling_the_last_registration_stops_the_polls(bridge: Harness) -> None:
    """No registration waits, so polls stop and the purge is scheduled."""
    one, two = bridge.register("operation-1", HOOK, "https://other.example.com/")

    bridge.registrations.cancel(one)
    assert bridge.due_keys() == ["poll:default:operation-1"]
    bridge.registrations.cancel(two)

    assert bridge.due_keys() == ["purge:default:operation-1"]
    bridge.clock.advance(60)
    bridge.sweep()
    assert bridge.upstream.asked == []


def test_registering_again_after_a_cancellation_begins_a_new_generation(bridge: Harness) -> None:
    """The new generation has another webhook-id, since the message is another one."""
    ref = bridge.register()[0]
    bridge.registrations.cancel(ref)

    result = bridge.registrations.register(bridge.request())

    assert isinstance(result, Created)
    assert result.registration.state is State.WAITING
    assert result.registration.generation > NOON
    assert bridge.due_keys() == ["poll:default:operation-1"]
    assert bridge.index_keys() == [f"waiting:{due_reference(ref)}"]


def test_a_new_generation_can_have_other_content(bridge: Harness) -> None:
    """The content is not compared with the former generation's."""
    ref = bridge.register()[0]
    bridge.registrations.cancel(ref)

    bridge.registrations.register(bridge.request(events=(FinalStatus.FAILED,), metadata='{"a":1}'))

    registration = bridge.registration(ref)
    assert (registration.events, registration.metadata) == ((FinalStatus.FAILED,), '{"a":1}')


def test_a_task_of_a_former_generation_is_dropped(bridge: Harness) -> None:
    """Otherwise, the receiver of the new generation would get the old event."""
    ref = bridge.register()[0]
    finish(bridge)
    bridge.registrations.cancel(ref)
    bridge.registrations.register(bridge.request())
    old, new = bridge.queue.take()

    bridge.deliver(old)
    assert bridge.sender.posted == []
    bridge.deliver(new)

    assert [post.headers["webhook-id"] for post in bridge.sender.posted] == [bridge.registration(ref).message_id]


def test_canceling_a_delivery_stops_it(bridge: Harness) -> None:
    """No further attempt begins."""
    ref = bridge.register()[0]
    finish(bridge)

    assert bridge.registrations.cancel(ref) == Accepted()

    bridge.deliver_all()
    assert bridge.sender.posted == []
    assert bridge.registration(ref).state is State.CANCELED
    assert bridge.due_keys() == ["purge:default:operation-1"]


def test_canceling_again_changes_nothing(bridge: Harness) -> None:
    """The same holds for an ended registration."""
    ref = bridge.register()[0]
    bridge.registrations.cancel(ref)
    before = bridge.memory.rows()

    assert bridge.registrations.cancel(ref) == Accepted()

    assert bridge.memory.rows() == before


def test_an_unknown_registration_cannot_be_canceled_or_redelivered(bridge: Harness) -> None:
    """Covered: without the operation, and among other registrations."""
    unknown = bridge.request("operation-2").ref
    bridge.register()
    beside = bridge.request(url="https://other.example.com/").ref

    for ref in (unknown, beside):
        assert bridge.registrations.cancel(ref) == RegistrationNotFound()
        assert bridge.registrations.redeliver(ref) == RegistrationNotFound()


def test_a_redelivery_is_another_run_of_the_same_message(bridge: Harness) -> None:
    """The id and the bytes are the same, and attempt numbers continue."""
    ref = bridge.register()[0]
    finish(bridge)
    bridge.deliver_all()

    assert bridge.registrations.redeliver(ref) == Accepted()
    assert bridge.registration(ref).state is State.PENDING
    bridge.deliver_all()

    first, second = bridge.sender.posted
    assert (first.headers["webhook-id"], first.body) == (second.headers["webhook-id"], second.body)
    assert bridge.registration(ref).state is State.DELIVERED
    assert bridge.registration(ref).last_attempt == 2


def test_a_redelivery_of_a_pending_attempt_does_not_repeat_the_attempt(bridge: Harness) -> None:
    """The order sends another message, in case that the first was lost. Only one of the two makes the attempt."""
    ref = bridge.register()[0]
    finish(bridge)

    assert bridge.registrations.redeliver(ref) == Accepted()

    assert bridge.deliver_all() == 2
    assert len(bridge.sender.posted) == 1
    assert bridge.registration(ref).state is State.DELIVERED


def test_there_is_no_redelivery_before_there_is_a_message(bridge: Harness) -> None:
    """Covered: a waiting registration, and one canceled while waiting."""
    ref = bridge.register()[0]

    assert bridge.registrations.redeliver(ref) == NoMessage()
    bridge.registrations.cancel(ref)
    assert bridge.registrations.redeliver(ref) == NoMessage()


def test_a_canceled_delivery_can_be_redelivered(bridge: Harness) -> None:
    """The registration has a message."""
    ref = bridge.register()[0]
    finish(bridge)
    bridge.registrations.cancel(ref)
    bridge.queue.take()

    assert bridge.registrations.redeliver(ref) == Accepted()

    bridge.deliver_all()
    assert bridge.registration(ref).state is State.DELIVERED


def test_a_commit_with_a_lost_reply_counts() -> None:
    """The client gets 201, not 200."""
    bridge, table = faulty()
    table.fail(CHANGE, table.reply_lost)

    assert isinstance(bridge.registrations.register(bridge.request()), Created)


def test_a_commit_that_lands_late_is_recognised() -> None:
    """The first commit takes effect between the read and the second try."""
    bridge, table = faulty()
    table.fail(CHANGE, table.lands_late, table.late_lands_first)

    assert isinstance(bridge.registrations.register(bridge.request()), Created)
    assert bridge.due_keys() == ["poll:default:operation-1"]


def test_a_late_commit_of_a_registration_for_an_ended_operation_sends_its_task() -> None:
    """The task is sent at once, not by the due row two minutes later."""
    bridge, table = faulty()
    bridge.register()
    finish(bridge)
    bridge.deliver_all()
    table.fail(REGISTER_FURTHER, table.lands_late, table.late_lands_first)

    bridge.registrations.register(bridge.request(url="https://late.example.com/"))

    assert bridge.deliver_all() == 1


def test_a_late_commit_of_a_redelivery_sends_its_task() -> None:
    """The client got 202."""
    bridge, table = faulty()
    ref = bridge.register()[0]
    finish(bridge)
    bridge.deliver_all()
    table.fail(CHANGE, table.lands_late, table.late_lands_first)

    assert bridge.registrations.redeliver(ref) == Accepted()

    assert bridge.deliver_all() == 1


def test_a_request_that_was_lost_is_sent_again() -> None:
    """A read shows no effect, so the step is decided again."""
    bridge, table = faulty()
    table.fail(CHANGE, table.request_lost)

    assert isinstance(bridge.registrations.register(bridge.request()), Created)


def test_a_redelivery_with_a_lost_reply_sends_its_task() -> None:
    bridge, table = faulty()
    ref = bridge.register()[0]
    finish(bridge)
    bridge.deliver_all()
    table.fail(CHANGE, table.reply_lost)

    assert bridge.registrations.redeliver(ref) == Accepted()

    assert bridge.deliver_all() == 1


def test_permanent_conflicts_end_with_an_error() -> None:
    """The error names the cause, and the loop ends."""
    bridge, table = faulty()
    bridge.register()
    table.keep_failing(CHANGE, table.conflict)

    with pytest.raises(Contended):
        bridge.registrations.register(bridge.request(url="https://other.example.com/"))


def test_repeated_lost_replies_end_with_an_error() -> None:
    """Each lost reply can take long while the client waits."""
    bridge, table = faulty()
    table.keep_failing(CHANGE, table.request_lost)

    with pytest.raises(CommitUnknown):
        bridge.registrations.register(bridge.request())

    assert table.met <= 5


def test_a_storage_that_is_down_is_reported() -> None:
    """The API answers 503."""
    bridge, table = faulty()
    table.fail(CHANGE, table.down)

    with pytest.raises(StorageUnavailable):
        bridge.registrations.register(bridge.request())


def test_metadata_reaches_the_receiver(bridge: Harness) -> None:
    """As the client wrote it."""
    bridge.registrations.register(bridge.request(metadata='{"video":"Gr\\u00fc\\u00dfe"}'))
    finish(bridge)
    bridge.deliver_all()

    assert json.loads(bridge.sender.posted[0].body)["data"]["metadata"] == {"video": "Grüße"}


@pytest.mark.parametrize("delivered", [True, False])
def test_registering_an_expired_registration_again_begins_a_new_generation(bridge: Harness, delivered: bool) -> None:
    """The upstream ended the operation after the expiry. The event has another `webhook-id`."""
    [ref] = bridge.register()
    bridge.clock.advance(timedelta(hours=24, seconds=1))
    bridge.sweep()
    if delivered:
        bridge.deliver_all()
    assert bridge.registration(ref).final_status is FinalStatus.EXPIRED
    former = bridge.registration(ref).message_id

    result = bridge.registrations.register(bridge.request())

    assert isinstance(result, Created)
    assert bridge.registration(ref).state is State.WAITING
    assert bridge.due_keys() == ["poll:default:operation-1"]
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.clock.advance(10)
    bridge.sweep()
    bridge.deliver_all()
    assert (bridge.registration(ref).state, bridge.registration(ref).final_status) == (
        State.DELIVERED,
        FinalStatus.SUCCEEDED,
    )
    assert bridge.registration(ref).message_id != former
    ids = [each.headers["webhook-id"] for each in bridge.sender.posted]
    assert ids[-1] == bridge.registration(ref).message_id
    assert len(set(ids)) == (2 if delivered else 1)


def test_registering_again_after_a_final_status_of_the_upstream_finds_the_first(bridge: Harness) -> None:
    bridge.register()
    bridge.upstream.script("operation-1", "Failed")
    bridge.sweep()

    assert isinstance(bridge.registrations.register(bridge.request()), Existing)


def test_an_expired_registration_is_answered_201_again(bridge: Harness) -> None:
    client, body = Client.of(bridge), {"operationId": "operation-1", "callbackUrl": "https://receiver.example.com/hook"}
    client.register(body)
    bridge.clock.advance(timedelta(hours=25))
    bridge.sweep()

    assert client.register(body).status == 201
