"""An operation belongs to its first owner unless owners share operations. The id alone gives no access to data."""

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
from bridge.storage.table import ANY, Merge, Transaction
from tests.support.faults import CHANGE, REGISTER_FURTHER, faulty
from tests.support.harness import Harness, harness
from tests.support.http import Answer, Client
from tests.support.tenant import ANN, BOB, EVE, ROOT, KeyServer, guarded_by

ANNS, BOBS, EVES, ROOTS = (f"https://{name}.example.com/hook" for name in ("ann", "bob", "eve", "root"))
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def bridge(tenant: KeyServer) -> Harness:
    """Return a harness that trusts the tenant, with a deadline within the lifetime of tokens."""
    return guarded_by(tenant, BRIDGE_OPERATION_DEADLINE="20m")


def client_of(bridge: Harness, tenant: KeyServer, owner: str, *roles: str) -> Client:
    """Return the client of an owner."""
    return Client.of(bridge, tenant.token(owner, *roles))


@pytest.fixture
def ann(bridge: Harness, tenant: KeyServer) -> Client:
    """Return the client of the first owner."""
    return client_of(bridge, tenant, ANN)


@pytest.fixture
def eve(bridge: Harness, tenant: KeyServer) -> Client:
    """Return the client of another owner, with knowledge of the id."""
    return client_of(bridge, tenant, EVE)


@pytest.fixture
def root(bridge: Harness, tenant: KeyServer) -> Client:
    """Return the client of an admin."""
    return client_of(bridge, tenant, ROOT, "Bridge.Admin")


def register(client: Client, url: str, **more: object) -> Answer:
    """Register for the operation."""
    return client.register({"operationId": "operation-1", "callbackUrl": url, **more})


def registered(client: Client, url: str, **more: object) -> str:
    """Register successfully. Returns the public id."""
    created = register(client, url, **more)
    assert created.status == 201, created.body
    return str(created.body["id"])


def cancel(client: Client, public_id: str) -> None:
    """Cancel successfully."""
    assert client.call(Handlers.cancel_registration, method="DELETE", id=public_id).status == 204


def redeliver(client: Client, public_id: str) -> Answer:
    """Redeliver."""
    return client.call(Handlers.redeliver, method="POST", id=public_id)


def read(client: Client, public_id: str) -> dict[str, Any]:
    """Read a registration."""
    found = client.call(Handlers.read_registration, id=public_id)
    assert found.status == 200
    return dict(found.body)


def state_of(bridge: Harness, public_id: str) -> State:
    """Return the state of a registration."""
    ref = RegistrationRef.parse(public_id)
    assert ref is not None
    return bridge.registration(ref).state


def end(bridge: Harness, status: str = "Succeeded") -> None:
    """End the operation, and deliver."""
    bridge.upstream.script("operation-1", status)
    bridge.clock.advance(60)
    bridge.sweep()
    bridge.deliver_all()


#: The way of ANN's registration into each state: the filter, and the receiver's answer.
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
        bridge.sender.script(ANNS, answer)
        end(bridge)
    assert state_of(bridge, public_id) is state
    return public_id


@pytest.mark.parametrize("state", _STATES)
def test_a_second_owner_is_rejected_without_information(
    bridge: Harness, ann: Client, eve: Client, state: State
) -> None:
    """The state of the first owner's registration is irrelevant."""
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
    """A newer version wrote the row. Admins have access as always."""
    public_id = bring(bridge, ann, state)
    written_by_version(bridge, public_id, SCHEMA_VERSION + 1)

    refused, let_in = register(eve, EVES), register(root, ROOTS)
    written_by_version(bridge, public_id, SCHEMA_VERSION)

    assert (refused.status, refused.error["code"], let_in.status) == (503, "UnreadableRow", 201)
    assert register(eve, EVES).error["code"] == "OperationTaken"


def test_a_canceled_registration_is_not_redelivered_beside_an_unreadable_one(
    bridge: Harness, ann: Client, eve: Client, root: Client
) -> None:
    """The operation may belong to the other owner."""
    guessed = registered(eve, EVES)
    end(bridge)
    cancel(root, guessed)
    written_by_version(bridge, registered(ann, ANNS), SCHEMA_VERSION + 1)

    refused = redeliver(eve, guessed)

    assert (refused.status, refused.error["code"]) == (503, "UnreadableRow")
    assert state_of(bridge, guessed) is State.DELIVERED


def test_with_shared_operations_an_unreadable_registration_excludes_no_owner(
    shared: Harness, tenant: KeyServer
) -> None:
    written_by_version(shared, registered(client_of(shared, tenant, ANN), ANNS), SCHEMA_VERSION + 1)

    assert register(client_of(shared, tenant, EVE), EVES).status == 201


