"""A silent receiver does not delay others, and a failed probe counts for all due deliveries of the host."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from datetime import timedelta
from itertools import islice

import pytest

from bridge.adapters.net.guard import Guard, Limits
from bridge.adapters.webhook_sender import HttpWebhookSender
from bridge.api.handlers import Handlers
from bridge.domain.host_limits import FAILURES_TO_OPEN, PLACES
from bridge.domain.outcome import Failure, Outcome, Unreachable
from bridge.domain.registration import Registration, State
from bridge.domain.retry import ATTEMPTS_PER_RUN
from bridge.services.queries import RegistrationView
from bridge.settings import read_settings
from tests.hostile_receivers.receivers import OK, living, never_reads, replies
from tests.support.faults import CLAIM, faulty
from tests.support.harness import ENVIRONMENT, NOON, FakeClock, Harness, harness
from tests.support.http import Client

SILENT = "https://silent.example.com/hook"


def end_all(bridge: Harness, count: int, url: str, prefix: str) -> None:
    """End `count` operations, each with a callback to `url`."""
    for number in range(count):
        bridge.register(f"{prefix}-{number}", url)
        bridge.upstream.script(f"{prefix}-{number}", "Succeeded")
    bridge.sweep()


def registrations_at(bridge: Harness, url: str, count: int) -> list[Registration]:
    return [bridge.registration(bridge.request(f"operation-{number}", url).ref) for number in range(count)]


def live_on(bridge: Harness, total: timedelta, step: timedelta = timedelta(seconds=10)) -> None:
    """Run timer and queue for a while."""
    for _ in range(total // step):
        bridge.clock.advance(step)
        bridge.sweep()
        while bridge.deliver_all():
            pass


def test_a_failed_probe_of_a_silent_host_counts_for_every_delivery_that_was_due(bridge: Harness) -> None:
    """All have the same number of attempts, over a few connections."""
    bridge.sender.script(SILENT, Unreachable(error=Failure.TIMEOUT, address="203.0.113.9", detail="too slow"))
    end_all(bridge, 30, SILENT, "operation")

    bridge.deliver_all()

    assert len(bridge.sender.posted) == FAILURES_TO_OPEN
    assert [each.last_attempt for each in registrations_at(bridge, SILENT, 30)] == [1] * 30
    view = bridge.queries.registration(registrations_at(bridge, SILENT, 30)[-1].ref)
    assert isinstance(view, RegistrationView)
    [attempt] = view.attempts
    assert (attempt.number, attempt.error, attempt.duration_ms) == (1, "timeout", 0)
    assert attempt.address == "203.0.113.9"
    assert attempt.detail == (
        "not sent: the host's probe failed at 2026-11-23T12:00:00.000Z, which counts for all that was due there"
        " (too slow)"
    )


def test_deliveries_due_after_the_probe_wait_for_the_next_one_without_an_attempt(
    bridge: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    """The due time is the end of the open circuit, and the reason is visible."""
    bridge.sender.script(SILENT, Unreachable(error=Failure.TIMEOUT))
    end_all(bridge, FAILURES_TO_OPEN, SILENT, "operation")
    bridge.deliver_all()
    caplog.set_level("INFO")
    caplog.clear()

    bridge.clock.advance(1)
    [ref] = bridge.register("later", SILENT)
    bridge.upstream.script("later", "Succeeded")
    bridge.sweep()
    bridge.deliver_all()

    held = bridge.registration(ref)
    assert (held.last_attempt, held.deferred_by) == (0, "circuitOpen")
    assert held.next_attempt_at == NOON + timedelta(seconds=30)
    [line] = [json.loads(record.message) for record in caplog.records if "held-back" in record.message]
    assert (line["to"], line["why"], line["until"]) == ("silent.example.com", "circuitOpen", "2026-11-23T12:00:30.000Z")
    page = Client.of(bridge).call(Handlers.list_registrations, "/registrations?state=pending").body["value"]
    assert [each["deferredBy"] for each in page if each["deferredBy"]] == ["circuitOpen"]


def test_a_recovered_host_gets_every_delivery(bridge: Harness) -> None:
    """The probe is a delivery, and the others follow."""
    bridge.sender.script(SILENT, *[Unreachable(error=Failure.TIMEOUT)] * FAILURES_TO_OPEN, 200)
    end_all(bridge, 20, SILENT, "operation")
    bridge.deliver_all()

    live_on(bridge, timedelta(minutes=10))

    registrations = registrations_at(bridge, SILENT, 20)
    assert {each.state for each in registrations} == {State.DELIVERED}
    assert {each.deferred_by for each in registrations} == {None}
    assert len(bridge.sender.posted) == FAILURES_TO_OPEN + 20


def test_many_pending_at_a_dead_host_are_dead_after_three_days_and_a_half_over_few_connections(bridge: Harness) -> None:
    """Each had all of its attempts."""
    bridge.sender.script(SILENT, Unreachable(error=Failure.CONNECT))
    end_all(bridge, 100, SILENT, "operation")
    bridge.deliver_all()

    live_on(bridge, timedelta(hours=92), timedelta(minutes=2))

    registrations = registrations_at(bridge, SILENT, 100)
    assert {(each.state, each.reason) for each in registrations} == {(State.DEAD, "exhausted")}
    assert {each.last_attempt for each in registrations} == {ATTEMPTS_PER_RUN}
    assert len(bridge.sender.posted) < 92 * 6 + 10


def test_an_unsent_attempt_is_not_counted_twice_if_its_commit_seems_lost() -> None:
    """The second read finds a higher attempt number."""
    bridge, table = faulty()
    bridge.sender.script(SILENT, Unreachable(error=Failure.TIMEOUT))
    end_all(bridge, FAILURES_TO_OPEN + 1, SILENT, "operation")
    tasks = bridge.queue.take()
    for task in tasks[:-1]:
        bridge.deliver(task)
    table.fail(CLAIM, table.reply_lost)

    bridge.deliver(tasks[-1])

    assert {each.last_attempt for each in registrations_at(bridge, SILENT, FAILURES_TO_OPEN + 1)} == {1}


def test_a_message_of_a_former_version_is_read_for_its_host(bridge: Harness) -> None:
    """The message has neither host nor owner."""
    end_all(bridge, 1, SILENT, "operation")
    [task] = bridge.queue.take()

    bridge.deliver(replace(task, origin=None, owner=None))

    assert registrations_at(bridge, SILENT, 1)[0].state is State.DELIVERED


def test_a_name_is_looked_up_before_a_first_attempt_and_never_for_a_host_that_answers(bridge: Harness) -> None:
    """Several names of one address count as one until they answer."""
    looked_up: list[str] = []
    bridge.sender.address_of = looked_up.append  # type: ignore[assignment,method-assign]
    end_all(bridge, 3, SILENT, "operation")

    bridge.deliver_all()

    assert looked_up == ["https://silent.example.com"]
    assert {each.state for each in registrations_at(bridge, SILENT, 3)} == {State.DELIVERED}


def test_another_host_is_not_deferred(bridge: Harness) -> None:
    """Another port of the same name counts as another host."""
    bridge.sender.script(SILENT, Unreachable(error=Failure.TIMEOUT))
    end_all(bridge, FAILURES_TO_OPEN + 1, SILENT, "operation")
    end_all(bridge, 1, "https://good.example.com/", "good")

    bridge.deliver_all()

    assert bridge.registration(bridge.request("good-0", "https://good.example.com/").ref).state is State.DELIVERED


class Watched:
    """The real sender, with a list of ended attempts."""

    def __init__(self, inner: HttpWebhookSender) -> None:
        self.inner = inner
        self.ended: list[str] = []

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Send and record the end."""
        outcome = self.inner.post(url, headers, body)
        self.ended.append(url)
        return outcome

    def address_of(self, origin: str) -> str | None:
        return self.inner.address_of(origin)

    def check_destination(self, url: str) -> str | None:
        return self.inner.check_destination(url)


