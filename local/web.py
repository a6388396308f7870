"""HTTP on loopback: waitress in a separate thread, with a stop that finishes requests in flight."""

import logging
import re
import socket
import struct
import threading
import time
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, NoReturn

from waitress import wasyncore
from waitress.channel import ClientDisconnected, HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import create_server
from werkzeug import Request, Response

from local.errors import LocalError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# Waitress warns whenever a request waits for a thread. Azure queues such requests silently.
logging.getLogger("waitress.queue").setLevel(logging.ERROR)

#: The names of this machine in a Host header, without a port.
_THIS_MACHINE = frozenset({"127.0.0.1", "localhost", "[::1]"})

#: How often a delayed request checks whether the client is still connected, in seconds.
_LOOK = 0.2


class _Parser(HTTPRequestParser):  # type: ignore[misc] # waitress has no types
    """Waitress' parser, which also keeps the unchanged head of a request."""

    head = b""

    def parse_header(self, header_plus: bytes) -> None:
        self.head = bytes(header_plus)
        super().parse_header(header_plus)


class _Channel(HTTPChannel):  # type: ignore[misc] # waitress has no types
    parser_class = _Parser


def hosts_of(text: str | None) -> frozenset[str]:
    """Parse LOCAL_HOSTS: comma-separated further host names under which a local start answers."""
    return frozenset(name.strip().lower() for name in (text or "").split(",") if name.strip())


class WebServer:
    """A WSGI application that serves on 127.0.0.1 as soon as this object exists.

    The server answers only requests for this machine or for one of `hosts`. A web page can point a host name at
    127.0.0.1 (DNS rebinding), and could otherwise read all local data through a developer's browser.
    """

    def __init__(
        self,
        application: "WSGIApplication",
        *,
        port: int = 0,
        threads: int = 16,
        notice_who_leaves: bool = False,
        hosts: Collection[str] = (),
    ) -> None:
        try:
            listener = socket.create_server(("127.0.0.1", port))
        except OSError as error:
            raise LocalError(f"port {port} is taken: stop what listens there, or choose another one.") from error
        self._server = create_server(
            _only_for(application, _THIS_MACHINE | frozenset(hosts)),
            sockets=[listener],
            threads=threads,
            ident="",
            channel_request_lookahead=int(notice_who_leaves),
        )
        self._server.channel_class = _Channel
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port of the server."""
        return int(self._server.effective_port)

    @property
    def url(self) -> str:
        """The URL of the server, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def stop(self, timeout: float) -> bool:
        """Stop listening, finish requests in flight, send their answers, and close. False if that took too long.

        Requests that wait for a thread are dropped.
        """
        if not self._thread.is_alive():
            return True
        end = time.monotonic() + timeout
        dispatcher = self._server.task_dispatcher
        self._server.trigger.pull_trigger(self._stop_listening)
        dispatcher.shutdown(timeout=timeout)
        if dispatcher.threads:
            return False
        self._server.trigger.pull_trigger(self._close_when_sent)
        self._thread.join(max(0.0, end - time.monotonic()))
        if self._thread.is_alive():
            return False
        self._server.trigger.close()
        return True

    def _stop_listening(self) -> None:
        wasyncore.dispatcher.close(self._server)

    def _close_when_sent(self) -> None:
        """Close each connection after the last byte. The server's loop ends with the last connection.

        The trigger leaves the loop, but stays open until then, since its other end may still be written to.
        """
        for channel in list(self._server.active_channels.values()):
            channel.close_when_flushed = True
        self._server.trigger.del_channel()


def _only_for(application: "WSGIApplication", hosts: Collection[str]) -> "WSGIApplication":
    def guarded(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        name = re.sub(r":[0-9]*$", "", environ.get("HTTP_HOST", "127.0.0.1")).lower()
        if name in hosts:
            return application(environ, start_response)
        text = "This start answers 127.0.0.1, localhost and [::1]. LOCAL_HOSTS names further hosts.\n"
        return Response(text, 421)(environ, start_response)

    return guarded


def hold(request: Request, seconds: float, stopping: threading.Event) -> None:
    """Delay an answer. The delay ends early if the server stops or, with `notice_who_leaves`, if the client leaves."""
    end = time.monotonic() + seconds
    has_left = request.environ["waitress.client_disconnected"]
    while (left := end - time.monotonic()) > 0 and not has_left():
        if stopping.wait(min(left, _LOOK)):
            return


def head_of(request: Request) -> bytes:
    """Return the unchanged request line and headers: waitress drops some headers and joins others."""
    head: bytes = request.environ["waitress.client_disconnected"].__self__.requests[0].head
    return head


def reset(request: Request) -> NoReturn:
    """Reset the connection of a request, like a gateway that dies: the client sees no end of the answer.

    Waitress closes the connection silently if the client is gone. A linger time of 0 turns the close into a reset.
    """
    channel = request.environ["waitress.client_disconnected"].__self__
    channel.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise ClientDisconnected
