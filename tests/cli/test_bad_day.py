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
    made.sender.tell(URL, 503)
    made.sender.tell(OTHER, 401)
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
    bridge.upstream.tell(operation_id, "Succeeded")
    [ref] = bridge.register(operation_id, callback_url)
    bridge.sweep()
    bridge.deliver_all()
    return ref.public_id


def test_the_failing_ones_are_found_by_host_outcome_state_and_message(bridge: Harness, url: str) -> None:
    failing, refused = ended(bridge, "operation-1", URL), ended(bridge, "operation-2", OTHER)
    bridge.register("operation-3", URL)
    [message] = [each.headers["webhook-id"] for each in bridge.sender.posted if each.url == OTHER]

    def ids(*options: str) -> list[str]:
        said = run(bridge, url, "list", *options)
        assert said.exit == 0, said.err
        return [line.split("\t")[0] for line in said.out.splitlines()]

    assert ids("--outcome", "5xx") == [failing]
    assert ids("--outcome", "401", "--state", "pending,dead") == [refused]
    assert ids("--host", "other.example.com") == ids("--host", "other.example.com:8443") == [refused]
    assert ids("--message-id", message) == [refused]
    assert set(ids("--state", "pending", "--since", "1h")) == {failing, refused}
    assert ids("--until", "1h") == []
    assert "\tHTTP 503, 1 of 10\t" in run(bridge, url, "list", "--outcome", "5xx").out


def test_the_message_is_the_one_that_was_sent(bridge: Harness, url: str) -> None:
    name = ended(bridge, "operation-1", URL)

    said = run(bridge, url, "message", name)

    [sent] = bridge.sender.posted
    assert said.out.encode() == sent.body


def test_a_local_receiver_gets_a_copy_that_it_can_verify_while_the_callback_goes_its_way(
    bridge: Harness, url: str
) -> None:
    ended(bridge, "operation-1", URL)
    bridge.clock.advance(60)
    bridge.upstream.tell("operation-2", "Succeeded")
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
        said = type_in("listen", "--forward", f"{receiver.url}/hook", environment={"BRIDGE_URL": url}, sleep=wait)

    assert said.exit == 130, said.err
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
        said = type_in(
            "listen", "--forward", receiver.url, "--since", "1h", environment={"BRIDGE_URL": url}, sleep=leave
        )

    assert f"  {name}  HTTP 204\n" in said.out
    assert bridge.memory.rows() == rows
    assert bridge.queue.take() == []
