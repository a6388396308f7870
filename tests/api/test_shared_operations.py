"""Knowing an operation id gives no right to its data: an operation is its first owner's, unless owners share it."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from bridge.api.handlers import Handlers
from bridge.domain.ids import RegistrationRef
from bridge.domain.registration import State
from bridge.domain.time import iso
from bridge.storage.keys import partition_of, row_key
from bridge.storage.records import SCHEMA_VERSION
from bridge.storage.transaction import ANY, Merge, Transaction
from tests.support.flaky import flaky
from tests.support.harness import Harness, harness
from tests.support.http import Answer, Client
from tests.support.tenant import ANN, BOB, EVE, ROOT, KeyServer, guarded_by

ANNS, BOBS, EVES, ROOTS = (f"https://{name}.example.com/hook" for name in ("ann", "bob", "eve", "root"))
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def bridge(tenant: KeyServer) -> Harness:
    """Make a harness that believes that tenant's tokens, and gives operations up while they are valid."""
    return guarded_by(tenant, BRIDGE_OPERATION_DEADLINE="20m")


def client_of(bridge: Harness, tenant: KeyServer, owner: str, *roles: str) -> Client:
    """Call as an owner."""
    return Client.of(bridge, tenant.token(owner, *roles))


@pytest.fixture
def ann(bridge: Harness, tenant: KeyServer) -> Client:
    """Call as the owner who comes first."""
    return client_of(bridge, tenant, ANN)


@pytest.fixture
def eve(bridge: Harness, tenant: KeyServer) -> Client:
    """Call as an owner who knows the id."""
    return client_of(bridge, tenant, EVE)


@pytest.fixture
def root(bridge: Harness, tenant: KeyServer) -> Client:
    """Call as an admin."""
    return client_of(bridge, tenant, ROOT, "Bridge.Admin")


def register(client: Client, url: str, **more: object) -> Answer:
    """Register for the one operation."""
    return client.register({"operationId": "operation-1", "callbackUrl": url, **more})


def registered(client: Client, url: str, **more: object) -> str:
    """Register successfully; returns the public id."""
    created = register(client, url, **more)
    assert created.status == 201, created.body
    return str(created.body["id"])


def cancel(client: Client, public_id: str) -> None:
    """Cancel successfully."""
    assert client.call(Handlers.cancel_registration, method="DELETE", id=public_id).status == 204


def redeliver(client: Client, public_id: str) -> Answer:
    """Ask for another run."""
    return client.call(Handlers.redeliver, method="POST", id=public_id)


def read(client: Client, public_id: str) -> dict[str, Any]:
    """Read a registration."""
    found = client.call(Handlers.read_registration, id=public_id)
    assert found.status == 200
    return dict(found.body)


def state_of(bridge: Harness, public_id: str) -> State:
    """Read how a registration stands."""
    ref = RegistrationRef.parse(public_id)
    assert ref is not None
    return bridge.registration(ref).state


def end(bridge: Harness, status: str = "Succeeded") -> None:
    """Let the operation end, and deliver."""
    bridge.upstream.tell("operation-1", status)
    bridge.clock.advance(60)
    bridge.sweep()
    bridge.deliver_all()


#: How a registration of ANN's comes into each state: what it asks for, and what its receiver answers.
_STATES: Mapping[State, tuple[Mapping[str, object], int | None]] = {
    State.WAITING: ({}, None),
    State.PENDING: ({}, 500),
    State.DELIVERED: ({}, 200),
    State.DEAD: ({}, 410),
    State.SKIPPED: ({"events": ["Failed"]}, 200),
}


def bring(bridge: Harness, ann: Client, state: State) -> str:
    """Bring a registration of ANN's into a state."""
    more, answer = _STATES[state]
    public_id = registered(ann, ANNS, **more)
    if answer is not None:
        bridge.sender.tell(ANNS, answer)
        end(bridge)
    assert state_of(bridge, public_id) is state
    return public_id


