"""The query of a callback URL is a secret: encrypted at rest, and visible only to the owner."""

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bridge.api.handlers import Handlers
from bridge.domain.ids import RegistrationRef
from bridge.domain.operation import Operation
from bridge.domain.registration import Registration, State
from bridge.storage.index import IndexEntry, index_key_of
from bridge.storage.keys import partition_of, row_key
from bridge.storage.queue_message import write_task
from bridge.storage.records import for_insert
from bridge.storage.table import ANY, Insert, Merge, Transaction
from bridge.storage.writes.common import purge_due
from tests.support.harness import SIGNING_KEY, Harness, harness, new_signing_key
from tests.support.http import Answer, Client
from tests.support.tenant import ANN, BOB, ROOT, KeyServer, guarded_by

OLD, NEW, NEWEST = SIGNING_KEY, new_signing_key(), new_signing_key()
PLACE = "https://receiver.example.com/hook"
HOOK = f"{PLACE}?code=canary-of-the-query&sig=canary%2Btoo"
SHOWN = f"{PLACE}?…"
BODY = {"operationId": "operation-1", "callbackUrl": HOOK}
JSON = {"Content-Type": "application/json"}


def registered(bridge: Harness, body: Mapping[str, object] = BODY) -> str:
    """Register a callback. Returns the id."""
    created = Client.of(bridge).register(body)
    assert created.status == 201
    return str(created.body["id"])


def pending(bridge: Harness, body: Mapping[str, object] = BODY) -> str:
    """Bring a callback to the point where the first message is in the queue. Returns the id."""
    public_id = registered(bridge, body)
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()
    return public_id


def next_attempt(bridge: Harness) -> None:
    """Advance the clock to the next attempt."""
    bridge.clock.advance(timedelta(hours=3))
    bridge.sweep()
    bridge.deliver_all()


def read(client: Client, public_id: str) -> Answer:
    """Read a registration."""
    return client.call(Handlers.read_registration, f"/registrations/{public_id}", id=public_id)


def canceled(bridge: Harness, public_id: str) -> None:
    """Cancel a registration."""
    Client.of(bridge).call(Handlers.cancel_registration, f"/registrations/{public_id}", method="DELETE", id=public_id)


def errors(bridge: Harness, public_id: str) -> list[object]:
    """Return the error kinds of the attempts."""
    return [each["error"] for each in read(Client.of(bridge), public_id).body["attempts"]]


def ref_of(public_id: str) -> RegistrationRef:
    """Parse a valid public id."""
    ref = RegistrationRef.parse(public_id)
    assert ref is not None
    return ref


def change(bridge: Harness, public_id: str, **columns: str) -> None:
    """Change a row by hand."""
    ref = ref_of(public_id)
    bridge.memory.commit(Transaction(partition_of(ref), (Merge(row_key(ref), columns, ANY),)))


def stored_urls(bridge: Harness) -> list[object]:
    """Return the callback URLs in the rows of registrations and index."""
    return [row.values["callback_url"] for row in bridge.memory.rows() if "callback_url" in row.values]


def test_a_callback_goes_to_the_whole_url(bridge: Harness) -> None:
    """The URL arrives byte for byte."""
    pending(bridge)

    bridge.deliver_all()

    assert [posted.url for posted in bridge.sender.posted] == [HOOK]


