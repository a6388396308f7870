"""Requests as the app receives them from the host: the same on the local host and on Microsoft's."""

import http.client
import json
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from local.host.microsoft import MicrosoftHost
from local.host.process import HostProcess
from tests.support.hosts import KEY, MAX_WAIT
from tests.support.json_value import Json

Host = HostProcess | MicrosoftHost


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def seen(self) -> Json:
        return json.loads(self.body)


def send(host: Host, line: str, *headers: str, body: bytes = b"") -> Answer:
    """Send a raw request. No client library normalizes the bytes."""
    head = "\r\n".join([f"{line} HTTP/1.1", "Host: app.example:99", "Connection: close", *headers, "", ""])
    with socket.create_connection(("127.0.0.1", host.port), MAX_WAIT) as connection:
        connection.sendall(head.encode() + body)
        answer = http.client.HTTPResponse(connection, method=line.partition(" ")[0])
        answer.begin()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


@pytest.mark.parametrize(
    ("query", "params"),
    [
        ("?b=1", {"b": "1"}),
        ("?state=&b=1&c&d=", {"b": "1"}),
        ("?b=1&b=2&b=", {"b": "1,2"}),
        ("?B=1&b=2", {"b": "1,2"}),
        ("?b=1+2%2B3%20&c=%C3%A4", {"b": "1 2+3 ", "c": "ä"}),
        ("?c=%C3%A4%ff", {"c": "ä%ff"}),
        ("?x[]=1&y={b}|^`'", {"x[]": "1", "y": "{b}|^`'"}),
        ("?z=a#b", {"z": "a#b"}),
    ],
)
def test_query_reaches_the_app_decoded_and_without_empty_values(echo: Host, query: str, params: dict[str, str]) -> None:
    seen = send(echo, f"GET /api/echo/a{query}").seen

    assert seen["params"] == params


@pytest.mark.parametrize(
    ("sent", "id_", "url"),
    [
        ("/api/echo/a", "a", "/api/echo/a"),
        ("/API/Echo/A/", "A", "/API/Echo/A/"),
        ("/api/echo/a%2Fb%20c%3F%25", "a%2Fb c?%", "/api/echo/a%2Fb%20c%3F%25"),
        ("/api/echo/%C3%A4%F0%9F%98%80", "ä😀", "/api/echo/%C3%A4%F0%9F%98%80"),
        ("/api/echo/%61%7e", "a~", "/api/echo/a~"),
        ("/api/echo/%ff", "%ff", "/api/echo/%ff"),
        ("/api/echo/a%0Ab", "a\nb", "/api/echo/a%0Ab"),
        ("/api/x/../echo/a", "a", "/api/echo/a"),
        ("/api/x/%2e%2E/./echo/a", "a", "/api/echo/a"),
        ("/api/echo/a{b}|\"<>^`'!$&()*+,;=:@~", "a{b}|\"<>^`'!$&()*+,;=:@~", None),
        ("/api/echo/" + "a" * 7000, "a" * 7000, None),
        ("/api/echo/a?b=%20&c=1+2#f", "a", "/api/echo/a?b=%20&c=1+2%23f"),
    ],
)
def test_path_reaches_the_app_decoded_and_the_url_encoded_anew(
    echo: Host, sent: str, id_: str, url: str | None
) -> None:
    seen = send(echo, f"GET {sent}").seen

    assert seen["route"] == {"id": id_}
    assert url is None or seen["url"] == f"http://app.example:99{url}"


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET /api/none", 404),
        ("GET /api//echo/a", 404),
        ("GET //api/echo/a", 404),
        ("GET /api/echo", 404),
        ("GET /api/echo/a/b", 404),
        ("GET /api/echo/a%00b", 400),
        ("GET /api/echo/" + "a" * 9000, 414),
        ("GET /api/echo/a?b=" + "a" * 9000, 414),
        *((f"{method} /api/echo/a", 404) for method in ("HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "FOO")),
        ("POST /api/keyed", 404),
        ("GET /api/fail", 500),
    ],
)
def test_answer_of_the_host_has_no_body(echo: Host, line: str, status: int) -> None:
    answer = send(echo, line)

    assert (answer.status, answer.body) == (status, b"")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "FOO"])
def test_route_without_methods_accepts_every_method(echo: Host, method: str) -> None:
    answer = send(echo, f"{method} /api/later/x")

    assert answer.status == 200
    assert method == "HEAD" or answer.seen["method"] == method


def test_async_function_answers_like_any_other(echo: Host) -> None:
    answer = send(echo, "POST /api/later", "Content-Length: 2", body=b"hi")

    assert (answer.seen["route"], answer.seen["body"]) == ({}, "hi")


