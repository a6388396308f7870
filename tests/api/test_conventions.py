"""Conventions of Azure's APIs: ids of requests, the version parameter, and errors that name what is wrong."""

import json
import logging
from collections.abc import Mapping
from typing import Any

import azure.functions as func
import pytest

from bridge.api.handlers import Handlers
from bridge.api.routes import ALL_ROUTES, HEALTH, ROUTES, Handler, Route
from bridge.app import App
from bridge.domain.errors import Misconfigured, StorageUnavailable
from bridge.log import Event
from tests.support.description import calls
from tests.support.harness import Harness
from tests.support.http import BASE, Client, route_of
from tests.support.log_lines import lines_of
from tests.support.tenant import KeyServer, guarded_by

ID = "default~operation-1~0123456789abcdef"
GOOD = {"operationId": "operation-1", "callbackUrl": "https://receiver.example.com/hook"}
JSON = {"Content-Type": "application/json"}
MINE = "9C4D50EE-2D56-4CD3-8152-34347DC9F2B0"
OWN = "00000000-0000-4000-8000-000000000001"


def ask(
    app: App, route: Route[Any], *, query: str = "", body: bytes = b"", headers: Mapping[str, str] | None = None
) -> func.HttpResponse:
    """Send one request to a route."""
    request = func.HttpRequest(
        route.methods[0],
        f"{BASE}/{route.path.replace('{id}', ID)}?{query}",
        headers=headers or {},
        route_params={"id": ID},
        body=body,
    )
    return app.health(request) if route is HEALTH else app.answer(route, request)


def ids_of(response: func.HttpResponse) -> tuple[str | None, str | None]:
    """Return the bridge's and the client's id of an answer."""
    return response.headers.get("x-ms-request-id"), response.headers.get("x-ms-client-request-id")


def app_of(bridge: Harness) -> App:
    """Return an app with a known id for each request."""
    return App(bridge.bridge, new_request_id=lambda: OWN)


@pytest.mark.parametrize("route", ALL_ROUTES, ids=lambda route: str(route.name))
def test_every_answer_of_every_route_has_the_ids(bridge: Harness, route: Route[Any]) -> None:
    """Also errors, and answers of an app with wrong settings."""
    wrong = App(Misconfigured({"SPEECH_KEY": "is missing"}), new_request_id=lambda: OWN)
    sent = {"X-MS-Client-Request-Id": MINE}

    answers = [
        ask(app_of(bridge), route, headers=sent),
        ask(app_of(bridge), route, query="colour=blue", headers=sent),
        ask(wrong, route, headers=sent),
    ]

    assert [ids_of(each) for each in answers] == [(OWN, MINE)] * 3
    colour = 200 if route.handler is Handlers.dashboard else 400  # the page reads its own parameters
    assert [each.status_code for each in answers][1:] == [colour, 503]


def test_an_unchanged_answer_has_the_ids(bridge: Harness) -> None:
    answer = ask(app_of(bridge), route_of(Handlers.dashboard), headers={"If-None-Match": "*"})

    assert (answer.status_code, ids_of(answer)) == (304, (OWN, None))


def test_a_compressed_answer_has_the_ids(bridge: Harness) -> None:
    answer = ask(app_of(bridge), route_of(Handlers.describe), headers={"Accept-Encoding": "gzip"})

    assert (answer.headers["Content-Encoding"], ids_of(answer)) == ("gzip", (OWN, None))


def test_ids_of_the_bridge_are_random(bridge: Harness) -> None:
    app = App(bridge.bridge)

    ids = {ids_of(ask(app, HEALTH))[0] for _ in range(10)}

    assert len(ids) == 10


@pytest.mark.parametrize(
    "given",
    ["", " ", "a b", "a\r\nX-Injected: 1", "a\nb", "a\x00", "grüße", "a\u2028", "x" * 129, "\x7f"],
)
def test_an_invalid_id_of_a_client_is_ignored(bridge: Harness, given: str, caplog: pytest.LogCaptureFixture) -> None:
    """The request is answered as usual, and neither header nor log line has the text."""
    caplog.set_level(logging.DEBUG)
    route = route_of(Handlers.register)
    headers = {**JSON, "x-ms-client-request-id": given}

    answer = ask(app_of(bridge), route, body=json.dumps(GOOD).encode(), headers=headers)

    assert (answer.status_code, ids_of(answer)) == (201, (OWN, None))
    assert not [line for line in lines_of(caplog) if "client_request_id" in line]


@pytest.mark.parametrize("given", ["a", MINE, "x" * 128, '{"a":"b"}', "~!@#$%^&*()_+|`-=\\<>?,./;':[]"])
def test_a_valid_id_of_a_client_is_returned_unchanged(bridge: Harness, given: str) -> None:
    answer = ask(app_of(bridge), HEALTH, headers={"x-ms-client-request-id": given})

    assert ids_of(answer) == (OWN, given)


