"""Bulk redelivery of dead registrations, and retries of pending ones, after an outage of the receiver."""

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.api.handlers import Handlers
from bridge.domain.callback_url import CallbackRefused, CallbackRules, host_and_port, normalise, normalise_host
from bridge.domain.ids import RegistrationRef
from bridge.domain.outcome import Failure, Unreachable
from bridge.domain.registration import RUNS_AN_HOUR, State
from bridge.domain.time import to_millis
from bridge.log import Event
from bridge.storage.keys import partition_of, row_key
from bridge.storage.table import ANY, Delete, Merge, Transaction
from tests.support.faults import CHANGE, faulty
from tests.support.harness import NOON, Harness, harness
from tests.support.http import Answer, Client
from tests.support.log_lines import lines_of

JSON = {"Content-Type": "application/json"}
SINCE = "2026-11-23T12:00:00Z"

#: These hosts are invalid in a callback URL.
NO_HOSTS = (
    "",
    ".",
    "a..b",
    "user@a.example",
    "a.example/hook",
    "a.example?x",
    "a.example#x",
    "https://a.example",
    "a.example:0",
    "a.example:65536",
    "a.example:x",
    "a b.example",
    "a\u200e.example",
    "a\\b.example",
    "0x7f.1",
    "2130706433",
    "2606:4700::1111",
    "[2606:4700::1111",
    "[fe80::1%25eth0]",
    "[a.example]",
    "a" * 64 + ".example",
    "a." * 2000,
)


def redeliver(bridge: Harness, **order: object) -> Answer:
    """Order a redelivery, by default of registrations that died since noon."""
    body = json.dumps({"states": ["dead"], "since": SINCE, **order}).encode()
    return Client.of(bridge).call(Handlers.redeliver_many, "/redeliver", method="POST", body=body, headers=JSON)


def end_as_dead(bridge: Harness, count: int, host: str = "receiver.example.com", name: str = "operation") -> list[str]:
    """Make registrations dead, a second apart. Returns their public ids, the last one first."""
    ids = []
    for number in range(count):
        operation_id, url = f"{name}-{number:03d}", f"https://{host}/hook"
        bridge.upstream.script(operation_id, "Succeeded")
        called = normalise(url, bridge.settings.callback_rules)
        bridge.sender.script(called, 410)
        [ref] = bridge.register(operation_id, url)
        bridge.sweep()
        bridge.deliver_all()
        assert bridge.registration(ref).state is State.DEAD
        bridge.sender.script(called, 200)
        bridge.clock.advance(1)
        ids.append(ref.public_id)
    return ids[::-1]


def test_dead_registrations_are_redelivered_over_a_minute() -> None:
    """The webhook-id stays, and the newest begin first, spread evenly. The sweep sends each at its time."""
    bridge = harness()
    ids = end_as_dead(bridge, 6)
    dead = {posted.headers["webhook-id"] for posted in bridge.sender.posted}
    bridge.sender.posted.clear()
    began = bridge.clock()

    answer = redeliver(bridge)

    assert (answer.status, answer.body) == (202, {"started": 6, "registrations": ids, "more": False, "cursor": None})
    waits = []
    for _ in range(60):
        bridge.sweep()
        waits += [(bridge.clock() - began).total_seconds()] * bridge.deliver_all()
        bridge.clock.advance(1)
    assert waits == [0, 10, 20, 30, 40, 50]
    assert {posted.headers["webhook-id"] for posted in bridge.sender.posted} == dead


def test_a_repeated_order_begins_no_second_redelivery() -> None:
    """The registrations are no longer dead."""
    bridge = harness()
    end_as_dead(bridge, 3)
    redeliver(bridge)

    assert redeliver(bridge).body == {"started": 0, "registrations": [], "more": False, "cursor": None}


