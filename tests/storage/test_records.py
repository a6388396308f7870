"""Records as rows: written columns and unchanged columns."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.events import Format
from bridge.domain.operation import FinalStatus
from bridge.domain.outcome import Failure, LastAttempt
from bridge.domain.registration import Registration, State
from bridge.domain.retry import DeadReason
from bridge.storage.keys import partition_of, row_key
from bridge.storage.records import SCHEMA_VERSION, Stored, decode, for_insert, for_merge, for_update, stored
from bridge.storage.table import Row
from tests.support.factories import NOON, registration
from tests.support.strategies import moments

REQUEST = registration()

texts = st.none() | st.text("ab", min_size=1, max_size=3)
times = moments("2026-01-01", "2027-01-01")
registrations = st.builds(
    Registration,
    ref=st.just(REQUEST.ref),
    owner=st.just("shared"),
    callback_url=st.just(REQUEST.callback_url),
    events=st.sampled_from([tuple(FinalStatus), (FinalStatus.FAILED,)]),
    metadata=texts,
    headers=texts,
    format=st.sampled_from(Format),
    state=st.sampled_from(State),
    since=times,
    generation=times,
    reason=st.none() | st.sampled_from(DeadReason),
    final_status=st.none() | st.sampled_from(FinalStatus),
    message_body=st.none() | st.binary(min_size=1, max_size=3),
    last_attempt=st.integers(0, 2),
    last_recorded=st.none()
    | st.builds(
        LastAttempt,
        number=st.integers(1, 10),
        at=times,
        status=st.none() | st.integers(200, 599),
        error=st.none() | st.sampled_from(Failure),
    ),
    next_attempt_at=st.none() | times,
    claim=texts,
    due=texts,
    tx=st.text("ab", max_size=3),
)


@given(registrations, registrations)
def test_an_update_over_the_stored_row_gives_the_new_record(before: Registration, after: Registration) -> None:
    """Holds for any columns that were set, changed or cleared."""
    row = {**for_insert(before), **for_update(Stored(before, "etag"), after)}

    assert decode(Registration, REQUEST.ref, row) == after


@given(registrations, registrations)
def test_only_changed_columns_are_written(before: Registration, after: Registration) -> None:
    """The version is always written, so the row is never read with another schema."""
    written = for_update(Stored(before, "etag"), after)

    whole, was = for_merge(after), for_merge(before)
    assert written == {"v": SCHEMA_VERSION} | {name: value for name, value in whole.items() if value != was[name]}


def test_a_claim_does_not_write_the_message_again() -> None:
    """The body of the message is by far the largest part of the row."""
    told = replace(REQUEST, state=State.PENDING, message_id="m", message_type="t", message_body=b"{}")

    written = for_update(Stored(told, "etag"), told.claimed("mine", until=NOON + timedelta(minutes=1), due="due:x"))

    assert set(written) == {"v", "last_attempt", "claim", "leased_until", "next_attempt_at", "due"}


def test_a_row_of_the_previous_schema_is_written_whole() -> None:
    """Otherwise, the row would claim this schema, with columns of the previous one."""
    row = Row(partition_of(REQUEST.ref), row_key(REQUEST.ref), "etag", {**for_insert(REQUEST), "v": SCHEMA_VERSION - 1})
    before, after = stored(Registration, REQUEST.ref, row), replace(REQUEST, reason=DeadReason.GONE)

    assert for_update(before, after) == for_merge(after)
