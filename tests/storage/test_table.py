"""The contract of the table, for the one in memory and for the emulator of the real service."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count

import pytest
from azure.core.credentials import AzureNamedKeyCredential
from azure.data.tables import AccountSasPermissions, ResourceTypes, TableClient, generate_account_sas

from bridge.adapters.azure.table import AzureTable
from bridge.domain.errors import Conflict, ConflictKind
from bridge.storage.table import ANY, MAX_WRITES, Delete, Insert, Merge, Row, Table, Transaction, Upsert, Value, Write
from bridge.testing import MemoryTable
from local.azurite import Azurite

_names = count()


@pytest.fixture(params=["memory", pytest.param("azurite", marks=pytest.mark.azurite)])
def table(request: pytest.FixtureRequest) -> Iterator[Table]:
    """Yield an empty table of each kind."""
    if request.param == "memory":
        yield MemoryTable()
        return
    azurite: Azurite = request.getfixturevalue("azurite")
    with TableClient.from_connection_string(
        azurite.connection_string, table_name=f"contract{next(_names)}", retry_total=0
    ) as client:
        yield AzureTable(client)


def do(table: Table, *writes: Write) -> dict[str, str]:
    """Commit writes to partition `p`."""
    return dict(table.commit(Transaction("p", writes)))


def read(table: Table, key: str) -> Row:
    """Read an existing row."""
    row = table.get("p", key)
    assert row is not None
    return row


def test_reads_find_nothing_before_the_first_write(table: Table) -> None:
    """A table that does not exist yet counts as empty."""
    assert table.get("p", "a") is None
    assert list(table.range("p", "a", "z")) == []


@pytest.mark.parametrize(
    "value",
    [
        "text",
        "Grüße, 世界 😀 'quoted'",
        0,
        -1,
        2**31,
        2**62,
        0.5,
        -1e300,
        10.0,
        True,
        False,
        b"\x00\xff",
        datetime(2026, 11, 23, 15, 9, 41, 4000, tzinfo=UTC),
        datetime(2026, 11, 23, 15, 9, 41, tzinfo=UTC),
    ],
)
def test_a_column_is_read_as_it_was_stored(table: Table, value: Value) -> None:
    """Value and type survive."""
    do(table, Insert("a", {"column": value}))

    found = read(table, "a").values["column"]

    assert (value, type(value)) == (found, type(found))


def test_a_longest_string_is_stored(table: Table) -> None:
    """The service's limit is 32,768 UTF-16 units, which the bridge uses too."""
    do(table, Insert("a", {"column": "x" * 32_768}))

    assert read(table, "a").values["column"] == "x" * 32_768


def test_a_merge_leaves_other_columns(table: Table) -> None:
    """An empty string is a regular value."""
    do(table, Insert("a", {"kept": 1, "cleared": "x"}))

    do(table, Merge("a", {"cleared": "", "new": 2}, ANY))

    assert dict(read(table, "a").values) == {"kept": 1, "cleared": "", "new": 2}


def test_an_upsert_makes_a_row_or_merges_into_it(table: Table) -> None:
    do(table, Upsert("a", {"kept": 1, "changed": 1}))
    do(table, Upsert("a", {"changed": 2}))

    assert dict(read(table, "a").values) == {"kept": 1, "changed": 2}


def test_a_column_can_change_its_type(table: Table) -> None:
    """A time can become an empty string, then a time again."""
    noon = datetime(2026, 11, 23, 12, tzinfo=UTC)
    do(table, Insert("a", {"at": noon}))

    do(table, Merge("a", {"at": ""}, ANY))
    do(table, Merge("a", {"at": noon}, ANY))

    assert read(table, "a").values["at"] == noon


def test_a_commit_returns_the_etags_that_reads_show(table: Table) -> None:
    """The next step needs no read."""
    etags = do(table, Insert("a", {"n": 1}), Insert("b", {"n": 1}))
    etags |= do(table, Merge("a", {"n": 2}, etags["a"]))

    assert etags == {key: read(table, key).etag for key in ("a", "b")}


def test_every_write_changes_the_etag(table: Table) -> None:
    """This includes a write without a change."""
    first = do(table, Insert("a", {"n": 1}))["a"]

    assert do(table, Merge("a", {"n": 1}, ANY))["a"] != first