def test_an_order_respects_its_limit_and_the_next_call_continues() -> None:
    """The calls continue until none is left, over several pages of the index."""
    bridge = harness()
    ids = end_as_dead(bridge, 130)

    answers = [redeliver(bridge, limit=60).body for _ in range(3)]

    assert [each["started"] for each in answers] == [60, 60, 10]
    assert [each["more"] for each in answers] == [True, True, False]
    assert [name for each in answers for name in each["registrations"]] == ids


def test_an_order_can_select_one_host() -> None:
    """The host can have a port and any letter case."""
    bridge = harness(BRIDGE_CALLBACK_ALLOWED_PORTS="*")
    one = end_as_dead(bridge, 2, "one.example.com", "first")
    other = end_as_dead(bridge, 2, "two.example.com:8443", "second")

    assert redeliver(bridge, host="One.example.com").body["registrations"] == one
    assert redeliver(bridge, host="two.example.com:443").body["registrations"] == []
    assert redeliver(bridge, host="two.example.com:8443", limit=1).body["registrations"] == other[:1]
    assert redeliver(bridge, host="two.example.com").body["registrations"] == other[1:]


@pytest.mark.parametrize(
    ("stored", "spelling"),
    [
        ("bücher.example.com", "BÜCHER.example.com"),
        ("bücher.example.com", "xn--bcher-kva.example.com"),
        ("xn--bcher-kva.example.com", "bu\u0308cher.Example.com."),
        ("hooks.example.com", "HOOKS.example.COM."),
        ("hooks.example.com", "hooks\u3002example\uff0ecom"),
        ("hooks.example.com", "\uff48\uff4f\uff4f\uff4b\uff53.example.com"),
        ("hooks.example.com", "hooks.example.com:"),
        ("hooks.example.com", "hooks.example.com:0000443"),
        ("hooks.example.com:8443", "Hooks.Example.com.:08443"),
        ("hooks.example.com:8443", "hooks.example.com"),
        ("203.0.113.7", "203.0.113.7.:443"),
        ("203.0.113.7", "\uff12\uff10\uff13.0.113.7"),
        ("[2606:4700:4700::1111]", "[2606:4700:4700:0:0:0:0:1111]"),
        ("[2606:4700:4700:0000::1111]", "[2606:4700:4700::1111]:0443"),
        ("[2606:4700:4700::ABCD]", "[2606:4700:4700::abcd]"),
        ("[2606:4700:4700::1.2.3.4]", "[2606:4700:4700::102:304]"),
    ],
)
def test_a_host_is_parsed_like_the_host_of_a_callback_url(stored: str, spelling: str) -> None:
    """Each spelling of a stored host finds its registrations."""
    networks = "203.0.113.0/24,2606:4700:4700::/48"  # the first network is for documentation, not public
    bridge = harness(BRIDGE_CALLBACK_ALLOWED_PORTS="*", BRIDGE_CALLBACK_ALLOWED_NETWORKS=networks)
    ids = end_as_dead(bridge, 2, stored)

    begun = [redeliver(bridge, host=host, limit=1) for host in (spelling, stored)]

    assert [each.status for each in begun] == [202, 202]
    assert [name for each in begun for name in each.body["registrations"]] == ids


@given(
    label=st.text(st.sampled_from("abcxyzABCXYZ0123üÜßéñжЖλ中\uff46"), min_size=1, max_size=12),
    change=st.sampled_from([str, str.upper, str.lower, str.title]),
    end=st.sampled_from(["", ".", ":", ":443", ".:00443"]),
)
def test_an_order_accepts_exactly_the_host_spellings_of_a_url(
    label: str, change: Callable[[str], str], end: str
) -> None:
    """Both parsers give the same result, and reject the same spellings."""
    spelling = f"{change(label)}.example{end}"
    try:
        url = normalise(f"https://{spelling}/", CallbackRules())
    except CallbackRefused:
        with pytest.raises(CallbackRefused):
            normalise_host(spelling)
        return

    assert normalise_host(spelling).removesuffix(":443") == host_and_port(url)


