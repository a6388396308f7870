"""Wrong input of clients: named, answered, and never stored."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.api.handlers import Handlers
from tests.support.harness import Harness, harness
from tests.support.http import Client

GOOD = {"operationId": "operation-1", "callbackUrl": "https://receiver.example.com/hook"}
LOCATION = "https://speech.example.com/avatar/operations/operation-1?api-version=2024-08-01"
JOB_LOCATION = "https://speech.example.com/avatar/batchsyntheses/deck-1"


@pytest.mark.parametrize(
    ("change", "target"),
    [
        ({"operationId": None}, "operationId"),
        ({"operationId": ""}, "operationId"),
        ({"operationId": "ab"}, "operationId"),
        ({"operationId": "a" * 65}, "operationId"),
        ({"operationId": "operation-1\n"}, "operationId"),
        ({"operationId": "operation\u0661"}, "operationId"),
        ({"operationId": "\uff4fperation"}, "operationId"),
        ({"operationId": "-operation"}, "operationId"),
        ({"operationId": "operation-"}, "operationId"),
        ({"operationId": "oper/ation"}, "operationId"),
        ({"operationId": "oper:ation"}, "operationId"),
        ({"operationId": 7}, "operationId"),
        ({"operationId": ["operation-1"]}, "operationId"),
        ({"operationLocation": LOCATION}, "operationId"),
        (
            {"operationId": None, "operationLocation": "https://other.example.com/avatar/operations/a1b"},
            "operationLocation",
        ),
        (
            {"operationId": None, "operationLocation": "https://speech.example.com/customvoice/operations/a1b"},
            "operationLocation",
        ),
        (
            {"operationId": None, "operationLocation": "https://speech.example.com/avatar/operations/"},
            "operationLocation",
        ),
        (
            {"operationId": None, "operationLocation": "https://speech.example.com/avatar/operations/a/b"},
            "operationLocation",
        ),
        (
            {"operationId": None, "operationLocation": "https://speech.example.com/avatar/operations/a%2fb"},
            "operationLocation",
        ),
        ({"operationId": None, "operationLocation": "https://["}, "operationLocation"),
        ({"operationId": None, "operationLocation": 7}, "operationLocation"),
        ({"jobId": "deck-1"}, "operationId"),
        ({"operationId": None, "operationLocation": LOCATION, "jobId": "deck-1"}, "operationLocation"),
        ({"operationId": None, "jobId": "deck-1", "jobLocation": JOB_LOCATION}, "jobId"),
        ({"operationId": None, "jobId": "ab"}, "jobId"),
        ({"operationId": None, "jobId": 7}, "jobId"),
        ({"operationId": None, "jobLocation": LOCATION}, "jobLocation"),
        ({"operationId": None, "jobLocation": JOB_LOCATION.replace("avatar", "customvoice")}, "jobLocation"),
        ({"operationId": None, "jobLocation": "https://other.example.com/avatar/batchsyntheses/deck-1"}, "jobLocation"),
        ({"operationId": None, "jobLocation": 7}, "jobLocation"),
        ({"callbackUrl": None}, "callbackUrl"),
        ({"callbackUrl": ""}, "callbackUrl"),
        ({"callbackUrl": 7}, "callbackUrl"),
        ({"callbackUrl": "https://"}, "callbackUrl"),
        ({"callbackUrl": "https://user:password@receiver.example.com/"}, "callbackUrl"),
        ({"callbackUrl": "https://receiver.example.com/#fragment"}, "callbackUrl"),
        ({"callbackUrl": "https://receiver.example.com/" + "a" * 2048}, "callbackUrl"),
        ({"callbackUrl": "ftp://receiver.example.com/"}, "callbackUrl"),
        ({"callbackUrl": "http://receiver.example.com/"}, "callbackUrl"),
        ({"callbackUrl": "https://169.254.169.254/metadata"}, "callbackUrl"),
        ({"callbackUrl": "https://168.63.129.16/"}, "callbackUrl"),
        ({"callbackUrl": "https://0x7f.1/"}, "callbackUrl"),
        ({"callbackUrl": "https://[::ffff:10.0.0.1]/"}, "callbackUrl"),
        ({"source": "other"}, "source"),
        ({"source": 7}, "source"),
        ({"events": []}, "events"),
        ({"events": ["Exploded"]}, "events.0"),
        ({"events": ["Succeeded", "succeeded"]}, "events.1"),
        ({"events": "Succeeded"}, "events"),
        ({"metadata": "text"}, "metadata"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"a": "x" * 4096}}, "metadata"),
        ({"metadata": {"a": "ü" * 2048}}, "metadata"),
        ({"format": "xml"}, "format"),
        ({"format": "CloudEvents"}, "format"),
        ({"headers": "Authorization: x"}, "headers"),
        ({"headers": [["Authorization", "x"]]}, "headers"),
        ({"headers": {f"X-{number}": "x" for number in range(11)}}, "headers"),
        ({"headers": {"X-Long": "x" * 4091}}, "headers"),
        ({"headers": {"X-Number": 7}}, "headers.X-Number"),
        ({"headers": {"X-Null": None}}, "headers.X-Null"),
        ({"headers": {"": "x"}}, "headers."),
        ({"headers": {"X Y": "x"}}, "headers.X Y"),
        ({"headers": {"X-Y:": "x"}}, "headers.X-Y:"),
        ({"headers": {"X\r\nY": "x"}}, "headers.X  Y"),
        ({"headers": {"X-\u00dc": "x"}}, "headers.X-\u00dc"),
        ({"headers": {"X-Twice": "x", "x-twice": "x"}}, "headers.x-twice"),
        ({"group": ""}, "group"),
        ({"group": "a b"}, "group"),
        ({"group": "x" * 65}, "group"),
        ({"callbackURL": "https://receiver.example.com/"}, "callbackURL"),
    ],
)
def test_a_wrong_field_is_named(bridge: Harness, change: dict[str, object], target: str) -> None:
    """The answer is 400 with the field as target, and nothing is stored."""
    body = {name: value for name, value in {**GOOD, **change}.items() if value is not None}

    answer = Client.of(bridge).register(body)

    assert (answer.status, answer.error["code"]) == (400, "InvalidRequest")
    assert answer.headers["x-ms-error-code"] == "InvalidRequest"
    assert answer.targets == [target]
    assert bridge.memory.rows() == []


def test_every_wrong_field_is_named_at_once(bridge: Harness) -> None:
    """One request is enough to see all problems."""
    body = {"callbackUrl": "nonsense", "events": [], "metadata": 7, "source": "x", "colour": "blue"}

    answer = Client.of(bridge).register(body)

    assert set(answer.targets) == {"operationId", "callbackUrl", "events", "metadata", "source", "colour"}


@pytest.mark.parametrize(
    "url",
    [
        "https://u:hunter2@a/",
        "https://u:hunter2",
        "https://u:hunter2@exam\u2100ple.com/",
        "https://[hunter2]/",
        "hunter2://a/",
    ],
)
def test_a_value_is_never_repeated_in_an_error(bridge: Harness, url: str) -> None:
    """The value can be a secret in the wrong field."""
    answer = Client.of(bridge).register({**GOOD, "callbackUrl": url, "metadata": "hunter2", "source": "hunter2"})

    assert "hunter2" not in json.dumps(answer.body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"\xff\xfe",
        b'{"operationId": "op\xe9ration"}',
        b"NaN",
        b'{"metadata": {"a": NaN}}',
        b'{"metadata": {"a": Infinity}}',
        b"[" * 10_000 + b"]" * 10_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b"[]",
        b"7",
        b"null",
        b'"text"',
        b'{"operationId": "operation-1"',
        b'{"a": "\\ud800"}',
        b"\xef\xbb\xbf\xef\xbb\xbf{}",
        b'{"operationId": "a1b",}',
        b"{'operationId': 'a1b'}",
    ],
)
def test_a_body_that_is_no_json_object_is_rejected(bridge: Harness, body: bytes) -> None:
    """Covered: not JSON, not UTF-8, not an object, not finite, nested too deeply."""
    answer = Client.of(bridge).register(body)

    assert (answer.status, answer.error["code"]) == (400, "InvalidJson")
    assert bridge.memory.rows() == []


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 4500])
def test_a_number_that_json_cannot_represent_is_rejected(bridge: Harness, number: str) -> None:
    """The receiver would get another number."""
    body = f'{{"operationId":"operation-1","callbackUrl":"https://a.example/","metadata":{{"n":{number}}}}}'

    answer = Client.of(bridge).register(body.encode())

    assert answer.status == 400
    assert bridge.memory.rows() == []


def test_a_body_over_64_kib_is_too_large(bridge: Harness) -> None:
    """The answer is 413, before the body is read."""
    assert Client.of(bridge).register(b" " * 65_536).status == 400
    assert Client.of(bridge).register(b" " * 65_537).status == 413


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin1",
        "application/json; charset=utf-16",
        "application/json; charset=utf88",
        'application/json; charset="utf8',
    ],
)
def test_another_content_type_is_rejected(bridge: Harness, content_type: str) -> None:
    """The answer is 415."""
    assert Client.of(bridge).register(GOOD, Content_Type=content_type).status == 415


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json;",
        "Application/JSON; charset=UTF-8",
        'application/json;charset="utf-8"',
        "application/json; charset=utf8",
        'application/json ; Charset = "UTF8"',
    ],
)
def test_json_in_utf8_is_accepted(bridge: Harness, content_type: str) -> None:
    """Any notation of the type is accepted."""
    assert Client.of(bridge).register(GOOD, Content_Type=content_type).status == 201


def test_a_byte_order_mark_before_a_body_is_ignored(bridge: Harness) -> None:
    """At most one UTF-8 mark is accepted."""
    body = json.dumps(GOOD).encode()

    assert Client.of(bridge).register(b"\xef\xbb\xbf" + body).status == 201
    assert Client.of(bridge).register(b"\xef\xbb\xbf" * 2 + body).status == 400
    assert Client.of(bridge).register(json.dumps(GOOD).encode("utf-16")).status == 400


@pytest.mark.parametrize(("end", "status"), [("/", 201), ("/?api-version=1", 201), ("//", 400), ("/%2F", 400)])
def test_an_operation_location_can_end_with_a_slash(bridge: Harness, end: str, status: int) -> None:
    """One slash is accepted, and the operation is the same."""
    location = f"https://speech.example.com/avatar/operations/operation-1{end}"

    answer = Client.of(bridge).register({"operationLocation": location, "callbackUrl": GOOD["callbackUrl"]})

    assert answer.status == status
    assert status == 400 or answer.body["id"].startswith("default~operation-1~")


@pytest.mark.parametrize(
    ("query", "target"),
    [
        ("state=lost", "state"),
        ("state=", "state"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=-1", "limit"),
        ("limit=%D9%A1", "limit"),
        ("limit=1e1", "limit"),
        ("cursor=nonsense", "cursor"),
        ("cursor=", "cursor"),
        ("cursor=Li4v", "cursor"),
        ("operationId=a/b", "operationId"),
        ("sate=dead", "sate"),
    ],
)
def test_a_wrong_parameter_of_a_list_is_named(bridge: Harness, query: str, target: str) -> None:
    """Otherwise, a typo would list all registrations."""
    answer = Client.of(bridge).call(Handlers.list_registrations, f"/registrations?{query}")

    assert (answer.status, answer.targets) == (400, [target])


def test_a_call_without_parameters_rejects_any(bridge: Harness) -> None:
    """Unknown parameters are rejected, like in other calls."""
    answer = Client.of(bridge).call(Handlers.status, "/status?verbose=1")

    assert (answer.status, answer.targets) == (400, ["verbose"])


def test_the_function_key_is_a_known_parameter(bridge: Harness) -> None:
    """The platform reads this parameter."""
    assert Client.of(bridge).call(Handlers.list_registrations, "/registrations?code=abc&clientId=default").status == 200


@pytest.mark.parametrize("public_id", ["", "nonsense", "default~operation-1~0123456789abcdef", "~~", "../../etc"])
@pytest.mark.parametrize("route", [Handlers.read_registration, Handlers.cancel_registration, Handlers.redeliver])
def test_an_unknown_registration_is_404(bridge: Harness, route: object, public_id: str) -> None:
    """Covers unknown ids and impossible ones."""
    answer = Client.of(bridge).call(route, f"/registrations/{public_id}", id=public_id)  # type: ignore[arg-type]

    assert (answer.status, answer.error["code"]) == (404, "NotFound")


@pytest.mark.parametrize("operation_id", ["", "ab", "a/b", "operation-1"])
def test_an_unknown_operation_is_404(bridge: Harness, operation_id: str) -> None:
    """The operation has no registration."""
    assert Client.of(bridge).call(Handlers.read_operation, f"/operations/{operation_id}", id=operation_id).status == 404


def test_an_operation_of_an_unknown_source_is_400(bridge: Harness) -> None:
    """The error has the name of the parameter."""
    answer = Client.of(bridge).call(Handlers.read_operation, "/operations/operation-1?source=x", id="operation-1")

    assert (answer.status, answer.targets) == (400, ["source"])


@given(st.binary(max_size=200))
def test_any_bytes_are_answered(body: bytes) -> None:
    """The only answer is 400."""
    assert Client.of(harness()).register(body).status == 400


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(
    [
        "operationId",
        "operationLocation",
        "jobId",
        "jobLocation",
        "callbackUrl",
        "source",
        "events",
        "metadata",
        "format",
    ]
)


@given(st.dictionaries(fields, json_values | st.sampled_from(["operation-1", "https://a.example/", "default"])))
def test_any_json_is_answered(body: dict[str, object]) -> None:
    """The answer is 201 or 400. A rejected body leaves no row."""
    bridge = harness()

    answer = Client.of(bridge).register(body)

    assert answer.status in (201, 400)
    assert (answer.status == 201) == bool(bridge.memory.rows())


@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_accepted_metadata_is_returned_unchanged(metadata: dict[str, object]) -> None:
    """The comparison is of JSON values."""
    bridge = harness()

    answer = Client.of(bridge).register({**GOOD, "metadata": metadata})

    if answer.status == 201:
        assert answer.body["metadata"] == json.loads(json.dumps(metadata))
        bridge.upstream.script("operation-1", "Succeeded")
        bridge.sweep()
        bridge.deliver_all()
        assert json.loads(bridge.sender.posted[0].body)["data"]["metadata"] == answer.body["metadata"]
