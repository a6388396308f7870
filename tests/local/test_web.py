"""Serving on loopback."""

import threading

import requests
from werkzeug import Request, Response

from local.web import WebServer


def test_answer_that_is_large_is_sent_before_the_server_closes() -> None:
    """More than fits into the buffers of the sockets, to a client that is slow to read."""
    body = b"x" * 20_000_000
    server = WebServer(Request.application(lambda _: Response(body)))
    response = requests.get(server.url, stream=True, timeout=10)
    stopping = threading.Thread(target=server.stop, args=(30,))
    stopping.start()

    received = response.content

    stopping.join()
    assert len(received) == len(body)


def test_idle_connections_do_not_hold_up_the_stop() -> None:
    """A client that keeps its connection open has nothing in flight."""
    server = WebServer(Request.application(lambda _: Response("hello")))
    with requests.Session() as session:
        session.get(server.url, timeout=10)

        assert server.stop(timeout=10)


def test_stopping_twice_is_stopping_once() -> None:
    """Whoever cleans up need not know."""
    server = WebServer(Request.application(lambda _: Response("hello")))

    assert server.stop(timeout=10)
    assert server.stop(timeout=10)