def test_a_cursor_is_valid_for_another_spelling_of_its_host() -> None:
    """A cursor belongs to the host, not to the text."""
    bridge = harness()
    ids = end_as_dead(bridge, 2, "bücher.example.com")
    first = redeliver(bridge, host="Bücher.example.com", limit=1).body

    second = redeliver(bridge, host="xn--bcher-kva.example.com.", limit=1, cursor=first["cursor"]).body

    assert first["registrations"] + second["registrations"] == ids


def test_only_registrations_that_died_since_the_time_are_redelivered() -> None:
    """The relevant time is the end of the run."""
    bridge = harness()
    ids = end_as_dead(bridge, 4)
    since = (NOON + timedelta(seconds=2)).isoformat()

    assert redeliver(bridge, since=since).body["registrations"] == ids[:2]


def test_only_dead_registrations_are_redelivered() -> None:
    """Delivered, pending, canceled and waiting registrations are not dead."""
    bridge = harness()
    for name in ("delivered", "canceled", "waiting"):
        bridge.register(f"operation-{name}")
    bridge.upstream.script("operation-delivered", "Succeeded")
    bridge.sweep()
    bridge.deliver_all()

    assert redeliver(bridge).body["started"] == 0


@pytest.mark.parametrize(
    ("order", "targets"),
    [
        ({"state": "dead"}, ["state"]),
        ({"states": ["delivered"]}, ["states.0"]),
        ({"states": []}, ["states"]),
        ({"states": "dead"}, ["states"]),
        ({"until": "tomorrow"}, ["until"]),
        ({"outcome": "7 up"}, ["outcome"]),
        ({"group": "a b"}, ["group"]),
        ({"dryRun": "true"}, ["dryRun"]),
        ({"dryRun": 1}, ["dryRun"]),
        ({"since": "yesterday"}, ["since"]),
        ({"since": "2026-11-23T12:00:00"}, ["since"]),
        ({"since": 1_700_000_000}, ["since"]),
        ({"since": "never", "limit": 0, "colour": "blue"}, ["since", "limit", "colour"]),
        ({"limit": 501}, ["limit"]),
        ({"limit": "7"}, ["limit"]),
        *(({"host": host}, ["host"]) for host in NO_HOSTS),
    ],
)
def test_an_invalid_order_names_every_problem(order: dict[str, Any], targets: list[str]) -> None:
    """All problems appear at once."""
    answer = redeliver(harness(), **order)

    assert (answer.status, sorted(answer.targets)) == (400, sorted(targets))


def test_a_concurrent_redelivery_is_not_repeated() -> None:
    """A registration that another client redelivered is skipped, and the others begin."""
    bridge, table = faulty()
    end_as_dead(bridge, 2)
    commit = table.inner.commit

    def after_another(transaction: Transaction) -> Mapping[str, str]:
        stamp = transaction.stamp or ""
        table.inner.commit(Transaction(transaction.partition, (Merge(stamp, {"state": "pending"}, ANY),)))
        return commit(transaction)

    table.fail(CHANGE, after_another)

    assert redeliver(bridge).body["started"] == 1


def test_a_redelivery_with_a_lost_reply_begins_once() -> None:
    """The redelivery began once."""
    bridge, table = faulty()
    end_as_dead(bridge, 1)
    table.fail(CHANGE, table.reply_lost)

    assert redeliver(bridge).body["started"] == 1
    bridge.sweep()
    assert bridge.deliver_all() == 1


def test_each_redelivery_is_logged_with_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    """The line has the caller."""
    bridge = harness()
    end_as_dead(bridge, 2)
    caplog.set_level("INFO")
    caplog.clear()

    ids = redeliver(bridge).body["registrations"]

    output = {"event": "registration.redelivered", "was": "dead", "caller": "unknown"}
    lines = lines_of(caplog)
    assert len({line.pop("request_id") for line in lines}) == 1
    assert lines == [{**output, "registration": each} for each in ids]