@pytest.mark.parametrize(
    ("line", "headers", "status"),
    [
        ("GET /api/keyed", [], 401),
        ("GET /api/keyed", [f"x-functions-key: {KEY}"], 200),
        ("GET /api/keyed", [f"X-Functions-Key: {KEY}"], 200),
        ("GET /api/keyed", ["x-functions-key: wrong"], 401),
        (f"GET /api/keyed?code={KEY}", [], 200),
        (f"GET /api/keyed?CODE={KEY}", [], 200),
        (f"GET /api/keyed?code={KEY}&code=wrong", [], 200),
        ("GET /api/keyed?code=wrong", [], 401),
        ("GET /api/keyed?code=", [], 401),
        (f"GET /api/keyed?code={KEY}", ["x-functions-key: wrong"], 401),
        (f"GET /api/keyed?code={KEY}", ["x-functions-key:"], 401),
        ("GET /api/master", [f"x-functions-key: {KEY}"], 401),
        ("GET /api/echo/a", ["x-functions-key: wrong"], 200),
    ],
)
def test_key_is_accepted_in_header_or_query(echo: Host, line: str, headers: list[str], status: int) -> None:
    assert send(echo, line, *headers).status == status


@pytest.mark.parametrize(
    ("sent", "name", "value"),
    [
        (["X-Two: 1", "X-Two: 2"], "x-two", "1,2"),
        (["X-Under_score: 3"], "x-under_score", "3"),
        (["X-Blank:   ", "X-Full:  1  "], "x-full", "1"),
        (["X-Blank:   ", "X-Full:  1  "], "x-blank", ""),
        (["X-Utf8: ä"], "x-utf8", "ä"),
        (["X-Forwarded-For: 1.2.3.4:55"], "x-forwarded-for", "1.2.3.4:55"),
        (["X-Long: " + "a" * 30_000], "x-long", "a" * 30_000),
        (["Content-Encoding: gzip"], "content-encoding", "gzip"),
    ],
)
def test_headers_reach_the_app(echo: Host, sent: list[str], name: str, value: str) -> None:
    assert send(echo, "GET /api/echo/a", *sent).seen["headers"][name] == value


@pytest.mark.parametrize(
    "headers",
    [["X-Long: " + "a" * 34_000], [f"X-Long-{n}: " + "a" * 1000 for n in range(34)], [f"X-{n}: 1" for n in range(101)]],
)
def test_oversized_headers_are_431_with_no_body(echo: Host, headers: list[str]) -> None:
    answer = send(echo, "GET /api/echo/a", *headers)

    assert (answer.status, answer.body) == (431, b"")


@pytest.mark.parametrize(
    ("headers", "body", "arrives"),
    [
        ([], b"", ""),
        (["Content-Length: 0"], b"", ""),
        (["Content-Length: 2"], b"hi", "hi"),
        (["Content-Length: 900000"], b"a" * 900_000, "a" * 900_000),
        (["Transfer-Encoding: chunked"], b"2\r\nhi\r\n0\r\n\r\n", ""),
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_body_arrives_if_its_length_is_announced(
    echo: Host, method: str, headers: list[str], body: bytes, arrives: str
) -> None:
    seen = send(echo, f"{method} /api/echo/a", *headers, body=body).seen

    assert seen["body"] == arrives
    assert ("transfer-encoding" in seen["headers"]) is (headers == ["Transfer-Encoding: chunked"])


def test_body_above_the_limit_is_500_with_no_body(echo: Host) -> None:
    body = b"a" * 1_000_001

    answer = send(echo, "POST /api/echo/a", f"Content-Length: {len(body)}", body=body)

    assert (answer.status, answer.body) == (500, b"")


def test_line_of_a_thread_without_an_invocation_is_dropped(echo: Host) -> None:
    answer = send(echo, "GET /api/log")

    lines = echo.lines.wait_for(lambda lines: any("last line of the invocation" in line for line in lines), MAX_WAIT)
    assert answer.status == 204
    assert any("line of the invocation" in line for line in lines)
    assert not any("line of another thread" in line for line in lines)


def test_line_of_an_async_function_is_kept(echo: Host) -> None:
    send(echo, "GET /api/later")

    echo.lines.wait_for(lambda lines: any("line of an async function" in line for line in lines), MAX_WAIT)


def test_many_requests_at_once_are_all_answered(echo: Host) -> None:
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(send(echo, "GET /api/echo/a").status)) for _ in range(100)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == [200] * 100
