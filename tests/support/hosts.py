"""The app in a function host, the local one or Microsoft's, with all surrounding services."""

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import requests

from local.azurite import Azurite
from local.host.microsoft import MicrosoftHost
from local.host.process import HostProcess
from local.receiver import Receiver
from local.settings import REPOSITORY
from local.upstream import Upstream
from tests.support.harness import SIGNING_KEY
from tests.support.json_value import Json
from tests.support.tools import tool

Kind = Literal["local", "microsoft"]
KINDS: Sequence[Kind] = ("local", "microsoft")

#: The function key of every test host.
KEY = "test-function-key"

#: Long enough for a loaded machine.
MAX_WAIT = 120.0

_LOOK = 0.2

#: Settings that shorten the times of Microsoft's host, in the form that overrides host.json.
SHORT_TIMES = {"AzureFunctionsJobHost__extensions__queues__visibilityTimeout": "00:00:02"}

#: Scenarios of minutes run only on the deployed Python.
IS_DEPLOYED_PYTHON = sys.version_info >= (3, 13)


def start_host(
    kind: Kind,
    state: Path,
    environ: Mapping[str, str],
    app: Path = REPOSITORY,
    port: int = 0,
    on_line: Callable[[str], None] = lambda _: None,
) -> HostProcess | MicrosoftHost:
    """Start an app in a host that requires `KEY`. Skips the test if the machine lacks Microsoft's host.

    The host prints nothing, since a shared host runs while other tests check standard output. `lines` has the whole
    output.
    """
    if kind == "local":
        return HostProcess.start(environ, app=app, port=port, keys=[KEY], on_line=on_line)
    tool("functions-host")
    return MicrosoftHost.start(environ, state=state, app=app, port=port, keys=[KEY], on_line=on_line)


def app_settings(
    azurite: Azurite, upstream: Upstream, *, more_sources: Sequence[str] = (), **own: str
) -> dict[str, str]:
    """Return the settings of the app. The host gets `SHORT_TIMES`.

    `more_sources` names up to five additional sources, all with the same upstream.
    """
    by_name = upstream.endpoint.replace("127.0.0.1", "localhost")
    places = [
        {"endpoint": upstream.endpoint, "path": path} for path in ("texttospeech", "customvoice", "videotranslation")
    ]
    places += [{"endpoint": by_name, "path": path} for path in ("avatar", "customvoice")]
    sources = [
        {"name": name, **place, "keyVariable": "SPEECH_KEY", "requestsPerSecond": 10}
        for name, place in zip(more_sources, places, strict=False)
    ]
    return {
        "PATH": os.defpath,
        **SHORT_TIMES,
        "AzureWebJobsStorage": azurite.connection_string,
        "SPEECH_ENDPOINT": upstream.endpoint,
        "SPEECH_KEY": upstream.key,
        "SPEECH_REQUESTS_PER_SECOND": "100",
        "BRIDGE_SOURCES": json.dumps(sources),
        "BRIDGE_SIGNING_KEYS": SIGNING_KEY,
        "BRIDGE_POLL_SCHEDULE": "* * * * * *",
        "BRIDGE_POLL_INTERVAL": "1s",
        "BRIDGE_CALLBACK_ALLOW_HTTP": "true",
        "BRIDGE_CALLBACK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "BRIDGE_CALLBACK_ALLOWED_PORTS": "*",
        "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": str(1024 * 1024),
        "PYTHON_THREADPOOL_THREAD_COUNT": "32",
        **own,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A running app with the surrounding services."""

    kind: Kind
    host: HostProcess | MicrosoftHost
    azurite: Azurite
    upstream: Upstream
    receiver: Receiver

    def call(self, method: str, path: str, **how: Any) -> requests.Response:
        """Call the API with the key. `path` starts after `/api/`."""
        headers = {"x-functions-key": KEY, **how.pop("headers", {})}
        return requests.request(method, f"{self.host.url}/api/{path}", headers=headers, timeout=MAX_WAIT, **how)

    def read(self, path: str) -> Json:
        """Return the body of a GET. Storage of a busy machine can be late: the answer is 503, and clients repeat."""
        return wait_until(lambda: self.call("GET", path).json(), _is_final)

    def register(self, operation_id: str, path: str, **more: object) -> Json:
        """Register a callback to a path of the receiver. The answer must be 201, or after a 503 of storage also 200."""
        body = {"operationId": operation_id, "callbackUrl": f"{self.receiver.url}{path}", **more}
        answers: list[requests.Response] = []

        def send() -> Json:
            answers.append(self.call("POST", "registrations", json=body))
            return answers[-1].json()

        registered = wait_until(send, _is_final)
        assert answers[-1].status_code in ({201} if len(answers) == 1 else {200, 201}), registered
        return registered

    def until(self, registration: Json, *states: str) -> Json:
        """Read a registration until one of the states is reached."""
        return wait_until(lambda: self.read(f"registrations/{registration['id']}"), lambda it: it["state"] in states)


def _is_final(answer: Json) -> bool:
    error = answer.get("error") if isinstance(answer, dict) else None
    return not isinstance(error, dict) or error.get("code") != "StorageUnavailable"


def wait_until(read: Callable[[], Any], holds: Callable[[Any], bool]) -> Json:
    """Read until a condition holds. Returns the last value. Raises TimeoutError with the last value."""
    read_at_last: Any = None
    waiting = threading.Event()
    for _ in range(int(MAX_WAIT / _LOOK)):
        read_at_last = read()
        if holds(read_at_last):
            return read_at_last
        waiting.wait(_LOOK)
    raise TimeoutError(f"after {MAX_WAIT} s there is still only: {read_at_last}")


@contextmanager
def running_app(
    kind: Kind, state: Path, azurite: Azurite, *, more_sources: Sequence[str] = (), **own: str
) -> Iterator[Running]:
    """Run the bridge in a host, with a separate upstream and receiver."""
    with Upstream.start(key="the-speech-key") as upstream, Receiver.start() as receiver:
        environ = app_settings(azurite, upstream, more_sources=more_sources, **own)
        with start_host(kind, state, environ) as host:
            yield Running(kind=kind, host=host, azurite=azurite, upstream=upstream, receiver=receiver)
