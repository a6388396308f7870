"""The command line on a bad day, against the real app: see what fails, see the message, try again, forward a copy."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from bridge.domain.registration import State
from local.receiver import Receiver
from tests.support.cli import Said, type_in
from tests.support.harness import Harness, harness
from tests.support.served import served

URL, OTHER = "https://hooks.example.com/avatar", "https://other.example.com:8443/hook"


@pytest.fixture
def bridge() -> Harness:
    """Return a bridge with two failing receivers: one answers 503, the other 401."""
    made = harness(BRIDGE_CALLBACK_ALLOWED_PORTS="*")
    made.sender.script(URL, 503)
    made.sender.script(OTHER, 401)
    return made


@pytest.fixture
def url(bridge: Harness) -> Iterator[str]:
    """Serve the bridge."""
    with served(bridge) as address:
        yield address


def run(bridge: Harness, url: str, *arguments: str) -> Said:
    """Run a command on the clock of the bridge."""
    return type_in(*arguments, environment={"BRIDGE_URL": url}, clock=bridge.clock)


def ended(bridge: Harness, operation_id: str, callback_url: str) -> str:
    """Register, let the operation end, and make the first attempt. Returns the id of the registration."""
    bridge.upstream.script(operation_id, "Succeeded")
    [ref] = bridge.register(operation_id, callback_url)
    bridge.sweep()
    bridge.deliver_all()
    return ref.public_id


def test_the_failing_ones_are_found_by_host_outcome_state_and_message(bridge: Harness, url: str) -> None:
    failing, refused = ended(bridge, "operation-1", URL), ended(bridge, "operation-2", OTHER)
    bridge.register("operation-3", URL)
    [message] = [each.headers["webhook-id"] for each in bridge.sender.posted if each.url == OTHER]

    def ids(*options: str) -> list[str]:
        output = run(bridge, url, "list", *options)
        assert output.exit == 0, output.err
        return [line.split("\t")[0] for line in output.out.splitlines()]

    assert ids("--outcome", "5xx") == [failing]
    assert ids("--outcome", "401", "--state", "pending,dead") == [refused]
    assert ids("--host", "other.example.com") == ids("--host", "other.example.com:8443") == [refused]
    assert ids("--message-id", message) == [refused]
    assert set(ids("--state", "pending", "--since", "1h")) == {failing, refused}
    assert ids("--until", "1h") == []
    assert "\tHTTP 503, 1 of 10\t" in run(bridge, url, "list", "--outcome", "5xx").out


def test_a_pending_one_gets_its_next_attempt_now(bridge: Harness, url: str) -> None:
    name = ended(bridge, "operation-1", URL)
    bridge.sender.script(URL, 204)

    output = run(bridge, url, "redeliver", name)
    bridge.deliver_all()

    assert output.out == f"{name}  the next attempt is made now\n"
    assert "HTTP 204" in run(bridge, url, "show", "operation-1").out


def test_nothing_changes_during_an_attempt(bridge: Harness, url: str) -> None:
    heard: list[str] = []
    bridge.sender.during = lambda: heard.append(run(bridge, url, "redeliver", bridge_name[0]).out)
    bridge.upstream.script("operation-1", "Succeeded")
    bridge_name = [each.public_id for each in bridge.register("operation-1", URL)]

    bridge.sweep()
    bridge.deliver_all()

    assert heard == [f"{bridge_name[0]}  an attempt is in flight, so nothing has changed\n"]


def test_many_are_counted_first_and_then_tried_again(bridge: Harness, url: str) -> None:
    for number in range(3):
        ended(bridge, f"operation-{number}", URL)
    ended(bridge, "operation-4", OTHER)
    options = ("redeliver", "--pending", "--dead", "--host", "hooks.example.com")

    preview = run(bridge, url, *options, "--dry-run")
    nothing = bridge.queue.take()
    started = run(bridge, url, *options, "--json")
    everything = run(bridge, url, "redeliver", "--pending", "--dry-run", "--json")

    assert preview.out == "hooks.example.com\t503\t3\n"
    assert nothing == []
    assert (started.json["started"], started.json["more"]) == (3, False)
    assert everything.json["total"] == 4


def test_the_message_is_the_one_that_was_sent(bridge: Harness, url: str) -> None:
    name = ended(bridge, "operation-1", URL)

    output = run(bridge, url, "message", name)

    [sent] = bridge.sender.posted
    assert output.out.encode() == sent.body


def test_an_ended_registration_can_be_erased_and_a_pending_one_cannot(bridge: Harness, url: str) -> None:
    name = ended(bridge, "operation-1", URL)

    early = run(bridge, url, "erase", name)
    run(bridge, url, "cancel", name)
    erased = run(bridge, url, "erase", name)
    shown = run(bridge, url, "show", name)

    assert (early.exit, early.err.partition(":")[0]) == (3, "NotEnded")
    assert (erased.exit, erased.out) == (0, f"{name}  removed\n")
    assert (shown.exit, shown.err.partition(":")[0]) == (3, "NotFound")


def test_a_local_receiver_gets_a_copy_that_it_can_verify_while_the_callback_goes_its_way(
    bridge: Harness, url: str
) -> None:
    ended(bridge, "operation-1", URL)
    bridge.clock.advance(60)
    bridge.upstream.script("operation-2", "Succeeded")
    [ref] = bridge.register("operation-2", OTHER)
    secret = run(bridge, url, "secret", OTHER).out.strip()
    steps = iter((bridge.sweep, bridge.deliver_all))

    def wait(_seconds: float) -> None:
        step = next(steps, None)
        if step is None:
            raise KeyboardInterrupt
        bridge.clock.advance(5)
        step()

    with Receiver.start() as receiver:
        output = type_in("listen", "--forward", f"{receiver.url}/hook", environment={"BRIDGE_URL": url}, sleep=wait)

    assert output.exit == 130, output.err
    [copy] = receiver.callbacks
    [sent] = [each for each in bridge.sender.posted if each.url == OTHER]
    assert (copy.path, copy.body) == ("/hook", sent.body)
    assert copy.headers["webhook-id"] == sent.headers["webhook-id"]
    assert copy.headers["content-type"] == sent.headers["Content-Type"]
    at = datetime.fromtimestamp(int(copy.headers["webhook-timestamp"]), UTC)
    signature = Webhook(secret).sign(copy.headers["webhook-id"], at, copy.body.decode())
    assert signature in copy.headers["webhook-signature"].split()
    assert bridge.registration(ref).state is State.PENDING


def test_listening_changes_nothing_on_the_bridge(bridge: Harness, url: str) -> None:
    name = ended(bridge, "operation-1", URL)
    rows = bridge.memory.rows()

    def leave(_seconds: float) -> None:
        raise KeyboardInterrupt

    with Receiver.start() as receiver:
        output = type_in(
            "listen", "--forward", receiver.url, "--since", "1h", environment={"BRIDGE_URL": url}, sleep=leave
        )

    assert f"  {name}  HTTP 204\n" in output.out
    assert bridge.memory.rows() == rows
    assert bridge.queue.take() == []
