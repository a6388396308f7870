"""Six faults on the started app that the command line and the page must explain."""

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

#: Callbacks to this machine are allowed.
OPEN: Mapping[str, str] = {
    "BRIDGE_CALLBACK_ALLOW_HTTP": "true",
    "BRIDGE_CALLBACK_ALLOWED_NETWORKS": "127.0.0.0/8",
    "BRIDGE_CALLBACK_ALLOWED_PORTS": "*",
}


@dataclass(frozen=True, slots=True)
class Broken:
    """An app with a fault, and the registration that shows the fault."""

    app: HostProcess
    name: str


@dataclass(slots=True)
class Place:
    """Starts apps one after the other, on the same storage."""

    azurite: Azurite
    upstream: Upstream
    receiver: Receiver
    running: ExitStack = field(default_factory=ExitStack)

    def start(self, own: Mapping[str, str] = OPEN, *, keys: Sequence[str] = ()) -> HostProcess:
        """Start the app with additional settings."""
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
        """Register. Returns the id."""
        body = {"operationId": operation_id, "callbackUrl": callback_url, **more}
        answer = requests.post(f"{app.url}/api/registrations", json=body, timeout=MAX_WAIT)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def broken(self, app: HostProcess, name: str, holds: Callable[[Any], bool]) -> Broken:
        """Read a registration after each output line of the app, until a condition holds."""

        def look(_lines: object) -> bool:
            return holds(requests.get(f"{app.url}/api/registrations/{name}", timeout=MAX_WAIT).json())

        app.lines.wait_for(look, MAX_WAIT)
        return Broken(app, name)


@contextmanager
def place() -> Iterator[Place]:
    """Provide separate storage, a fake Speech service and a receiver."""
    with Azurite.start() as azurite, Upstream.start(key="right-key") as upstream, Receiver.start() as receiver:
        made = Place(azurite, upstream, receiver)
        with made.running:
            yield made


def is_attempted(shown: Json) -> bool:
    """Return whether the first attempt is recorded."""
    return any(each["status"] or each["error"] for each in shown["attempts"])


def has_asked_in_vain(shown: Json) -> bool:
    """Return whether a request to Speech failed."""
    return shown["operation"]["lastError"] is not None


def wrong_speech_key(at: Place) -> Broken:
    """Use a key that Speech rejects."""
    app = at.start({**OPEN, "SPEECH_KEY": "wrong-key"})
    return at.broken(app, at.registered(app, "unasked-operation", f"{at.receiver.url}/callback"), has_asked_in_vain)


def receiver_with_401(at: Place) -> Broken:
    """Make the receiver require credentials."""
    at.receiver.answer("/callback", then=401)
    return _ended(at, f"{at.receiver.url}/callback")


def receiver_down(at: Place) -> Broken:
    """Close the receiver's port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    return _ended(at, f"http://127.0.0.1:{port}/callback")


def name_does_not_resolve(at: Place) -> Broken:
    """Use a receiver name that does not resolve."""
    return _ended(at, "http://hooks.no-such-name.invalid/callback")


def refused_by_the_rules(at: Place) -> Broken:
    """Narrow the rules after the registration."""
    at.upstream.script("running-operation", "Running")
    before = at.start()
    name = at.registered(before, "running-operation", f"{at.receiver.url}/callback")
    before.stop()
    at.upstream.script("running-operation", "Succeeded")
    return at.broken(at.start({**OPEN, "BRIDGE_CALLBACK_ALLOWED_NETWORKS": ""}), name, is_attempted)


def operation_unknown_upstream(at: Place) -> Broken:
    """Use an operation that Speech does not know."""
    app = at.start()
    at.upstream.script("lost-operation", always=named("not found (from the schema)"))
    return at.broken(app, at.registered(app, "lost-operation", f"{at.receiver.url}/callback"), has_asked_in_vain)


def _ended(at: Place, callback_url: str) -> Broken:
    """Register for an ended operation with a callback that cannot arrive."""
    app = at.start()
    at.upstream.script("ended-operation", "Succeeded")
    return at.broken(app, at.registered(app, "ended-operation", callback_url), is_attempted)
