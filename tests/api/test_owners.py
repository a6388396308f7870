"""Owners are separate: each sees and manages only the own registrations, while admins see all."""

import base64
import json
import logging
import re
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import azure.functions as func
import pytest
from standardwebhooks import Webhook

from bridge.api.handlers import Handlers
from bridge.api.routes import Handler
from bridge.domain.ids import RegistrationRef
from bridge.domain.registration import State
from bridge.storage.index import IndexEntry
from bridge.storage.keys import partition_of
from bridge.storage.records import for_insert
from bridge.storage.table import Insert, Transaction
from tests.support.harness import SIGNING_KEY, Harness
from tests.support.http import BASE, Client, route_of
from tests.support.tenant import ANN, BOB, EVE, ROOT, KeyServer, guarded_by

URL = "https://receiver.example.com/hook"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def guarded(tenant: KeyServer) -> Harness:
    """Return a harness that trusts the tenant, with operations shared among owners."""
    return guarded_by(tenant, BRIDGE_SHARED_OPERATIONS="true")


@pytest.fixture
def ann(guarded: Harness, tenant: KeyServer) -> Client:
    """Return the client of a first owner."""
    return Client.of(guarded, tenant.token(ANN))


@pytest.fixture
def bob(guarded: Harness, tenant: KeyServer) -> Client:
    """Return the client of a second owner."""
    return Client.of(guarded, tenant.token(BOB))


@pytest.fixture
def admin(guarded: Harness, tenant: KeyServer) -> Client:
    """Return the client of an admin."""
    return Client.of(guarded, tenant.token(ROOT, "Bridge.Admin"))


def register(client: Client, operation_id: str = "operation-1", url: str = URL) -> str:
    """Register. Returns the public id."""
    created = client.register({"operationId": operation_id, "callbackUrl": url})
    assert created.status == 201
    return str(created.body["id"])


def end_as_dead(bridge: Harness, url: str = URL) -> None:
    """Make all waiting registrations dead."""
    bridge.sender.script(url, 410)
    bridge.sweep()
    bridge.deliver_all()
    bridge.sender.script(url, 200)


def state_of(bridge: Harness, public_id: str) -> State:
    """Return the state of a registration."""
    ref = RegistrationRef.parse(public_id)
    assert ref is not None
    return bridge.registration(ref).state


def ids(client: Client, query: str = "") -> list[str]:
    """Return the ids that a client can list."""
    return [each["id"] for each in client.call(Handlers.list_registrations, f"/registrations{query}").body["value"]]


def test_two_owners_may_register_the_same_and_know_nothing_of_each_other(ann: Client, bob: Client) -> None:
    """One operation and one URL give two registrations with two secrets."""
    request = {"operationId": "operation-1", "callbackUrl": URL}

    first, second = ann.register(request), bob.register(request)
    again = ann.register(request)

    assert (first.status, second.status, again.status) == (201, 201, 200)
    assert first.body["id"] == again.body["id"] != second.body["id"]
    assert first.body["signingSecret"] == again.body["signingSecret"] != second.body["signingSecret"]


def test_the_owner_is_the_object_id_of_the_caller(guarded: Harness, ann: Client) -> None:
    """An admin owns the admin's registrations."""
    ref = RegistrationRef.parse(register(ann))

    assert ref is not None
    assert guarded.registration(ref).owner == ANN


@pytest.mark.parametrize(
    ("route", "method"),
    [(Handlers.read_registration, "GET"), (Handlers.cancel_registration, "DELETE"), (Handlers.redeliver, "POST")],
)
def test_another_owners_registration_is_404(
    guarded: Harness, ann: Client, bob: Client, route: Handler, method: str
) -> None:
    """The answer equals that for an unknown id, and the registration is unchanged."""
    guarded.upstream.script("operation-1", "Succeeded")
    public_id = register(ann)
    end_as_dead(guarded)

    others = bob.call(route, f"/registrations/{public_id}", method=method, id=public_id)
    nobodys = bob.call(route, "/registrations/x", method=method, id=public_id[:-16] + "0" * 16)

    assert (others.status, others.body) == (nobodys.status, nobodys.body)
    assert others.status == 404
    assert state_of(guarded, public_id) is State.DEAD
    assert ann.call(route, method=method, id=public_id).status < 300


def test_a_list_has_the_registrations_of_the_caller(ann: Client, bob: Client, admin: Client) -> None:
    """Covers lists by state, by operation and by page. An admin's list has all."""
    mine = [register(ann, f"operation-{number}") for number in range(5)]
    theirs = [register(bob, f"operation-{number}") for number in range(5)]

    first = ann.call(Handlers.list_registrations, "/registrations?state=waiting&limit=3").body
    second = ann.call(Handlers.list_registrations, "/registrations?" + first["nextLink"].partition("?")[2]).body

    assert sorted(each["id"] for each in first["value"] + second["value"]) == sorted(mine)
    assert second["nextLink"] is None
    assert sorted(ids(bob)) == sorted(theirs)
    assert ids(bob, "?operationId=operation-1") == [theirs[1]]
    assert sorted(ids(admin)) == sorted(mine + theirs)
    assert sorted(ids(admin, "?operationId=operation-1")) == sorted([mine[1], theirs[1]])


