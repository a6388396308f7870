"""Learning of durations in sweeps, and the effect on the schedule."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from bridge.api.handlers import Handlers
from bridge.domain.ids import Kind, OperationRef
from bridge.domain.operation import FinalStatus, PollState
from bridge.domain.upstream import Pending, PollResult, Reply, Terminal
from bridge.learnt.duration_store import MAX_GROUPS
from bridge.learnt.durations import EDGES, DurationModel, bucket_at
from bridge.storage.keys import SOURCES_PARTITION, duration_key
from bridge.storage.records import decode
from bridge.storage.table import ANY, Merge, Transaction
from bridge.testing import MemoryTable
from tests.support.faults import OBSERVATION, faulty
from tests.support.harness import NOON, Harness, harness
from tests.support.http import Client
from tests.support.poll_errors import TIMED_OUT
from tests.support.schedules import learnt_schedule

HOOK = "https://receiver.example.com/hook"


def models(bridge: Harness) -> Mapping[str, DurationModel]:
    """Return the learnt models."""
    rows = bridge.memory.range(SOURCES_PARTITION, "dur:", "dur;")
    return {row.key: decode(DurationModel, None, row.values) for row in rows}


def live(bridge: Harness, operation_id: str, seconds: float, group: str | None = None) -> None:
    """Register an operation that ends after `seconds`, with a sweep every ten seconds."""
    body = {"operationId": operation_id, "callbackUrl": HOOK, "group": group}
    assert Client.of(bridge).register(body).status == 201
    born = bridge.clock()
    for _ in range(1000):
        if bridge.aggregate(operation_id).operation.record.final_status is not None:
            break
        is_over = (bridge.clock() - born).total_seconds() >= seconds
        bridge.upstream.script(operation_id, "Succeeded" if is_over else "Running")
        bridge.sweep()
        bridge.clock.advance(10)
    else:
        pytest.fail(f"{operation_id} has not ended in a thousand sweeps")
    bridge.deliver_all()


def test_a_completion_is_learnt_between_its_last_two_polls() -> None:
    """The model gets one completion and the exposure."""
    bridge = harness(BRIDGE_POLL_INTERVAL="10s")

    live(bridge, "operation-1", 95)

    model = models(bridge)[duration_key("default", None)]
    assert model.weight == pytest.approx(1, rel=1e-4)
    assert sum(count for edge, count in zip(EDGES, model.completions, strict=True) if 75 <= edge < 101) > 0.99
    assert 90 <= sum(model.exposure) <= 100


def test_a_group_is_learnt_separately_and_with_its_source() -> None:
    """The label comes from the registration."""
    bridge = harness()

    live(bridge, "operation-1", 30, "short")
    live(bridge, "operation-2", 200)

    learnt = {key: model.weight for key, model in models(bridge).items()}
    assert learnt == pytest.approx({duration_key("default", None): 2, duration_key("default", "short"): 1}, rel=1e-2)


def groups(bridge: Harness) -> set[str]:
    """Return the groups with separate models."""
    prefix = duration_key("default", None)
    return {key.removeprefix(prefix) for key in models(bridge)} - {""}


def test_a_source_has_at_most_64_groups_and_a_further_one_replaces_the_one_updated_longest_ago() -> None:
    """An owner with many labels cannot exclude the groups of others."""
    bridge = harness()

    for number in range(MAX_GROUPS):
        live(bridge, f"operation-{number:03d}", 5, f"group-{number}")
        bridge.clock.advance(1)
    live(bridge, "operation-again", 5, "group-0")
    bridge.clock.advance(1)
    for number in range(3):
        live(bridge, f"operation-new-{number}", 5, f"new-{number}")
        bridge.clock.advance(1)

    kept = {f"group-{number}" for number in (0, *range(4, MAX_GROUPS))}
    assert groups(bridge) == {*kept, "new-0", "new-1", "new-2"}
    assert models(bridge)[duration_key("default", "group-0")].weight == pytest.approx(2, rel=1e-2)


def test_a_replaced_group_starts_again() -> None:
    """The group replaces another one."""
    bridge = harness()
    for number in range(MAX_GROUPS + 1):
        live(bridge, f"operation-{number:03d}", 5, f"group-{number}")
        bridge.clock.advance(1)

    live(bridge, "operation-again", 5, "group-0")

    assert groups(bridge) == {f"group-{number}" for number in (0, *range(2, MAX_GROUPS + 1))}
    assert models(bridge)[duration_key("default", "group-0")].weight == pytest.approx(1, rel=1e-2)


def test_new_groups_replace_only_groups_that_the_sweep_did_not_update() -> None:
    """The replacements exceed one transaction."""
    bridge = harness()
    for number in range(MAX_GROUPS):
        live(bridge, f"operation-{number:03d}", 5, f"group-{number}")

    for number in range(MAX_GROUPS + 5):
        bridge.registrations.register(replace(bridge.request(f"operation-new-{number:03d}"), group=f"new-{number:02d}"))
        bridge.upstream.script(f"operation-new-{number:03d}", "Succeeded")
    bridge.clock.advance(5)
    bridge.sweep()

    assert len(groups(bridge)) == MAX_GROUPS
    assert all(name.startswith("new-") for name in groups(bridge))


def test_a_model_of_an_older_version_is_replaced_first() -> None:
    """Such a row has no time of its last update."""
    bridge = harness()
    for number in range(MAX_GROUPS):
        live(bridge, f"operation-{number:03d}", 5, f"group-{number}")
    old = Merge(duration_key("default", "group-63"), {"observed_at": ""}, ANY)
    bridge.memory.commit(Transaction(SOURCES_PARTITION, (old,)))

    live(bridge, "operation-new", 5, "new")

    assert "group-63" not in groups(bridge)
    assert len(groups(bridge)) == MAX_GROUPS


def test_polls_follow_the_learnt_model() -> None:
    """After a hundred operations of 20 minutes, the next one is polled mostly around that age."""
    bridge = harness(BRIDGE_POLL_INTERVAL="10s")
    for number in range(100):
        bridge.register(f"operation-{number:03d}")
    for sweep in range(131):
        for number in range(100):
            bridge.upstream.script(f"operation-{number:03d}", "Succeeded" if sweep >= 120 + number % 10 else "Running")
        bridge.sweep()
        bridge.clock.advance(10)
    bridge.upstream.asked.clear()

    born = bridge.clock()
    bridge.register("operation-new")
    bridge.upstream.script("operation-new", "Running")
    asked = []
    for _ in range(130):
        bridge.sweep()
        asked += [(bridge.clock() - born).total_seconds()] * len(bridge.upstream.asked)
        bridge.upstream.asked.clear()
        bridge.clock.advance(10)

    early, late = sum(300 <= age < 900 for age in asked), sum(age >= 1100 for age in asked)
    assert late / 200 > 2 * early / 600


def test_observations_of_running_operations_are_written_once_a_minute() -> None:
    """Otherwise, each poll would cost a write."""
    bridge = harness(BRIDGE_POLL_INTERVAL="10s")
    bridge.register()
    written = 0
    for _ in range(12):
        before = models(bridge)
        bridge.sweep()
        written += models(bridge) != before
        bridge.clock.advance(10)

    assert written in {1, 2}


def test_observations_of_two_writers_are_merged() -> None:
    """The observations of both writers are added."""
    bridge, table = faulty()
    live(bridge, "operation-1", 30)
    key = duration_key("default", None)
    other = ",".join(["5"] * len(EDGES))
    commit = table.inner.commit

    def after_another(transaction: Transaction) -> Mapping[str, str]:
        table.inner.commit(Transaction(SOURCES_PARTITION, (Merge(key, {"completions": other}, ANY),)))
        return commit(transaction)

    bridge.register("operation-2")
    bridge.upstream.script("operation-2", "Succeeded")
    bridge.clock.advance(5)
    table.fail(OBSERVATION, after_another)
    bridge.sweep()

    assert models(bridge)[key].weight == pytest.approx(5 * len(EDGES) + 1, rel=1e-2)


@pytest.mark.parametrize("known", [False, True])
def test_observations_with_a_lost_reply_count_once(*, known: bool, caplog: pytest.LogCaptureFixture) -> None:
    """The row stores the `tx` of the writer. An observation that was added again would count twice."""
    bridge, table = faulty()
    if known:
        live(bridge, "operation-0", 30)
    bridge.register()
    bridge.clock.advance(5)
    bridge.upstream.script("operation-1", "Succeeded")
    writes: list[Transaction] = []

    def lost(transaction: Transaction) -> Mapping[str, str]:
        writes.append(transaction)
        return table.reply_lost(transaction)

    table.keep_failing(OBSERVATION, lost)

    bridge.sweep()

    assert len(writes) == 1
    assert models(bridge)[duration_key("default", None)].weight == pytest.approx(1 + known, rel=1e-2)
    assert "storage.unavailable" not in caplog.text


def test_storage_that_is_down_costs_only_the_observations() -> None:
    """The operation ends regardless."""
    bridge, table = faulty()
    bridge.register()
    bridge.clock.advance(5)
    bridge.upstream.script("operation-1", "Succeeded")
    table.fail(OBSERVATION, table.down)

    bridge.sweep()

    assert bridge.deliver_all() == 1
    assert models(bridge) == {}


def test_a_model_of_another_version_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    """The log has a line, and polls follow the prior."""
    bridge = harness()
    live(bridge, "operation-1", 30)
    key = duration_key("default", None)
    bridge.memory.commit(Transaction(SOURCES_PARTITION, (Merge(key, {"v": 7}, ANY),)))
    before = bridge.memory.get(SOURCES_PARTITION, key)

    live(bridge, "operation-2", 30)

    assert bridge.memory.get(SOURCES_PARTITION, key) == before
    assert any("row.unreadable" in record.message for record in caplog.records)


def test_an_error_changes_no_model() -> None:
    """An error does not show a running operation."""
    bridge = harness()
    bridge.register()
    bridge.upstream.script("operation-1", TIMED_OUT)
    for _ in range(20):
        bridge.sweep()
        bridge.clock.advance(10)

    assert models(bridge) == {}


def test_the_shadow_price_rises_while_the_budget_is_short_and_falls_later() -> None:
    """Fewer operations are due then. The price rises up to the value of the last granted poll."""
    bridge = harness(SPEECH_REQUESTS_PER_SECOND="0.5")
    for number in range(50):
        bridge.register(f"operation-{number:03d}")

    def shadow_price() -> float:
        [source] = Client.of(bridge).call(Handlers.status, "/status").body["sources"]
        return float(source["shadowPrice"])

    for _ in range(30):
        bridge.sweep()
        bridge.clock.advance(10)
    high = shadow_price()
    for number in range(50):
        bridge.upstream.script(f"operation-{number:03d}", "Succeeded")
    for _ in range(60):
        bridge.sweep()
        bridge.clock.advance(10)

    bridge.clock.advance(3600)
    bridge.register("operation-later")
    bridge.sweep()

    assert high > 1.5
    assert shadow_price() == 1


def test_the_largest_loss_goes_first_while_the_budget_is_short() -> None:
    """The longest overdue operation does not go first."""
    bridge = harness(SPEECH_REQUESTS_PER_SECOND="0.1")
    live(bridge, "operation-0", 30)
    bridge.register("operation-young")
    bridge.clock.advance(1)
    bridge.register("operation-old")
    row = bridge.aggregate("operation-old").operation.record
    bridge.clock.advance(60)
    bridge.upstream.asked.clear()

    bridge.sweep()

    assert row.seen_running_at is None
    assert [ref.id for ref in bridge.upstream.asked] == ["operation-young"]


def test_the_status_shows_what_was_learnt() -> None:
    """The status has the share that ends from each age on, and the groups."""
    bridge = harness()
    live(bridge, "operation-1", 30, "short")

    [source] = Client.of(bridge).call(Handlers.status, "/status").body["sources"]

    learnt = source["durations"]
    assert learnt["groups"] == ["short"]
    assert learnt["completions"] == 1
    assert sum(each["share"] for each in learnt["shares"]) == pytest.approx(1, abs=0.01)
    assert json.dumps(learnt)


def test_more_models_than_fit_in_one_transaction_are_written_in_several() -> None:
    """The example has two sources with sixty groups each."""
    more = {"name": "voices", "endpoint": "https://voices.example.com", "path": "customvoice", "requestsPerSecond": 100}
    bridge = harness(BRIDGE_SOURCES=json.dumps([more]))
    client = Client.of(bridge)
    for source in ("default", "voices"):
        for number in range(60):
            body = {"operationId": f"op-{number:03d}", "callbackUrl": HOOK, "source": source, "group": f"g{number}"}
            assert client.register(body).status == 201
    for _ in range(8):
        bridge.sweep()
        bridge.clock.advance(15)

    assert len(models(bridge)) == 2 * 61


def test_a_reading_that_fails_after_a_conflict_does_not_fail_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the observations are lost."""
    bridge, table = faulty()
    bridge.register()
    bridge.clock.advance(5)
    bridge.upstream.script("operation-1", "Succeeded")

    def conflict(transaction: Transaction) -> Mapping[str, str]:
        monkeypatch.setattr(bridge.table, "range", lambda *_, **__: table.down(transaction))
        return table.conflict(transaction)

    table.fail(OBSERVATION, conflict)

    bridge.sweep()

    assert bridge.deliver_all() == 1


