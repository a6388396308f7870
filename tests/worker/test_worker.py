"""Microsoft's worker indexes and runs the app, with the same answers as the local host."""

import gzip
import importlib.util
import json
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, assert_never

import pytest
import requests
from azure.data.tables import TableClient
from azure.storage.queue import QueueClient
from standardwebhooks import Webhook

from bridge.adapters.azure.clients import TABLE
from bridge.adapters.azure.queue import DELIVERIES_QUEUE
from bridge.domain.ids import OperationRef, RegistrationRef
from bridge.domain.principal import SHARED_OWNER
from bridge.storage.records import SCHEMA_VERSION
from local.answer import Answer
from local.azurite import Azurite, Ports
from local.host.index import HttpTrigger, QueueTrigger, TimerTrigger, index
from local.host.process import HostProcess
from local.host.queue_rules import read_body, trigger_metadata
from local.receiver import Receiver
from local.settings import REPOSITORY
from local.upstream import Upstream
from tests.support.json_value import Json
from tests.worker.azure_worker import AzureWorker
from tests.worker.calls import JSON, Call, first_half, get, post, second_half

#: Up to Python 3.12, Azure runs another worker, which is not on PyPI.
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("azure_functions_runtime") is None,
    reason="azure-functions-runtime is for Python 3.13 and newer",
)

#: Headers that the local host's web server adds, like Azure's front end.
OF_THE_SERVER = {"content-length", "date", "server", "connection"}

#: The worker's headers about the missing body of a 304. The local host's server omits them (RFC 9110, 15.4.5).
OF_NO_BODY = (304, "content-type")

#: Values that differ between runs: times, derived values, and durations.
OF_THE_MOMENT = [
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "<time>"),
    (re.compile(r"msg_(ping_[0-9a-f]{16}|x[0-9a-f]{31})"), "<message>"),
    (re.compile(r'("x-ms-request-id": )"[0-9a-f-]{36}"'), r"\1<id>"),
    (re.compile(r'("webhook-(?:signature|timestamp)": )"[^"]+"'), r"\1<signed>"),
    (re.compile(r"cursor=[^&\"]+"), "cursor=<cursor>"),
    (re.compile(r'"durationMs": \d+'), '"durationMs": <duration>'),
    (re.compile(r'"delaySeconds": \{.*?\}'), '"delaySeconds": <delays>'),
    (re.compile(r'"schedules": \[.*\]'), '"schedules": <learnt>'),
    (re.compile(r'"durations": \{.*?\]'), '"durations": <learnt>'),
]

#: Functions that answer with a page, which is compared as text.
PAGES = {"dashboard"}


def compare(call: Call, worker: AzureWorker, host: HostProcess) -> Json:
    """Send a request to both sides and compare the answers. Returns the worker's body."""
    url = f"{host.url}/api/{call.path}"
    expected = requests.request(call.method, url, headers=call.headers, data=call.body, timeout=30)
    sent = {name: str(value) for name, value in expected.request.headers.items()}

    answer = worker.request(call.method, url, sent, call.body)

    assert (answer.function, answer.status) == (call.function, call.status), answer.body
    by_host = {name.lower(): value for name, value in expected.headers.items() if name.lower() not in OF_THE_SERVER}
    by_worker = {name: value for name, value in answer.headers.items() if (answer.status, name) != OF_NO_BODY}
    assert (expected.status_code, steady(by_host)) == (answer.status, steady(by_worker))
    body = gzip.decompress(answer.body) if answer.headers.get("content-encoding") == "gzip" else answer.body
    assert steady(body) == steady(expected.content)
    return None if call.function in PAGES else json.loads(body or b"null")


def steady(content: bytes | Mapping[str, str]) -> str:
    """Replace values that differ between runs."""
    text = content.decode() if isinstance(content, bytes) else json.dumps(dict(content), sort_keys=True)
    for pattern, name in OF_THE_MOMENT:
        text = pattern.sub(name, text)
    return text