def test_every_line_of_a_request_has_its_ids(bridge: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """Also lines of work in pools, and of refused callers. Lines of sweeps and deliveries have none."""
    caplog.set_level(logging.DEBUG)
    app, hook = app_of(bridge), str(GOOD["callbackUrl"])
    sent = {**JSON, "x-ms-client-request-id": MINE}
    ask(app, route_of(Handlers.register), body=json.dumps(GOOD).encode(), headers=sent)
    bridge.sender.script(hook, 410)
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()
    bridge.deliver_all()
    order = b'{"since": "2026-11-23T00:00:00Z", "states": ["dead"]}'
    ask(app, route_of(Handlers.redeliver_many), body=order, headers=sent)
    ask(app, route_of(Handlers.ping), body=json.dumps({"callbackUrl": hook}).encode(), headers=sent)
    bridge.deliver_all()

    of_requests = {Event.REGISTERED, Event.SECRET_SHOWN, Event.REDELIVERY, Event.PINGED}
    seen = lines_of(caplog)

    assert {line["event"] for line in seen if "request_id" in line} == of_requests
    for line in seen:
        is_of_request = line["event"] in of_requests
        expected = (OWN, MINE) if is_of_request else (None, None)
        assert (line.get("request_id"), line.get("client_request_id")) == expected


def test_a_refused_caller_can_be_found_by_the_id(tenant: KeyServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    app = app_of(guarded_by(tenant))

    answer = ask(app, route_of(Handlers.status))

    assert (answer.status_code, ids_of(answer)) == (401, (OWN, None))
    assert [line["request_id"] for line in lines_of(caplog, Event.REFUSED)] == [OWN]


def test_a_failure_of_storage_is_logged_with_the_ids(
    bridge: Harness, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)

    def down(*_: object) -> None:
        raise StorageUnavailable("down")

    monkeypatch.setattr(type(bridge.table), "get", down)

    answer = ask(app_of(bridge), route_of(Handlers.read_message), headers={"x-ms-client-request-id": MINE})

    [line] = lines_of(caplog, Event.STORAGE)
    assert (answer.status_code, ids_of(answer)) == (503, (OWN, MINE))
    assert (line["request_id"], line["client_request_id"]) == (OWN, MINE)


def test_a_fault_in_the_code_is_answered_and_logged_with_the_ids(
    bridge: Harness, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(bridge.queries), "record", lambda *_: 1 / 0)

    answer = ask(app_of(bridge), route_of(Handlers.read_message), headers={"x-ms-client-request-id": MINE})

    [line] = [record.getMessage() for record in caplog.records if "a request failed" in record.getMessage()]
    assert (answer.status_code, ids_of(answer)) == (500, (OWN, MINE))
    assert line == f"a request failed: ZeroDivisionError, request_id={OWN} client_request_id={MINE}"


@pytest.mark.parametrize("name", ["api-version", "API-Version", "Api-version"])
@pytest.mark.parametrize("route", ALL_ROUTES, ids=lambda route: str(route.name))
def test_every_call_accepts_a_version_of_the_api(bridge: Harness, route: Route[Any], name: str) -> None:
    """The value is not read. Another parameter is still refused."""
    for value in ("2026-03-30", "", "nonsense", "1&api-version=2"):
        answer = ask(app_of(bridge), route, query=f"colour=blue&{name}={value}")
        if route.handler is Handlers.dashboard:  # the page reads its own parameters
            assert answer.status_code == 200
            continue
        refused = json.loads(answer.get_body())["error"]["details"]
        assert "colour" in {each["target"] for each in refused}
        assert not [each for each in refused if each["target"].lower() == "api-version"]


def test_a_version_of_the_api_is_not_part_of_the_next_page(bridge: Harness) -> None:
    for number in range(3):
        bridge.register(f"operation-{number}")

    page = Client.of(bridge).call(Handlers.list_registrations, "/registrations?limit=1&api-version=2026-03-30")

    assert page.status == 200
    assert "api-version" not in page.body["nextLink"]


def test_the_message_of_an_error_has_the_first_problem(bridge: Harness) -> None:
    client = Client.of(bridge)

    one = client.register({"operationId": "operation-1"}).error
    two = client.register({**GOOD, "colour": 1, "operationId": "!"}).error
    three = client.register({**GOOD, "colour": 1, "size": 1, "operationId": "!"}).error
    query = client.call(Handlers.list_registrations, "/registrations?limit=0").error

    assert one["message"] == "callbackUrl is required."
    assert two["message"].endswith("(and 1 more problem, see details).")
    assert three["message"].endswith("(and 2 more problems, see details).")
    assert query["message"] == "limit must be at least 1."
    for error in (one, two, three, query):
        first = error["details"][0]
        assert error["message"].startswith(f"{first['target']} {first['message']}")


def test_wrong_settings_are_named_in_the_message() -> None:
    app = App(Misconfigured({"SPEECH_KEY": "is missing", "SPEECH_ENDPOINT": "is not a URL"}))

    error = json.loads(ask(app, route_of(Handlers.status)).get_body())["error"]

    expected = "The app's settings are missing or wrong. SPEECH_KEY is missing (and 1 more problem, see details)."
    assert error["message"] == expected


def test_a_conflict_names_the_registration_and_each_field_that_differs(bridge: Harness) -> None:
    """`Location` leads to the registration."""
    client = Client.of(bridge)
    body = {**GOOD, "metadata": {"a": 1}, "headers": {"X-A": "1"}}
    public_id = client.register(body).body["id"]
    changes: list[tuple[dict[str, object], list[str]]] = [
        ({"metadata": {"a": 2}}, ["metadata"]),
        ({"headers": {"X-A": "2"}}, ["headers"]),
        ({"headers": None, "group": "long"}, ["group", "headers"]),
        ({"events": ["Failed"], "format": "cloudevents"}, ["events", "format"]),
    ]

    for change, fields in changes:
        answer = client.register({**body, **change})

        assert (answer.status, answer.error["code"]) == (409, "RegistrationDiffers")
        assert (answer.targets, answer.error["target"]) == (fields, fields[0])
        assert public_id in answer.error["message"]
        assert all(field in answer.error["message"] for field in fields)
        assert answer.headers["Location"] == f"{BASE}/registrations/{public_id}"


REPEATED = [
    ('"callbackUrl": "https://a.example.com/"', ["callbackUrl"]),
    ('"metadata": {"a": 1, "a": 1}', ["metadata.a"]),
    ('"metadata": {"list": [{}, {"b": {"c": 1, "d": 2, "c": 3}}]}', ["metadata.list.1.b.c"]),
    ('"metadata": {"\\u0061": 1, "a": 2, "": 0, "": 0}', ["metadata.a", "metadata."]),
    ('"headers": {"X-A": "1", "X-A": "2"}', ["headers.X-A"]),
    ('"colour": 1, "colour": 2, "operationId": "b"', ["colour", "operationId"]),
]


@pytest.mark.parametrize(("more", "targets"), REPEATED)
def test_a_repeated_key_is_refused_by_its_name(bridge: Harness, more: str, targets: list[str]) -> None:
    """Parsers differ in which of the values they take. Nothing is stored."""
    raw = json.dumps(GOOD)[:-1] + f", {more}}}"

    answer = Client.of(bridge).register(raw.encode())

    assert (answer.status, answer.error["code"], answer.targets) == (400, "InvalidRequest", targets)
    assert answer.error["message"].startswith(f"{targets[0]} is given more than once")
    assert bridge.table.taken() == {}


@pytest.mark.parametrize("route", [each for each in ROUTES if each.body], ids=lambda route: str(route.name))
def test_every_body_is_read_by_this_rule(bridge: Harness, route: Route[Handler]) -> None:
    answer = ask(app_of(bridge), route, body=b'{"a": {"b": 1, "b": 2}}', headers=JSON)

    error = json.loads(answer.get_body())["error"]
    assert (answer.status_code, [each["target"] for each in error["details"]]) == (400, ["a.b"])


def test_an_answer_names_a_bounded_number_of_repeated_keys(bridge: Harness) -> None:
    """Names are cut, and one key counts once."""
    keys = ", ".join(f'"{"k" * 100}{number:04d}": 1' for number in range(100))
    many = ", ".join(f'"{number}": 1, "{number}": 1, "{number}": 1' for number in range(2_000))

    long_names = Client.of(bridge).register(f"{{{keys}, {keys}}}".encode())
    many_names = Client.of(bridge).register(f"{{{many}}}".encode())

    assert long_names.targets == ["k" * 64]
    assert many_names.targets == [str(number) for number in range(20)]


def test_equal_keys_of_different_objects_are_accepted(bridge: Harness) -> None:
    metadata = {"a": {"a": {"a": [{"a": 1}, {"a": 1}]}}, "n": 10**30}

    assert Client.of(bridge).register({**GOOD, "metadata": metadata}).status == 201


def test_the_description_has_the_conventions() -> None:
    """Each call has the parameter and the header of requests, and each answer the two headers."""
    for call in calls().values():
        parameters = {each["name"] for each in call["parameters"]}
        assert {"api-version", "x-ms-client-request-id"} <= parameters
        for answer in call["responses"].values():
            assert {"x-ms-request-id", "x-ms-client-request-id"} <= set(answer["headers"])