def test_an_operation_shows_the_registrations_of_the_caller(
    guarded: Harness, tenant: KeyServer, ann: Client, bob: Client, admin: Client
) -> None:
    """Without a registration, the operation is unknown."""
    mine, theirs = register(ann), register(bob)
    stranger = Client.of(guarded, tenant.token(EVE))

    seen = {
        name: sorted(
            each["id"] for each in client.call(Handlers.read_operation, id="operation-1").body["registrations"]
        )
        for name, client in {"ann": ann, "bob": bob, "admin": admin}.items()
    }

    assert seen == {"ann": [mine], "bob": [theirs], "admin": sorted([mine, theirs])}
    unknown = stranger.call(Handlers.read_operation, id="operation-2")
    known = stranger.call(Handlers.read_operation, id="operation-1")
    assert (known.status, known.body) == (unknown.status, unknown.body)
    assert known.status == 404


def test_bulk_redelivery_covers_the_registrations_of_the_caller(
    guarded: Harness, ann: Client, bob: Client, admin: Client
) -> None:
    """An admin's order covers all owners."""
    guarded.upstream.script("operation-1", "Succeeded")
    mine, theirs = register(ann), register(bob)
    end_as_dead(guarded)
    order = json.dumps({"states": ["dead"], "since": "2026-11-23T12:00:00Z"}).encode()

    by_ann = ann.call(Handlers.redeliver_many, "/redeliver", method="POST", body=order, headers=JSON)
    assert by_ann.body == {"started": 1, "registrations": [mine], "more": False, "cursor": None}
    assert (state_of(guarded, mine), state_of(guarded, theirs)) == (State.PENDING, State.DEAD)

    by_admin = admin.call(Handlers.redeliver_many, "/redeliver", method="POST", body=order, headers=JSON)
    assert by_admin.body == {"started": 1, "registrations": [theirs], "more": False, "cursor": None}


def test_each_owner_has_a_separate_signing_secret(guarded: Harness, ann: Client, bob: Client, admin: Client) -> None:
    """The secret signs the owner's callbacks and pings. An admin cannot read another owner's secret."""
    secrets = {
        name: client.call(Handlers.signing_secret, f"/signing-secret?callbackUrl={URL}").body["signingSecret"]
        for name, client in {ANN: ann, BOB: bob, ROOT: admin}.items()
    }
    ping = json.dumps({"callbackUrl": URL}).encode()
    assert bob.call(Handlers.ping, "/callbacks/ping", method="POST", body=ping, headers=JSON).status == 200
    guarded.upstream.script("operation-1", "Succeeded")
    register(ann)
    guarded.sweep()
    guarded.deliver_all()

    assert len(set(secrets.values())) == 3
    for owner, posted in zip([BOB, ANN], guarded.sender.posted, strict=True):
        signatures = posted.headers["webhook-signature"].split(" ")
        at = guarded.clock()
        assert Webhook(secrets[owner]).sign(posted.headers["webhook-id"], at, posted.body.decode()) in signatures


def test_an_admin_reads_cancels_and_redelivers_all_registrations(guarded: Harness, ann: Client, admin: Client) -> None:
    """The registration still belongs to its owner."""
    guarded.upstream.script("operation-1", "Succeeded")
    public_id = register(ann)

    assert admin.call(Handlers.read_registration, id=public_id).status == 200
    end_as_dead(guarded)
    assert admin.call(Handlers.redeliver, method="POST", id=public_id).status == 202
    assert admin.call(Handlers.cancel_registration, method="DELETE", id=public_id).status == 204
    assert ann.call(Handlers.read_registration, id=public_id).body["state"] == "canceled"


def test_the_status_is_for_admins(ann: Client, admin: Client) -> None:
    """The status counts all owners."""
    register(ann)

    assert ann.call(Handlers.status, "/status").status == 403
    assert admin.call(Handlers.status, "/status").body["registrations"]["waiting"] == {"count": 1, "more": False}


def test_the_overview_covers_the_registrations_of_the_caller(
    guarded: Harness, ann: Client, bob: Client, admin: Client
) -> None:
    """Deliveries of others are hidden, except from an admin."""
    register(ann)
    guarded.upstream.script("operation-1", "Succeeded")
    guarded.sweep()
    guarded.deliver_all()

    delivered = [
        sum(hour["delivered"] for hour in client.call(Handlers.overview, "/overview").body["hours"])
        for client in (ann, bob, admin)
    ]

    assert delivered == [1, 0, 1]


