"""The filters of a list: each alone, together, over pages, and with separate owners."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from bridge.api.handlers import Handlers
from bridge.domain.ids import OperationRef, RegistrationRef
from bridge.domain.outcome import Failure, LastAttempt, Unreachable
from bridge.domain.registration import State
from bridge.storage.index import IndexEntry
from bridge.storage.keys import operation_partitions, partition_of, partitions_of_message
from bridge.storage.records import for_insert
from bridge.storage.table import Insert, Transaction
from tests.support.harness import NOON, Harness, harness
from tests.support.http import Answer, Client
from tests.support.tenant import ANN, BOB, ROOT, KeyServer, guarded_by

#: An id in the form of former versions.
FORMER_ID = "msg_0123456789abcdef0123456789abcdef"


def put(bridge: Harness, number: int, *, url: str = "https://a.example.com/hook", **columns: object) -> str:
    """Store one index row, `number` seconds old. Returns the public id."""
    request = bridge.request(f"operation-{number}", url)
    owner = str(columns.pop("owner", request.owner))
    ref = RegistrationRef.of(request.ref.operation, owner=owner, callback_url=request.callback_url)
    since = bridge.clock() - timedelta(seconds=number)
    request = replace(request, ref=ref, owner=owner, since=since, **{"state": State.DEAD, **columns})  # type: ignore[arg-type] # the columns of a test
    entry = IndexEntry.of(request)
    bridge.memory.commit(Transaction(partition_of(ref), (Insert(entry.key, for_insert(entry)),)))
    return ref.public_id


def attempt(outcome: int | Failure) -> LastAttempt:
    """Return the last attempt with an outcome."""
    if isinstance(outcome, Failure):
        return LastAttempt(number=1, at=NOON, error=outcome)
    return LastAttempt(number=1, at=NOON, status=outcome)


def page(client: Client, query: str) -> Answer:
    """Read one page."""
    return client.call(Handlers.list_registrations, f"/registrations?{query}")


def listed(client: Client, query: str) -> list[str]:
    """Follow the pages to the end. Returns the public ids."""
    found: list[str] = []
    link: str | None = query
    while link is not None:
        answer = page(client, link)
        assert answer.status == 200, answer.body
        found += [each["id"] for each in answer.body["value"]]
        following = answer.body["nextLink"]
        link = None if following is None else urlsplit(following).query
    return found


def test_several_states_are_listed_together(bridge: Harness) -> None:
    """Separated by commas, or as a repeated parameter, in any order."""
    ids = [put(bridge, number, state=state) for number, state in enumerate(State)]
    client = Client.of(bridge)
    wanted = [ids[list(State).index(state)] for state in (State.DELIVERED, State.DEAD)]

    assert listed(client, "state=dead,delivered") == wanted
    assert listed(client, "state=delivered,dead,dead") == wanted
    assert listed(client, f"state={','.join(State)}") == ids


@pytest.mark.parametrize("states", ["", ",", "dead,", "dead,Delivered", "dead delivered", "dead;delivered"])
def test_states_that_do_not_exist_are_refused_with_the_known_ones(bridge: Harness, states: str) -> None:
    answer = page(Client.of(bridge), f"state={states}")

    assert (answer.status, answer.targets) == (400, ["state"])
    assert all(state in answer.error["details"][0]["message"] for state in State)


def test_a_host_matches_all_of_its_ports_unless_one_is_given() -> None:
    """The host is read like that of a callback URL."""
    bridge = harness(BRIDGE_CALLBACK_ALLOWED_PORTS="*")
    urls = ["https://a.example.com/", "https://a.example.com:8443/", "https://b.example.com/"]
    ids = [put(bridge, number, url=url) for number, url in enumerate(urls)]
    client = Client.of(bridge)

    assert listed(client, "host=A.Example.com") == ids[:2]
    assert listed(client, "host=a.example.com:443") == ids[:1]
    assert listed(client, "host=a.example.com:8443") == ids[1:2]
    assert listed(client, "host=example.com") == []


def test_a_group_and_an_outcome_narrow_a_list(bridge: Harness) -> None:
    """An outcome is a status, a class of statuses, or a kind of failure."""
    outcomes: list[int | Failure | None] = [401, 503, Failure.TIMEOUT, None]
    ids = [
        put(
            bridge,
            number,
            group="long" if number % 2 else None,
            last_recorded=None if outcome is None else attempt(outcome),
        )
        for number, outcome in enumerate(outcomes)
    ]
    client = Client.of(bridge)

    assert listed(client, "group=long") == [ids[1], ids[3]]
    assert listed(client, "outcome=401") == listed(client, "outcome=4xx") == ids[:1]
    assert listed(client, "outcome=5xx&group=long") == ids[1:2]
    assert listed(client, "outcome=timeout") == ids[2:3]
    assert listed(client, "outcome=404") == []


def test_times_bound_a_list_by_when_the_state_began(bridge: Harness) -> None:
    """`since` is inclusive and `until` exclusive, to the microsecond, and any zone is read."""
    ids = [put(bridge, number) for number in range(5)]
    client = Client.of(bridge)

    assert listed(client, "since=2026-11-23T11:59:58Z") == ids[:3]
    assert listed(client, "until=2026-11-23T11:59:58Z") == ids[3:]
    assert listed(client, "since=2026-11-23T11:59:57Z&until=2026-11-23T11:59:59Z") == ids[2:4]
    assert listed(client, "since=2026-11-23T11:59:58.000001Z") == ids[:2]
    assert listed(client, "until=2026-11-23T11:59:58.000001Z") == ids[2:]
    assert listed(client, f"since={quote('2026-11-23T13:59:59+02:00')}") == ids[:2]
    assert listed(client, "since=0001-01-01T00:00:00Z") == listed(client, "until=9999-12-31T23:59:59Z") == ids
    assert listed(client, "until=0001-01-01T00:00:00Z") == listed(client, "since=9999-12-31T23:59:59Z") == []


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("since", ["yesterday", "2026-11-23", "2026-11-23T12:00:00", "1795435200", "2026-11-23T12:00:00+00:00", ""]),
        ("outcome", ["40", "4XX", "0xx", "4000", "refused", "timeout,tls", "TLS"]),
        ("host", ["https://a.example.com", "a.example.com/", "a b", "a.example.com:0", "a.example.com:port", "a@b"]),
        ("group", ["-", "a b", "x" * 65]),
        ("messageId", ["1", "msg_", "msg_" + "0" * 61, "msg_0.0", "MSG_00"]),
    ],
)
def test_an_invalid_filter_is_refused_by_name(bridge: Harness, name: str, values: Sequence[str]) -> None:
    """A `+` in a query means a space, as in every form."""
    refused = [page(Client.of(bridge), f"{name}={value}") for value in values]

    assert [(each.status, each.targets) for each in refused] == [(400, [name])] * len(values)
    assert bridge.table.taken() == {}


def test_filters_are_combined_and_kept_by_the_next_link() -> None:
    """Each page has only matches, and the link leads through all of them once."""
    bridge = harness(BRIDGE_CALLBACK_ALLOWED_PORTS="*")
    ids = []
    for number in range(400):
        is_match = number % 50 == 7
        ids += [
            put(
                bridge,
                number,
                url=f"https://{'a' if is_match else 'b'}.example.com:8443/",
                group="long",
                last_recorded=attempt(401),
            )
        ][: 1 if is_match else 0]
    query = "state=dead,pending&host=a.example.com:8443&group=long&outcome=4xx&since=2026-11-23T00:00:00Z&limit=2"

    answer = page(Client.of(bridge), query)

    assert [each["id"] for each in answer.body["value"]] == ids[:2]
    kept = parse_qs(urlsplit(answer.body["nextLink"]).query)
    assert kept.pop("cursor")
    assert kept == {
        "state": ["pending,dead"],
        "host": ["a.example.com:8443"],
        "group": ["long"],
        "outcome": ["4xx"],
        "since": ["2026-11-23T00:00:00+00:00"],
        "limit": ["2"],
    }
    assert listed(Client.of(bridge), query) == ids


def test_a_cursor_is_bound_to_its_filters(bridge: Harness) -> None:
    for number in range(20):
        put(bridge, number, group="long")
    client = Client.of(bridge)
    [cursor] = parse_qs(urlsplit(page(client, "group=long&limit=2").body["nextLink"]).query)["cursor"]

    others = ["", "group=short", "group=long&outcome=401", "group=long&state=dead", "group=long&host=a.example.com"]
    refused = [page(client, f"{query}&cursor={cursor}") for query in others]

    assert page(client, f"group=long&limit=2&cursor={cursor}").status == 200
    assert [(each.status, each.targets) for each in refused] == [(400, ["cursor"])] * len(others)


def test_a_list_shows_the_last_attempt_of_each_entry(bridge: Harness) -> None:
    """A retried delivery differs from a new one without a further request."""
    client = Client.of(bridge)
    bridge.sender.script("https://refusing.example.com/", 401)
    bridge.sender.script("https://silent.example.com/", Unreachable(error=Failure.TIMEOUT))
    for name in ("refusing", "silent"):
        client.register({"operationId": "operation-1", "callbackUrl": f"https://{name}.example.com/", "group": "long"})
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()
    new = page(client, "state=pending").body["value"]
    bridge.deliver_all()

    retried = page(client, "state=pending").body["value"]
    of_operation = page(client, "operationId=operation-1&outcome=timeout").body["value"]

    assert [(each["group"], each["lastAttempt"]) for each in new] == [("long", None)] * 2
    at = "2026-11-23T12:00:00.000Z"
    expected = {
        "https://refusing.example.com/": {"number": 1, "of": 10, "status": 401, "error": None, "at": at},
        "https://silent.example.com/": {"number": 1, "of": 10, "status": None, "error": "timeout", "at": at},
    }
    assert {each["callbackUrl"]: each["lastAttempt"] for each in retried} == expected
    assert all(each["nextAttemptAt"] > at for each in retried)
    assert [each["callbackUrl"] for each in of_operation] == ["https://silent.example.com/"]


def test_a_row_of_a_former_version_has_neither_group_nor_last_attempt(bridge: Harness) -> None:
    put(bridge, 1)
    [row] = bridge.memory.rows(partition_of(OperationRef("default", "operation-1")))
    assert not {name for name in row.values if name.startswith(("group", "last_recorded"))}

    [entry] = page(Client.of(bridge), "").body["value"]

    assert (entry["group"], entry["lastAttempt"]) == (None, None)


def test_a_webhook_id_finds_its_registration_in_one_partition(bridge: Harness) -> None:
    """The id contains the shard of the operation."""
    [ref] = bridge.register()
    bridge.register("operation-2", "https://other.example.com/")
    for name in ("operation-1", "operation-2"):
        bridge.upstream.script(name, "Succeeded")
    bridge.sweep()
    bridge.deliver_all()
    message_id = bridge.registration(ref).expected_message().id
    bridge.table.taken()

    answer = page(Client.of(bridge), f"messageId={message_id}")

    assert [each["id"] for each in answer.body["value"]] == [ref.public_id]
    assert answer.body["nextLink"] is None
    assert partitions_of_message(message_id) == (partition_of(ref),)
    assert bridge.table.taken() == {"range": 1}


def test_a_webhook_id_of_a_former_version_is_found_in_any_partition(bridge: Harness) -> None:
    ids = [put(bridge, number, message_id=f"msg_{number:032x}", state=State.DELIVERED) for number in range(200)]
    client = Client.of(bridge)

    found = [listed(client, f"messageId=msg_{number:032x}") for number in (0, 7, 199)]

    assert found == [[ids[0]], [ids[7]], [ids[199]]]
    assert tuple(partitions_of_message(FORMER_ID)) == tuple(operation_partitions())
    assert listed(client, f"messageId={FORMER_ID}") == []


def test_a_webhook_id_is_found_among_many_and_each_page_is_bounded(bridge: Harness) -> None:
    """One partition with 9,000 delivered registrations, of which the oldest is wanted."""
    message_id = bridge.request("operation-0").ref.operation.message_id("wanted")
    [partition] = partitions_of_message(message_id)
    numbered = ((number, OperationRef("default", f"operation-{number}")) for number in range(72_000))
    *others, last = (number for number, ref in numbered if partition_of(ref) == partition)
    for number in others:
        put(bridge, number, state=State.DELIVERED)
    wanted = put(bridge, last, state=State.DELIVERED, message_id=message_id)
    client, calls, link, found = Client.of(bridge), list[int](), f"messageId={message_id}", list[str]()
    bridge.table.taken()

    while link:
        answer = page(client, link)
        calls.append(bridge.table.taken()["range"])
        found += [each["id"] for each in answer.body["value"]]
        link = "" if answer.body["nextLink"] is None else urlsplit(answer.body["nextLink"]).query

    assert found == [wanted]
    assert max(calls) <= 17
    assert len(calls) <= 2 + len(others) // 2_000


@pytest.mark.parametrize(
    ("query", "calls"),
    [
        ("group=none", 8 + 48),
        ("group=none&state=dead", 32),
        ("outcome=401", 8 + 32),
        ("state=dead,pending&host=other.example.com", 8 + 32),
        (f"messageId={FORMER_ID}", 8 + 32),
        ("state=waiting&outcome=401", 0),
        ("state=dead&since=2026-11-23T11:59:59Z", 8),
        ("state=dead&since=2026-11-23T11:59:59Z&until=2026-11-23T11:59:58Z", 0),
    ],
)
def test_a_page_of_few_matches_costs_a_bounded_number_of_queries(bridge: Harness, query: str, calls: int) -> None:
    """A time bounds the rows that are read, and a state without attempts is not read for an outcome."""
    for number in range(9_000):
        put(bridge, number)
    bridge.table.taken()

    answer = page(Client.of(bridge), query)

    assert answer.status == 200
    assert bridge.table.taken()["range"] == calls


@pytest.mark.parametrize(
    "query",
    [
        "group=long",
        "outcome=401",
        "host=a.example.com",
        "since=2026-11-23T00:00:00Z",
        "until=2026-11-24T00:00:00Z",
        "state=dead,delivered",
        f"messageId={FORMER_ID}",
        "operationId=operation-1&group=long",
    ],
)
def test_no_filter_shows_registrations_of_another_owner(tenant: KeyServer, query: str) -> None:
    """The answer is the same whether another owner has a match or not. An admin sees the match."""
    bridge = guarded_by(tenant)
    bob, admin = Client.of(bridge, tenant.token(BOB)), Client.of(bridge, tenant.token(ROOT, "Bridge.Admin"))
    before = page(bob, query)
    of_ann = put(bridge, 1, owner=ANN, group="long", last_recorded=attempt(401), message_id=FORMER_ID)

    answer = page(bob, query)

    assert (answer.status, answer.body) == (before.status, before.body) == (200, {"value": [], "nextLink": None})
    assert "operationId" in query or listed(admin, query) == [of_ann]
