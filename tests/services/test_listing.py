"""Lists of one owner among many owners: complete, ordered, with bounded work per page."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from bridge.domain.ids import RegistrationRef
from bridge.domain.registration import State
from bridge.services.bulk_redelivery import Order
from bridge.services.queries import Queries
from bridge.storage.index import EntryFilter, IndexEntry
from bridge.storage.keys import partition_of
from bridge.storage.records import for_insert
from bridge.storage.table import ANY, Insert, Merge, Transaction
from tests.support.harness import Harness

ANN, BOB = "ann", "bob"


def put(bridge: Harness, owner: str, number: int, state: State = State.DELIVERED, *, seconds: int | None = None) -> str:
    """Store one registration in the index, `number` or `seconds` seconds old. Returns the public id."""
    request = bridge.request(f"operation-{number}")
    ref = RegistrationRef.of(request.ref.operation, owner=owner, callback_url=request.callback_url)
    since = bridge.clock() - timedelta(seconds=number if seconds is None else seconds)
    entry = IndexEntry.of(replace(request, ref=ref, owner=owner, state=state, since=since))
    bridge.memory.commit(Transaction(partition_of(ref), (Insert(entry.key, for_insert(entry)),)))
    return ref.public_id


def pages(queries: Queries, states: Sequence[State], *, limit: int, owner: str | None) -> list[list[str]]:
    """Follow the cursors to the end."""
    found, cursor = [], None
    while True:
        page = queries.page(states, limit=limit, cursor=cursor, owner=owner)
        found.append([entry.ref.public_id for entry in page.entries])
        if page.cursor is None:
            return found
        cursor = page.cursor


@pytest.mark.parametrize("states", [(State.DELIVERED,), tuple(State)], ids=["one state", "all states"])
@pytest.mark.parametrize("limit", [1, 4, 100])
def test_an_owner_sees_exactly_their_registrations_in_order(
    bridge: Harness, states: Sequence[State], limit: int
) -> None:
    """Page by page, for any mix with others' registrations."""
    mine = [put(bridge, ANN, number) for number in range(0, 300, 7)]
    for number in set(range(300)) - set(range(0, 300, 7)):
        put(bridge, BOB, number, State.DEAD if number % 3 else State.DELIVERED)

    found = pages(bridge.queries, states, limit=limit, owner=ANN)

    assert [each for page in found for each in page] == mine
    assert all(len(page) == limit for page in found[:-1])


@pytest.mark.parametrize(("states", "calls"), [((State.DELIVERED,), 32), (tuple(State), 56)], ids=["one", "all"])
def test_a_page_with_few_matches_costs_a_bounded_number_of_reads(
    bridge: Harness, states: Sequence[State], calls: int
) -> None:
    """A page may be empty, with a cursor."""
    for number in range(8_500):
        put(bridge, BOB, number)
    last = put(bridge, ANN, 9_000)
    bridge.table.taken()

    first = bridge.queries.page(states, limit=50, cursor=None, owner=ANN)

    assert bridge.table.taken()["range"] == calls
    assert (first.entries, first.cursor is None) == ([], False)
    found = pages(bridge.queries, states, limit=50, owner=ANN)
    assert [each for page in found for each in page] == [last]


def test_a_list_of_all_states_costs_one_read_for_each_partition_while_it_is_small(bridge: Harness) -> None:
    mine = [put(bridge, ANN, number, list(State)[number % 6]) for number in range(60)]
    bridge.table.taken()

    page = bridge.queries.page(tuple(State), limit=100, cursor=None)

    assert bridge.table.taken() == {"range": 8}
    assert {entry.ref.public_id for entry in page.entries} == set(mine)
    assert page.cursor is None


def test_an_index_that_was_large_is_read_by_state_for_a_while(bridge: Harness) -> None:
    for number in range(2_000):
        put(bridge, ANN, number)
    queries, calls = bridge.queries, list[int]()

    for minutes in (0, 1, 11):
        bridge.clock.advance(timedelta(minutes=minutes))
        bridge.table.taken()
        queries.page(tuple(State), limit=10, cursor=None)
        calls.append(bridge.table.taken()["range"])

    assert calls == [56, 48, 56]


@pytest.mark.parametrize("limit", [1, 4, 100])
def test_a_registration_that_moves_during_a_read_is_shown_once_in_its_new_state(bridge: Harness, limit: int) -> None:
    """Each state is read separately, so a moved registration can be found in two."""
    moved = [put(bridge, ANN, number, State.WAITING) for number in range(10, 13)]
    for number in range(7, 10):
        put(bridge, ANN, number, State.PENDING)
    for number in range(3):
        put(bridge, ANN, 10 + number, State.DELIVERED, seconds=number)

    page = bridge.queries.page(tuple(State), limit=limit, cursor=None)

    shown = [(entry.ref.public_id, entry.state) for entry in page.entries]
    assert shown[:3] == [(each, State.DELIVERED) for each in moved][:limit]
    assert [state for _, state in shown[3:]] == [State.PENDING] * min(3, max(0, limit - 3))


def test_rows_that_cannot_be_read_do_not_end_a_list(bridge: Harness) -> None:
    """Rows of a newer version are skipped, and older rows follow."""
    ids = [put(bridge, ANN, number) for number in range(40)]
    newest = [row for name in range(8) for row in bridge.memory.rows(f"op{name}")]
    for row in newest:
        if RegistrationRef.parse(row.key.split(":", 3)[3].replace(":", "~")) in refs(ids[:30]):
            bridge.memory.commit(Transaction(row.partition, (Merge(row.key, {"v": 99}, ANY),)))

    found = pages(bridge.queries, [State.DELIVERED], limit=2, owner=None)

    assert [each for page in found for each in page] == ids[30:]


def test_a_redelivery_of_one_owner_reads_only_back_to_the_given_time(bridge: Harness) -> None:
    """Holds even if no registration of the owner is found."""
    for number in range(9_000):
        put(bridge, BOB, number, State.DEAD)
    bridge.table.taken()
    since = bridge.clock() - timedelta(minutes=1)

    started = bridge.bulk_redelivery.redeliver(
        Order(owner=ANN, states=[State.DEAD], where=EntryFilter(since=since), limit=10)
    )

    assert (started.refs, started.cursor) == ([], None)
    assert bridge.table.taken()["range"] == 8


@pytest.mark.parametrize("owner", [ANN, None], ids=["an owner", "everybody"])
def test_a_redelivery_reads_a_bounded_part_and_returns_a_cursor(bridge: Harness, owner: str | None) -> None:
    """The owner has no dead registration, or the host has none, among many dead ones of others."""
    for number in range(9_000):
        put(bridge, BOB, number, State.DEAD)
    bridge.table.taken()
    order = Order(owner=owner, states=[State.DEAD], where=EntryFilter(host="other.example.com"), limit=1)
    redeliver, reads, calls = bridge.bulk_redelivery.redeliver, list[int](), 0

    started = redeliver(order)
    reads.append(bridge.table.taken()["range"])
    while started.cursor is not None:
        calls += 1
        started = redeliver(replace(order, cursor=started.cursor))
        reads.append(bridge.table.taken()["range"])

    assert max(reads) <= 32
    assert calls >= 1
    assert started.refs == []


def refs(ids: Sequence[str]) -> set[RegistrationRef | None]:
    """Parse public ids."""
    return {RegistrationRef.parse(each) for each in ids}
