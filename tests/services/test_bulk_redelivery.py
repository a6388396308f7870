"""Bulk redelivery of dead registrations after an outage of the receiver."""

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
from bridge.domain.registration import State
from bridge.log import Event
from bridge.storage.keys import partition_of, row_key
from bridge.storage.transaction import ANY, Delete, Merge, Transaction
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
    body = json.dumps({"state": "dead", "since": SINCE, **order}).encode()
    return Client.of(bridge).call(Handlers.redeliver_many, "/redeliver", method="POST", body=body, headers=JSON)


def end_as_dead(bridge: Harness, count: int, host: str = "receiver.example.com", name: str = "operation") -> list[str]:
    """Make registrations dead, a second apart. Returns their public ids, the last one first."""
    ids = []
    for number in range(count):
        operation_id, url = f"{name}-{number:03d}", f"https://{host}/hook"
        bridge.upstream.tell(operation_id, "Succeeded")
        called = normalise(url, bridge.settings.callback_rules)
        bridge.sender.tell(called, 410)
        [ref] = bridge.register(operation_id, url)
        bridge.sweep()
        bridge.deliver_all()
        assert bridge.registration(ref).state is State.DEAD
        bridge.sender.tell(called, 200)
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
    bridge.upstream.tell("operation-delivered", "Succeeded")
    bridge.sweep()
    bridge.deliver_all()

    assert redeliver(bridge).body["started"] == 0


@pytest.mark.parametrize(
    ("order", "targets"),
    [
        ({"state": "delivered"}, ["state"]),
        ({"since": "yesterday"}, ["since"]),
        ({"since": "2026-11-23T12:00:00"}, ["since"]),
        ({"since": 1_700_000_000}, ["since"]),
        ({"since": None, "limit": 0, "colour": "blue"}, ["since", "limit", "colour"]),
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

    said = {"event": "registration.redelivered", "was": "dead", "caller": "unknown"}
    assert lines_of(caplog) == [{**said, "registration": each} for each in ids]


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
    assert lines_of(caplog, Event.ROW_UNREADABLE) == [line]
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
