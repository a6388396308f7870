"""A receiver that never answers costs the others nothing; what is held back uses up no attempt."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import timedelta
from itertools import islice

import pytest

from bridge.adapters.courier import HttpCourier
from bridge.adapters.egress import Guard, Limits
from bridge.api.routes import Routes
from bridge.core.outcome import Failure, Outcome, Unreachable
from bridge.core.pacing import MAX_IN_FLIGHT, SILENT_IN_A_ROW
from bridge.core.registration import State
from bridge.hosts import Hosts, Visit
from bridge.settings import read_settings
from tests.support.http import Client
from tests.support.world import ENVIRONMENT, NOON, FakeClock, Stage, stage
from tests.zoo.receivers import OK, living, never_reads, says

SILENT = "https://silent.example.com/hook"


def end_all(bridge: Stage, count: int, url: str, prefix: str) -> None:
    """Let `count` operations end, each with a callback to `url`."""
    for number in range(count):
        bridge.register(f"{prefix}-{number}", url)
        bridge.upstream.tell(f"{prefix}-{number}", "Succeeded")
    bridge.sweep()


def test_what_is_held_back_moves_and_uses_up_no_attempt(bridge: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Its due time is that of the end of the rest, and everybody can read why."""
    caplog.set_level("INFO")
    bridge.courier.tell(SILENT, Unreachable(error=Failure.TIMEOUT))
    end_all(bridge, SILENT_IN_A_ROW + 1, SILENT, "operation")

    bridge.deliver_all()

    registrations = [bridge.registration(bridge.wish(f"operation-{number}", SILENT).ref) for number in range(6)]
    assert [each.last_attempt for each in registrations] == [1] * SILENT_IN_A_ROW + [0]
    held = registrations[-1]
    assert (held.held_back, held.next_attempt_at) == ("resting", NOON + timedelta(seconds=30))
    [line] = [json.loads(record.message) for record in caplog.records if "held-back" in record.message]
    assert (line["to"], line["why"], line["until"]) == ("silent.example.com", "resting", "2026-11-23T12:00:30.000Z")
    page = Client.of(bridge).call(Routes.list, "/registrations?state=pending").body["value"]
    assert [each["heldBack"] for each in page if each["heldBack"]] == ["resting"]


def test_what_was_held_back_is_attempted_after_the_rest(bridge: Stage) -> None:
    """With the same number, and the host has come back."""
    bridge.courier.tell(SILENT, *[Unreachable(error=Failure.TIMEOUT)] * SILENT_IN_A_ROW, 200)
    end_all(bridge, SILENT_IN_A_ROW + 1, SILENT, "operation")
    bridge.deliver_all()

    for _ in range(60):
        bridge.clock.advance(10)
        bridge.sweep()
        bridge.deliver_all()

    registrations = [bridge.registration(bridge.wish(f"operation-{number}", SILENT).ref) for number in range(6)]
    assert {each.state for each in registrations} == {State.DELIVERED}
    assert [each.last_attempt for each in registrations] == [2] * SILENT_IN_A_ROW + [1]
    assert {each.held_back for each in registrations} == {None}


def test_another_host_is_not_held_back(bridge: Stage) -> None:
    """Not even on another port of the same name."""
    bridge.courier.tell(SILENT, Unreachable(error=Failure.TIMEOUT))
    end_all(bridge, SILENT_IN_A_ROW + 1, SILENT, "operation")
    end_all(bridge, 1, "https://good.example.com/", "good")

    bridge.deliver_all()

    assert bridge.registration(bridge.wish("good-0", "https://good.example.com/").ref).state is State.DELIVERED


def test_a_visit_that_fails_leaves_its_host() -> None:
    """Whatever happens in between."""
    hosts = Hosts(FakeClock())

    def fail() -> None:
        with Visit(hosts) as visit:
            assert visit.enter("a.example.com", chance=0) is None
            assert visit.enter("a.example.com", chance=0) is None
            raise ZeroDivisionError

    for _ in range(10):
        with pytest.raises(ZeroDivisionError):
            fail()


class Watched:
    """The real sender, with a note of which attempts have ended."""

    def __init__(self, inner: HttpCourier) -> None:
        self.inner = inner
        self.ended: list[str] = []

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Send, and note the end."""
        outcome = self.inner.post(url, headers, body)
        self.ended.append(url)
        return outcome

    def objection(self, url: str) -> str | None:
        """Look as ever."""
        return self.inner.objection(url)


def test_good_callbacks_arrive_while_bad_ones_wait() -> None:
    """16 threads, 200 deliveries to a receiver that never answers, 50 to a good one sent after them."""
    opened = {
        "BRIDGE_CALLBACK_ALLOW_HTTP": "true",
        "BRIDGE_CALLBACK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "BRIDGE_CALLBACK_ALLOWED_PORTS": "*",
    }
    rules = read_settings({**ENVIRONMENT, **opened}).callback_rules
    courier = Watched(HttpCourier(Guard(rules, Limits(attempt=300)), FakeClock()))
    bridge = stage(None, courier, None, None, **opened)
    answer = OK + b"Connection: close\r\nContent-Length: 0\r\n\r\n"
    # The receivers go first, so that the bad attempts end and the threads with them.
    with ThreadPoolExecutor(16) as threads, living(never_reads) as bad, living(says(answer)) as good:
        bad_url, good_url = f"http://127.0.0.1:{bad}/", f"http://127.0.0.1:{good}/"
        end_all(bridge, 200, bad_url, "bad")
        end_all(bridge, 50, good_url, "good")

        under_way = [threads.submit(bridge.bridge.deliver.deliver, call) for call in bridge.outbox.take()]
        list(islice(as_completed(under_way), len(under_way) - MAX_IN_FLIGHT))
        at_once = len(courier.ended)
        while len(courier.ended) < 50:  # a few found their host busy, and come back
            bridge.clock.advance(10)
            bridge.sweep()
            list(threads.map(bridge.bridge.deliver.deliver, bridge.outbox.take()))

        assert at_once > 0
        assert courier.ended == [good_url] * 50
        good_ones = [bridge.registration(bridge.wish(f"good-{number}", good_url).ref) for number in range(50)]
        bad_ones = [bridge.registration(bridge.wish(f"bad-{number}", bad_url).ref) for number in range(200)]
    assert {each.state for each in good_ones} == {State.DELIVERED}
    assert {each.state for each in bad_ones} == {State.PENDING}
    assert sum(each.held_back is not None for each in bad_ones) == 200 - MAX_IN_FLIGHT
    courier.inner.close()


def test_hosts_of_which_nothing_is_to_be_remembered_are_forgotten() -> None:
    """However many a deployment calls."""
    hosts = Hosts(FakeClock())
    assert hosts.enter("silent.example.com", chance=0) is None
    hosts.leave("silent.example.com", answered=False)

    for number in range(10_000):
        assert hosts.enter(f"{number}.example.com", chance=0) is None
        hosts.leave(f"{number}.example.com", answered=True)

    assert len(hosts._known) <= 4097
    assert hosts._known["silent.example.com"].silent == 1