def test_a_row_with_a_time_without_a_zone_is_skipped(caplog: pytest.LogCaptureFixture) -> None:
    """Such a time would raise an error at each comparison, so the row is skipped."""
    bridge = harness()
    bridge.register()
    bridge.sweep()
    bridge.memory.commit(Transaction(SOURCES_PARTITION, (Merge("source:default", {"at": "2026-11-23T12:00:00"}, ANY),)))
    bridge.clock.advance(15)

    bridge.sweep()

    assert any("row.unreadable" in record.message for record in caplog.records)
    assert len(bridge.upstream.asked) == 2


def test_a_probe_of_a_paused_source_does_not_set_the_shadow_price() -> None:
    """The probe does not reflect the available budget."""
    bridge = harness()
    for number in range(5):
        bridge.register(f"operation-{number}")
        bridge.upstream.script(f"operation-{number}", Reply(status=401))
    for _ in range(20):
        bridge.sweep()
        bridge.clock.advance(60)

    [source] = Client.of(bridge).call(Handlers.status, "/status").body["sources"]

    assert len(bridge.upstream.asked) > 2
    assert source["shadowPrice"] == 1


def test_two_kinds_of_operations_are_learnt_as_two_peaks() -> None:
    """Half of the operations end after 30 s, half after 20 min. The status shows both peaks and little in between."""
    bridge = harness(SPEECH_REQUESTS_PER_SECOND="100")
    ends: dict[str, float] = {}
    for number in range(40):
        operation_id = f"operation-{number:02d}"
        bridge.register(operation_id)
        ends[operation_id] = 30 if number % 2 else 1200
    for second in range(0, 1500, 10):
        for operation_id, end in ends.items():
            bridge.upstream.script(operation_id, "Succeeded" if second >= end else "Running")
        bridge.sweep()
        bridge.clock.advance(10)

    [source] = Client.of(bridge).call(Handlers.status, "/status").body["sources"]

    shares = [(each["fromSeconds"], each["share"]) for each in source["durations"]["shares"]]
    early, between, late = (
        sum(share for edge, share in shares if begin <= edge < end) for begin, end in ((0, 64), (64, 700), (700, 2000))
    )
    assert early > 0.4
    assert late > 0.3
    assert between < 0.1