def written_by_version(bridge: Harness, public_id: str, version: int) -> None:
    """Change the version of a registration's row."""
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
def test_canceling_releases_the_operation(
    bridge: Harness, ann: Client, eve: Client, root: Client, state: State, by: str
) -> None:
    """An ended registration is unchanged."""
    public_id = bring(bridge, ann, state)

    cancel(ann if by == "owner" else root, public_id)

    ended = state not in (State.WAITING, State.PENDING)
    assert state_of(bridge, public_id) is (state if ended else State.CANCELED)
    assert register(eve, EVES).status == 201
    assert register(ann, BOBS).error["code"] == "OperationTaken"
    end(bridge)
    assert state_of(bridge, str(register(eve, EVES).body["id"])) is State.DELIVERED


def test_an_operation_is_released_with_the_last_registration_of_its_owner(ann: Client, eve: Client) -> None:
    first, second = registered(ann, ANNS), registered(ann, BOBS)

    cancel(ann, first)
    assert register(eve, EVES).status == 409
    cancel(ann, second)
    assert register(eve, EVES).status == 201


def test_an_admins_registration_takes_no_operation(bridge: Harness, ann: Client, eve: Client, root: Client) -> None:
    """The admin's registration can come before or after the owner's."""
    registered(root, ROOTS)

    registered(ann, ANNS)
    assert register(eve, EVES).error["code"] == "OperationTaken"
    registered(root, BOBS)

    end(bridge)
    assert {posted.url for posted in bridge.sender.posted} == {ROOTS, ANNS, BOBS}


@pytest.mark.parametrize("state", [State.PENDING, State.DELIVERED, State.DEAD])
def test_a_canceled_registration_is_not_redelivered_while_another_owner_has_the_operation(
    bridge: Harness, ann: Client, eve: Client, root: Client, state: State
) -> None:
    """The owner of the canceled registration had guessed the id, and an admin freed the operation."""
    guessed = bring(bridge, ann, state)
    cancel(root, guessed)
    registered(eve, EVES)
    bridge.sender.posted.clear()

    refused = redeliver(ann, guessed)
    order = json.dumps({"states": ["dead"], "since": "2026-11-23T12:00:00Z"}).encode()
    many = ann.call(Handlers.redeliver_many, "/redeliver", method="POST", body=order, headers=JSON)

    assert (refused.status, refused.error["code"], refused.error["target"]) == (409, "OperationTaken", "id")
    assert many.body["started"] == 0
    end(bridge)
    assert {posted.url for posted in bridge.sender.posted} == {EVES}


def test_redelivering_a_canceled_registration_takes_a_free_operation_again(
    bridge: Harness, ann: Client, eve: Client
) -> None:
    public_id = bring(bridge, ann, State.DELIVERED)
    cancel(ann, public_id)

    assert redeliver(ann, public_id).status == 202

    assert register(eve, EVES).error["code"] == "OperationTaken"


def test_a_skipped_registration_of_another_owner_keeps_its_place(
    bridge: Harness, ann: Client, root: Client, tenant: KeyServer
) -> None:
    """Otherwise, admins could take the operation from its owner. A released registration can be replaced."""
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
def test_registering_again_after_a_late_cancellation_takes_the_operation_again(
    bridge: Harness, ann: Client, eve: Client, state: State
) -> None:
    """The registration is a new generation, like after any other cancellation, so the content may differ."""
    public_id = bring(bridge, ann, state)
    cancel(ann, public_id)
    bridge.clock.advance(1)

    again = register(ann, ANNS, metadata={"attempt": 2})
    bridge.sender.script(ANNS, 200)
    bridge.deliver_all()

    assert (again.status, again.body["id"]) == (201, public_id)
    assert register(eve, EVES).error["code"] == "OperationTaken"
    assert state_of(bridge, public_id) is State.DELIVERED
    assert json.loads(bridge.sender.posted[-1].body)["data"]["metadata"] == {"attempt": 2}


@pytest.mark.parametrize("state", [State.DELIVERED, State.DEAD, State.SKIPPED])
def test_registering_again_after_a_late_cancellation_is_rejected_if_another_owner_has_the_operation(
    bridge: Harness, ann: Client, eve: Client, state: State
) -> None:
    public_id = bring(bridge, ann, state)
    cancel(ann, public_id)
    registered(eve, EVES)

    assert register(ann, ANNS).error["code"] == "OperationTaken"

    assert state_of(bridge, public_id) is state