@pytest.mark.sockets
def test_good_callbacks_arrive_while_bad_ones_wait() -> None:
    """200 deliveries go to a silent receiver and 50 later ones to a good receiver, over real sockets."""
    opened = {
        "BRIDGE_CALLBACK_ALLOW_HTTP": "true",
        "BRIDGE_CALLBACK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "BRIDGE_CALLBACK_ALLOWED_PORTS": "*",
    }
    rules = read_settings({**ENVIRONMENT, **opened}).callback_rules
    sender = Watched(HttpWebhookSender(Guard(rules, Limits(attempt=300)), FakeClock()))
    bridge = harness(None, sender, None, None, **opened)
    answer = OK + b"Connection: close\r\nContent-Length: 0\r\n\r\n"
    # The receivers close first, so the hanging attempt and its thread end.
    with ThreadPoolExecutor(PLACES) as threads, living(never_reads) as bad, living(replies(answer)) as good:
        bad_url, good_url = f"http://127.0.0.1:{bad}/", f"http://127.0.0.1:{good}/"
        end_all(bridge, 200, bad_url, "bad")
        end_all(bridge, 50, good_url, "good")

        under_way = [threads.submit(bridge.deliver, task) for task in bridge.queue.take()]
        list(islice(as_completed(under_way), len(under_way) - 1))  # all but the one attempt that hangs
        while len(sender.ended) < 50:  # tasks that a first answer brought threads for
            list(threads.map(bridge.deliver, bridge.queue.take()))

        assert sender.ended == [good_url] * 50
        good_ones = [bridge.registration(bridge.request(f"good-{number}", good_url).ref) for number in range(50)]
        bad_ones = [bridge.registration(bridge.request(f"bad-{number}", bad_url).ref) for number in range(200)]
    assert {each.state for each in good_ones} == {State.DELIVERED}
    assert {each.state for each in bad_ones} == {State.PENDING}
    assert sum(each.last_attempt for each in bad_ones) == 1
    sender.inner.close()