def test_registrations_made_with_a_key_are_visible_to_admins_only(guarded: Harness, tenant: KeyServer) -> None:
    """After a change back to keys, every key holder sees all registrations."""
    guarded.restart()
    shared = register(Client.of(guarded))
    guarded.restart(**tenant.settings)
    ann, admin = Client.of(guarded, tenant.token(ANN)), Client.of(guarded, tenant.token(ROOT, "Bridge.Admin"))
    mine = register(ann)

    assert (ids(ann), sorted(ids(admin))) == ([mine], sorted([mine, shared]))
    guarded.restart()
    assert sorted(ids(Client.of(guarded))) == sorted([mine, shared])
    assert Client.of(guarded).call(Handlers.read_registration, id=mine).status == 200


def test_the_public_keys_are_public(guarded: Harness) -> None:
    """No token is required."""
    app = Client.of(guarded).app
    request = func.HttpRequest("GET", "https://bridge.example.com/api/signing-keys", body=b"")

    assert app.answer(route_of(Handlers.signing_keys), request).status_code == 200
    assert Client(app).health().status == 200


def test_a_log_line_names_the_caller(ann: Client, caplog: pytest.LogCaptureFixture) -> None:
    """The line has the address and the object id.

    For rejected callers, it has the address and the reason, but no part of the token.
    """
    caplog.set_level(logging.INFO, "bridge")

    register(ann)
    Client(ann.app, "garbage").call(Handlers.list_registrations, headers={"X-Forwarded-For": "203.0.113.7"})

    lines = [json.loads(each.message) for each in caplog.records]
    assert {(each["event"], each["caller"], each["owner"]) for each in lines[:-1]} == {
        ("registration.created", "unknown", ANN),
        ("secret.shown", "unknown", ANN),
    }
    assert lines[-1].pop("request_id")
    assert lines[-1] == {"event": "caller.refused", "why": "malformed", "count": 1, "caller": "203.0.113.7"}
    assert SIGNING_KEY not in caplog.text


def fill_index(bridge: Harness, owner: str, count: int) -> None:
    """Store dead registrations of an owner in the index."""
    for number in range(count):
        request = bridge.request(f"secret-operation-{number}")
        ref = RegistrationRef.of(request.ref.operation, owner=owner, callback_url=request.callback_url)
        since = bridge.clock() - timedelta(seconds=number)
        entry = IndexEntry.of(replace(request, ref=ref, owner=owner, state=State.DEAD, since=since))
        bridge.memory.commit(Transaction(partition_of(ref), (Insert(entry.key, for_insert(entry)),)))


def decoded(text: str) -> str:
    """Return a text with all base64 parts decoded."""
    words = re.findall(r"[A-Za-z0-9_-]{16,}", text)
    return text + "".join(base64.urlsafe_b64decode(f"{word}===").decode("latin-1") for word in words)


def test_no_list_shows_a_byte_of_another_owners_rows(guarded: Harness, tenant: KeyServer) -> None:
    fill_index(guarded, BOB, 1_500)
    stranger = Client.of(guarded, tenant.token(EVE))
    path, answers = "/registrations?limit=1", list[str]()

    while path:
        answer = stranger.call(Handlers.list_registrations, path)
        answers.append(json.dumps(answer.body))
        path = (answer.body["nextLink"] or "").removeprefix(BASE)

    assert len(answers) > 1
    assert [each for each in answers if "secret-operation" in decoded(each) or BOB in decoded(each)] == []


def test_an_invalid_or_foreign_cursor_is_400(guarded: Harness, tenant: KeyServer, ann: Client, admin: Client) -> None:
    fill_index(guarded, ANN, 20)
    [mine] = parse_qs(
        urlsplit(ann.call(Handlers.list_registrations, "/registrations?state=dead&limit=1").body["nextLink"]).query
    )["cursor"]
    place = base64.urlsafe_b64encode(b"8204564267199:default:secret-operation-1:0123456789abcdef").decode().rstrip("=")
    foreign = [
        (Client.of(guarded, tenant.token(EVE)), f"?state=dead&cursor={mine}"),
        (admin, f"?state=dead&cursor={mine}"),
        (ann, f"?cursor={mine}"),
        (ann, f"?state=waiting&cursor={mine}"),
        (ann, f"?state=dead&cursor={mine[:-4]}AAAA"),
        (ann, f"?state=dead&cursor={place}"),
    ]

    assert ann.call(Handlers.list_registrations, f"/registrations?state=dead&cursor={mine}").status == 200
    for client, query in foreign:
        answer = client.call(Handlers.list_registrations, f"/registrations{query}")
        assert (answer.status, answer.targets) == (400, ["cursor"]), query


def test_another_owners_registration_costs_as_much_as_an_unknown_one(
    tenant: KeyServer, ann: Client, guarded: Harness
) -> None:
    theirs = register(ann)
    stranger = Client.of(guarded, tenant.token(EVE))
    costs = []

    for public_id in (theirs, "default~operation-1~0123456789abcdef"):
        before = guarded.table.calls.copy()
        answer = stranger.call(Handlers.read_registration, f"/registrations/{public_id}", id=public_id)
        costs.append((answer.status, guarded.table.calls - before))

    assert costs[0] == costs[1]