def after(seconds: float) -> datetime:
    """Return a time after noon."""
    return NOON + timedelta(seconds=seconds)


JOB = PollState(ref=OperationRef("default", "deck-1", Kind.JOB), registered_at=after(50))


def ended(created: float | None, at: float | None) -> Terminal:
    """Return the end of a job with the times of the upstream."""
    return Terminal(
        FinalStatus.SUCCEEDED,
        None,
        created_at=None if created is None else after(created),
        ended_at=None if at is None else after(at),
    )


def learnt(*answers: tuple[PollState, PollResult, float], group: str | None = None) -> DurationModel:
    """Return the model of jobs after some answers, each with the state before the poll and the time."""
    table = MemoryTable()
    schedule = learnt_schedule(table)
    for state, result, at in answers:
        schedule.observe(replace(state, group=group), result, after(at))
    schedule.end()
    row = table.get(SOURCES_PARTITION, duration_key("default.jobs", group))
    return DurationModel() if row is None else decode(DurationModel, None, row.values)


@pytest.mark.parametrize("offset", [0, 300, -300])
def test_the_end_of_a_job_is_learnt_as_the_upstream_says(offset: float) -> None:
    """The registration was late. A clock of the upstream that differs changes nothing."""
    created, end = offset, offset + 100.0

    model = learnt((JOB, ended(created, end), 150))

    assert {number: count for number, count in enumerate(model.completions) if count} == {bucket_at(100): 1}
    assert sum(model.exposure) == pytest.approx(100, rel=1e-4)


