"""The bridge over HTTP, a receiver and a fake Speech service: the same tests on the local host and on Microsoft's."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from azure.storage.queue import QueueClient, TextBase64EncodePolicy
from standardwebhooks import Webhook

from bridge.adapters.azure.queue import DELIVERIES_QUEUE
from local.upstream.catalogue import listed, named
from tests.support.hosts import KEY, MAX_WAIT, Running, wait_until

#: Recorded answers about the whole source, not one operation. They pause the source, so each has a separate source
#: here.
STOPPING = {
    "wrong key (gateway)": "first",
    "no role": "second",
    "throttled with seconds": "third",
    "throttled without a hint": "fourth",
    "unavailable": "fifth",
}
TERMINAL = {
    "succeeded (from the schema)": "Succeeded",
    "failed (from the schema)": "Failed",
    "canceled (video translation)": "Canceled",
    "other letter case": "Succeeded",
}
NAMES = [each["name"] for each in listed()]  # type: ignore[union-attr, index, call-overload]


def test_a_registration_ends_in_one_signed_callback(bridge_app: Running) -> None:
    bridge_app.upstream.script("generation", "NotStarted", (1, "Running"), (2, "Succeeded"))

    created = bridge_app.register("generation", "/life", metadata={"video": "intro"})
    shown = bridge_app.until(created, "delivered")

    (callback,) = [each for each in bridge_app.receiver.callbacks if each.path == "/life"]
    event = Webhook(created["signingSecret"]).verify(callback.body, callback.headers)
    assert (event["type"], event["data"]["metadata"]) == ("avatar.operation.succeeded", {"video": "intro"})
    assert [each["status"] for each in shown["attempts"]] == [204]


def test_many_registered_at_once_are_each_delivered_once(bridge_app: Running) -> None:
    names = [f"many-{number}" for number in range(60)]
    for name in names:
        bridge_app.upstream.script(name, "Succeeded")

    with ThreadPoolExecutor(20) as pool:
        created = list(pool.map(lambda name: bridge_app.register(name, f"/many/{name}"), names))
    for each in created:
        bridge_app.until(each, "delivered")

    paths = [each.path for each in bridge_app.receiver.callbacks if each.path.startswith("/many/")]
    assert sorted(paths) == sorted(f"/many/{name}" for name in names)


def test_failed_attempt_is_made_again_with_the_same_message(bridge_app: Running) -> None:
    bridge_app.upstream.script("retry", "Succeeded")
    bridge_app.receiver.answer("/retry", 500)

    shown = bridge_app.until(bridge_app.register("retry", "/retry"), "delivered")

    callbacks = [each for each in bridge_app.receiver.callbacks if each.path == "/retry"]
    assert [each["status"] for each in shown["attempts"]] == [500, 204]
    assert len({(each.headers["webhook-id"], each.body) for each in callbacks}) == 1


def test_redelivery_sends_the_same_message_again(bridge_app: Running) -> None:
    bridge_app.upstream.script("again", "Succeeded")
    created = bridge_app.register("again", "/again")
    bridge_app.until(created, "delivered")

    ordered = bridge_app.call("POST", f"registrations/{created['id']}/redeliver")

    assert ordered.status_code == 202
    wait_until(
        lambda: bridge_app.read(f"registrations/{created['id']}"),
        lambda shown: shown["state"] == "delivered" and len(shown["attempts"]) == 2,
    )
    callbacks = [each for each in bridge_app.receiver.callbacks if each.path == "/again"]
    assert len({(each.headers["webhook-id"], each.body) for each in callbacks}) == 1


def test_410_ends_as_dead_and_bulk_redelivery_includes_it(bridge_app: Running) -> None:
    bridge_app.upstream.script("gone", "Succeeded")
    bridge_app.receiver.answer("/gone", 410)
    created = bridge_app.register("gone", "/gone")
    bridge_app.until(created, "dead")

    ordered = bridge_app.call("POST", "redeliver", json={"states": ["dead"], "since": "2026-01-01T00:00:00Z"})

    assert ordered.status_code in {200, 202}, ordered.text
    bridge_app.until(created, "delivered")


def test_canceled_registration_is_not_delivered(bridge_app: Running) -> None:
    bridge_app.upstream.script("canceled", "Running")
    created = bridge_app.register("canceled", "/canceled")

    answer = bridge_app.call("DELETE", f"registrations/{created['id']}")

    assert answer.status_code in {200, 204}
    bridge_app.upstream.script("canceled", "Succeeded")
    assert bridge_app.read(f"registrations/{created['id']}")["state"] == "canceled"


@pytest.mark.parametrize(("name", "final_status"), TERMINAL.items())
def test_recorded_final_status_is_delivered(bridge_app: Running, name: str, final_status: str) -> None:
    operation = f"ends-{NAMES.index(name)}"
    bridge_app.upstream.script(operation, always=named(name))

    shown = bridge_app.until(bridge_app.register(operation, f"/{operation}"), "delivered")

    assert shown["operation"]["status"] == final_status


@pytest.mark.parametrize("name", [each for each in NAMES if each not in STOPPING and each not in TERMINAL])
def test_other_recorded_answers_do_not_end_the_operation(bridge_app: Running, name: str) -> None:
    operation = f"answer-{NAMES.index(name)}"
    bridge_app.upstream.script(operation, "Succeeded", answers=[named(name)])

    created = bridge_app.register(operation, f"/{operation}")

    bridge_app.upstream.wait_for(lambda asked: any(each.operation_id == operation for each in asked), MAX_WAIT)
    assert bridge_app.read(f"registrations/{created['id']}")["state"] in {"waiting", "pending", "delivered"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "registrations", b"", 415),
        ("POST", "registrations", b"nonsense", 400),
        ("POST", "registrations", b"\xff\xfe", 400),
        ("POST", "registrations", b'"text"', 400),
        ("POST", "registrations", b'{"operationId": NaN}', 400),
        ("POST", "registrations", b'{"operationId": "a b"}', 400),
        ("POST", "registrations", b'{"operationId": "abc", "callbackUrl": "https://a.example/", "colour": 1}', 400),
        ("POST", "registrations", b'{"operationId": "abc", "callbackUrl": "ftp://a.example/"}', 400),
        ("POST", "registrations", b'{"operationId": "abc", "callbackUrl": "https://169.254.169.254/"}', 400),
        ("POST", "registrations", b'{"operationId": "abc", "callbackUrl": "https://a.example/\\u0000"}', 400),
        ("POST", "registrations", b'{"operationId": "abc", "metadata": {"a": "\\ud800"}}', 400),
        ("POST", "registrations", b"[" * 50_000, 400),
        ("POST", "registrations", b'{"metadata": "' + b"a" * 70_000 + b'"}', 413),
        ("GET", "registrations?limit=0", b"", 400),
        ("GET", "registrations?limit=x", b"", 400),
        ("GET", "registrations?state=other", b"", 400),
        ("GET", "registrations?cursor=x", b"", 400),
        ("GET", "registrations?colour=blue", b"", 400),
        ("GET", "registrations?state=", b"", 400),
        ("GET", "registrations/nonsense", b"", 404),
        ("GET", "registrations/default~abc~0000000000000000", b"", 404),
        ("GET", "registrations/%C3%A4~b~c", b"", 404),
        ("GET", "registrations/a%2Fb", b"", 404),
        ("GET", "registrations/a%0Ab", b"", 404),
        ("GET", "registrations/" + "a" * 7000, b"", 404),
        ("DELETE", "registrations/nonsense", b"", 404),
        ("POST", "registrations/nonsense/redeliver", b"", 404),
        ("GET", "operations/unknown-operation", b"", 404),
        ("GET", "operations/%2e%2e", b"", 404),
        ("POST", "redeliver", b'{"states": []}', 400),
        ("POST", "callbacks/ping", b"{}", 400),
        ("GET", "signing-secret", b"", 400),
    ],
)
def test_wrong_input_is_rejected_with_a_reason(
    bridge_app: Running, method: str, path: str, body: bytes, status: int
) -> None:
    headers = {"Content-Type": "application/json"} if body else {}

    answer = bridge_app.call(method, path, data=body, headers=headers)

    assert answer.status_code == status, answer.text[:300]
    if status >= 400 and answer.content:
        assert answer.json()["error"]["code"] == answer.headers["x-ms-error-code"]


def test_chunked_body_is_rejected_with_a_reason(bridge_app: Running) -> None:
    answer = bridge_app.call("POST", "registrations", data=iter([b"{}"]), headers={"Content-Type": "application/json"})

    assert (answer.status_code, "Content-Length" in answer.text) == (411, True)


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("status", {}, 401),
        ("status", {"x-functions-key": "wrong"}, 401),
        ("status", {"x-functions-key": KEY}, 200),
        (f"status?code={KEY}", {}, 200),
        (f"status?Code={KEY}", {}, 200),
        (f"registrations?CODE={KEY}&limit=1", {}, 200),
        ("health", {}, 200),
        ("openapi.json", {}, 200),
        ("signing-keys", {}, 200),
        ("dashboard", {}, 200),
    ],
)
def test_key_is_required_for_functions_that_are_not_public(
    bridge_app: Running, path: str, headers: dict[str, str], status: int
) -> None:
    answer = requests.get(f"{bridge_app.host.url}/api/{path}", headers=headers, timeout=MAX_WAIT)

    assert answer.status_code == status, answer.text[:300]


@pytest.mark.parametrize(
    "call",
    [
        "PUT registrations",
        "DELETE registrations",
        "PATCH registrations/x",
        "POST status",
        "GET redeliver",
        "GET nothing",
    ],
)
def test_method_that_a_route_lacks_is_404_with_no_body(bridge_app: Running, call: str) -> None:
    method, path = call.split()

    answer = bridge_app.call(method, path)

    assert (answer.status_code, answer.content) == (404, b"")


@pytest.mark.parametrize(
    "message",
    [b"no message of ours", b'{"v": 1}', b"[]", b"\xff\xfe", '{"v": 99, "registration": "ä"}'.encode()],
    ids=["text", "object", "list", "no UTF-8", "newer schema"],
)
def test_message_of_another_sender_stops_no_delivery(bridge_app: Running, message: bytes) -> None:
    storage = bridge_app.azurite.connection_string
    with QueueClient.from_connection_string(storage, DELIVERIES_QUEUE) as queue:
        sent = queue.send_message(TextBase64EncodePolicy().encode(message.decode("latin-1")))

        wait_until(lambda: [each.id for each in queue.peek_messages(32)], lambda ids: sent.id not in ids)
    operation = f"beside-{sent.id}"
    bridge_app.upstream.script(operation, "Succeeded")
    bridge_app.until(bridge_app.register(operation, f"/{operation}"), "delivered")


def test_message_that_is_not_base64_goes_to_the_poison_queue(bridge_app: Running) -> None:
    storage = bridge_app.azurite.connection_string
    with (
        QueueClient.from_connection_string(storage, DELIVERIES_QUEUE) as queue,
        QueueClient.from_connection_string(storage, f"{DELIVERIES_QUEUE}-poison") as poison,
    ):
        queue.send_message("!! not base64 !!")

        contents = wait_until(lambda: _contents(poison), lambda contents: contents)

    assert contents == ["!! not base64 !!"]


def _contents(queue: QueueClient) -> list[str]:
    try:
        return [str(each.content) for each in queue.peek_messages(32) if "base64" in str(each.content)]
    except Exception as error:
        if getattr(error, "status_code", None) == 404:  # the host creates the queue with the first message
            return []
        raise


@pytest.mark.parametrize("name", STOPPING)
def test_recorded_answer_about_the_source_pauses_only_that_source(bridge_app: Running, name: str) -> None:
    source = STOPPING[name]
    bridge_app.upstream.script(f"stops-{source}", always=named(name))

    created = bridge_app.register(f"stops-{source}", f"/{source}", source=source)
    stopped = wait_until(
        lambda: [each for each in bridge_app.read("status")["sources"] if each["name"] == source],
        lambda found: found[0]["stoppedUntil"] or found[0]["problem"],
    )

    assert (stopped[0]["problem"] is None) is (name not in {"wrong key (gateway)", "no role"})
    assert bridge_app.read(f"registrations/{created['id']}")["state"] == "waiting"
    bridge_app.upstream.script(f"beside-{source}", "Succeeded")
    bridge_app.until(bridge_app.register(f"beside-{source}", f"/beside-{source}"), "delivered")
