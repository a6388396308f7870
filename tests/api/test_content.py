"""Bodies on the wire: length, encodings, and compression of answers."""

import gzip
import json
from collections.abc import Mapping

import azure.functions as func
import pytest

from bridge.api.handlers import Handlers
from bridge.api.http_response import MIN_BYTES, accepts_gzip
from bridge.api.routes import Handler
from bridge.app import App
from tests.support.harness import Harness
from tests.support.http import BASE, Client, route_of

JSON = {"Content-Type": "application/json"}
BODIES: list[tuple[Handler, str, dict[str, object]]] = [
    (Handlers.register, "/registrations", {"operationId": "operation-1", "callbackUrl": "https://hooks.example.com/"}),
    (Handlers.redeliver_many, "/redeliver", {"states": ["dead"], "since": "2026-11-23T12:00:00Z"}),
    (Handlers.ping, "/callbacks/ping", {"callbackUrl": "https://hooks.example.com/"}),
]


@pytest.mark.parametrize(("route", "path", "body"), BODIES)
def test_body_without_a_length_is_rejected_with_411(
    bridge: Harness, route: Handler, path: str, body: dict[str, object]
) -> None:
    client = Client.of(bridge)
    chunked = {**JSON, "Transfer-Encoding": "Chunked"}

    lost = client.call(route, path, method="POST", headers=chunked)
    whole = client.call(route, path, method="POST", headers=chunked, body=json.dumps(body).encode())

    assert (lost.status, lost.error["code"], lost.error["target"]) == (411, "LengthRequired", "Content-Length")
    assert whole.status in (200, 201, 202)


def test_empty_body_with_a_length_is_no_json(bridge: Harness) -> None:
    answer = Client.of(bridge).call(Handlers.register, method="POST", headers={**JSON, "Content-Length": "0"})

    assert (answer.status, answer.error["code"]) == (400, "InvalidJson")


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "br", "gzip, identity", "deflate"])
@pytest.mark.parametrize(("route", "path", "body"), BODIES)
def test_body_with_a_coding_is_rejected_with_a_reason(
    bridge: Harness, route: Handler, path: str, body: dict[str, object], coding: str
) -> None:
    sent = gzip.compress(json.dumps(body).encode())

    answer = Client.of(bridge).call(route, path, method="POST", headers={**JSON, "Content-Encoding": coding}, body=sent)

    assert (answer.status, answer.error["target"]) == (415, "Content-Encoding")
    assert answer.headers["Accept-Encoding"] == "identity"


def test_identity_coding_is_accepted(bridge: Harness) -> None:
    sent = json.dumps(BODIES[0][2]).encode()

    answer = Client.of(bridge).call(
        Handlers.register, method="POST", headers={**JSON, "Content-Encoding": "Identity"}, body=sent
    )

    assert answer.status == 201


def answered(
    bridge: Harness, handler: Handler, path: str, headers: Mapping[str, str], **more: str
) -> func.HttpResponse:
    request = func.HttpRequest("GET", BASE + path, headers=headers, params={}, route_params=more, body=b"")
    return App(bridge.bridge, new_request_id=lambda: "an-id").answer(route_of(handler), request)


@pytest.mark.parametrize(
    ("route", "path"),
    [
        (Handlers.describe, "/openapi.json"),
        (Handlers.dashboard, "/dashboard"),
        (Handlers.list_registrations, "/registrations"),
        (Handlers.overview, "/overview"),
    ],
)
def test_long_answer_is_compressed_for_a_client_that_accepts_it(bridge: Harness, route: Handler, path: str) -> None:
    for number in range(20):
        bridge.register(f"operation-{number}")

    plain = answered(bridge, route, path, {})
    short = answered(bridge, route, path, {"Accept-Encoding": "gzip, deflate"})

    assert len(plain.get_body()) >= MIN_BYTES
    assert len(short.get_body()) < len(plain.get_body()) / 2
    assert gzip.decompress(short.get_body()) == plain.get_body()
    assert dict(short.headers) == {**plain.headers, "Content-Encoding": "gzip"}
    assert (short.status_code, short.mimetype, short.charset) == (plain.status_code, plain.mimetype, plain.charset)


def test_long_error_is_compressed_too(bridge: Harness) -> None:
    query = "&".join(f"parameter-{number}=x" for number in range(50))
    request = func.HttpRequest("GET", f"{BASE}/status?{query}", headers={"accept-encoding": "gzip"}, body=b"")

    response = App(bridge.bridge).answer(route_of(Handlers.status), request)

    assert (response.status_code, response.headers["Content-Encoding"]) == (400, "gzip")
    assert len(json.loads(gzip.decompress(response.get_body()))["error"]["details"]) == 50


def test_short_answer_is_not_compressed(bridge: Harness) -> None:
    response = answered(bridge, Handlers.signing_keys, "/signing-keys", {"Accept-Encoding": "gzip"})

    assert "Content-Encoding" not in response.headers
    assert "value" in json.loads(response.get_body())


def test_answer_with_a_secret_is_never_compressed(bridge: Harness) -> None:
    """Neither bridge nor proxy may compress, since the length would depend on the client's text beside the secret."""
    body = {**BODIES[0][2], "metadata": {"a": "long " * 500}}

    new, again = (Client.of(bridge).register(body, Accept_Encoding="gzip") for _ in range(2))

    assert [each.status for each in (new, again)] == [201, 200]
    assert [each.headers["Cache-Control"] for each in (new, again)] == ["no-store, no-transform"] * 2
    assert new.body["metadata"] == body["metadata"]


def test_cacheable_answer_has_the_vary_header(bridge: Harness) -> None:
    plain = answered(bridge, Handlers.describe, "/openapi.json", {})
    short = answered(bridge, Handlers.describe, "/openapi.json", {"Accept-Encoding": "gzip"})
    same = answered(bridge, Handlers.describe, "/openapi.json", {"If-None-Match": short.headers["ETag"]})

    assert plain.headers["Vary"] == short.headers["Vary"] == same.headers["Vary"] == "Accept-Encoding"
    assert plain.headers["ETag"].startswith('W/"')
    assert same.status_code == 304


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", False),
        ("gzip", True),
        ("GZip", True),
        ("x-gzip", True),
        ("deflate, gzip;q=1.0, *;q=0.5", True),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", True),
        ("*", True),
        ("gzip ; q=0.5", True),
        ("gzip;q=0.001", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000, *", False),
        ("*;q=0", False),
        ("br", False),
        ("identity", False),
        ("identity, gzip;q=0.5", False),
        ("identity;q=0.5, gzip;q=1.0", True),
        ("gzip;q=2", False),
        ("gzip;q=a", False),
        ("gzip;q=-1", False),
        ("gzip;level=9", False),
        (",,;", False),
        ("gzip\u0661", False),
    ],
)
def test_gzip_is_accepted_by_the_weights_of_the_header(header: str, expected: bool) -> None:
    assert accepts_gzip(header) is expected
