"""Jobs from the registration to the callback: no secret is kept, and an operation with the same id stays apart."""

import json
import logging
from collections import Counter
from datetime import timedelta

import pytest

from bridge.api.handlers import Handlers
from bridge.domain.ids import Kind, OperationRef, RegistrationRef
from bridge.domain.operation import FinalStatus
from bridge.domain.registration import State
from bridge.domain.upstream import Reply
from bridge.storage.keys import SOURCES_PARTITION, partition_of
from bridge.storage.queue_message import write_task
from bridge.storage.repository import OVERDUE
from bridge.storage.table import ANY, Delete, Transaction
from tests.support.factories import JOB_SECRET, NOON, job_reply
from tests.support.harness import Harness, harness
from tests.support.http import Client

HOOK = "https://receiver.example.com/hook"
KINDS = pytest.mark.parametrize("kind", Kind)

SIGNED = f"https://results.example.com/{JOB_SECRET}.mp4?sig={JOB_SECRET}"
ERROR = {"code": "Aborted", "message": f"see {SIGNED}", "innererror": {"message": SIGNED}, "details": [SIGNED]}


def both(bridge: Harness, *, operation: str, job: str) -> dict[Kind, RegistrationRef]:
    """Register an operation and a job with one id and one callback. Script a running answer, and then the end."""
    statuses = {Kind.OPERATION: operation, Kind.JOB: job}
    for kind, status in statuses.items():
        bridge.upstream.script("deck-1", "Running", status, kind=kind)
    return {kind: bridge.register("deck-1", HOOK, kind=kind)[0] for kind in Kind}


def other(kind: Kind) -> Kind:
    """Return the other kind."""
    return next(each for each in Kind if each is not kind)


def live(bridge: Harness, *, sweeps: int = 4) -> None:
    """Run timer and queue every 15 s."""
    for _ in range(sweeps):
        bridge.sweep()
        bridge.deliver_all()
        bridge.clock.advance(15)


def rows_of(bridge: Harness, ref: OperationRef) -> Counter[str]:
    """Count the rows of an operation or a job by the first part of their keys."""
    place = f":{ref.collection}:{ref.id}"
    keys = [row.key for row in bridge.memory.rows()]
    return Counter(key.partition(":")[0] for key in keys if f"{place}:" in key or key.endswith(place))