def test_each_receiver_is_spread_separately() -> None:
    """The first registration of each host begins at once."""
    bridge = harness()
    end_as_dead(bridge, 2, "one.example.com", "one")
    end_as_dead(bridge, 2, "two.example.com", "two")

    redeliver(bridge)
    bridge.sweep()

    assert bridge.deliver_all() == 2


def test_a_deleted_registration_is_skipped() -> None:
    """The registration was deleted by hand after the read of the index."""
    bridge = harness()
    ids = end_as_dead(bridge, 2)
    gone = RegistrationRef.parse(ids[0])
    assert gone is not None
    bridge.memory.commit(Transaction(partition_of(gone), (Delete(row_key(gone), ANY),)))

    assert redeliver(bridge).body["registrations"] == ids[1:]


def test_a_late_commit_counts_as_begun() -> None:
    """The commit belongs to this call, so the answer includes the registration."""
    bridge, table = faulty()
    ids = end_as_dead(bridge, 1)
    table.fail(CHANGE, table.lands_late, table.late_lands_first)

    assert redeliver(bridge).body["registrations"] == ids


def test_the_index_is_read_page_by_page_until_the_limit() -> None:
    """Registrations of another host fill the first page and are skipped."""
    bridge = harness()
    ids = end_as_dead(bridge, 2, "wanted.example.com", "wanted")
    end_as_dead(bridge, 101, "other.example.com", "other")

    answer = redeliver(bridge, host="wanted.example.com", limit=2)

    assert answer.body == {"started": 2, "registrations": ids, "more": False, "cursor": None}


def test_an_unreadable_registration_is_skipped_and_the_others_begin(caplog: pytest.LogCaptureFixture) -> None:
    """Registrations beyond a small limit begin too. Each skipped one has a log line."""
    caplog.set_level("INFO", "bridge")
    bridge = harness()
    ids = end_as_dead(bridge, 4)
    newest = RegistrationRef.parse(ids[0])
    assert newest is not None
    bridge.memory.commit(Transaction(partition_of(newest), (Merge(row_key(newest), {"v": 99}, ANY),)))

    begun = redeliver(bridge, limit=1).body
    assert (begun["started"], begun["registrations"], begun["more"]) == (1, ids[1:2], True)
    why = "Registration of schema 99: this version reads 1 and the one before"
    line = {"event": "row.unreadable", "registration": ids[0], "why": why, "caller": "unknown"}
    [written] = lines_of(caplog, Event.ROW_UNREADABLE)
    assert written.pop("request_id")
    assert written == line
    assert redeliver(bridge).body["registrations"] == ids[2:]


def test_an_address_is_a_valid_host() -> None:
    """The address is in brackets, as in a URL, with or without a port."""
    bridge = harness()
    ids = end_as_dead(bridge, 1, "[2606:4700:4700::1111]")

    assert redeliver(bridge, host="2606:4700:4700::1111").body.get("registrations") != ids
    assert redeliver(bridge, host="[2606:4700:4700::1111]:443").body["registrations"] == ids


def test_a_default_port_is_optional() -> None:
    """Both spellings mean the same host."""
    bridge = harness()
    ids = end_as_dead(bridge, 1)

    assert redeliver(bridge, host="receiver.example.com:443").body["registrations"] == ids
    assert redeliver(bridge, host="https://receiver.example.com").status == 400


def fail(
    bridge: Harness, count: int, host: str = "receiver.example.com", answer: int = 500, **more: object
) -> list[str]:
    """Make registrations pending, whose second attempt has failed too. Returns their public ids, the last one first."""
    ids = []
    for number in range(count):
        operation_id, url = f"pending-{host.partition('.')[0]}-{number:03d}", f"https://{host}/{number}"
        bridge.upstream.script(operation_id, "Succeeded")
        bridge.sender.script(url, answer)
        created = Client.of(bridge).register({"operationId": operation_id, "callbackUrl": url, **more})
        bridge.sweep()
        bridge.deliver_all()
        bridge.clock.advance(10)
        bridge.sweep()
        bridge.deliver_all()
        ids.append(str(created.body["id"]))
    bridge.clock.advance(1)
    return ids[::-1]


