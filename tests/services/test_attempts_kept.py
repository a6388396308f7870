"""The cost of endless redeliveries is bounded: runs, kept attempts, and bytes of an answer."""

import json
from datetime import timedelta

import pytest

from bridge.api.handlers import Handlers
from bridge.domain.attempt import KEPT_ATTEMPTS, AttemptRecord
from bridge.domain.ids import RegistrationRef
from bridge.domain.outcome import answered
from bridge.domain.registration import RUNS_AN_HOUR, Registration, State
from bridge.domain.retry import ATTEMPTS_PER_RUN
from bridge.storage.keys import attempt_key, attempts_prefix, partition_of, row_key
from bridge.storage.records import for_insert, for_merge
from bridge.storage.table import ANY, Delete, Insert, Merge, Transaction
from tests.support.harness import NOON, Harness, harness
from tests.support.http import Answer, Client

HOOK = "https://receiver.example.com/hook"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def bridge() -> Harness:
    """Return a harness with a succeeded operation."""
    bridge = harness()
    bridge.upstream.script("operation-1", "Succeeded")
    return bridge


def delivered(bridge: Harness) -> RegistrationRef:
    """Deliver a registration once."""
    [ref] = bridge.register()
    bridge.sweep()
    bridge.deliver_all()
    return ref


def redeliver(bridge: Harness, ref: RegistrationRef) -> Answer:
    """Redeliver and run the attempt."""
    path = f"/registrations/{ref.public_id}/redeliver"
    answer = Client.of(bridge).call(Handlers.redeliver, path, method="POST", id=ref.public_id)
    bridge.deliver_all()
    return answer


def read(bridge: Harness, ref: RegistrationRef) -> Answer:
    """Read a registration like a client."""
    return Client.of(bridge).call(Handlers.read_registration, f"/registrations/{ref.public_id}", id=ref.public_id)


def attempt_keys(bridge: Harness, ref: RegistrationRef) -> list[str]:
    """Return the keys of the kept attempts."""
    return [row.key for row in bridge.memory.rows(partition_of(ref)) if row.key.startswith(attempts_prefix(ref))]


def make_many_attempts(bridge: Harness, ref: RegistrationRef, runs: int) -> None:
    """Make whole runs against a failing receiver."""
    bridge.sender.script(HOOK, 500)
    for _ in range(runs):
        assert redeliver(bridge, ref).status == 202
        while bridge.registration(ref).state is State.PENDING:
            bridge.clock.advance(timedelta(hours=30))
            bridge.sweep()
            bridge.deliver_all()


def test_an_hour_has_at_most_ten_further_runs(bridge: Harness) -> None:
    ref = delivered(bridge)

    statuses = [redeliver(bridge, ref).status for _ in range(RUNS_AN_HOUR + 5)]

    assert statuses == [202] * RUNS_AN_HOUR + [429] * 5
    assert len(bridge.sender.posted) == 1 + RUNS_AN_HOUR


def test_a_rejected_run_has_a_time_to_retry(bridge: Harness) -> None:
    ref = delivered(bridge)
    for _ in range(RUNS_AN_HOUR):
        redeliver(bridge, ref)
        bridge.clock.advance(60)

    refused = redeliver(bridge, ref)
    bridge.clock.advance(int(refused.headers["Retry-After"]) - 1)
    early = redeliver(bridge, ref)
    bridge.clock.advance(1)
    late = redeliver(bridge, ref)

    assert (refused.status, refused.error["code"], refused.headers["Retry-After"]) == (429, "TooManyRuns", "3000")
    assert (early.status, late.status) == (429, 202)


def test_canceling_and_registering_again_begins_no_more_runs_than_redelivering(bridge: Harness) -> None:
    ref = delivered(bridge)
    client = Client.of(bridge)
    body = {"operationId": "operation-1", "callbackUrl": HOOK}
    statuses = []
    for _ in range(RUNS_AN_HOUR + 3):
        bridge.sender.script(HOOK, 500)
        if bridge.registration(ref).state is not State.CANCELED:
            redeliver(bridge, ref)
            client.call(
                Handlers.cancel_registration, f"/registrations/{ref.public_id}", method="DELETE", id=ref.public_id
            )
        statuses.append(client.register(body).status)
        bridge.deliver_all()

    assert statuses[-1] == 429
    assert len(bridge.sender.posted) <= 1 + RUNS_AN_HOUR


def test_retries_of_a_pending_run_count_among_the_runs_of_an_hour(bridge: Harness) -> None:
    ref = delivered(bridge)
    bridge.sender.script(HOOK, 500)

    statuses = [redeliver(bridge, ref).status for _ in range(3 * RUNS_AN_HOUR)]

    assert statuses == [202] * RUNS_AN_HOUR + [429] * (2 * RUNS_AN_HOUR)
    assert len(bridge.sender.posted) == 1 + RUNS_AN_HOUR


def test_bulk_redelivery_skips_registrations_at_the_limit_of_runs(bridge: Harness) -> None:
    ref = delivered(bridge)
    bridge.sender.script(HOOK, 410)
    for _ in range(RUNS_AN_HOUR):
        redeliver(bridge, ref)
    body = json.dumps({"states": ["dead"], "since": "2026-11-23T11:00:00Z"}).encode()

    answer = Client.of(bridge).call(Handlers.redeliver_many, "/redeliver", method="POST", body=body, headers=JSON)

    assert (answer.status, answer.body["started"], answer.body["more"]) == (202, 0, False)
    assert bridge.registration(ref).state is State.DEAD