@pytest.mark.parametrize("status", ["Succeeded", "Failed", "Gone"])
def test_a_secret_of_a_job_is_in_no_row_message_log_line_answer_or_callback(
    bridge: Harness, status: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The answers before the end have secrets too: errors, an unknown status, and an id of another job."""
    caplog.set_level(logging.DEBUG)
    failed = Reply(status=400, body=json.dumps({"error": {"code": "X", "message": SIGNED}}).encode())
    throttled = Reply(status=429, body=json.dumps({"message": f"sig={JOB_SECRET}"}).encode(), retry_after="1")
    last = failed if status == "Gone" else job_reply("deck-1", status, created_at=NOON, ended_at=NOON, error=ERROR)
    answers: list[str | Reply] = [
        failed,
        throttled,
        job_reply("deck-1", SIGNED),
        job_reply(SIGNED, "Running"),
        "Running",
        last,
    ]
    bridge.upstream.script("deck-1", *answers, kind=Kind.JOB)
    bridge.sender.script(HOOK, 500, 200)
    [ref] = bridge.register("deck-1", HOOK, kind=Kind.JOB)
    client, seen = Client.of(bridge), list[str]()

    for _ in range(60):
        bridge.sweep()
        seen += [repr(bridge.memory.rows()), *map(write_task, bridge.queue.tasks)]
        bridge.deliver_all()
        bridge.clock.advance(20)
    public_id = ref.public_id
    seen += [
        repr(client.call(handler, path, id=public_id).body)
        for handler, path in (
            (Handlers.read_registration, f"/registrations/{public_id}"),
            (Handlers.read_message, f"/registrations/{public_id}/message"),
            (Handlers.list_registrations, "/registrations"),
            (Handlers.status, "/status"),
            (Handlers.overview, "/overview"),
        )
    ]

    assert bridge.registration(ref).state is State.DELIVERED
    assert bridge.registration(ref).final_status == ("Expired" if status == "Gone" else status)
    assert "operation.finished" in caplog.text
    seen += [caplog.text, *(posted.body.decode() for posted in bridge.sender.posted)]
    assert [text for text in seen if JOB_SECRET in text] == []


def test_an_operation_and_a_job_with_one_id_end_apart() -> None:
    """Each has its own rows, polls, message and attempts, for the same callback URL."""
    bridge = harness()
    refs = both(bridge, operation="Succeeded", job="Failed")
    bridge.sender.script(HOOK, 500, 500, 200)

    live(bridge)

    found = {kind: bridge.registration(ref) for kind, ref in refs.items()}
    assert {kind: each.final_status for kind, each in found.items()} == {
        Kind.OPERATION: FinalStatus.SUCCEEDED,
        Kind.JOB: FinalStatus.FAILED,
    }
    assert len({each.message_id for each in found.values()}) == 2
    events = [json.loads(posted.body) for posted in bridge.sender.posted]
    assert Counter(each["type"] for each in events) == {"avatar.operation.succeeded": 2, "avatar.job.failed": 2}
    assert Counter(ref.kind for ref in bridge.upstream.asked) == {Kind.OPERATION: 2, Kind.JOB: 2}
    attempts = {kind: rows_of(bridge, ref.operation)["att"] for kind, ref in refs.items()}
    assert attempts == {Kind.OPERATION: 2, Kind.JOB: 2}


@KINDS
def test_canceling_one_kind_leaves_the_other_waiting(kind: Kind) -> None:
    bridge = harness()
    refs = both(bridge, operation="Succeeded", job="Succeeded")

    bridge.registrations.cancel(refs[kind])
    live(bridge)

    assert bridge.registration(refs[kind]).state is State.CANCELED
    assert bridge.registration(refs[other(kind)]).state is State.DELIVERED
    assert {ref.kind for ref in bridge.upstream.asked} == {other(kind)}


@KINDS
def test_a_purge_of_one_kind_deletes_no_row_of_the_other(kind: Kind) -> None:
    """A client purges the last registration, with its attempts."""
    bridge = harness()
    refs = both(bridge, operation="Succeeded", job="Succeeded")
    live(bridge)
    kept = rows_of(bridge, refs[other(kind)].operation)

    bridge.registrations.purge(refs[kind])

    assert rows_of(bridge, refs[kind].operation) == {}
    assert rows_of(bridge, refs[other(kind)].operation) == kept


@KINDS
def test_the_retention_of_one_kind_deletes_no_row_of_the_other(kind: Kind) -> None:
    """One ended long ago. The other was registered lately."""
    bridge = harness()
    bridge.upstream.script("deck-1", "Succeeded", kind=kind)
    [old] = bridge.register("deck-1", HOOK, kind=kind)
    live(bridge)
    bridge.clock.advance(timedelta(days=30) - timedelta(minutes=2))
    [new] = bridge.register("deck-1", HOOK, kind=other(kind))

    live(bridge, sweeps=20)

    assert rows_of(bridge, old.operation) == {}
    assert bridge.registration(new).state is State.WAITING


def test_a_missing_due_row_of_a_job_is_put_back_with_the_age_of_the_job(caplog: pytest.LogCaptureFixture) -> None:
    """The operation with the same id has its due row, and gets no other one."""
    bridge = harness()
    refs = both(bridge, operation="Running", job="Running")
    born = NOON - timedelta(hours=1)
    bridge.upstream.script("deck-1", job_reply("deck-1", "Running", created_at=born), kind=Kind.JOB)
    bridge.sweep()
    due = bridge.aggregate("deck-1", Kind.JOB).operation.record.due
    bridge.memory.commit(Transaction(partition_of(refs[Kind.JOB]), (Delete(due, ANY),)))
    bridge.clock.advance(OVERDUE + timedelta(minutes=3))

    bridge.registrations.register(bridge.request("deck-1", "https://other.example.com/", kind=Kind.JOB))

    [row] = [row for row in bridge.memory.rows() if row.key == due]
    assert row.values["created_at"] == born
    assert bridge.due_keys() == ["poll:default.jobs:deck-1", "poll:default:deck-1"]
    assert caplog.text.count("due.restored") == 1


def test_a_list_has_both_kinds_on_pages_of_one() -> None:
    """Each page ends with a cursor, whatever the kind of its last registration."""
    bridge = harness()
    names = {
        ref.public_id for number in range(3) for kind in Kind for ref in bridge.register(f"deck-{number}", kind=kind)
    }
    client, path, found = Client.of(bridge), "/registrations?limit=1", list[str]()

    while path:
        page = client.call(Handlers.list_registrations, path).body
        found += [each["id"] for each in page["value"]]
        path = f"/registrations?{page['nextLink'].partition('?')[2]}" if page["nextLink"] else ""

    assert (len(found), set(found)) == (6, names)


def test_operations_and_jobs_share_the_budget_of_their_source() -> None:
    """Ten requests a sweep, whatever their kinds. One row has the budget, and one price holds for both kinds."""
    bridge = harness(SPEECH_REQUESTS_PER_SECOND="1")
    for number in range(15):
        for kind in Kind:
            bridge.register(f"deck-{number:02d}", kind=kind)
        bridge.clock.advance(0.001)

    asked = []
    for _ in range(3):
        bridge.upstream.asked.clear()
        bridge.sweep()
        asked.append(list(bridge.upstream.asked))
        bridge.clock.advance(10)

    assert [len(each) for each in asked] == [10, 10, 10]
    assert len({ref for each in asked for ref in each}) == 30
    assert all({ref.kind for ref in each} == set(Kind) for each in asked)
    budgets = [row.key for row in bridge.memory.rows(SOURCES_PARTITION) if row.key.startswith("source:")]
    assert budgets == ["source:default"]


@KINDS
def test_a_429_about_one_kind_stops_the_source_for_the_other(kind: Kind) -> None:
    bridge = harness()
    both(bridge, operation="Running", job="Running")
    bridge.sweep()
    bridge.upstream.script("deck-1", Reply(status=429, retry_after="60"), kind=kind)
    bridge.upstream.script("deck-1", "Succeeded", kind=other(kind))
    bridge.clock.advance(20)
    bridge.sweep()
    bridge.upstream.asked.clear()

    for _ in range(2):
        bridge.clock.advance(20)
        bridge.sweep()

    assert bridge.upstream.asked == []


def test_a_job_costs_as_many_storage_calls_as_an_operation() -> None:
    """From the registration over polls, an end, a retry and a redelivery to the purge."""
    calls = {}
    for kind in Kind:
        bridge = harness()
        bridge.sender.script(HOOK, 500, 200)
        bridge.upstream.script("deck-1", "Running", "Running", "Failed", kind=kind)
        [ref] = bridge.register("deck-1", HOOK, kind=kind)
        live(bridge, sweeps=6)
        bridge.registrations.redeliver(ref)
        live(bridge, sweeps=2)
        bridge.clock.advance(timedelta(days=31))
        live(bridge, sweeps=20)
        assert rows_of(bridge, ref.operation) == {}
        calls[kind] = bridge.table.taken()

    assert calls[Kind.JOB] == calls[Kind.OPERATION]


def test_the_overview_has_the_learnt_durations_of_both_kinds() -> None:
    """Each entry names its kind. A source whose jobs were never seen to end has no entry for jobs."""
    bridge = harness()
    client = Client.of(bridge)
    before = client.call(Handlers.overview, "/overview").body["schedules"]
    both(bridge, operation="Succeeded", job="Succeeded")
    live(bridge)

    after = client.call(Handlers.overview, "/overview").body["schedules"]

    assert [(each["source"], each["kind"]) for each in before] == [("default", "operation")]
    assert [(each["source"], each["kind"]) for each in after] == [("default", "operation"), ("default", "job")]


def test_the_overview_has_the_delay_from_the_end_of_a_job_to_its_delivery() -> None:
    """The poll was a minute late, and the delivery 5 s later. The operation beside the job has only the 5 s."""
    bridge = harness()
    for kind in Kind:
        bridge.register("deck-1", HOOK, kind=kind)
    ended_at = NOON + timedelta(seconds=30)
    bridge.upstream.script("deck-1", "Succeeded")
    bridge.upstream.script(
        "deck-1", job_reply("deck-1", "Succeeded", created_at=NOON, ended_at=ended_at), kind=Kind.JOB
    )
    bridge.clock.advance(90)
    bridge.sweep()
    bridge.clock.advance(5)
    bridge.deliver_all()

    hours = Client.of(bridge).call(Handlers.overview, "/overview").body["hours"]

    assert hours[-1]["delaySeconds"] == {"p50": 5, "p95": 65, "max": 65}
