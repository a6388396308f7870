"""Redelivering what is dead, after an outage at the receiver's."""

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
from tests.support.flaky import flaky
from tests.support.harness import NOON, Harness, harness
from tests.support.http import Answer, Client
from tests.support.log_lines import lines_of

JSON = {"Content-Type": "application/json"}
SINCE = "2026-11-23T12:00:00Z"

#: No callback URL can have one of these as its host.
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
    """Order a redelivery, by default of all that died since noon."""
    body = json.dumps({"state": "dead", "since": SINCE, **order}).encode()
    return Client.of(bridge).call(Handlers.redeliver_many, "/redeliver", method="POST", body=body, headers=JSON)


def end_as_dead(bridge: Harness, count: int, host: str = "receiver.example.com", name: str = "operation") -> list[str]:
    """Let so many registrations end as dead, a second apart; returns their public ids, the last one first."""
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


def test_what_is_dead_is_delivered_again_over_a_minute() -> None:
    """Under the same webhook-id, the newest first, evenly; the sweep sends each when its time has come."""
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


def test_the_same_order_again_begins_nothing_twice() -> None:
    """What was begun is not dead any more."""
    bridge = harness()
    end_as_dead(bridge, 3)
    redeliver(bridge)

    assert redeliver(bridge).body == {"started": 0, "registrations": [], "more": False, "cursor": None}


def test_a_limit_is_kept_and_the_next_call_goes_on() -> None:
    """Until nothing more is left, over pages of the index too."""
    bridge = harness()
    ids = end_as_dead(bridge, 130)

    answers = [redeliver(bridge, limit=60).body for _ in range(3)]

    assert [each["started"] for each in answers] == [60, 60, 10]
    assert [each["more"] for each in answers] == [True, True, False]
    assert [name for each in answers for name in each["registrations"]] == ids


def test_one_host_alone() -> None:
    """By its name or with its port, in whatever case."""
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
def test_a_host_is_read_like_the_host_of_a_callback_url(stored: str, spelling: str) -> None:
    """Each spelling that names the host of a stored URL finds its registrations."""
    networks = "203.0.113.0/24,2606:4700:4700::/48"  # the first is for documentation, and not public
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
def test_any_spelling_that_a_url_may_have_is_one_that_an_order_may_have(
    label: str, change: Callable[[str], str], end: str
) -> None:
    """Reading a host alone and reading it in a URL give the same, and refuse the same."""
    spelling = f"{change(label)}.example{end}"
    try:
        url = normalise(f"https://{spelling}/", CallbackRules())
    except CallbackRefused:
        with pytest.raises(CallbackRefused):
            normalise_host(spelling)
        return

    assert normalise_host(spelling).removesuffix(":443") == host_and_port(url)


def test_a_cursor_goes_on_for_another_spelling_of_its_host() -> None:
    """A cursor is bound to the host, and not to its text."""
    bridge = harness()
    ids = end_as_dead(bridge, 2, "bücher.example.com")
    first = redeliver(bridge, host="Bücher.example.com", limit=1).body

    second = redeliver(bridge, host="xn--bcher-kva.example.com.", limit=1, cursor=first["cursor"]).body

    assert first["registrations"] + second["registrations"] == ids


def test_only_what_died_since_then() -> None:
    """The time is when the run ended."""
    bridge = harness()
    ids = end_as_dead(bridge, 4)
    since = (NOON + timedelta(seconds=2)).isoformat()

    assert redeliver(bridge, since=since).body["registrations"] == ids[:2]


def test_what_lives_is_left_alone() -> None:
    """Delivered, pending, canceled and waiting ones are not dead."""
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
def test_what_is_wrong_is_named(order: dict[str, Any], targets: list[str]) -> None:
    """All of it at once."""
    answer = redeliver(harness(), **order)

    assert (answer.status, sorted(answer.targets)) == (400, sorted(targets))


def test_somebody_who_was_faster_is_given_way() -> None:
    """One that was redelivered meanwhile is not begun again, and the others are."""
    bridge, table = flaky()
    end_as_dead(bridge, 2)
    commit = table.inner.commit

    def after_another(transaction: Transaction) -> Mapping[str, str]:
        stamp = transaction.stamp or ""
        table.inner.commit(Transaction(transaction.partition, (Merge(stamp, {"state": "pending"}, ANY),)))
        return commit(transaction)

    table.instead = [after_another]

    assert redeliver(bridge).body["started"] == 1


def test_a_reply_that_was_lost_is_found_out() -> None:
    """It was begun, once."""
    bridge, table = flaky()
    end_as_dead(bridge, 1)
    table.instead = [table.silent_commit]

    assert redeliver(bridge).body["started"] == 1
    bridge.sweep()
    assert bridge.deliver_all() == 1


def test_each_one_is_logged_with_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    """Who did what."""
    bridge = harness()
    end_as_dead(bridge, 2)
    caplog.set_level("INFO")
    caplog.clear()

    ids = redeliver(bridge).body["registrations"]

    said = {"event": "registration.redelivered", "was": "dead", "caller": "unknown"}
    assert lines_of(caplog) == [{**said, "registration": each} for each in ids]


def test_receivers_are_spread_apart_from_one_another() -> None:
    """The first of each host begins at once."""
    bridge = harness()
    end_as_dead(bridge, 2, "one.example.com", "one")
    end_as_dead(bridge, 2, "two.example.com", "two")

    redeliver(bridge)
    bridge.sweep()

    assert bridge.deliver_all() == 2


def test_one_that_is_gone_by_now_is_not_begun() -> None:
    """Its index row was read before somebody's hand took the registration away."""
    bridge = harness()
    ids = end_as_dead(bridge, 2)
    gone = RegistrationRef.parse(ids[0])
    assert gone is not None
    bridge.memory.commit(Transaction(partition_of(gone), (Delete(row_key(gone), ANY),)))

    assert redeliver(bridge).body["registrations"] == ids[1:]


def test_a_commit_that_landed_late_was_begun() -> None:
    """By this very call, so that its answer names it."""
    bridge, table = flaky()
    ids = end_as_dead(bridge, 1)
    table.instead = [table.lands_late, table.late_lands_first]

    assert redeliver(bridge).body["registrations"] == ids


def test_the_index_is_read_page_by_page_until_the_limit() -> None:
    """Those of another host, which are passed over, fill the first page."""
    bridge = harness()
    ids = end_as_dead(bridge, 2, "wanted.example.com", "wanted")
    end_as_dead(bridge, 101, "other.example.com", "other")

    answer = redeliver(bridge, host="wanted.example.com", limit=2)

    assert answer.body == {"started": 2, "registrations": ids, "more": False, "cursor": None}


def test_one_that_cannot_be_read_is_skipped_and_the_others_are_begun(caplog: pytest.LogCaptureFixture) -> None:
    """Also those beyond it, when the limit is small; each is one line."""
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


def test_an_address_is_a_host_too() -> None:
    """In brackets, as a URL writes it, with its port or without."""
    bridge = harness()
    ids = end_as_dead(bridge, 1, "[2606:4700:4700::1111]")

    assert redeliver(bridge, host="2606:4700:4700::1111").body.get("registrations") != ids
    assert redeliver(bridge, host="[2606:4700:4700::1111]:443").body["registrations"] == ids


def test_a_default_port_can_be_written_or_not() -> None:
    """It is the same host."""
    bridge = harness()
    ids = end_as_dead(bridge, 1)

    assert redeliver(bridge, host="receiver.example.com:443").body["registrations"] == ids
    assert redeliver(bridge, host="https://receiver.example.com").status == 400
