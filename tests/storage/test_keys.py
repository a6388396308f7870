"""Row keys: their order, and decoding."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.ids import OPERATION_ID, Kind, OperationRef, RegistrationRef
from bridge.storage.keys import (
    DueKind,
    after,
    attempt_key,
    attempts_prefix,
    due_at,
    due_deliveries,
    due_key,
    due_operations,
    due_parts,
    due_reference,
    duration_key,
    index_key,
    operation_of,
    operation_partitions,
    partition_of,
    registration_of,
    row_key,
)
from tests.support.strategies import moments

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
OPERATION = OperationRef("default", "06c7f835-e07b-4ac8-b33c-5b6df4a4eeef")

operation_ids = st.from_regex(OPERATION_ID, fullmatch=True)
instants = moments("1970-01-01", "2200-01-01")


@pytest.mark.parametrize("key", ["due:0", "due:0x", "due:12:poll:a:abc", "due:000000000000x:poll:a:abc", "idx:1", ""])
def test_a_foreign_key_has_no_due_time(key: str) -> None:
    """A foreign key can be among the bridge's keys."""
    assert due_at(key) is None


def test_partitions_never_change() -> None:
    """Rows from years ago must still be found."""
    placed = {
        f"operation-{number}": partition_of(OperationRef("default", f"operation-{number}")) for number in range(4)
    }

    assert placed == {"operation-0": "op3", "operation-1": "op2", "operation-2": "op0", "operation-3": "op6"}


def test_registrations_keep_their_ids() -> None:
    """A client that registers again after an upgrade finds the old registration."""
    ref = RegistrationRef.of(OPERATION, owner="shared", callback_url="https://hooks.example.com/avatar")

    assert ref.public_id == "default~06c7f835-e07b-4ac8-b33c-5b6df4a4eeef~3f7e0bf0caa21009"


@given(operation_ids, st.sampled_from(Kind))
def test_public_ids_are_decoded(operation_id: str, kind: Kind) -> None:
    """A public id is sufficient to locate the rows."""
    ref = RegistrationRef.of(OperationRef("west-eu", operation_id, kind), owner="o", callback_url="https://a/")

    assert RegistrationRef.parse(ref.public_id) == ref
    assert registration_of(due_reference(ref)) == ref
    assert operation_of(due_reference(ref.operation)) == ref.operation
    assert partition_of(ref) in set(operation_partitions())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "~~",
        "default~abc",
        "default~abc~0123",
        "Default~abc~0123456789abcdef",
        "default~ab~0123456789abcdef",
        "default~abc~0123456789abcdeg",
        "default~abc~0123456789abcdef\n",
        "default~a:c~0123456789abcdef",
        "default~abc~0123456789abcdef~",
        "default~a/c~0123456789abcdef",
        "default~äbc~0123456789abcdef",
    ],
)
def test_an_invalid_public_id_is_none(text: str) -> None:
    """No lookup is made."""
    assert RegistrationRef.parse(text) is None


@given(st.text(max_size=80))
def test_any_text_can_be_read_as_an_id(text: str) -> None:
    """Raises no exception."""
    assert RegistrationRef.parse(text) is None or text.count("~") == 2


def test_other_content_is_another_registration() -> None:
    """Owner, source, kind, id and URL determine the id of the registration."""
    refs = {
        RegistrationRef.of(operation, owner=owner, callback_url=url)
        for operation in (
            OPERATION,
            OperationRef("other", OPERATION.id),
            OperationRef("default", "other"),
            OperationRef("default", OPERATION.id, Kind.JOB),
        )
        for owner in ("one", "two")
        for url in ("https://a/", "https://b/")
    }

    assert len({ref.public_id for ref in refs}) == 16