@pytest.mark.parametrize("state", _STATES)
def test_a_second_owner_is_refused_and_learns_nothing(bridge: Harness, ann: Client, eve: Client, state: State) -> None:
    """Whatever has become of the first one's registration."""
    bring(bridge, ann, state)

    refused = register(eve, EVES)

    assert (refused.status, refused.error["code"], refused.error["target"]) == (409, "OperationTaken", "operationId")
    assert "Location" not in refused.headers
    assert not any(told in json.dumps(refused.body) for told in (ANN, ANNS, "Succeeded", "2026"))
    assert eve.call(Handlers.read_operation, id="operation-1").status == 404
    end(bridge)
    assert EVES not in {posted.url for posted in bridge.sender.posted}


@pytest.mark.parametrize("state", _STATES)
def test_a_registration_that_cannot_be_read_keeps_its_operation(
    bridge: Harness, ann: Client, eve: Client, root: Client, state: State
) -> None:
    """A newer version has written it. Admins are let in as always."""
    public_id = bring(bridge, ann, state)
    written_by_version(bridge, public_id, SCHEMA_VERSION + 1)

    refused, let_in = register(eve, EVES), register(root, ROOTS)
    written_by_version(bridge, public_id, SCHEMA_VERSION)

    assert (refused.status, refused.error["code"], let_in.status) == (503, "UnreadableRow", 201)
    assert register(eve, EVES).error["code"] == "OperationTaken"


def test_what_was_canceled_is_not_redelivered_while_another_registration_cannot_be_read(
    bridge: Harness, ann: Client, eve: Client, root: Client
) -> None:
    """The operation can be the other owner's."""
    guessed = registered(eve, EVES)
    end(bridge)
    cancel(root, guessed)
    written_by_version(bridge, registered(ann, ANNS), SCHEMA_VERSION + 1)

    refused = redeliver(eve, guessed)

    assert (refused.status, refused.error["code"]) == (503, "UnreadableRow")
    assert state_of(bridge, guessed) is State.DELIVERED


def test_where_owners_share_operations_a_registration_that_cannot_be_read_refuses_no_other(
    shared: Harness, tenant: KeyServer
) -> None:
    written_by_version(shared, registered(client_of(shared, tenant, ANN), ANNS), SCHEMA_VERSION + 1)

    assert register(client_of(shared, tenant, EVE), EVES).status == 201


def written_by_version(bridge: Harness, public_id: str, version: int) -> None:
    """Let the row of a registration look like one of another version."""
    ref = RegistrationRef.parse(public_id)
    assert ref is not None
    bridge.memory.commit(Transaction(partition_of(ref), (Merge(row_key(ref), {"v": version}, ANY),)))


def test_the_first_owner_may_register_further_callbacks(bridge: Harness, ann: Client) -> None:
    registered(ann, ANNS)

    assert register(ann, BOBS).status == 201
    assert register(ann, ANNS).status == 200

    end(bridge)
    assert {posted.url for posted in bridge.sender.posted} == {ANNS, BOBS}


@pytest.mark.parametrize("state", _STATES)
@pytest.mark.parametrize("by", ["owner", "admin"])
def test_canceling_gives_the_operation_back(
    bridge: Harness, ann: Client, eve: Client, root: Client, state: State, by: str
) -> None:
    """What has ended stays as it is."""
    public_id = bring(bridge, ann, state)

    cancel(ann if by == "owner" else root, public_id)

    ended = state not in (State.WAITING, State.PENDING)
    assert state_of(bridge, public_id) is (state if ended else State.CANCELED)
    assert register(eve, EVES).status == 201
    assert register(ann, BOBS).error["code"] == "OperationTaken"
    end(bridge)
    assert state_of(bridge, str(register(eve, EVES).body["id"])) is State.DELIVERED


def test_an_operation_is_given_back_with_the_last_registration_of_its_owner(ann: Client, eve: Client) -> None:
    first, second = registered(ann, ANNS), registered(ann, BOBS)

    cancel(ann, first)
    assert register(eve, EVES).status == 409
    cancel(ann, second)
    assert register(eve, EVES).status == 201