def next_attempt(bridge: Harness, public_id: str) -> timedelta:
    """Return the wait until the next attempt of a pending registration."""
    ref = RegistrationRef.parse(public_id)
    assert ref is not None
    at = bridge.registration(ref).next_attempt_at
    assert at is not None
    return at - bridge.clock()


def test_pending_registrations_make_their_next_attempt_spread_over_a_minute() -> None:
    """They stay in their run, and the schedule goes on after the attempt."""
    bridge = harness()
    ids = fail(bridge, 3)

    answer = redeliver(bridge, states=["pending"], since=None)

    assert (answer.status, answer.body["registrations"]) == (202, ids)
    assert [next_attempt(bridge, each).total_seconds() for each in ids] == [0, 20, 40]
    for _ in range(7):
        bridge.sweep()
        bridge.deliver_all()
        bridge.clock.advance(10)
    refs = [RegistrationRef.parse(each) for each in ids]
    shown = [bridge.registration(ref) for ref in refs if ref is not None]
    assert [(each.last_attempt, each.run_start, each.state) for each in shown] == [(3, 1, State.PENDING)] * 3


def test_no_pending_attempt_is_later_than_without_the_order() -> None:
    """The last place of the minute is later than the own time of the registration."""
    bridge = harness()
    ids = fail(bridge, 2)
    bridge.clock.advance(next_attempt(bridge, ids[1]) - timedelta(seconds=10))

    assert redeliver(bridge, states=["pending"]).body["registrations"] == ids

    assert [next_attempt(bridge, each).total_seconds() for each in ids] == [0, 10]


def test_the_same_order_within_the_minute_moves_nothing() -> None:
    """The answer lists the same registrations, which are on their way, and each counts once."""
    bridge = harness()
    ids = fail(bridge, 3)
    redeliver(bridge, states=["pending"])
    bridge.clock.advance(1)
    before = bridge.memory.rows()

    again = redeliver(bridge, states=["pending"])

    assert again.body["registrations"] == ids
    assert bridge.memory.rows() == before


def test_without_fields_all_dead_and_pending_registrations_are_ordered() -> None:
    """Both share the minute of their host."""
    bridge = harness()
    dead = end_as_dead(bridge, 1)
    pending = fail(bridge, 1)

    answer = Client.of(bridge).call(Handlers.redeliver_many, "/redeliver", method="POST", body=b"{}", headers=JSON)

    assert (answer.status, answer.body["registrations"]) == (202, [*pending, *dead])
    assert {next_attempt(bridge, each).total_seconds() for each in (*dead, *pending)} == {0, 30}


def test_the_first_of_each_host_passes_an_open_circuit() -> None:
    """Its answer closes the circuit for the others. Without an answer they wait for the circuit."""
    bridge = harness()
    ids = fail(bridge, 3)
    refs = {each: RegistrationRef.parse(each) for each in ids}

    redeliver(bridge, states=["pending"])

    assert [ref is not None and bridge.registration(ref).is_forced for ref in refs.values()] == [True, False, False]


def test_a_registration_without_a_retry_left_in_the_hour_is_passed_over() -> None:
    bridge = harness()
    [public_id] = fail(bridge, 1)
    ref = RegistrationRef.parse(public_id)
    assert ref is not None
    for _ in range(4):
        bridge.registrations.redeliver(ref)
        bridge.deliver_all()
    runs = ",".join(str(to_millis(bridge.clock()) - 1000 * number) for number in range(RUNS_AN_HOUR, 0, -1))
    bridge.memory.commit(Transaction(partition_of(ref), (Merge(row_key(ref), {"runs": runs}, ANY),)))

    assert redeliver(bridge, states=["pending"]).body["started"] == 0


