"""An operation has 20 places. A new registration can replace a canceled or skipped one."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from bridge.api.handlers import Handlers
from bridge.domain.attempt import KEPT_ATTEMPTS, AttemptRecord
from bridge.domain.delivery import DeliveryTask
from bridge.domain.ids import RegistrationRef
from bridge.domain.operation import MAX_REGISTRATIONS, FinalStatus
from bridge.domain.outcome import answered
from bridge.domain.registration import Registration, State
from bridge.services.registrations import Accepted, Created, TooMany
from bridge.storage.keys import attempt_key, partition_of, row_key
from bridge.storage.records import for_insert, for_merge
from bridge.storage.table import ANY, MAX_WRITES, Insert, Merge, Transaction
from tests.support.faults import REGISTER_FURTHER, faulty
from tests.support.harness import NOON, Harness, harness
from tests.support.http import Client
from tests.support.witness import Witness

#: The largest transaction: the end of an operation with all registrations.
LARGEST = 83


def url(number: int) -> str:
    """Return a callback URL."""
    return f"https://receiver.example.com/{number}"


def fill(bridge: Harness, count: int = MAX_REGISTRATIONS, **request: object) -> list[RegistrationRef]:
    """Register callbacks, a second apart."""
    refs = []
    for number in range(count):
        new = replace(bridge.request(url=url(number)), **request)  # type: ignore[arg-type] # columns of a registration
        assert isinstance(bridge.registrations.register(new), Created)
        refs.append(new.ref)
        bridge.clock.advance(1)
    return refs


def register(bridge: Harness, number: int) -> object:
    """Register one more."""
    return bridge.registrations.register(bridge.request(url=url(number)))


def end(bridge: Harness, status: str = "Succeeded") -> None:
    """End the operation, and poll."""
    bridge.upstream.script("operation-1", status)
    bridge.clock.advance(60)
    bridge.sweep()


def cancel(bridge: Harness, *refs: RegistrationRef) -> None:
    """Cancel registrations, a second apart."""
    for ref in refs:
        assert bridge.registrations.cancel(ref) == Accepted()
        bridge.clock.advance(1)


def keys_of(bridge: Harness, ref: RegistrationRef) -> list[str]:
    """Return the keys of all rows of a registration."""
    return [row.key for row in bridge.memory.rows(partition_of(ref)) if ref.hash in row.key]


def hashes(bridge: Harness) -> set[str]:
    """Return the hashes of the stored registrations."""
    return set(bridge.aggregate().registrations)


def write_attempts(bridge: Harness, ref: RegistrationRef, count: int) -> None:
    """Store attempts of a registration, one row each."""
    attempts = (
        AttemptRecord(ref=ref, number=number, at=NOON, claim=f"claim-{number}", leased_until=NOON, status=500)
        for number in range(1, count + 1)
    )
    for each in attempts:
        row = Insert(attempt_key(ref, each.number), for_insert(each))
        bridge.memory.commit(Transaction(partition_of(ref), (row,)))
    record = replace(bridge.registration(ref), last_attempt=count)
    bridge.memory.commit(Transaction(partition_of(ref), (Merge(row_key(ref), for_merge(record), ANY),)))


def test_the_registration_that_was_canceled_first_is_replaced() -> None:
    bridge = harness()
    refs = fill(bridge)
    cancel(bridge, refs[7], refs[3], refs[12])

    first, second = register(bridge, 20), register(bridge, 21)

    assert isinstance(first, Created)
    assert isinstance(second, Created)
    assert (keys_of(bridge, refs[7]), keys_of(bridge, refs[3])) == ([], [])
    assert len(keys_of(bridge, refs[12])) == 2  # the registration and the index row
    assert len(hashes(bridge)) == MAX_REGISTRATIONS


def test_a_skipped_registration_can_be_replaced() -> None:
    bridge = harness()
    refs = fill(bridge, events=(FinalStatus.FAILED,))
    end(bridge)
    assert bridge.registration(refs[0]).state is State.SKIPPED

    answered_late = register(bridge, 20)

    assert isinstance(answered_late, Created)
    assert answered_late.registration.state is State.PENDING
    assert keys_of(bridge, min(refs, key=lambda each: each.hash)) == []  # all were skipped at once
    assert bridge.deliver_all() == 1


def test_no_registration_is_deleted_while_a_place_is_free() -> None:
    bridge = harness()
    refs = fill(bridge, MAX_REGISTRATIONS - 1)
    cancel(bridge, *refs)

    assert isinstance(register(bridge, 20), Created)

    assert len(hashes(bridge)) == MAX_REGISTRATIONS


def test_a_new_generation_needs_no_place() -> None:
    """The registration already has one."""
    bridge = harness()
    refs = fill(bridge)
    cancel(bridge, refs[0], refs[1])

    assert isinstance(register(bridge, 1), Created)

    assert hashes(bridge) == {each.hash for each in refs}


@pytest.mark.parametrize("state", [State.WAITING, State.PENDING, State.DELIVERED, State.DEAD])
def test_a_registration_in_another_state_keeps_its_place(state: State) -> None:
    bridge = harness()
    fill(bridge)
    for number in range(MAX_REGISTRATIONS):
        bridge.sender.script(url(number), 410 if state is State.DEAD else 200)
    if state is not State.WAITING:
        end(bridge)
    if state in (State.DELIVERED, State.DEAD):
        bridge.deliver_all()
    assert {each.record.state for each in bridge.aggregate().registrations.values()} == {state}
    before = hashes(bridge)

    assert register(bridge, 20) == TooMany()

    assert hashes(bridge) == before


def test_a_registration_that_cannot_be_read_keeps_its_place() -> None:
    """A version that can read the registration must deliver."""
    bridge = harness()
    refs = fill(bridge)
    bridge.memory.commit(
        Transaction(partition_of(refs[0]), (Merge(row_key(refs[0]), {"v": 2, "state": "canceled"}, ANY),))
    )

    assert register(bridge, 20) == TooMany()


@pytest.mark.parametrize("attempts", [1, KEPT_ATTEMPTS, KEPT_ATTEMPTS + 1, 3 * KEPT_ATTEMPTS])
def test_attempts_are_deleted_with_their_registration(attempts: int) -> None:
    """Attempts of older versions, which kept more, are included."""
    witness = Witness()
    bridge = harness(lambda _: witness)
    bridge.memory = witness
    refs = fill(bridge)
    cancel(bridge, refs[4])
    write_attempts(bridge, refs[4], attempts)
    witness.sizes.clear()

    assert isinstance(register(bridge, 20), Created)

    assert keys_of(bridge, refs[4]) == []
    assert witness.sizes[-1] <= LARGEST
    assert max(witness.sizes) <= MAX_WRITES


def test_replacing_a_registration_deletes_no_row_of_another() -> None:
    bridge = harness()
    refs = fill(bridge)
    cancel(bridge, refs[4])
    write_attempts(bridge, refs[4], 3)
    write_attempts(bridge, refs[5], 3)
    before = keys_of(bridge, refs[5])

    register(bridge, 20)

    assert keys_of(bridge, refs[5]) == before
    assert len(before) == 5


def test_replacing_costs_three_calls_and_one_more_with_attempts() -> None:
    bridge = harness()
    refs = fill(bridge)
    cancel(bridge, refs[4], refs[5])
    write_attempts(bridge, refs[5], 3)
    bridge.table.taken()

    costs = []
    for number in (20, 21):
        register(bridge, number)
        costs.append(bridge.table.taken())

    assert costs == [{"commit": 2, "range": 1}, {"commit": 2, "range": 2}]


def test_a_replacement_resumes_the_polls_of_an_operation() -> None:
    """The new registration waits, and a poll replaces the purge."""
    bridge = harness()
    refs = fill(bridge)
    cancel(bridge, *refs)
    assert bridge.due_keys() == ["purge:default:operation-1"]

    assert isinstance(register(bridge, 20), Created)

    assert bridge.due_keys() == ["poll:default:operation-1"]
    end(bridge)
    assert bridge.deliver_all() == 1


def test_repeated_replacements_always_find_a_place() -> None:
    """No transaction is larger than the end of an operation with 20 registrations."""
    witness = Witness()
    bridge = harness(lambda _: witness)
    bridge.memory = witness
    counts = []
    for number in range(3 * MAX_REGISTRATIONS):
        assert isinstance(register(bridge, number), Created)
        counts.append(len(hashes(bridge)))
        if number < 2 * MAX_REGISTRATIONS:
            cancel(bridge, bridge.request(url=url(number)).ref)

    end(bridge)

    assert max(counts) == MAX_REGISTRATIONS
    assert max(witness.sizes) == LARGEST
    assert bridge.deliver_all() == MAX_REGISTRATIONS
    bridge.clock.advance(timedelta(days=31))
    bridge.sweep()
    bridge.sweep()
    assert [row.key for row in witness.rows(partition_of(bridge.request().ref))] == []


def test_two_simultaneous_replacements_use_two_places() -> None:
    """The second registration finds the writes of the first, and is decided again."""
    bridge, table = faulty()
    refs = fill(bridge)
    cancel(bridge, refs[0], refs[1])

    def other_is_faster(transaction: Transaction) -> Mapping[str, str]:
        register(bridge, 21)
        return table.inner.commit(transaction)

    table.fail(REGISTER_FURTHER, other_is_faster)  # the first call is the try without a read

    assert isinstance(register(bridge, 20), Created)

    assert len(hashes(bridge)) == MAX_REGISTRATIONS
    assert {bridge.request(url=url(number)).ref.hash for number in (20, 21)} <= hashes(bridge)
    assert keys_of(bridge, refs[0]) + keys_of(bridge, refs[1]) == []


@pytest.mark.parametrize("begin_again", [lambda registrations, ref: registrations.redeliver(ref), None])
def test_a_registration_that_begins_again_just_then_keeps_its_place(
    begin_again: Callable[..., object] | None,
) -> None:
    bridge, table = faulty()
    fill(bridge)
    end(bridge)
    bridge.deliver_all()
    late = bridge.request(url=url(0))
    bridge.registrations.redeliver(late.ref)
    cancel(bridge, late.ref)

    def owner_is_faster(transaction: Transaction) -> Mapping[str, str]:
        registrations = bridge.registrations
        begun = registrations.register(late) if begin_again is None else begin_again(registrations, late.ref)
        assert isinstance(begun, Created | Accepted)
        return table.inner.commit(transaction)

    table.fail(REGISTER_FURTHER, owner_is_faster)

    assert register(bridge, 20) == TooMany()

    assert bridge.registration(late.ref).state is State.PENDING


def test_a_replacement_with_a_lost_reply_counts() -> None:
    bridge, table = faulty()
    refs = fill(bridge)
    cancel(bridge, refs[0])
    table.fail(REGISTER_FURTHER, table.reply_lost)

    assert isinstance(register(bridge, 20), Created)

    assert len(hashes(bridge)) == MAX_REGISTRATIONS


def test_an_attempt_of_a_replaced_registration_does_not_count_for_a_later_one() -> None:
    """A POST was in flight while the registration was canceled, replaced and made again."""
    bridge = harness()
    fill(bridge)
    end(bridge)
    deliver, registrations = bridge.deliverer, bridge.registrations
    first = bridge.request(url=url(3))
    under_way = deliver.claims.claim(DeliveryTask.next_of(bridge.registration(first.ref)))
    assert under_way is not None
    cancel(bridge, first.ref)
    register(bridge, 20)
    bridge.queue.take()
    cancel(bridge, bridge.request(url=url(20)).ref)
    registrations.register(replace(first, generation=bridge.clock(), since=bridge.clock()))
    second = deliver.claims.claim(DeliveryTask.next_of(bridge.registration(first.ref)))
    assert second is not None
    refused = answered(500, address=None)

    deliver.recorder.record(under_way, under_way.attempt.with_outcome(refused, timedelta(seconds=1)), refused)

    shown = Client.of(bridge).call(Handlers.read_registration, id=first.ref.public_id).body
    assert (shown["state"], [each["status"] for each in shown["attempts"]]) == ("pending", [None])
    taken = answered(204, address=None)
    deliver.recorder.record(second, second.attempt.with_outcome(taken, timedelta(seconds=1)), taken)
    assert bridge.registration(first.ref).state is State.DELIVERED


def test_the_outcome_of_a_replaced_registration_is_dropped() -> None:
    """The rows stay deleted, and no thread waits for them."""
    bridge = harness()
    fill(bridge)
    end(bridge)
    ref = bridge.request(url=url(3)).ref
    under_way = bridge.deliverer.claims.claim(DeliveryTask.next_of(bridge.registration(ref)))
    assert under_way is not None
    cancel(bridge, ref)
    register(bridge, 20)
    taken = answered(204, address=None)

    bridge.deliverer.recorder.record(under_way, under_way.attempt.with_outcome(taken, timedelta(0)), taken)

    assert keys_of(bridge, ref) == []
    assert bridge.pauses == []


def test_a_message_for_a_replaced_registration_posts_nothing() -> None:
    bridge = harness()
    fill(bridge)
    end(bridge)
    ref = bridge.request(url=url(3)).ref
    cancel(bridge, ref)
    register(bridge, 20)

    bridge.deliver_all()

    assert url(3) not in {posted.url for posted in bridge.sender.posted}
    assert len(bridge.sender.posted) == MAX_REGISTRATIONS


def owned(registration: Registration, owner: str) -> Registration:
    """Change the owner of a request."""
    ref = RegistrationRef.of(registration.ref.operation, owner=owner, callback_url=registration.callback_url)
    return replace(registration, ref=ref, owner=owner)


ENTRA = {
    "BRIDGE_AUTH": "entra",
    "BRIDGE_AUTH_TENANT": "0f0e0d0c-1111-2222-3333-444444444444",
    "BRIDGE_AUTH_AUDIENCE": "api://speech-bridge",
    "BRIDGE_SHARED_OPERATIONS": "true",
}


def told_apart() -> Harness:
    """Return a harness with owners separated by tokens. The owners share operations."""
    bridge = harness()
    bridge.restart(**ENTRA)
    return bridge


def test_one_owner_has_half_of_the_places_if_tokens_separate_owners() -> None:
    bridge = told_apart()
    registrations = bridge.registrations

    by_ann = [registrations.register(owned(bridge.request(url=url(number)), "ann")) for number in range(11)]
    by_bob = [registrations.register(owned(bridge.request(url=url(number)), "bob")) for number in range(11)]
    by_eve = registrations.register(owned(bridge.request(), "eve"))

    assert [isinstance(each, Created) for each in by_ann] == [True] * 10 + [False]
    assert [isinstance(each, Created) for each in by_bob] == [True] * 10 + [False]
    assert by_ann[10] == by_bob[10] == TooMany(10, of_owner=True)
    assert by_eve == TooMany()


def test_an_owner_without_a_free_place_replaces_its_own() -> None:
    """The registration of another owner stays, even if canceled earlier."""
    bridge = told_apart()
    registrations = bridge.registrations
    requests_made = [owned(bridge.request(url=url(number)), owner) for owner in ("bob", "ann") for number in range(10)]
    for each in requests_made:
        registrations.register(each)
    cancel(bridge, requests_made[0].ref, requests_made[13].ref)

    assert isinstance(registrations.register(owned(bridge.request(url=url(20)), "ann")), Created)

    assert keys_of(bridge, requests_made[13].ref) == []
    assert requests_made[0].ref.hash in hashes(bridge)


def test_a_third_owner_replaces_a_canceled_registration() -> None:
    bridge = told_apart()
    registrations = bridge.registrations
    requests_made = [owned(bridge.request(url=url(number)), owner) for owner in ("bob", "ann") for number in range(10)]
    for each in requests_made:
        registrations.register(each)
    cancel(bridge, requests_made[0].ref)

    assert isinstance(registrations.register(owned(bridge.request(), "eve")), Created)

    assert keys_of(bridge, requests_made[0].ref) == []
    assert len(hashes(bridge)) == MAX_REGISTRATIONS
