"""Six broken situations on the started app, and what `show`, `status` and `doctor` say of each."""

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from local.azurite import Azurite
from local.host.process import HostProcess
from local.receiver import Receiver
from local.record import PATIENCE
from local.upstream import Upstream
from local.upstream.catalogue import named
from tests.support.cli import type_in
from tests.support.world import SIGNING_KEY

ROOT = Path(__file__).parents[2]

OPEN = {
    "BRIDGE_CALLBACK_ALLOW_HTTP": "true",
    "BRIDGE_CALLBACK_ALLOWED_NETWORKS": "127.0.0.0/8",
    "BRIDGE_CALLBACK_ALLOWED_PORTS": "*",
}
Start = Callable[..., HostProcess]


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """Stand in for the Speech endpoint."""
    with Upstream.start(key="right-key") as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Receive callbacks."""
    with Receiver.start() as running:
        yield running


@pytest.fixture
def start(upstream: Upstream) -> Iterator[Start]:
    """Return a function that starts the app, each time on the same storage, which nothing else uses."""
    with ExitStack() as stack:
        azurite = stack.enter_context(Azurite.start())

        def start(**own: str) -> HostProcess:
            environment: Mapping[str, str] = {
                "PATH": "/usr/bin:/bin",
                "AzureWebJobsStorage": azurite.connection_string,
                "SPEECH_ENDPOINT": upstream.endpoint,
                "SPEECH_KEY": upstream.key,
                "BRIDGE_SIGNING_KEYS": SIGNING_KEY,
                "BRIDGE_POLL_SCHEDULE": "* * * * * *",
                "BRIDGE_POLL_INTERVAL": "1s",
                "PYTHON_THREADPOOL_THREAD_COUNT": "16",
                **own,
            }
            return stack.enter_context(HostProcess.start(environment, app=ROOT))

        yield start


def at(app: HostProcess) -> dict[str, str]:
    """Say where the bridge is."""
    return {"BRIDGE_URL": app.url}


def register(app: HostProcess, operation_id: str, callback_url: str) -> str:
    """Register by the command line; returns the id."""
    arguments = ("--operation-id", operation_id, "--callback-url", callback_url)
    said = type_in("register", *arguments, "--json", environment=at(app))
    assert said.exit == 0, said.err
    return str(said.json["id"])


def until(app: HostProcess, name: str, holds: Callable[[Any], bool]) -> None:
    """Read a registration after each line that the app writes, until something holds for it."""

    def look(_lines: object) -> bool:
        return holds(type_in("show", name, "--json", environment=at(app)).json)

    app.lines.wait_for(look, PATIENCE)


def is_attempted(shown: Any) -> bool:  # noqa: ANN401 - JSON
    """Tell whether the first attempt is recorded."""
    return any(each["status"] or each["error"] for each in shown["attempts"])


def all_three_say(app: HostProcess, name: str, *words: str) -> None:
    """Hold each of the three commands to what it has to say; the doctor's exit code too."""
    shown = type_in("show", name, environment=at(app))
    status = type_in("status", environment=at(app))
    doctor = type_in("doctor", environment=at(app))

    assert (shown.exit, status.exit, doctor.exit) == (0, 0, 1), doctor.out
    for said in (shown.out, status.out, doctor.out):
        assert [word for word in words if word not in said] == [], said
    for said in (status.out, doctor.out):
        assert name in said


def test_wrong_speech_key(start: Start, receiver: Receiver) -> None:
    """The source is paused: Speech's own words, and which setting to check."""
    app = start(**OPEN, SPEECH_KEY="wrong-key")
    name = register(app, "unasked-operation", f"{receiver.url}/callback")

    until(app, name, lambda shown: shown["operation"]["lastError"] is not None)

    all_three_say(app, name, "does not take the", "credential", "HTTP 401 (401: Access denied", "check SPEECH_KEY")
    assert "paused until" in type_in("status", environment=at(app)).out


def test_receiver_with_401(start: Start, upstream: Upstream, receiver: Receiver) -> None:
    """Who wants what, and how to give it."""
    app = start(**OPEN)
    receiver.answer("/callback", then=401)
    upstream.tell("ended-operation", "Succeeded")
    name = register(app, "ended-operation", f"{receiver.url}/callback")

    until(app, name, is_attempted)

    wants = "the receiver wants credentials that the callback did not have"
    all_three_say(app, name, f"127.0.0.1:{receiver.port}", wants, "HTTP 401", "register with the header that it wants")


def test_receiver_down(start: Start, upstream: Upstream) -> None:
    """Where nobody listens."""
    app = start(**OPEN)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    upstream.tell("ended-operation", "Succeeded")
    name = register(app, "ended-operation", f"http://127.0.0.1:{port}/callback")

    until(app, name, is_attempted)

    nobody = "nobody takes connections at the receiver (connect)"
    all_three_say(app, name, f"127.0.0.1:{port}", nobody, "start the receiver, and check its port and firewall")


def test_name_of_the_receiver_does_not_resolve(start: Start, upstream: Upstream) -> None:
    """Which name it is."""
    app = start(**OPEN)
    upstream.tell("ended-operation", "Succeeded")
    name = register(app, "ended-operation", "http://hooks.no-such-name.invalid/callback")

    until(app, name, is_attempted)

    no_address = "the receiver's name leads to no address (dns)"
    all_three_say(app, name, "hooks.no-such-name.invalid", no_address, "check the host's spelling")


def test_callback_refused_by_the_network_rules(start: Start, upstream: Upstream, receiver: Receiver) -> None:
    """Rules that were narrowed after it was registered; a new registration is refused with the same advice."""
    upstream.tell("running-operation", "Running")
    before = start(**OPEN)
    name = register(before, "running-operation", f"{receiver.url}/callback")
    before.stop()
    upstream.tell("running-operation", "Succeeded")

    app = start(**OPEN | {"BRIDGE_CALLBACK_ALLOWED_NETWORKS": ""})
    until(app, name, is_attempted)

    rules = "the rules do not let callbacks go to this URL"
    all_three_say(
        app, name, f"127.0.0.1:{receiver.port}", rules, "refused-by-rules", "BRIDGE_CALLBACK_ALLOWED_NETWORKS"
    )
    asked = ("--operation-id", "another-operation", "--callback-url", f"{receiver.url}/callback")
    refused = type_in("register", *asked, environment=at(app))
    assert refused.exit == 3
    assert "callbackUrl points to an address that is not public; use a public https URL" in refused.err
    assert receiver.callbacks == ()


def test_operation_unknown_upstream(start: Start, upstream: Upstream, receiver: Receiver) -> None:
    """Long before the bridge gives it up."""
    app = start(**OPEN)
    upstream.tell("lost-operation", always=named("not found (from the schema)"))
    name = register(app, "lost-operation", f"{receiver.url}/callback")

    until(app, name, lambda shown: shown["operation"]["lastError"] is not None)

    knows = "Speech knows no such operation, or not yet (HTTP 404 (NotFound"
    all_three_say(app, name, "source default", knows, "check the operation id and the source")
