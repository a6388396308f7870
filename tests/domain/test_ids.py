"""References to operations and jobs: the two kinds never mix, and ids of operations never change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.ids import OPERATION_ID, SOURCE_NAME, Kind, OperationRef, RegistrationRef

names = st.from_regex(SOURCE_NAME, fullmatch=True)
ids = st.from_regex(OPERATION_ID, fullmatch=True)
refs = st.builds(OperationRef, names, ids, st.sampled_from(Kind))


def registration_ref(operation: OperationRef) -> RegistrationRef:
    """Return the reference of one callback."""
    return RegistrationRef.of(operation, owner="shared", callback_url="https://a/")


@given(refs)
def test_a_reference_is_parsed_from_its_collection_and_id(ref: OperationRef) -> None:
    assert OperationRef.parse(ref.collection, ref.id) == ref
    assert RegistrationRef.parse(registration_ref(ref).public_id) == registration_ref(ref)


@given(refs, refs)
def test_two_references_share_no_collection_and_id(one: OperationRef, two: OperationRef) -> None:
    """Not even if a source has a name that ends in `jobs`."""
    assert ((one.collection, one.id) == (two.collection, two.id)) == (one == two)


def test_an_operation_and_a_job_with_one_id_have_different_names() -> None:
    operation, job = OperationRef("default", "deck-1"), OperationRef("default", "deck-1", Kind.JOB)

    assert (operation.collection, job.collection) == ("default", "default.jobs")
    assert (operation.is_job, job.is_job) == (False, True)
    assert registration_ref(operation).public_id.startswith("default~deck-1~")
    assert registration_ref(job).public_id.startswith("default.jobs~deck-1~")
    assert registration_ref(operation).hash != registration_ref(job).hash
    assert operation.shard != job.shard
    assert operation.message_id("the same")[:7] != job.message_id("the same")[:7]


@pytest.mark.parametrize(
    "collection",
    [
        "",
        ".jobs",
        "default.",
        "default.job",
        "default.jobs.jobs",
        "default.jobs ",
        "Default.jobs",
        "default.jobs\n",
        "a.b",
    ],
)
def test_an_invalid_collection_has_no_reference(collection: str) -> None:
    assert OperationRef.parse(collection, "deck-1") is None
    assert RegistrationRef.parse(f"{collection}~deck-1~0123456789abcdef") is None


@pytest.mark.parametrize("id_", ["", "ab", "a" * 65, "a:b", "a/b", "-ab", "abc.", "abc\n", "äbc"])
def test_an_invalid_id_has_no_reference(id_: str) -> None:
    assert OperationRef.parse("default.jobs", id_) is None
