"""The example responses of the API description: real answers of a bridge in memory, by function and status.

`python -m tests.api_examples` rewrites `bridge/api/examples.json`, for a change of responses.
"""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bridge.api.handlers import Handlers
from bridge.api.routes import Handler
from bridge.app import App
from bridge.domain.errors import Misconfigured
from bridge.domain.operation import MAX_REGISTRATIONS
from bridge.domain.rate_limit import PINGS_A_MINUTE
from bridge.domain.registration import RUNS_AN_HOUR
from tests.events import JOB_ID, KEY, OPERATION_ID
from tests.support.harness import Harness, harness
from tests.support.http import Answer, Client

FILE = Path(__file__).parent.parent / "bridge" / "api" / "examples.json"

HOOK = "https://hooks.example.com/avatar"
GONE = "https://gone.example.com/hook"
BODY = {"operationId": OPERATION_ID, "callbackUrl": HOOK, "metadata": {"video": "intro"}}
JSON = {"Content-Type": "application/json"}


class Recorder:
    """Calls a bridge, and records one body per success status of a function, and one per error code."""

    def __init__(self, bridge: Harness) -> None:
        self.bridge = bridge
        self.client = Client.of(bridge)
        self.successes: dict[str, dict[str, Any]] = {}
        self.errors: dict[str, Any] = {}
        #: The first request of each function, as a client writes it.
        self.requests: dict[str, str] = {}

    def keep(self, name: str, answer: Answer) -> Answer:
        """Record the first body of each kind."""
        if "x-ms-error-code" in answer.headers:
            self.errors.setdefault(answer.headers["x-ms-error-code"], answer.body)
        elif answer.body is not None:
            self.successes.setdefault(name, {}).setdefault(str(answer.status), answer.body)
        return answer

    def get(self, handler: Handler, path: str, id: str = "") -> Answer:
        """Send a GET."""
        self.requests.setdefault(handler.__name__, f"GET /api{path}")
        return self.keep(handler.__name__, self.client.call(handler, path, id=id))

    def post(self, handler: Handler, path: str, body: object = None, id: str = "", **headers: str) -> Answer:
        """Send a POST. `body` is sent as JSON, bytes are sent unchanged."""
        written = "" if body is None or isinstance(body, bytes) else f"\n\n{json.dumps(body)}"
        self.requests.setdefault(handler.__name__, f"POST /api{path}{written}")
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        sent = JSON | {name.replace("_", "-"): value for name, value in headers.items()}
        return self.keep(
            handler.__name__, self.client.call(handler, path, method="POST", body=raw, headers=sent, id=id)
        )

    def register(self, body: object, **headers: str) -> Answer:
        """Register a callback."""
        return self.post(Handlers.register, "/registrations", body, **headers)


def recorded() -> Recorder:
    """Create two registrations with their events, and every error that a client can cause alone."""
    recorder = Recorder(harness(BRIDGE_SIGNING_KEYS=base64.b64encode(KEY).decode()))
    _play_successes(recorder)
    _play_errors(recorder)
    return recorder


def examples() -> Mapping[str, Mapping[str, Any]]:
    """Return the recorded answers."""
    recorder = recorded()
    return {"successes": recorder.successes, "errors": dict(sorted(recorder.errors.items()))}


def _play_successes(recorder: Recorder) -> None:
    bridge, client = recorder.bridge, recorder.client
    public_id = recorder.register(BODY).body["id"]
    recorder.register(BODY)
    recorder.register({**BODY, "callbackUrl": GONE})
    bridge.sender.script(GONE, 410)
    bridge.upstream.script(OPERATION_ID, "Running", "Succeeded")
    for _ in range(30):
        bridge.clock.advance(20)
        bridge.sweep()
        bridge.deliver_all()
    recorder.get(Handlers.read_registration, f"/registrations/{public_id}", public_id)
    recorder.get(Handlers.read_message, f"/registrations/{public_id}/message", public_id)
    recorder.get(Handlers.list_registrations, "/registrations?limit=1")
    recorder.get(Handlers.read_operation, f"/operations/{OPERATION_ID}", OPERATION_ID)
    recorder.client.register({"jobId": JOB_ID, "callbackUrl": HOOK})
    recorder.get(Handlers.read_job, f"/jobs/{JOB_ID}", JOB_ID)
    recorder.get(Handlers.status, "/status")
    recorder.get(Handlers.overview, "/overview")
    recorder.get(Handlers.signing_secret, f"/signing-secret?callbackUrl={HOOK}")
    recorder.get(Handlers.signing_keys, "/signing-keys")
    recorder.post(Handlers.redeliver, f"/registrations/{public_id}/redeliver", id=public_id)
    recorder.post(Handlers.redeliver_many, "/redeliver", {"states": ["dead"], "since": "2026-11-23T12:00:00Z"})
    recorder.post(Handlers.redeliver_many, "/redeliver", {"dryRun": True})
    recorder.post(Handlers.ping, "/callbacks/ping", {"callbackUrl": HOOK})
    recorder.keep("health", client.health())
    recorder.keep("health", Client(App(_misconfigured())).health())


def _play_errors(recorder: Recorder) -> None:
    bridge = recorder.bridge
    recorder.register({"operationId": "!", "callbackUrl": "http://hooks.example.com/", "colour": "blue"})
    recorder.register(b"[1]")
    recorder.register(b"", Transfer_Encoding="chunked")
    recorder.register(b" " * 70_000)
    recorder.register(BODY, Content_Type="text/plain")
    recorder.register({**BODY, "metadata": {"video": "another"}})
    unknown = "default~unknown~0123456789abcdef"
    recorder.get(Handlers.read_registration, f"/registrations/{unknown}", unknown)
    waiting = recorder.register({**BODY, "operationId": "operation-2"}).body["id"]
    recorder.post(Handlers.redeliver, f"/registrations/{waiting}/redeliver", id=waiting)
    path = f"/registrations/{waiting}?purge=true"
    purged = recorder.client.call(Handlers.cancel_registration, path, method="DELETE", id=waiting)
    recorder.keep("cancel_registration", purged)
    for number in range(MAX_REGISTRATIONS):
        recorder.register({**BODY, "operationId": "operation-2", "callbackUrl": f"{HOOK}/{number}"})
    for _ in range(PINGS_A_MINUTE + 1):
        recorder.post(Handlers.ping, "/callbacks/ping", {"callbackUrl": HOOK})
    [delivered] = bridge.register("operation-3")
    bridge.upstream.script("operation-3", "Succeeded")
    path = f"/registrations/{delivered.public_id}/redeliver"
    for _ in range(RUNS_AN_HOUR + 2):
        bridge.clock.advance(60)
        bridge.sweep()
        bridge.deliver_all()
        recorder.post(Handlers.redeliver, path, id=delivered.public_id)
    recorder.keep("status", Client(App(_misconfigured())).call(Handlers.status, "/status"))


def _misconfigured() -> Misconfigured:
    return Misconfigured({"SPEECH_ENDPOINT": "is not set"})


def written() -> str:
    """Return the content of the file."""
    return json.dumps(examples(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(written(), encoding="utf-8")