def test_the_last_fifty_attempts_are_kept_and_the_others_counted(bridge: Harness) -> None:
    ref = delivered(bridge)
    make_many_attempts(bridge, ref, runs=6)

    shown = read(bridge, ref).body

    made = 1 + 6 * ATTEMPTS_PER_RUN
    assert [each["number"] for each in shown["attempts"]] == list(range(made - KEPT_ATTEMPTS + 1, made + 1))
    assert shown["earlierAttempts"] == {"count": made - KEPT_ATTEMPTS, "before": shown["attempts"][0]["at"]}
    assert len(attempt_keys(bridge, ref)) == KEPT_ATTEMPTS


def test_a_few_attempts_are_all_shown(bridge: Harness) -> None:
    shown = read(bridge, delivered(bridge)).body

    assert ([each["number"] for each in shown["attempts"]], shown["earlierAttempts"]) == ([1], None)


def test_an_attempt_is_made_though_the_one_to_be_dropped_is_gone(bridge: Harness) -> None:
    ref = delivered(bridge)
    make_many_attempts(bridge, ref, runs=5)
    gone = tuple(Delete(key, ANY) for key in attempt_keys(bridge, ref)[:10])
    bridge.memory.commit(Transaction(partition_of(ref), gone))

    make_many_attempts(bridge, ref, runs=1)

    assert bridge.registration(ref).last_attempt == 1 + 6 * ATTEMPTS_PER_RUN
    assert [each["number"] for each in read(bridge, ref).body["attempts"]][-1] == 1 + 6 * ATTEMPTS_PER_RUN


def write_attempts(bridge: Harness, ref: RegistrationRef, numbers: range, output: str) -> None:
    """Store attempts, 100 per transaction, and make the last one the registration's last attempt."""
    location = "https://new.example.com/" + '"' * 5000
    outcome = answered(302, address="2606:4700:4700::1111", body=output.encode(), location=location)
    begun = AttemptRecord(ref=ref, number=1, at=NOON, claim="c", leased_until=NOON)
    row = for_insert(begun.with_outcome(outcome, timedelta(minutes=1)))
    for first in range(numbers.start, numbers.stop, 100):
        chunk = range(first, min(first + 100, numbers.stop))
        rows = (Insert(f"{attempts_prefix(ref)}{number:06d}", {**row, "number": number}) for number in chunk)
        bridge.memory.commit(Transaction(partition_of(ref), tuple(rows)))
    bridge.memory.commit(
        Transaction(partition_of(ref), (Merge(row_key(ref), {"last_attempt": numbers.stop - 1}, ANY),))
    )


def test_of_ten_thousand_attempts_the_last_fifty_are_read(bridge: Harness) -> None:
    [ref] = bridge.register()
    write_attempts(bridge, ref, range(1, 10_001), "\U0001f600" * 1024)

    shown = read(bridge, ref).body

    assert [each["number"] for each in shown["attempts"]] == list(range(9951, 10_001))
    assert shown["earlierAttempts"]["count"] == 9950
    assert len(json.dumps(shown, ensure_ascii=False).encode()) < 100_000


@pytest.mark.parametrize(
    "output",
    ["\U0001f600" * 1024, '"' * 5000, "\\" * 5000, "a" * 5000, "\u00e4" * 5000, "\x1b" * 5000],
    ids=["emoji", "quotes", "backslashes", "letters", "umlauts", "controls"],
)
def test_fifty_attempts_are_answered_in_less_than_100_kb(bridge: Harness, output: str) -> None:
    [ref] = bridge.register()
    write_attempts(bridge, ref, range(1, 51), output)

    shown = read(bridge, ref).body

    assert len(shown["attempts"]) == 50
    assert len(json.dumps(shown, ensure_ascii=False).encode()) < 100_000
    assert all(len((each["body"] or "").encode()) <= 1024 for each in shown["attempts"])


def test_a_body_that_an_older_version_kept_is_shown_within_the_limit(bridge: Harness) -> None:
    ref = delivered(bridge)
    bridge.memory.commit(Transaction(partition_of(ref), (Merge(attempt_key(ref, 1), {"body": "\u20ac" * 1024}, ANY),)))

    [attempt] = read(bridge, ref).body["attempts"]

    assert attempt["body"] == "\u20ac" * 341


def test_runs_are_restored_from_their_row(bridge: Harness) -> None:
    ref = delivered(bridge)
    redeliver(bridge, ref)

    registration = bridge.registration(ref)

    assert len(registration.runs) == 1
    assert for_merge(registration)["runs"] == str(registration.runs[0])
    assert registration.wait_for_run(NOON) is None


@pytest.mark.parametrize("runs", [(-1,), (10**13,)])
def test_runs_at_impossible_times_are_rejected(bridge: Harness, runs: tuple[int, ...]) -> None:
    request = bridge.request()

    with pytest.raises(ValueError, match="out of range"):
        Registration(ref=request.ref, owner="o", callback_url=HOOK, events=(), since=NOON, generation=NOON, runs=runs)