def deliver_with_worker(worker: AzureWorker, storage: Azurite, receiver: Receiver) -> None:
    """Act as the host: tick the timer and pass on queue messages until a callback arrives."""
    with QueueClient.from_connection_string(storage.connection_string, DELIVERIES_QUEUE) as queue:
        queue.create_queue()
        while not receiver.callbacks:
            assert worker.tick("sweep") == "Success"
            for message in queue.receive_messages():
                body = read_body(message.content, "base64").decode()
                assert worker.take("deliver", body, trigger_metadata(message, body)) == "Success"
                queue.delete_message(message)


def wait_until_delivered(host: HostProcess, registration_id: str) -> None:
    """Wait until the registration is delivered. The receiver gets the callback before the result is stored."""
    url = f"{host.url}/api/registrations/{registration_id}"
    while requests.get(url, timeout=30).json()["state"] != "delivered":
        pass


def test_every_function_is_indexed_as_on_the_local_host(
    work: Callable[..., AzureWorker], azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compared: names, routes, methods, levels, schedule and queue. Each function can be loaded."""
    monkeypatch.setitem(sys.modules, "function_app", sys)  # restores the module of other tests
    environ = {"AzureWebJobsStorage": azurite.connection_string, "BRIDGE_POLL_SCHEDULE": "* * * * * *"}

    worker = work(**environ)

    assert worker.started.result.status == "Success"
    functions = {function.name: function for function in index(REPOSITORY, environ, prefix="api")}
    assert sorted(worker.functions) == sorted(functions)
    for name, function in functions.items():
        assert worker.load(name).result.status == "Success"
        assert_same_trigger(worker.trigger(name), function.trigger)


def assert_same_trigger(told: dict[str, Any], trigger: HttpTrigger | TimerTrigger | QueueTrigger) -> None:
    """Compare the trigger that the worker reports with the trigger on the local host."""
    match trigger:
        case HttpTrigger(route=route, level=level):
            assert (told["route"], told["authLevel"].lower()) == (route.template, level)
            assert frozenset(told["methods"]) == (route.methods or frozenset())
        case TimerTrigger():
            assert (told["schedule"], told["useMonitor"]) == ("%BRIDGE_POLL_SCHEDULE%", True)
        case QueueTrigger(queue_name=queue_name):
            assert (told["queueName"], told["connection"]) == (queue_name, "AzureWebJobsStorage")
        case _:
            assert_never(trigger)


def test_every_function_answers_as_on_the_local_host(
    work: Callable[..., AzureWorker],
    host: Callable[..., HostProcess],
    storages: tuple[Azurite, Azurite],
    upstream: Upstream,
    receiver: Receiver,
) -> None:
    """Both get the same requests in the same order, on two storages, with timer and queue in between."""
    upstream.script("worker-ok", "Succeeded")
    callback = f"{receiver.url}/ok"
    of_worker, of_host = (storage.connection_string for storage in storages)
    worker, beside = work(AzureWebJobsStorage=of_worker), host(AzureWebJobsStorage=of_host)
    ok, canceled = (registration_id(operation_id, callback) for operation_id in ("worker-ok", "worker-canceled"))

    begun = list(first_half(ok, canceled, callback))
    output = [compare(call, worker, beside) for call in begun]
    deliver_with_worker(worker, storages[0], receiver)
    with host(AzureWebJobsStorage=of_host, BRIDGE_POLL_SCHEDULE="* * * * * *"):
        wait_until_delivered(beside, ok)
    ended = list(second_half(ok, callback))
    output += [compare(call, worker, beside) for call in ended]

    secret = output[2]["signingSecret"]
    assert [Webhook(secret).verify(each.body, each.headers)["type"] for each in receiver.callbacks[:2]] == [
        "avatar.operation.succeeded"
    ] * 2
    assert {call.function for call in begun + ended} | {"sweep", "deliver"} == set(worker.functions)


def registration_id(operation_id: str, callback: str) -> str:
    """Return the id of a registration, which follows from operation and callback."""
    ref = OperationRef("default", operation_id)
    return RegistrationRef.of(ref, owner=SHARED_OWNER, callback_url=callback).public_id


def test_misconfigured_app_answers_as_on_the_local_host(
    work: Callable[..., AzureWorker], host: Callable[..., HostProcess], azurite: Azurite
) -> None:
    """The app is indexed, every route names the settings, a sweep does nothing, and a queue message is returned."""
    wrong = {"BRIDGE_SIGNING_KEYS": "short", "SPEECH_ENDPOINT": "nonsense"}
    environ = {"AzureWebJobsStorage": azurite.connection_string, **wrong}
    worker, beside = work(**environ), host(**environ)

    for call in (get("health", "health", status=503), get("status", "status", status=503)):
        compare(call, worker, beside)

    assert worker.tick("sweep") == "Success"
    assert worker.take("deliver", "{}", {}) == "Failure"  # the message goes back to the queue for a healthy instance


def test_unavailable_storage_is_reported_as_on_the_local_host(
    work: Callable[..., AzureWorker], host: Callable[..., HostProcess], receiver: Receiver
) -> None:
    """The answer is 503 with Retry-After. The function fails, so the queue message stays."""
    nobody = {"AzureWebJobsStorage": Ports(blob=1, queue=1, table=1).connection_string}
    worker, beside = work(**nobody), host(**nobody)
    registration = registration_id("worker-ok", receiver.url)
    message = {"v": SCHEMA_VERSION, "registration": registration, "generation": 0, "attempt": 1}

    answer = compare(
        post("registrations", {"operationId": "worker-ok", "callbackUrl": receiver.url}, status=503), worker, beside
    )

    assert answer["error"]["code"] == "StorageUnavailable"
    assert worker.take("deliver", json.dumps(message), {}) == "Failure"


def test_foreign_message_is_accepted_and_skipped(work: Callable[..., AzureWorker], azurite: Azurite) -> None:
    """A failure would only repeat the message."""
    worker = work(AzureWebJobsStorage=azurite.connection_string)

    assert worker.take("deliver", "no message of ours", {}) == "Success"


def test_every_log_line_has_its_invocation(
    work: Callable[..., AzureWorker], storage: Azurite, upstream: Upstream, receiver: Receiver
) -> None:
    """Lines of a sweep's or a delivery's threads are included, since the host drops lines without an invocation."""
    unreadable = Answer.of({"id": "strange", "status": "Unheard-of"})
    throttled, denied = Answer(status=429, headers={"Retry-After": "1"}), Answer(status=401)
    upstream.script("ends", "Succeeded")
    upstream.script("strange", answers=[unreadable, throttled], always=denied)
    receiver.answer("/gone", then=410)
    worker = work(AzureWebJobsStorage=storage.connection_string, BRIDGE_POLL_INTERVAL="1s")
    with TableClient.from_connection_string(storage.connection_string, TABLE) as table:
        table.create_table()
        table.create_entity({"PartitionKey": "op0", "RowKey": "due:0:stranger", "v": 99})
    for operation_id in ("ends", "strange"):
        register(worker, operation_id, f"{receiver.url}/gone")
    with QueueClient.from_connection_string(storage.connection_string, DELIVERIES_QUEUE) as queue:
        queue.create_queue()
        worker.tick("sweep")
        [message] = queue.receive_messages()
        body = read_body(message.content, "base64").decode()
        worker.take("deliver", body, trigger_metadata(message, body))
    order = json.dumps({"states": ["dead"], "since": "2026-01-01T00:00:00Z"}).encode()
    worker.request("POST", "http://127.0.0.1/api/redeliver", JSON, order)
    while "source.denied" not in {line["event"] for _, line in worker.lines()}:
        worker.tick("sweep")

    seen = {(line["event"], invocation) for invocation, line in worker.lines()}

    of_sweeps = {"row.unreadable", "operation.finished", "source.unknown-status", "source.throttled", "source.denied"}
    assert {(event, "call-of-sweep") for event in of_sweeps} <= seen
    assert ("registration.redelivered", "call-of-redeliver_many") in seen
    assert {invocation for _, invocation in seen} == {
        f"call-of-{name}" for name in ("register", "sweep", "deliver", "redeliver_many")
    }


def register(worker: AzureWorker, operation_id: str, callback: str) -> None:
    """Register a callback."""
    body = json.dumps({"operationId": operation_id, "callbackUrl": callback}).encode()
    assert worker.request("POST", "http://127.0.0.1/api/registrations", JSON, body).status == 201