@given(instants, instants, st.sampled_from([DueKind.POLL, DueKind.PURGE]))
def test_due_rows_are_in_the_order_of_their_times(one: datetime, two: datetime, kind: DueKind) -> None:
    one, two = (instant.replace(microsecond=instant.microsecond // 1000 * 1000) for instant in (one, two))
    keys = [due_key(one, DueKind.POLL, "a:abc"), due_key(two, kind, "b:abc")]

    assert (keys[0] < keys[1]) == ((one, "poll") < (two, kind) or (one, "poll") == (two, kind))
    assert due_at(keys[0]) == one


@given(instants, instants)
def test_deliveries_have_a_separate_range(one: datetime, two: datetime) -> None:
    delivery, poll = due_key(one, DueKind.DELIVER, "a:abc"), due_key(two, DueKind.POLL, "b:abc")
    start, stop = due_deliveries(one)
    operations = due_operations(max(one, two))

    assert start <= delivery < stop
    assert not operations[0] <= delivery < operations[1]
    assert not start <= poll < stop
    assert due_at(delivery) == one.replace(microsecond=one.microsecond // 1000 * 1000)
    assert due_parts(delivery) == ("deliver", "a:abc")


def test_a_due_delivery_of_an_older_version_is_read_too() -> None:
    key = "due:1795435200000:deliver:default:abc:0123456789abcdef"

    assert due_parts(key) == ("deliver", "default:abc:0123456789abcdef")
    assert due_at(key) == NOON
    assert due_operations(NOON)[0] <= key < due_operations(NOON)[1]


@pytest.mark.parametrize(("kind", "bounds"), [(DueKind.PURGE, due_operations), (DueKind.DELIVER, due_deliveries)])
def test_a_row_due_now_is_in_the_range(kind: DueKind, bounds: Callable[[datetime], tuple[str, str]]) -> None:
    """A row that is due a millisecond later is outside of the range."""
    later = NOON + timedelta(milliseconds=1)

    start, stop = bounds(NOON)

    assert start <= due_key(NOON, kind, "z:zzz") < stop <= due_key(later, kind, "a:aaa")


def test_a_due_row_never_moves_to_its_own_key() -> None:
    """A transaction may contain a row only once."""
    key = due_key(NOON, DueKind.POLL, "a:abc")

    assert due_at(due_key(NOON, DueKind.POLL, "a:abc", instead_of=key)) == NOON + timedelta(milliseconds=1)


@given(instants, instants)
def test_index_rows_are_newest_first(one: datetime, two: datetime) -> None:
    """The order holds within each state."""
    one, two = (instant.replace(microsecond=0) for instant in (one, two))
    ref = RegistrationRef.of(OPERATION, owner="o", callback_url="https://a/")

    assert (index_key("dead", one, ref) < index_key("dead", two, ref)) == (one > two)


refs = st.builds(OperationRef, st.sampled_from(["s", "s-jobs", "s0"]), operation_ids, st.sampled_from(Kind))


@given(refs, refs, st.booleans())
def test_an_operations_range_holds_its_rows_and_no_others(one: OperationRef, two: OperationRef, same: bool) -> None:
    """Holds even if one id is a prefix of the other, and if an operation and a job have the same id."""
    two = OperationRef(two.source, one.id, two.kind) if same else two
    registration = RegistrationRef.of(two, owner="o", callback_url="https://a/")
    attempts, attempt = attempts_prefix(one), attempt_key(registration, 1)

    inside = [row_key(one) <= key < after(row_key(one)) for key in (row_key(two), row_key(registration))]

    assert inside == [one == two] * 2
    assert (attempts <= attempt < after(attempts)) == (one == two)


def test_models_of_jobs_are_in_no_range_of_the_models_of_operations() -> None:
    """A group can have the name of a collection."""
    operations, jobs = duration_key("default", None), duration_key("default.jobs", None)
    keys = [duration_key(collection, group) for collection in ("default", "default.jobs") for group in (None, "x.jobs")]

    assert [key for key in keys if key.startswith(operations)] == ["dur:default:", "dur:default:x.jobs"]
    assert [key for key in keys if key.startswith(jobs)] == ["dur:default.jobs:", "dur:default.jobs:x.jobs"]
