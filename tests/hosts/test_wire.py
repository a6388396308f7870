"""Requests on the wire and their effect: the same on the local host and on Microsoft's."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

from bridge import __version__
from local.answer import Answer
from local.azurite import Azurite
from tests.support.hosts import KEY, MAX_WAIT, Kind, Running, running_app

REGISTER = {"Content-Type": "application/json"}


def body_of(running: Running, operation_id: str) -> dict[str, str]:
    return {"operationId": operation_id, "callbackUrl": f"{running.receiver.url}/wire"}


def test_health_answers_head_with_no_body(bridge_app: Running) -> None:
    url = f"{bridge_app.host.url}/api/health"

    got, headed = requests.get(url, timeout=MAX_WAIT), requests.head(url, timeout=MAX_WAIT)

    assert (got.status_code, got.json()) == (200, {"status": "ok", "version": __version__})
    assert (headed.status_code, headed.content) == (200, b"")
    assert headed.headers["Cache-Control"] == got.headers["Cache-Control"]


def test_body_in_chunks_is_rejected_with_411(bridge_app: Running) -> None:
    body = json.dumps(body_of(bridge_app, "wire-chunked")).encode()

    answer = bridge_app.call("POST", "registrations", headers=REGISTER, data=iter([body]))

    assert (answer.status_code, answer.json()["error"]["code"]) == (411, "LengthRequired")


def test_body_with_a_coding_is_rejected(bridge_app: Running) -> None:
    headers = {**REGISTER, "Content-Encoding": "gzip"}

    answer = bridge_app.call("POST", "registrations", headers=headers, data=b"\x1f\x8b")

    assert (answer.status_code, answer.json()["error"]["target"]) == (415, "Content-Encoding")


def test_long_answer_arrives_compressed_and_whole(bridge_app: Running) -> None:
    plain = bridge_app.call("GET", "openapi.json", headers={"Accept-Encoding": "identity"})
    short = bridge_app.call("GET", "openapi.json", headers={"Accept-Encoding": "gzip"})
    again = bridge_app.call("GET", "openapi.json", headers={"If-None-Match": short.headers["ETag"]})

    assert "Content-Encoding" not in plain.headers
    assert short.headers["Content-Encoding"] == "gzip"
    assert int(short.headers.get("Content-Length", "0")) < len(plain.content) / 4
    assert short.json() == plain.json()
    assert (again.status_code, again.content) == (304, b"")


def test_every_unknown_parameter_except_the_key_is_rejected(bridge_app: Running) -> None:
    for path in ("registrations", "registrations/default~wire~0123456789abcdef", "status", "health"):
        wrong = bridge_app.call("GET", f"{path}?colour=&Shape=round&Code={KEY}")

        targets = [each["target"] for each in wrong.json()["error"]["details"]]
        assert (wrong.status_code, sorted(targets)) == (400, ["Shape", "colour"]), path
    url = f"{bridge_app.host.url}/api/registrations?CODE={KEY}&clientid=x"
    assert requests.get(url, timeout=MAX_WAIT).status_code == 200


def test_health_answers_while_every_thread_of_the_pool_is_busy(kind: Kind, azurite: Azurite, tmp_path: Path) -> None:
    own = {"PYTHON_THREADPOOL_THREAD_COUNT": "1", "BRIDGE_POLL_SCHEDULE": "0 0 0 1 1 *"}
    with running_app(kind, tmp_path, azurite, **own) as running, ThreadPoolExecutor(1) as caller:
        running.receiver.answer("/slow", then=Answer(delay=MAX_WAIT))
        body = {"callbackUrl": f"{running.receiver.url}/slow"}
        ping = caller.submit(running.call, "POST", "callbacks/ping", json=body)
        running.receiver.wait_for(1)

        health = running.call("GET", "health")

        assert (health.status_code, ping.done()) == (200, False)
        running.receiver.stop()
        assert ping.result().json()["error"] in {None, "closed", "timeout"}