def test_an_admins_registration_takes_no_operation(bridge: Harness, ann: Client, eve: Client, root: Client) -> None:
    """It comes beside the owner's, before or after."""
    registered(root, ROOTS)

    registered(ann, ANNS)
    assert register(eve, EVES).error["code"] == "OperationTaken"
    registered(root, BOBS)

    end(bridge)
    assert {posted.url for posted in bridge.sender.posted} == {ROOTS, ANNS, BOBS}


@pytest.mark.parametrize("state", [State.PENDING, State.DELIVERED, State.DEAD])
def test_what_was_canceled_is_not_redelivered_while_the_operation_is_anothers(
    bridge: Harness, ann: Client, eve: Client, root: Client, state: State
) -> None:
    """Its owner had guessed the id, and an admin freed it."""
    guessed = bring(bridge, ann, state)
    cancel(root, guessed)
    registered(eve, EVES)
    bridge.sender.posted.clear()

    refused = redeliver(ann, guessed)
    order = json.dumps({"state": "dead", "since": "2026-11-23T12:00:00Z"}).encode()
    many = ann.call(Handlers.redeliver_many, "/redeliver", method="POST", body=order, headers=JSON)

    assert (refused.status, refused.error["code"], refused.error["target"]) == (409, "OperationTaken", "id")
    assert many.body["started"] == 0
    end(bridge)
    assert {posted.url for posted in bridge.sender.posted} == {EVES}


def test_what_was_canceled_takes_a_free_operation_again_by_a_redelivery(
    bridge: Harness, ann: Client, eve: Client
) -> None:
    public_id = bring(bridge, ann, State.DELIVERED)
    cancel(ann, public_id)

    assert redeliver(ann, public_id).status == 202

    assert register(eve, EVES).error["code"] == "OperationTaken"


def test_a_skipped_registration_of_another_owner_keeps_its_place(
    bridge: Harness, ann: Client, root: Client, tenant: KeyServer
) -> None:
    """Otherwise admins' registrations could take the operation from its owner. A released one makes room."""
    public_id = bring(bridge, ann, State.SKIPPED)
    other_root = client_of(bridge, tenant, BOB, "Bridge.Admin")
    for number in range(10):
        registered(root, f"{ROOTS}/{number}")
    for number in range(9):
        registered(other_root, f"{ROOTS}/{number}")

    assert register(other_root, f"{ROOTS}/9").error["code"] == "TooManyRegistrations"
    cancel(ann, public_id)
    assert register(other_root, f"{ROOTS}/9").status == 201

    assert ann.call(Handlers.read_registration, id=public_id).status == 404


@pytest.mark.parametrize("state", [State.DELIVERED, State.DEAD, State.SKIPPED])
def test_registering_again_what_was_canceled_after_its_end_takes_the_operation_again(
    bridge: Harness, ann: Client, eve: Client, state: State
) -> None:
    """It is a new generation, like of any other canceled registration, so its content can be another."""
    public_id = bring(bridge, ann, state)
    cancel(ann, public_id)
    bridge.clock.advance(1)

    again = register(ann, ANNS, metadata={"attempt": 2})
    bridge.sender.tell(ANNS, 200)
    bridge.deliver_all()

    assert (again.status, again.body["id"]) == (201, public_id)
    assert register(eve, EVES).error["code"] == "OperationTaken"
    assert state_of(bridge, public_id) is State.DELIVERED
    assert json.loads(bridge.sender.posted[-1].body)["data"]["metadata"] == {"attempt": 2}


@pytest.mark.parametrize("state", [State.DELIVERED, State.DEAD, State.SKIPPED])
def test_registering_again_what_was_canceled_after_its_end_is_refused_if_the_operation_is_anothers(
    bridge: Harness, ann: Client, eve: Client, state: State
) -> None:
    public_id = bring(bridge, ann, state)
    cancel(ann, public_id)
    registered(eve, EVES)

    assert register(ann, ANNS).error["code"] == "OperationTaken"

    assert state_of(bridge, public_id) is state