@pytest.mark.parametrize(
    ("order", "hosts"),
    [
        ({}, ["one", "two", "gone"]),
        ({"states": ["pending"]}, ["one", "two"]),
        ({"states": ["dead"]}, ["gone"]),
        ({"host": "one.example.com"}, ["one"]),
        ({"outcome": "4xx"}, ["two", "gone"]),
        ({"outcome": "401"}, ["two"]),
        ({"outcome": "5xx"}, ["one"]),
        ({"group": "long"}, ["two"]),
        ({"until": SINCE}, []),
        ({"since": "2026-11-23T13:00:00Z"}, []),
        ({"states": ["pending", "dead"], "outcome": "4xx", "group": "long"}, ["two"]),
    ],
)
def test_a_dry_run_counts_the_registrations_that_the_order_starts(order: dict[str, Any], hosts: list[str]) -> None:
    """It changes nothing. All conditions are combined."""
    bridge = harness()
    fail(bridge, 2, "one.example.com", 503)
    fail(bridge, 1, "two.example.com", 401, group="long")
    end_as_dead(bridge, 1, "gone.example.com", "gone")
    groups = {
        "one": {"host": "one.example.com", "outcome": "503", "count": 2},
        "two": {"host": "two.example.com", "outcome": "401", "count": 1},
        "gone": {"host": "gone.example.com", "outcome": "410", "count": 1},
    }
    order = {"states": None, "since": None, **order}
    before = bridge.memory.rows()

    preview = redeliver(bridge, **order, dryRun=True)

    wanted = sorted((groups[each] for each in hosts), key=lambda each: (-int(str(each["count"])), str(each["host"])))
    assert (preview.status, preview.body["byHost"]) == (200, wanted)
    assert bridge.memory.rows() == before
    assert redeliver(bridge, **order).body["started"] == preview.body["total"]
    assert preview.body["more"] is False


def test_a_dry_run_shows_failures_without_an_answer_and_ports() -> None:
    """A registration without an attempt has no outcome."""
    bridge = harness(BRIDGE_CALLBACK_ALLOWED_PORTS="*")
    for number, outcome in enumerate((Unreachable(error=Failure.TIMEOUT), None)):
        url = f"https://receiver.example.com:8443/{number}"
        bridge.upstream.script(f"operation-{number}", "Succeeded")
        bridge.sender.script(url, outcome or 200)
        bridge.register(f"operation-{number}", url)
        bridge.sweep()
        if outcome is not None:
            bridge.deliver_all()

    answer = redeliver(bridge, states=["pending"], dryRun=True)

    host = "receiver.example.com:8443"
    assert answer.body == {
        "total": 2,
        "byHost": [{"host": host, "outcome": None, "count": 1}, {"host": host, "outcome": "timeout", "count": 1}],
        "more": False,
    }


def test_a_dry_run_reads_once_and_says_whether_there_is_more() -> None:
    """The limit bounds it, like the order."""
    bridge = harness()
    end_as_dead(bridge, 3)
    bridge.table.taken()

    limited, all_of_them = (redeliver(bridge, limit=limit, dryRun=True).body for limit in (2, 3))

    assert (limited["total"], limited["more"]) == (2, True)
    assert (all_of_them["total"], all_of_them["more"]) == (3, False)
    assert bridge.table.taken() == {"range": 16}


def test_a_cursor_belongs_to_the_conditions_of_its_order() -> None:
    """The times may move, since clients compute them from an age."""
    bridge = harness()
    ids = end_as_dead(bridge, 3)
    cursor = redeliver(bridge, limit=1).body["cursor"]

    for other in ({"states": ["pending"]}, {"host": "receiver.example.com"}, {"outcome": "410"}, {"group": "long"}):
        assert redeliver(bridge, cursor=cursor, **other).targets == ["cursor"]
    moved = redeliver(bridge, cursor=cursor, since="2026-11-23T11:00:00Z", until="2026-11-24T00:00:00Z")

    assert moved.body["registrations"] == ids[1:]