def test_a_job_was_at_risk_since_its_creation() -> None:
    """The first answer shows the age. Later answers add only the time since the answer before."""
    seen = replace(JOB, created_at=NOON, seen_running_at=after(60))

    model = learnt((JOB, Pending("Running", NOON), 60), (seen, ended(0, 100), 120))

    assert sum(model.completions) == 1
    assert sum(model.exposure) == pytest.approx(100, rel=1e-4)


@pytest.mark.parametrize("times", [(None, None), (None, 80), (0, None), (90, 80)], ids=str)
def test_an_end_without_both_times_is_learnt_between_two_polls(times: tuple[float | None, float | None]) -> None:
    """An end before the creation is a contradiction."""
    model = learnt((JOB, ended(*times), 150))

    assert sum(model.completions) == pytest.approx(1, rel=1e-4)
    assert len([count for count in model.completions if count]) > 1


def test_an_end_without_a_creation_is_exact_if_an_earlier_answer_had_one() -> None:
    model = learnt((replace(JOB, created_at=NOON), ended(None, 100), 500))

    assert model.completions[bucket_at(100)] == 1


def test_a_group_of_jobs_is_learnt_exactly_too() -> None:
    model = learnt((JOB, ended(0, 100), 500), group="decks")

    assert model.completions[bucket_at(100)] == 1