@pytest.mark.parametrize("state", [State.DELIVERED, State.DEAD])
def test_a_registration_canceled_after_its_end_can_be_replaced(
    bridge: Harness, ann: Client, eve: Client, root: Client, tenant: KeyServer, state: State
) -> None:
    """Two owners guessed the id in turn, and an admin freed the operation each time."""
    for guesser in (eve, client_of(bridge, tenant, BOB)):
        for number in range(10):
            bridge.sender.script(f"{EVES}/{number}", 410 if state is State.DEAD else 200)
        guessed = [registered(guesser, f"{EVES}/{number}") for number in range(10)]
        end(bridge)
        assert {state_of(bridge, each) for each in guessed} == {state}
        for each in guessed:
            cancel(root, each)

    assert register(ann, ANNS).status == 201

    assert bridge.aggregate().size == 20
    end(bridge)
    assert bridge.sender.posted[-1].url == ANNS


def test_an_owner_makes_room_by_canceling_ended_registrations(bridge: Harness, ann: Client) -> None:
    ended = [registered(ann, f"{ANNS}/{number}") for number in range(10)]
    end(bridge)
    cancel(ann, ended[3])

    answers = [register(ann, url).status for url in (ANNS, BOBS)]

    assert answers == [201, 409]
    assert ann.call(Handlers.read_registration, id=ended[3]).status == 404


def test_the_error_names_the_limit_of_the_owner(ann: Client) -> None:
    for number in range(10):
        registered(ann, f"{ANNS}/{number}")

    refused = register(ann, ANNS)

    assert (refused.status, refused.error["code"]) == (409, "TooManyRegistrations")
    assert "at most 10 registrations" in refused.error["message"]


def test_one_of_two_simultaneous_owners_gets_the_operation(tenant: KeyServer) -> None:
    """The operation exists without an owner. Both clients read this, and both write."""
    bridge, table = faulty()
    bridge.restart(**tenant.settings)
    ann, eve = (client_of(bridge, tenant, owner) for owner in (ANN, EVE))
    cancel(ann, registered(ann, ANNS))

    def eve_is_faster(transaction: Transaction) -> Mapping[str, str]:
        registered(eve, EVES)
        return table.inner.commit(transaction)

    table.fail(REGISTER_FURTHER, eve_is_faster)  # the first call is the try without a read

    assert register(ann, BOBS).error["code"] == "OperationTaken"


@pytest.mark.parametrize("state", [State.CANCELED, State.DELIVERED])
@pytest.mark.parametrize("first", ["redelivery", "registration"])
def test_a_redelivery_or_a_simultaneous_owner_gets_the_operation(tenant: KeyServer, state: State, first: str) -> None:
    """The canceled registration takes the operation again by a redelivery."""
    bridge, table = faulty()
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
        table.fail(REGISTER_FURTHER, other_is_faster)  # the first call is the try without a read
        second = register(eve, EVES)
    else:
        table.fail(CHANGE, other_is_faster)
        second = redeliver(ann, public_id)

    assert (second.status, second.error["code"]) == (409, "OperationTaken")


def test_with_a_function_key_there_is_one_owner() -> None:
    """The setting has no effect."""
    bridge = harness(BRIDGE_SHARED_OPERATIONS="false")
    client = Client.of(bridge)

    answers = [register(client, f"{ANNS}/{number}").status for number in range(20)]

    assert answers == [201] * 20


@pytest.fixture
def shared(tenant: KeyServer) -> Harness:
    """Return a harness with operations shared among owners."""
    return guarded_by(tenant, BRIDGE_SHARED_OPERATIONS="true")


def test_an_owner_sees_counts_and_times_since_its_own_registration(shared: Harness, tenant: KeyServer) -> None:
    """Covers each answer that shows the operation."""
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


def test_an_owner_after_the_end_sees_no_earlier_polls(shared: Harness, tenant: KeyServer) -> None:
    ann, bob = (client_of(shared, tenant, owner) for owner in (ANN, BOB))
    registered(ann, ANNS)
    end(shared)
    shared.clock.advance(60)

    seen = register(bob, BOBS).body["operation"]

    assert (seen["status"], seen["registeredAt"]) == ("Succeeded", iso(shared.clock()))
    assert (seen["polls"], seen["lastPolledAt"], seen["nextPollAt"]) == (0, None, None)


@pytest.mark.parametrize("expired", [False, True])
def test_an_ended_registration_shows_nothing_of_later_events(
    bridge: Harness, ann: Client, eve: Client, root: Client, *, expired: bool
) -> None:
    """EVE guessed the id. Then the operation was freed, and ended for ANN."""
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
    """Register the same again. Returns the public id."""
    again = register(client, ANNS)
    assert again.status == 200
    return str(again.body["id"])


def end_as_expired(bridge: Harness) -> None:
    """Let the operation expire."""
    bridge.clock.advance(21 * 60)
    for _ in range(3):
        bridge.sweep()
        bridge.deliver_all()
        bridge.clock.advance(60)
