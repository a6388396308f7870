"""Six broken situations on the started app, which the command line and the page have to explain."""

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from local.azurite import Azurite
from local.host.process import HostProcess
from local.receiver import Receiver
from local.record import MAX_WAIT
from local.upstream import Upstream
from local.upstream.catalogue import named
from tests.support.harness import SIGNING_KEY
from tests.support.json_value import Json

ROOT = Path(__file__).parents[2]

#: Callbacks may go to this machine.
OPEN: Mapping[str, str] = {
    "BRIDGE_CALLBACK_ALLOW_HTTP": "true",
    "BRIDGE_CALLBACK_ALLOWED_NETWORKS": "127.0.0.0/8",
    "BRIDGE_CALLBACK_ALLOWED_PORTS": "*",
}


@dataclass(frozen=True, slots=True)
class Broken:
    """An app in which something is broken, and the registration that shows it."""

    app: HostProcess
    name: str


@dataclass(slots=True)
class Place:
    """Where apps are started, one after the other, on the same storage."""

    azurite: Azurite
    upstream: Upstream
    receiver: Receiver
    running: ExitStack = field(default_factory=ExitStack)

    def start(self, own: Mapping[str, str] = OPEN, *, keys: Sequence[str] = ()) -> HostProcess:
        """Start the app, with settings of its own."""
        environment: Mapping[str, str] = {
            "PATH": "/usr/bin:/bin",
            "AzureWebJobsStorage": self.azurite.connection_string,
            "SPEECH_ENDPOINT": self.upstream.endpoint,
            "SPEECH_KEY": self.upstream.key,
            "BRIDGE_SIGNING_KEYS": SIGNING_KEY,
            "BRIDGE_POLL_SCHEDULE": "* * * * * *",
            "BRIDGE_POLL_INTERVAL": "1s",
            "PYTHON_THREADPOOL_THREAD_COUNT": "16",
            **own,
        }
        return self.running.enter_context(HostProcess.start(environment, app=ROOT, keys=keys))

    def registered(self, app: HostProcess, operation_id: str, callback_url: str, **more: object) -> str:
        """Register; returns the id."""
        body = {"operationId": operation_id, "callbackUrl": callback_url, **more}
        answer = requests.post(f"{app.url}/api/registrations", json=body, timeout=MAX_WAIT)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def broken(self, app: HostProcess, name: str, holds: Callable[[Any], bool]) -> Broken:
        """Read a registration after each line that the app writes, until something holds for it."""

        def look(_lines: object) -> bool:
            return holds(requests.get(f"{app.url}/api/registrations/{name}", timeout=MAX_WAIT).json())

        app.lines.wait_for(look, MAX_WAIT)
        return Broken(app, name)


@contextmanager
def place() -> Iterator[Place]:
    """Set up storage that nothing else uses, a fake Speech service, and a receiver."""
    with Azurite.start() as azurite, Upstream.start(key="right-key") as upstream, Receiver.start() as receiver:
        made = Place(azurite, upstream, receiver)
        with made.running:
            yield made


def is_attempted(shown: Json) -> bool:
    """Tell whether the first attempt is recorded."""
    return any(each["status"] or each["error"] for each in shown["attempts"])


def has_asked_in_vain(shown: Json) -> bool:
    """Tell whether a request to Speech went wrong."""
    return shown["operation"]["lastError"] is not None


def wrong_speech_key(at: Place) -> Broken:
    """Give the bridge a key that Speech does not take."""
    app = at.start({**OPEN, "SPEECH_KEY": "wrong-key"})
    return at.broken(app, at.registered(app, "unasked-operation", f"{at.receiver.url}/callback"), has_asked_in_vain)


def receiver_with_401(at: Place) -> Broken:
    """Let the receiver want credentials."""
    at.receiver.answer("/callback", then=401)
    return _ended(at, f"{at.receiver.url}/callback")


def receiver_down(at: Place) -> Broken:
    """Let nobody listen at the receiver's port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    return _ended(at, f"http://127.0.0.1:{port}/callback")


def name_does_not_resolve(at: Place) -> Broken:
    """Let the receiver's name lead nowhere."""
    return _ended(at, "http://hooks.no-such-name.invalid/callback")


def refused_by_the_rules(at: Place) -> Broken:
    """Narrow the rules after it was registered."""
    at.upstream.tell("running-operation", "Running")
    before = at.start()
    name = at.registered(before, "running-operation", f"{at.receiver.url}/callback")
    before.stop()
    at.upstream.tell("running-operation", "Succeeded")
    return at.broken(at.start({**OPEN, "BRIDGE_CALLBACK_ALLOWED_NETWORKS": ""}), name, is_attempted)


def operation_unknown_upstream(at: Place) -> Broken:
    """Let Speech know no such operation."""
    app = at.start()
    at.upstream.tell("lost-operation", always=named("not found (from the schema)"))
    return at.broken(app, at.registered(app, "lost-operation", f"{at.receiver.url}/callback"), has_asked_in_vain)


def _ended(at: Place, callback_url: str) -> Broken:
    """Register for an operation that has ended; its callback cannot arrive."""
    app = at.start()
    at.upstream.tell("ended-operation", "Succeeded")
    return at.broken(app, at.registered(app, "ended-operation", callback_url), is_attempted)
