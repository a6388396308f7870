"""A client purges a registration that has ended, with its message and its attempts."""

from collections.abc import Callable

import pytest

from bridge.api.handlers import Handlers
from bridge.domain.attempt import KEPT_ATTEMPTS
from bridge.domain.ids import RegistrationRef
from bridge.domain.registration import State
from bridge.log import Event
from bridge.storage.keys import operation_partitions, partition_of, row_key
from bridge.storage.records import SCHEMA_VERSION
from bridge.storage.table import ANY, Insert, Merge, Transaction
from tests.support.faults import PURGE, faulty
from tests.support.harness import Harness
from tests.support.http import Answer, Client
from tests.support.log_lines import lines_of
from tests.support.tenant import ANN, EVE, ROOT, KeyServer, guarded_by

HOOK, OTHER = "https://receiver.example.com/hook", "https://other.example.com/hook"


def purge(client: Client, ref: RegistrationRef, query: str = "purge=true") -> Answer:
    """Purge a registration."""
    public_id = ref.public_id
    return client.call(
        Handlers.cancel_registration, f"/registrations/{public_id}?{query}", method="DELETE", id=public_id
    )


def end(bridge: Harness) -> None:
    """End the operation, and deliver."""
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.clock.advance(60)
    bridge.sweep()
    bridge.deliver_all()


def keys(bridge: Harness) -> list[str]:
    """Return the keys of all rows of operations."""
    return [row.key for name in operation_partitions() for row in bridge.memory.rows(name)]


def _canceled(bridge: Harness, ref: RegistrationRef) -> None:
    bridge.registrations.cancel(ref)


def _delivered(bridge: Harness, _: RegistrationRef) -> None:
    end(bridge)


def _dead(bridge: Harness, _: RegistrationRef) -> None:
    bridge.sender.script(HOOK, 410)
    end(bridge)