@pytest.mark.parametrize("state", [State.DELIVERED, State.DEAD])
def test_what_was_canceled_after_its_end_gives_its_place(
    bridge: Harness, ann: Client, eve: Client, root: Client, tenant: KeyServer, state: State
) -> None:
    """Two owners guessed the id, one after the other, and an admin freed it each time."""
    for guesser in (eve, client_of(bridge, tenant, BOB)):
        for number in range(10):
            bridge.sender.tell(f"{EVES}/{number}", 410 if state is State.DEAD else 200)
        guessed = [registered(guesser, f"{EVES}/{number}") for number in range(10)]
        end(bridge)
        assert {state_of(bridge, each) for each in guessed} == {state}
        for each in guessed:
            cancel(root, each)

    assert register(ann, ANNS).status == 201

    assert bridge.aggregate().size == 20
    end(bridge)
    assert bridge.sender.posted[-1].url == ANNS


def test_an_owner_makes_room_by_canceling_what_has_ended(bridge: Harness, ann: Client) -> None:
    ended = [registered(ann, f"{ANNS}/{number}") for number in range(10)]
    end(bridge)
    cancel(ann, ended[3])

    answers = [register(ann, url).status for url in (ANNS, BOBS)]

    assert answers == [201, 409]
    assert ann.call(Handlers.read_registration, id=ended[3]).status == 404


def test_an_owner_is_told_of_its_own_limit(ann: Client) -> None:
    for number in range(10):
        registered(ann, f"{ANNS}/{number}")

    refused = register(ann, ANNS)

    assert (refused.status, refused.error["code"]) == (409, "TooManyRegistrations")
    assert "at most 10 registrations" in refused.error["message"]


def test_of_two_owners_who_come_at_once_one_gets_the_operation(tenant: KeyServer) -> None:
    """The operation is there, and nobody's: both read that, and both write."""
    bridge, table = flaky()
    bridge.restart(**tenant.settings)
    ann, eve = (client_of(bridge, tenant, owner) for owner in (ANN, EVE))
    cancel(ann, registered(ann, ANNS))

    def eve_is_faster(transaction: Transaction) -> Mapping[str, str]:
        registered(eve, EVES)
        return table.inner.commit(transaction)

    table.instead = [table.inner.commit, eve_is_faster]  # the first is the try without a read

    assert register(ann, BOBS).error["code"] == "OperationTaken"


@pytest.mark.parametrize("state", [State.CANCELED, State.DELIVERED])
@pytest.mark.parametrize("first", ["redelivery", "registration"])
def test_of_a_redelivery_and_another_owner_who_come_at_once_one_gets_the_operation(
    tenant: KeyServer, state: State, first: str
) -> None:
    """What was canceled takes the operation again by a redelivery."""
    bridge, table = flaky()
    bridge.restart(**tenant.settings)
    ann, eve = (client_of(bridge, tenant, owner) for owner in (ANN, EVE))
    public_id = bring(bridge, ann, State.PENDING if state is State.CANCELED else state)
    cancel(ann, public_id)
    assert state_of(bridge, public_id) is state

    def other_is_faster(transaction: Transaction) -> Mapping[str, str]:
        if first == "redelivery":
            assert redeliver(ann, public_id).status == 202
        else:
            registered(eve, EVES)
        return table.inner.commit(transaction)

    if first == "redelivery":
        table.instead = [table.inner.commit, other_is_faster]  # the first is the try without a read
        second = register(eve, EVES)
    else:
        table.instead = [other_is_faster]
        second = redeliver(ann, public_id)

    assert (second.status, second.error["code"]) == (409, "OperationTaken")


def test_with_a_function_key_there_is_one_owner() -> None:
    """The setting changes nothing."""
    bridge = harness(BRIDGE_SHARED_OPERATIONS="false")
    client = Client.of(bridge)

    answers = [register(client, f"{ANNS}/{number}").status for number in range(20)]

    assert answers == [201] * 20


@pytest.fixture
def shared(tenant: KeyServer) -> Harness:
    """Make a harness in which owners share operations."""
    return guarded_by(tenant, BRIDGE_SHARED_OPERATIONS="true")