def test_jobs_and_operations_of_a_source_and_group_have_separate_models() -> None:
    """The ids are the same. Neither a forecast nor a poll of the one uses the other's model."""
    table = MemoryTable()
    schedule = learnt_schedule(table)
    operation = replace(JOB, ref=OperationRef("default", "deck-1"), registered_at=NOON, group="decks")
    for _ in range(50):
        schedule.observe(replace(JOB, group="decks"), ended(0, 3000), after(3000))
        schedule.observe(operation, Terminal(FinalStatus.SUCCEEDED, None), after(20))
    schedule.end()
    rows = table.range(SOURCES_PARTITION, "dur:", "dur;")
    schedule.begin(rows)

    keys = [duration_key(collection, group) for collection in ("default", "default.jobs") for group in (None, "decks")]
    assert [row.key for row in rows] == sorted(keys)
    forecasts = {(each.kind, each.group): each for each in schedule.forecasts(rows, {"default": 1.0}, polls=3)}
    medians = {name: each.median or 0.0 for name, each in forecasts.items()}
    assert all(medians[Kind.OPERATION, group] < 40 for group in (None, "decks"))
    assert all(medians[Kind.JOB, group] > 1000 for group in (None, "decks"))
    born = {state.ref.kind: replace(state, registered_at=NOON) for state in (JOB, operation)}
    polls = {kind: schedule.next_poll(state, NOON, price=1.0) for kind, state in born.items()}
    assert polls[Kind.OPERATION] < polls[Kind.JOB]