@pytest.mark.parametrize(
    ("state", "bring"),
    [(State.CANCELED, _canceled), (State.DELIVERED, _delivered), (State.DEAD, _dead)],
    ids=["canceled", "delivered", "dead"],
)
def test_the_last_registration_takes_its_operation_along(
    bridge: Harness,
    state: State,
    bring: Callable[[Harness, RegistrationRef], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No row of either is left, not even the due purge, and the id is unknown afterwards."""
    caplog.set_level("INFO")
    [ref] = bridge.register("operation-1", HOOK)
    bring(bridge, ref)
    assert bridge.registration(ref).state is state

    answer = purge(Client.of(bridge), ref)

    assert (answer.status, answer.body) == (204, None)
    assert keys(bridge) == []
    assert purge(Client.of(bridge), ref).status == 404
    [line] = lines_of(caplog, Event.REGISTRATION_PURGED)
    assert (line["registration"], line["was"]) == (ref.public_id, state)


def test_a_skipped_registration_is_purged_beside_the_others(bridge: Harness) -> None:
    """Rows of the others stay as they are, apart from the touched operation."""
    client = Client.of(bridge)
    [kept] = bridge.register("operation-1", HOOK)
    created = client.register({"operationId": "operation-1", "callbackUrl": OTHER, "events": ["Failed"]})
    skipped = RegistrationRef.parse(created.body["id"])
    assert skipped is not None
    end(bridge)
    before = {row.key: row for row in bridge.memory.rows(partition_of(kept))}

    assert purge(client, skipped).status == 204

    after = {row.key: row for row in bridge.memory.rows(partition_of(kept))}
    assert not any(skipped.hash in key for key in after)
    assert {key for key, row in before.items() if row != after.get(key)} == {
        *(key for key in before if skipped.hash in key),
        row_key(kept.operation),
    }
    assert before.keys() - after.keys() == {key for key in before if skipped.hash in key}
    assert bridge.aggregate().operation.record.due == before[row_key(kept.operation)].values["due"]


@pytest.mark.parametrize("state", [State.WAITING, State.PENDING])
def test_a_registration_that_has_not_ended_is_not_purged(bridge: Harness, state: State) -> None:
    [ref] = bridge.register("operation-1", HOOK)
    if state is State.PENDING:
        bridge.sender.script(HOOK, 500)
        end(bridge)
    assert bridge.registration(ref).state is state
    before = keys(bridge)

    answer = purge(Client.of(bridge), ref)

    assert (answer.status, answer.error["code"], answer.error["target"]) == (409, "NotEnded", "id")
    assert keys(bridge) == before


@pytest.mark.parametrize("value", ["", "1", "yes", "TRUE", "true,true"])
def test_the_parameter_is_true_or_false(bridge: Harness, value: str) -> None:
    """A typing error neither cancels nor purges."""
    [ref] = bridge.register("operation-1", HOOK)

    answer = purge(Client.of(bridge), ref, f"purge={value}")

    assert (answer.status, answer.targets) == (400, ["purge"])
    assert bridge.registration(ref).state is State.WAITING


def test_without_the_parameter_a_registration_is_canceled(bridge: Harness) -> None:
    [ref] = bridge.register("operation-1", HOOK)

    assert purge(Client.of(bridge), ref, "purge=false").status == 204

    assert bridge.registration(ref).state is State.CANCELED


def test_all_attempts_are_purged_also_those_beyond_the_limit(bridge: Harness) -> None:
    """Another version can have left more rows than this version keeps."""
    [ref] = bridge.register("operation-1", HOOK)
    _dead(bridge, ref)
    extra = [f"att:default:operation-1:{ref.hash}:{number:06d}" for number in range(100, 100 + 2 * KEPT_ATTEMPTS)]
    for key in extra:
        bridge.memory.commit(Transaction(partition_of(ref), (Insert(key, {"v": SCHEMA_VERSION, "number": 1}),)))

    assert purge(Client.of(bridge), ref).status == 204

    assert keys(bridge) == []


def test_the_same_callback_can_be_registered_again_afterwards(bridge: Harness) -> None:
    """It begins anew, with another message id."""
    [ref] = bridge.register("operation-1", HOOK)
    end(bridge)
    first = bridge.registration(ref).message_id
    purge(Client.of(bridge), ref)
    bridge.clock.advance(60)

    [again] = bridge.register("operation-1", HOOK)
    end(bridge)

    assert again == ref
    assert bridge.registration(ref).last_attempt == 1
    assert bridge.registration(ref).message_id != first


def test_an_operation_stays_with_a_registration_that_this_version_cannot_read(bridge: Harness) -> None:
    """A version that can read it still notifies it."""
    [ref, newer] = bridge.register("operation-1", HOOK, OTHER)
    bridge.registrations.cancel(ref)
    changed = Merge(row_key(newer), {"v": SCHEMA_VERSION + 1}, ANY)
    bridge.memory.commit(Transaction(partition_of(ref), (changed,)))

    assert purge(Client.of(bridge), ref).status == 204

    assert {row_key(ref.operation), row_key(newer)} <= set(keys(bridge))
    assert row_key(ref) not in keys(bridge)


@pytest.mark.parametrize("fault", ["reply_lost", "request_lost"])
def test_a_purge_whose_reply_was_lost_is_recognised(fault: str) -> None:
    """No row is left to stamp, so the missing registration shows the purge."""
    bridge, table = faulty()
    [ref] = bridge.register("operation-1", HOOK)
    bridge.registrations.cancel(ref)
    table.fail(PURGE, getattr(table, fault))

    assert purge(Client.of(bridge), ref).status == 204

    assert keys(bridge) == []


def test_owners_purge_their_own_registrations_and_admins_all(tenant: KeyServer) -> None:
    """A registration of another owner is answered like an unknown one."""
    bridge = guarded_by(tenant)
    ann, eve = (Client.of(bridge, tenant.token(owner)) for owner in (ANN, EVE))
    root = Client.of(bridge, tenant.token(ROOT, "Bridge.Admin"))
    ref = RegistrationRef.parse(ann.register({"operationId": "operation-1", "callbackUrl": HOOK}).body["id"])
    assert ref is not None
    bridge.registrations.cancel(ref)

    assert purge(eve, ref).status == 404
    assert row_key(ref) in keys(bridge)
    assert purge(root, ref).status == 204


def test_an_owner_keeps_the_operation_while_another_registration_of_the_owner_has_it(tenant: KeyServer) -> None:
    """After the purge of the last one, another owner can register."""
    bridge = guarded_by(tenant)
    ann, eve = (Client.of(bridge, tenant.token(owner)) for owner in (ANN, EVE))
    refs = [
        RegistrationRef.parse(ann.register({"operationId": "operation-1", "callbackUrl": url}).body["id"])
        for url in (HOOK, OTHER)
    ]
    end(bridge)

    answers = []
    for ref in refs:
        assert ref is not None
        answers.append(eve.register({"operationId": "operation-1", "callbackUrl": HOOK}).status)
        assert purge(ann, ref).status == 204
    answers.append(eve.register({"operationId": "operation-1", "callbackUrl": HOOK}).status)

    assert answers == [409, 409, 201]


def test_a_purge_does_not_harm_the_registration_of_an_admin(tenant: KeyServer) -> None:
    """The operation stays for it, and its delivery goes on."""
    bridge = guarded_by(tenant)
    ann = Client.of(bridge, tenant.token(ANN))
    root = Client.of(bridge, tenant.token(ROOT, "Bridge.Admin"))
    ref = RegistrationRef.parse(ann.register({"operationId": "operation-1", "callbackUrl": HOOK}).body["id"])
    beside = RegistrationRef.parse(root.register({"operationId": "operation-1", "callbackUrl": OTHER}).body["id"])
    assert ref is not None
    assert beside is not None
    bridge.registrations.cancel(ref)

    assert purge(ann, ref).status == 204
    end(bridge)

    assert bridge.registration(beside).state is State.DELIVERED