@pytest.mark.parametrize(
    ("write", "kind"),
    [
        (Insert("there", {"n": 2}), ConflictKind.EXISTS),
        (Merge("there", {"n": 2}, "W/\"datetime'2020-01-01T00%3A00%3A00.0000000Z'\""), ConflictKind.STALE),
        (Delete("there", "W/\"datetime'2020-01-01T00%3A00%3A00.0000000Z'\""), ConflictKind.STALE),
        (Merge("missing", {"n": 2}, ANY), ConflictKind.MISSING),
        (Merge("missing", {"n": 2}, "W/\"datetime'2020-01-01T00%3A00%3A00.0000000Z'\""), ConflictKind.MISSING),
        (Delete("missing", ANY), ConflictKind.MISSING),
        (Delete("missing", "W/\"datetime'2020-01-01T00%3A00%3A00.0000000Z'\""), ConflictKind.MISSING),
    ],
)
def test_a_conflict_undoes_the_whole_transaction_and_names_the_write(
    table: Table, write: Write, kind: ConflictKind
) -> None:
    """A sweep uses the result to skip one operation and commit the others."""
    do(table, Insert("there", {"n": 1}))

    with pytest.raises(Conflict) as caught:
        do(table, Insert("other", {"n": 1}), Insert("another", {"n": 1}), write)

    assert (kind, 2) == (caught.value.kind, caught.value.index)
    assert table.get("p", "other") is None
    assert read(table, "there").values["n"] == 1


def test_a_transaction_can_have_a_hundred_writes(table: Table) -> None:
    """The service's limit is a hundred."""
    do(table, *(Insert(f"{number:03d}", {"n": number}) for number in range(MAX_WRITES)))

    assert len(table.range("p", "000", "999")) == MAX_WRITES


def test_a_single_write_conflicts_like_many(table: Table) -> None:
    """Deleting a missing row in a transaction is an error too."""
    with pytest.raises(Conflict) as caught:
        do(table, Delete("missing", ANY))

    assert caught.value.kind is ConflictKind.MISSING


def test_a_range_is_in_order_and_excludes_its_end(table: Table) -> None:
    """`start <= key < stop`, by code point, independent of the order of inserts."""
    keys = ["b:", "a:~", "a:1", "a:", "a;", "A:", "a:B", "a:a"]
    do(table, *(Insert(key, {"n": 1}) for key in keys))

    assert [row.key for row in table.range("p", "a:", "a;")] == ["a:", "a:1", "a:B", "a:a", "a:~"]


def test_a_range_reads_past_a_page(table: Table) -> None:
    """A page of the service has 1,000 rows."""
    for start in range(0, 1100, MAX_WRITES):
        do(table, *(Insert(f"{number:05d}", {"n": number}) for number in range(start, start + MAX_WRITES)))

    assert [row.key for row in table.range("p", "0", "1")] == [f"{number:05d}" for number in range(1100)]
    assert len(table.range("p", "0", "1", limit=1050)) == 1050


def test_a_range_reads_only_the_requested_rows_and_columns(table: Table) -> None:
    """The arguments are a limit and the columns."""
    do(table, *(Insert(f"{number}", {"n": number, "m": 1}) for number in range(5)))

    rows = table.range("p", "1", "9", limit=2, columns=["n"])

    assert [(row.key, dict(row.values)) for row in rows] == [("1", {"n": 1}), ("2", {"n": 2})]


def test_partitions_are_separate(table: Table) -> None:
    do(table, Insert("a", {"n": 1}))
    table.commit(Transaction("q", (Insert("a", {"n": 2}),)))

    assert read(table, "a").values["n"] == 1
    assert [row.values["n"] for row in table.range("q", "a", "b")] == [2]


def test_keys_of_the_bridge_are_keys_of_the_service(table: Table) -> None:
    """Colons, tildes, dots and dashes need no escape."""
    keys = ["due:1795435200000:poll:default:a.b_c-d", "op:default:a.b_c-d:0123456789abcdef", "idx:dead:1:x~y"]
    do(table, *(Insert(key, {"n": 1}) for key in keys))

    assert [read(table, key).key for key in keys] == keys


def test_no_call_starts_a_thread(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's transaction call starts a dozen threads, which cost more than the transaction."""
    do(table, Insert("a", {"n": 1}))
    started: list[str] = []
    monkeypatch.setattr(threading.Thread, "start", lambda thread: started.append(thread.name))

    do(table, *(Insert(f"b{number}", {"n": 1}) for number in range(5)))
    read(table, "a")
    table.range("p", "a", "c")

    assert started == []


def test_a_shared_access_signature_is_enough(azurite: Azurite) -> None:
    """An operator may use such a signature in the connection string instead of the account key."""
    parts = dict(part.split("=", 1) for part in azurite.connection_string.strip(";").split(";"))
    signature = generate_account_sas(
        AzureNamedKeyCredential(parts["AccountName"], parts["AccountKey"]),
        resource_types=ResourceTypes(service=True, container=True, object=True),
        permission=AccountSasPermissions(read=True, add=True, create=True, write=True),
        expiry=datetime(2126, 1, 1, tzinfo=UTC),
    )
    connection = f"TableEndpoint={parts['TableEndpoint']};SharedAccessSignature={signature}"

    with TableClient.from_connection_string(connection, table_name=f"contract{next(_names)}", retry_total=0) as client:
        table = AzureTable(client)
        do(table, Insert("a", {"n": 1}), Insert("b", {"n": 2}))

        assert read(table, "a").values == {"n": 1}
