"""Serving on loopback."""

import threading

import pytest
import requests
from werkzeug import Request, Response

from local.web import WebServer, hosts_of


def test_answer_that_is_large_is_sent_before_the_server_closes() -> None:
    """The answer exceeds the socket buffers, and the client reads slowly."""
    body = b"x" * 20_000_000
    server = WebServer(Request.application(lambda _: Response(body)))
    response = requests.get(server.url, stream=True, timeout=10)
    stopping = threading.Thread(target=server.stop, args=(30,))
    stopping.start()

    received = response.content

    stopping.join()
    assert len(received) == len(body)


def test_idle_connections_do_not_delay_the_stop() -> None:
    """An idle connection has no request in flight."""
    server = WebServer(Request.application(lambda _: Response("hello")))
    with requests.Session() as session:
        session.get(server.url, timeout=10)

        assert server.stop(timeout=10)


def test_stopping_twice_is_stopping_once() -> None:
    """Cleanup code need not track stops."""
    server = WebServer(Request.application(lambda _: Response("hello")))

    assert server.stop(timeout=10)
    assert server.stop(timeout=10)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:7071", "localhost:1", "LOCALHOST", "[::1]:7071", "forwarded.example"]
)
def test_requests_for_this_machine_or_a_named_host_are_answered(host: str) -> None:
    server = WebServer(
        Request.application(lambda _: Response("hello")), hosts=hosts_of(" Forwarded.example, other.example")
    )

    answer = requests.get(server.url, headers={"Host": host}, timeout=10)

    assert server.stop(timeout=10)
    assert (answer.status_code, answer.text) == (200, "hello")


@pytest.mark.parametrize(
    "host", ["rebind.evil.example:8100", "127.0.0.1.evil.example", "localhost.evil.example", "127.0.0.1:80:80", "[::1"]
)
def test_requests_for_another_host_are_rejected(host: str) -> None:
    """A public name that resolves to 127.0.0.1 gives no access."""
    server = WebServer(Request.application(lambda _: Response("secret")))

    answer = requests.get(server.url, headers={"Host": host}, timeout=10)

    assert server.stop(timeout=10)
    assert answer.status_code == 421
    assert "secret" not in answer.text
