"""The started app over HTTP only, from the view of client, receiver and upstream."""

import json
import re
import runpy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
from standardwebhooks import Webhook

from bridge import __version__
from local.azurite import Azurite
from local.host.process import HostProcess
from local.receiver import Receiver
from local.upstream import Upstream
from tests.support.harness import SIGNING_KEY
from tests.support.json_value import Json

ROOT = Path(__file__).parent.parent


@pytest.fixture
def azurite() -> Iterator[Azurite]:
    """Start separate storage: registrations of other tests would be polled by each started app."""
    with Azurite.start() as running:
        yield running


@pytest.fixture
def environment(azurite: Azurite, upstream: Upstream) -> Mapping[str, str]:
    """Return the complete environment of the app."""
    return {
        "PATH": "/usr/bin:/bin",
        "AzureWebJobsStorage": azurite.connection_string,
        "SPEECH_ENDPOINT": upstream.endpoint,
        "SPEECH_KEY": upstream.key,
        "BRIDGE_SIGNING_KEYS": SIGNING_KEY,
        "BRIDGE_POLL_SCHEDULE": "* * * * * *",
        "BRIDGE_POLL_INTERVAL": "1s",
        "BRIDGE_CALLBACK_ALLOW_HTTP": "true",
        "BRIDGE_CALLBACK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "BRIDGE_CALLBACK_ALLOWED_PORTS": "*",
        "PYTHON_THREADPOOL_THREAD_COUNT": "16",
    }


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """Yield a fake Speech endpoint."""
    with Upstream.start(key="black-box") as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Yield a receiver of callbacks."""
    with Receiver.start() as running:
        yield running


def read(url: str) -> Json:
    """Read an answer of the API."""
    return requests.get(url, timeout=30).json()


def start(environment: Mapping[str, str], port: int = 0) -> HostProcess:
    """Start the app like `make start`."""
    return HostProcess.start(environment, app=ROOT, port=port, on_line=print)


def test_three_callbacks_survive_a_kill_and_a_restart(
    environment: Mapping[str, str], upstream: Upstream, receiver: Receiver
) -> None:
    """The operation is polled once for all three. The app is killed before a retry, started again, and delivers."""
    upstream.script("black-box", "Running")
    receiver.answer("/two", 500)
    with start(environment) as app:
        created = [register(app, "black-box", f"{receiver.url}/{path}") for path in ("one", "two", "three")]
        upstream.wait_for(2)
        upstream.script("black-box", "Succeeded")
        app.lines.wait_for(lambda lines: sum("delivery.attempted" in line for line in lines) == len(created))
        app.kill()
    asked = len(upstream.requests)

    with start(environment) as app:
        callbacks = receiver.wait_for(lambda came: any(each.path == "/two" and each.answered == 204 for each in came))
        shown = wait_until_delivered(app, created)

    by_path = {path: [each for each in callbacks if each.path == path] for path in ("/one", "/two", "/three")}
    for path, registration in zip(by_path, created, strict=True):
        for callback in by_path[path]:
            Webhook(registration["signingSecret"]).verify(callback.body, callback.headers)
        assert len({(each.headers["webhook-id"], each.body) for each in by_path[path]}) == 1
    assert [len(by_path[path]) for path in ("/one", "/two", "/three")] == [1, 2, 1]
    assert shown[0]["operation"]["polls"] == asked == len(upstream.requests)
    assert {each["operation"]["status"] for each in shown} == {"Succeeded"}


def test_the_python_of_the_readme_submits_a_job_and_registers_it(
    environment: Mapping[str, str], upstream: Upstream, receiver: Receiver, tmp_path: Path
) -> None:
    """The code of the README runs with the addresses and the key of this test."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    [code] = [block for block in blocks if "requests.put(" in block]

    with start(environment) as app:
        for documented, real in {
            "https://my-speech.cognitiveservices.azure.com": upstream.endpoint,
            "https://my-bridge.azurewebsites.net": app.url,
            "https://hooks.example.com": receiver.url,
            '"Ocp-Apim-Subscription-Key": "…"': f'"Ocp-Apim-Subscription-Key": "{upstream.key}"',
            '"x-functions-key": "…"': "",
        }.items():
            assert documented in code
            code = code.replace(documented, real)
        (tmp_path / "readme.py").write_text(code)
        ran = runpy.run_path(str(tmp_path / "readme.py"))
        [callback] = receiver.wait_for(1)

    registered = ran["registered"].json()
    event = Webhook(registered["signingSecret"]).verify(callback.body, callback.headers)
    assert (callback.path, event["data"]["metadata"]) == ("/avatar", {"video": "intro"})


def test_wrong_input_is_answered_over_the_wire(environment: Mapping[str, str]) -> None:
    """The same cases as the unit tests, over a host."""
    with start(environment) as app:
        url = f"{app.url}/api/registrations"
        answers = [
            requests.post(url, json={"callbackUrl": "https://a.example/", "colour": "blue"}, timeout=30),
            requests.post(url, data=b"{}", timeout=30),
            requests.post(url, data=b"[" * 100_000, headers={"Content-Type": "application/json"}, timeout=30),
            requests.get(f"{url}/nonsense", timeout=30),
            requests.get(f"{url}?limit=0", timeout=30),
            requests.get(f"{app.url}/api/operations/unknown-operation", timeout=30),
        ]

    assert [each.status_code for each in answers] == [400, 415, 413, 404, 400, 404]
    assert all(each.headers["x-ms-error-code"] == each.json()["error"]["code"] for each in answers)


def test_a_misconfigured_app_starts_and_names_the_settings(environment: Mapping[str, str]) -> None:
    """Every route but health answers 503 with the wrong settings. Health names no setting."""
    with start({**environment, "BRIDGE_SIGNING_KEYS": "short"}) as app:
        answer = requests.get(f"{app.url}/api/status", timeout=30)
        health = requests.get(f"{app.url}/api/health", timeout=30)

    assert (answer.status_code, answer.json()["error"]["details"][0]["target"]) == (503, "BRIDGE_SIGNING_KEYS")
    assert (health.status_code, health.json()) == (503, {"status": "misconfigured", "version": __version__})


def register(app: HostProcess, operation_id: str, callback_url: str) -> Json:
    """Register a callback over HTTP."""
    body = {"operationId": operation_id, "callbackUrl": callback_url}
    answer = requests.post(f"{app.url}/api/registrations", json=body, timeout=30)
    assert answer.status_code == 201, json.dumps(answer.json())
    return answer.json()


def wait_until_delivered(app: HostProcess, created: list[Any]) -> list[Any]:
    """Read the registrations until all are delivered. The receiver gets a callback before the result is stored."""
    while True:
        shown = [read(f"{app.url}/api/registrations/{each['id']}") for each in created]
        if {each["state"] for each in shown} == {"delivered"}:
            return shown