def test_a_query_is_in_no_row_message_log_line_or_list(bridge: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """The registration goes through each step: rejected, redirected, dead, redelivered, canceled."""
    caplog.set_level(logging.DEBUG)
    client, seen = Client.of(bridge), list[str]()
    public_id = registered(bridge)
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sender.script(HOOK, 500, 410, 200)
    for _ in range(3):
        bridge.sweep()
        seen += [write_task(task) for task in bridge.queue.tasks]
        bridge.deliver_all()
        bridge.clock.advance(timedelta(hours=1))
        seen.append(repr(bridge.memory.rows()))
    order = json.dumps({"states": ["dead"], "since": "2026-11-23T00:00:00Z"}).encode()
    ping = json.dumps({"callbackUrl": HOOK}).encode()
    other = registered(bridge, {**BODY, "operationId": "operation-2"})

    answers = [
        client.call(Handlers.list_registrations),
        client.call(Handlers.list_registrations, "/registrations?operationId=operation-1"),
        client.call(Handlers.read_operation, "/operations/operation-1", id="operation-1"),
        client.call(Handlers.status, "/status"),
        client.call(Handlers.overview, "/overview"),
        client.call(Handlers.redeliver_many, "/redeliver", method="POST", body=order, headers=JSON),
        client.call(Handlers.ping, "/callbacks/ping", method="POST", body=ping, headers=JSON),
        client.call(Handlers.signing_secret, f"/signing-secret?callbackUrl={PLACE}"),
        client.register({**BODY, "group": "another"}),
        client.register({**BODY, "callbackUrl": HOOK.replace("https", "http")}),
        client.register({**BODY, "callbackUrl": f"{HOOK}#fragment"}),
        client.register({**BODY, "callbackUrl": f"{HOOK} "}),
        client.call(Handlers.cancel_registration, f"/registrations/{other}", method="DELETE", id=other),
    ]
    bridge.sweep()
    seen += [write_task(task) for task in bridge.queue.tasks]
    bridge.deliver_all()

    seen += [json.dumps(each.body, ensure_ascii=False) for each in answers]
    seen += [repr(bridge.memory.rows()), caplog.text]
    assert [each.status for each in answers] == [200] * 5 + [202, 200, 200, 409, 400, 400, 400, 204]
    assert read(client, public_id).body["state"] == "delivered"
    assert [text for text in seen if "canary" in text] == []
    assert [each["callbackUrl"] for each in answers[0].body["value"]] == [SHOWN, SHOWN]
    assert [each["callbackUrl"] for each in answers[2].body["registrations"]] == [SHOWN]


def test_its_owner_reads_the_whole_url(bridge: Harness) -> None:
    """The URL is in the answers to registering, to a repeated registration, and to reading the registration."""
    client = Client.of(bridge)

    created, again = client.register(BODY), client.register(BODY)
    shown = read(client, created.body["id"])

    assert (again.status, again.body["id"]) == (200, created.body["id"])
    assert [each.body["callbackUrl"] for each in (created, again, shown)] == [HOOK] * 3


@pytest.mark.parametrize(("url", "directives"), [(HOOK, "no-store, no-transform"), (PLACE, "no-store")])
def test_an_answer_with_a_query_is_not_compressed(bridge: Harness, url: str, directives: str) -> None:
    """The compressed length could reveal the secret (BREACH). Other answers may be compressed."""
    public_id = pending(bridge, {**BODY, "callbackUrl": url})
    bridge.sender.script(url, 410)
    bridge.deliver_all()
    client = Client.of(bridge)

    shown = read(client, public_id)
    again = client.call(Handlers.redeliver, f"/registrations/{public_id}/redeliver", method="POST", id=public_id)

    assert [each.headers["Cache-Control"] for each in (shown, again)] == [directives] * 2


@pytest.mark.parametrize("url", [PLACE, f"{PLACE}?"])
def test_a_url_without_a_query_has_no_secret(bridge: Harness, url: str) -> None:
    """An empty query is not secret either, and is sent."""
    public_id = pending(bridge, {**BODY, "callbackUrl": url})
    bridge.deliver_all()

    listed = Client.of(bridge).call(Handlers.list_registrations).body["value"]

    assert bridge.registration(ref_of(public_id)).query is None
    assert set(stored_urls(bridge)) == {url}
    assert [posted.url for posted in bridge.sender.posted] == [url]
    assert (read(Client.of(bridge), public_id).body["callbackUrl"], listed[0]["callbackUrl"]) == (url, url)


def test_an_id_does_not_let_a_query_be_guessed() -> None:
    """The id appears in lists and logs, so the id must not be a hash that anyone can compute from the query."""
    urls = [HOOK, PLACE]

    ids = [
        [registered(bridge, {**BODY, "callbackUrl": url}) for url in urls]
        for bridge in (harness(), harness(BRIDGE_SIGNING_KEYS=NEW))
    ]

    guess = RegistrationRef.of(ref_of(ids[0][0]).operation, owner="shared", callback_url=HOOK)
    assert guess.public_id not in ids[0]
    assert ids[0][0] != ids[1][0]
    assert ids[0][1] == ids[1][1]  # without a query there is no secret


def test_urls_that_differ_in_the_query_alone_are_two_registrations(bridge: Harness) -> None:
    """Both are called, and each can be found again."""
    other = {**BODY, "callbackUrl": f"{PLACE}?code=another"}
    first, second = pending(bridge), registered(bridge, other)
    bridge.deliver_all()

    again = [Client.of(bridge).register(each) for each in (BODY, other)]

    assert sorted(posted.url for posted in bridge.sender.posted) == sorted([HOOK, other["callbackUrl"]])
    assert [(each.status, each.body["id"]) for each in again] == [(200, first), (200, second)]


def test_the_same_again_is_found_after_a_key_was_added(bridge: Harness) -> None:
    """The decrypted query is compared, since the id derives from the newest key at the time of the first request."""
    public_id = registered(bridge)

    bridge.restart(BRIDGE_SIGNING_KEYS=f"{NEW},{OLD}")
    again = Client.of(bridge).register(BODY)
    other = Client.of(bridge).register({**BODY, "callbackUrl": f"{PLACE}?code=another"})

    assert (again.status, again.body["id"], again.body["callbackUrl"]) == (200, public_id, HOOK)
    assert other.status == 201


def test_equality_is_unknown_without_the_key(bridge: Harness) -> None:
    """Concerns URLs that are equal up to the query."""
    public_id = registered(bridge)
    key_id = bridge.settings.keyring.public_keys()[0].id

    bridge.restart(BRIDGE_SIGNING_KEYS=NEW)
    again = Client.of(bridge).register(BODY)
    elsewhere = Client.of(bridge).register({**BODY, "callbackUrl": f"{PLACE}/elsewhere?code=1234567"})

    assert (again.status, again.error["code"], again.error["target"]) == (409, "CallbackUrlUnreadable", "callbackUrl")
    assert f"key {key_id} is not in BRIDGE_SIGNING_KEYS" in again.error["message"]
    assert "canary" not in json.dumps(again.body)
    assert elsewhere.status == 201
    assert read(Client.of(bridge), public_id).body["callbackUrl"] == SHOWN


def test_canceling_and_registering_again_repairs_a_lost_key(bridge: Harness) -> None:
    """The canceled registration is unreadable and does not interfere."""
    lost = registered(bridge)
    bridge.restart(BRIDGE_SIGNING_KEYS=NEW)
    canceled(bridge, lost)

    public_id = pending(bridge)
    bridge.deliver_all()

    assert public_id != lost
    assert [posted.url for posted in bridge.sender.posted] == [HOOK]


@pytest.mark.parametrize("keys", [[OLD, NEW], [NEW, OLD], [NEWEST, OLD, NEW], [NEWEST, NEW, OLD]])
@pytest.mark.parametrize("code", range(4))  # the order of the two rows is random
def test_a_canceled_registration_is_not_found_before_a_live_one_of_the_same_url(
    bridge: Harness, keys: list[str], code: int
) -> None:
    """The canceled one's key was missing when the client registered again, and was restored later."""
    body = {**BODY, "callbackUrl": f"{HOOK}&number={code}"}
    lost = registered(bridge, body)
    bridge.restart(BRIDGE_SIGNING_KEYS=NEW)
    canceled(bridge, lost)
    live = registered(bridge, body)

    bridge.restart(BRIDGE_SIGNING_KEYS=",".join(keys))
    again = Client.of(bridge).register(body)

    assert (again.status, again.body["id"]) == (200, live)


@pytest.mark.parametrize("keys", [[OLD], [NEWEST, OLD]])
def test_a_canceled_registration_is_not_begun_again_beside_one_that_can_be_the_same(
    bridge: Harness, keys: list[str]
) -> None:
    """This time, the key of the live one is missing."""
    lost = registered(bridge)
    bridge.restart(BRIDGE_SIGNING_KEYS=NEW)
    canceled(bridge, lost)
    registered(bridge)

    bridge.restart(BRIDGE_SIGNING_KEYS=",".join(keys))
    again = Client.of(bridge).register(BODY)

    assert (again.status, again.error["code"]) == (409, "CallbackUrlUnreadable")
    assert bridge.registration(ref_of(lost)).state is State.CANCELED


def test_a_new_generation_is_encrypted_with_the_newest_key(bridge: Harness) -> None:
    """The old key can be removed after the end of the registrations that use the key. The id stays."""
    first = registered(bridge)
    canceled(bridge, first)
    bridge.restart(BRIDGE_SIGNING_KEYS=f"{NEW},{OLD}")

    second = registered(bridge)
    bridge.restart(BRIDGE_SIGNING_KEYS=NEW)
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()
    bridge.deliver_all()

    assert first == second
    assert [posted.url for posted in bridge.sender.posted] == [HOOK]


def test_no_callback_is_sent_without_its_query(bridge: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """The attempt fails with a separate kind, the log names the key, and restoring the key repairs the delivery."""
    public_id = pending(bridge, {**BODY, "headers": {"X-A": "1"}})
    key_id = bridge.settings.keyring.public_keys()[0].id
    bridge.restart(BRIDGE_SIGNING_KEYS=NEW)

    bridge.deliver_all()

    assert bridge.sender.posted == []
    assert errors(bridge, public_id) == ["callback-url"]
    assert f"key {key_id} is not in BRIDGE_SIGNING_KEYS" in caplog.text
    bridge.restart(BRIDGE_SIGNING_KEYS=f"{NEW},{OLD}")
    next_attempt(bridge)
    assert errors(bridge, public_id) == ["callback-url", None]
    assert [posted.url for posted in bridge.sender.posted] == [HOOK]


def columns_of(bridge: Harness, public_id: str) -> dict[str, Any]:
    """Return the raw columns of a row."""
    ref = ref_of(public_id)
    row = bridge.memory.get(partition_of(ref), row_key(ref))
    assert row is not None
    return dict(row.values)


@pytest.mark.parametrize("how", ["of another", "removed", "cut", "of a former generation"])
def test_no_callback_is_sent_with_a_changed_query(bridge: Harness, how: str) -> None:
    """The same holds for a query from another row, or from a former generation."""
    other = str(columns_of(bridge, registered(bridge, {**BODY, "callbackUrl": f"{PLACE}?code=another"}))["query"])
    former = registered(bridge)
    query = str(columns_of(bridge, former)["query"])
    canceled(bridge, former)
    bridge.clock.advance(1)
    public_id = registered(bridge)
    changed = {"of another": other, "removed": "", "cut": query[:-8], "of a former generation": query}[how]
    change(bridge, public_id, query=changed)

    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()
    bridge.deliver_all()

    assert HOOK not in [posted.url for posted in bridge.sender.posted]
    assert errors(bridge, public_id) == ["callback-url"]


@pytest.mark.parametrize("to", ["https://evil.example.net/?…", "https://evil.example.net/steal", SHOWN])
def test_a_url_that_was_changed_by_hand_is_an_unreadable_row(bridge: Harness, to: str) -> None:
    """The row key is the hash of the stored URL, including the tag."""
    public_id = pending(bridge)
    stored = str(columns_of(bridge, public_id)["callback_url"])
    tag = stored.partition("…")[2]
    change(bridge, public_id, callback_url=to.replace("…", f"…{tag}") if to != SHOWN else to)

    bridge.deliver_all()

    assert bridge.sender.posted == []
    assert read(Client.of(bridge), public_id).status == 503


def left_by_a_former_version(bridge: Harness, request: Registration) -> None:
    """Store the rows of a registration with a plain URL."""
    ended = Operation(
        ref=request.ref.operation, registered_at=request.generation, owner=request.owner, due="", tx="former"
    )
    due, due_row = purge_due(ended, request.generation + timedelta(days=30))
    operation = replace(ended, due=due)
    rows = (
        due_row,
        Insert(row_key(request.ref.operation), for_insert(operation)),
        Insert(row_key(request.ref), for_insert(replace(request, tx="former"))),
        Insert(index_key_of(request), for_insert(IndexEntry.of(request))),
    )
    bridge.memory.commit(Transaction(partition_of(request.ref), rows))


def test_a_row_of_a_former_version_is_shown_without_its_query_and_found_again(bridge: Harness) -> None:
    """The URL remains in plain text until the purge, since the row key contains the URL's hash."""
    request = bridge.request(url=HOOK)
    left_by_a_former_version(bridge, request)
    client = Client.of(bridge)

    again, listed = client.register(BODY), client.call(Handlers.list_registrations).body["value"]

    assert (again.status, again.body["id"], again.body["callbackUrl"]) == (200, request.ref.public_id, HOOK)
    assert [each["callbackUrl"] for each in listed] == [SHOWN]


def test_a_row_of_a_former_version_begins_a_new_generation_as_itself(bridge: Harness) -> None:
    """After a cancellation, the registration is delivered like any other."""
    request = replace(bridge.request(url=HOOK), state=State.CANCELED)
    left_by_a_former_version(bridge, request)

    public_id = registered(bridge)
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()
    bridge.deliver_all()

    assert public_id == request.ref.public_id
    assert [posted.url for posted in bridge.sender.posted] == [HOOK]


def test_two_simultaneous_equal_requests_make_one_registration(bridge: Harness) -> None:
    """Even if one instance already has a new key, the operation's ETag decides."""
    bridge.register("operation-1", PLACE)
    old = bridge.bridge
    bridge.restart(BRIDGE_SIGNING_KEYS=f"{NEW},{OLD}")
    first = old.handlers.registrations.register(bridge.request(url=HOOK))
    second = bridge.registrations.register(bridge.request(url=HOOK))

    assert [type(each).__name__ for each in (first, second)] == ["Created", "Existing"]
    assert bridge.aggregate().size == 2


def test_an_admin_sees_no_query_of_others(tenant: KeyServer) -> None:
    """A secret belongs to its owner. Admins see only their own."""
    bridge = guarded_by(tenant)
    ann, bob, admin = (
        Client.of(bridge, tenant.token(who, *roles)) for who, roles in ((ANN, ()), (BOB, ()), (ROOT, ("Bridge.Admin",)))
    )
    of_ann, own = str(ann.register(BODY).body["id"]), str(admin.register(BODY).body["id"])
    order = json.dumps({"states": ["dead"], "since": "2026-11-23T00:00:00Z"}).encode()
    bridge.sender.script(HOOK, 410)
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()
    bridge.deliver_all()

    redelivered = admin.call(Handlers.redeliver, f"/registrations/{of_ann}/redeliver", method="POST", id=of_ann)
    answers = [
        read(admin, of_ann),
        redelivered,
        admin.call(Handlers.list_registrations),
        admin.call(Handlers.read_operation, "/operations/operation-1", id="operation-1"),
        admin.call(Handlers.redeliver_many, "/redeliver", method="POST", body=order, headers=JSON),
    ]

    assert [each.status for each in answers] == [200, 202, 200, 200, 202]
    assert not [each.body for each in answers if "canary" in json.dumps(each.body)]
    assert [read(who, each).body["callbackUrl"] for who, each in ((ann, of_ann), (admin, own))] == [HOOK, HOOK]
    assert read(bob, of_ann).status == 404


def test_registering_with_a_query_costs_no_further_call(bridge: Harness) -> None:
    """A new registration needs one commit. A known one needs a read and no write, with any key."""
    bridge.table.taken()
    Client.of(bridge).register(BODY)
    new = dict(bridge.table.taken())
    bridge.restart(BRIDGE_SIGNING_KEYS=f"{NEW},{OLD}")
    Client.of(bridge).register(BODY)
    known = dict(bridge.table.taken())

    assert new == {"commit": 1}
    assert known == {"commit": 1, "range": 2}


def test_a_receiver_verifies_as_before(bridge: Harness) -> None:
    """Audience and secret come from the origin, not from the query."""
    with_query, without = pending(bridge), registered(bridge, {**BODY, "callbackUrl": PLACE})
    bridge.deliver_all()

    events = [json.loads(posted.body)["data"] for posted in bridge.sender.posted]
    secrets = {Client.of(bridge).register({**BODY, "callbackUrl": url}).body["signingSecret"] for url in (HOOK, PLACE)}

    assert with_query != without
    assert {each["audience"] for each in events} == {"https://receiver.example.com"}
    assert len(secrets) == 1