def test_an_owner_is_shown_counts_and_times_from_its_own_registration_on(shared: Harness, tenant: KeyServer) -> None:
    """In each answer that shows the operation."""
    ann, bob = (client_of(shared, tenant, owner) for owner in (ANN, BOB))
    began = shared.clock()
    anns = registered(ann, ANNS)
    for _ in range(3):
        shared.sweep()
        shared.clock.advance(60)
    polls = read(ann, anns)["operation"]["polls"]
    came = shared.clock()

    created = register(bob, BOBS)
    bobs = str(created.body["id"])
    at_once = [
        created.body["operation"],
        register(bob, BOBS).body["operation"],
        read(bob, bobs)["operation"],
        {name: value for name, value in operation_seen_by(bob).items() if name != "registrations"},
    ]
    shared.clock.advance(60)
    shared.sweep()
    later = [read(bob, bobs)["operation"], operation_seen_by(bob)]

    assert polls > 1
    for each in at_once:
        assert (each["registeredAt"], each["polls"], each["lastPolledAt"]) == (iso(came), 0, None)
        assert (each["status"], each["lastError"], each["finishedAt"]) == (None, None, None)
    for each in later:
        assert (each["registeredAt"], each["polls"], each["lastPolledAt"]) == (iso(came), 1, iso(shared.clock()))
        assert each["status"] == "Running"
    assert read(ann, anns)["operation"]["registeredAt"] == iso(began)
    assert read(ann, anns)["operation"]["polls"] == polls + 1
    assert operation_seen_by(ann)["polls"] == polls + 1


def operation_seen_by(client: Client) -> dict[str, Any]:
    """Read the operation."""
    found = client.call(Handlers.read_operation, id="operation-1")
    assert found.status == 200
    return dict(found.body)


def test_an_owner_who_comes_after_the_end_is_shown_no_polls_of_others(shared: Harness, tenant: KeyServer) -> None:
    ann, bob = (client_of(shared, tenant, owner) for owner in (ANN, BOB))
    registered(ann, ANNS)
    end(shared)
    shared.clock.advance(60)

    seen = register(bob, BOBS).body["operation"]

    assert (seen["status"], seen["registeredAt"]) == ("Succeeded", iso(shared.clock()))
    assert (seen["polls"], seen["lastPolledAt"], seen["nextPollAt"]) == (0, None, None)


@pytest.mark.parametrize("expired", [False, True])
def test_a_registration_that_is_over_is_shown_nothing_of_what_comes_later(
    bridge: Harness, ann: Client, eve: Client, root: Client, *, expired: bool
) -> None:
    """EVE guessed the id, and the operation is freed, followed and ended for ANN."""
    guessed = registered(eve, EVES)
    if expired:
        end_as_expired(bridge)
        assert state_of(bridge, guessed) is State.DELIVERED
    else:
        bridge.sweep()
    cancel(root, guessed)
    before = read(eve, guessed)["operation"], operation_seen_by(eve)
    bridge.clock.advance(60)
    registered(ann, ANNS)
    bridge.sweep()
    bridge.clock.advance(60)
    followed = read(eve, guessed)["operation"], operation_seen_by(eve)
    end(bridge)
    ended = read(eve, guessed)["operation"], operation_seen_by(eve)

    shown = ("status", "registeredAt", "polls", "lastPolledAt", "finishedAt")
    assert read(ann, registered_before(ann))["operation"]["status"] == "Succeeded"
    for seen in (followed, ended):
        for then, now in zip(before, seen, strict=True):
            if expired:
                assert {name: now[name] for name in shown} == {name: then[name] for name in shown}
            assert now["nextPollAt"] is None
            assert now["lastError"] is None
            assert now["status"] == ("Expired" if expired else None)
            assert now["polls"] == then["polls"]


def registered_before(client: Client) -> str:
    """Register the same again; returns its public id."""
    again = register(client, ANNS)
    assert again.status == 200
    return str(again.body["id"])


def end_as_expired(bridge: Harness) -> None:
    """Let the bridge give the operation up."""
    bridge.clock.advance(21 * 60)
    for _ in range(3):
        bridge.sweep()
        bridge.deliver_all()
        bridge.clock.advance(60)
