"""HTTP requests over guarded connections (`bridge/adapters/net/guard.py`), which are kept and reused.

Proxies, netrc and cookies of the environment are not used. Redirects are not followed.
"""

import socket
import ssl
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlsplit

from certifi import where
from urllib3.util.ssl_ import create_urllib3_context
from urllib3.util.wait import wait_for_read

from bridge import __version__
from bridge.adapters.net.deadline import AbortHandle
from bridge.adapters.net.guard import Guard
from bridge.adapters.net.http1 import EndedUnanswered, Http1Response, Wire, read_answer, write_request
from bridge.domain.callback_url import DEFAULT_PORTS

#: Headers of every request. The answer must not be compressed.
STANDING = {
    "User-Agent": f"speech-webhook-bridge/{__version__}",
    "Accept-Encoding": "identity",
    "Connection": "keep-alive",
}

#: The default limit in bytes of everything received for one request: head, body and framing.
MAX_BYTES = 65_536

#: The number of hosts with kept connections. The least recently used host is dropped.
_HOSTS = 64

#: Kept connections per receiver: as many as there may be attempts in flight.
_PER_HOST = 4

#: Scheme, host and port.
Origin = tuple[str, str, int]


@dataclass(slots=True)
class _Connection:
    """An open connection with the handle by which its attempt's deadline can shut the connection down."""

    origin: Origin
    socket: socket.socket
    handle: AbortHandle

    @property
    def is_quiet(self) -> bool:
        """Whether nothing has arrived since the last answer, not even the end. Else the next answer would be wrong."""
        decrypted = self.socket.pending() if isinstance(self.socket, ssl.SSLSocket) else 0
        return not decrypted and not wait_for_read(self.socket, timeout=0)

    def ask(self, request: bytes, budget: int) -> Http1Response:
        """Send a request and read the head of its answer. Raises OSError and HttpError."""
        wire = Wire(self.socket, budget)
        with suppress(ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError):  # an answer may have come before that
            self.socket.sendall(request)
        return read_answer(wire)

    def close(self) -> None:
        """Close the connection, and its second handle once the attempt has ended too."""
        self.socket.close()
        self.handle.orphan()


class GuardedClient:
    """Sends requests to normalised URLs, within the current attempt of its guard. Threads may share the client."""

    def __init__(
        self, guard: Guard, *, per_host: int = _PER_HOST, authorities: str | None = None, sends_again: bool = True
    ) -> None:
        """Create a client that keeps `per_host` connections to each host.

        `authorities` is a file of certificate authorities to trust instead of the public ones. `sends_again` repeats a
        request once if a kept connection ends before an answer. The server may have read the first request, so a
        client with a quota must not repeat requests.
        """
        self._guard = guard
        self._sends_again = sends_again
        self._per_host = per_host
        self._authorities = authorities
        self._lock = threading.Lock()
        self._idle: OrderedDict[Origin, list[_Connection]] = OrderedDict()
        weakref.finalize(self, _close_all, self._idle)

    @contextmanager
    def exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None, *, budget: int = MAX_BYTES
    ) -> Iterator[Http1Response]:
        """Send a request and yield the head of the answer. At most `budget` bytes are received.

        With `sends_again`, a kept connection that ends before the first byte of an answer is replaced once: the server
        closed the connection just when it was reused. Raises NoConnection, HttpError and OSError.
        """
        parts = urlsplit(url)
        origin = (parts.scheme, parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme])
        target = url[len(f"{parts.scheme}://{parts.netloc}") :]
        request = write_request(method, parts.netloc, target, {**headers, **STANDING}, body)
        connection, answer = self._answered(origin, request, budget)
        try:
            yield answer
        except BaseException:
            connection.close()
            raise
        self._give_back(connection, answer)

    def close(self) -> None:
        """Close the kept connections."""
        with self._lock:
            _close_all(self._idle)

    def _answered(self, origin: Origin, request: bytes, budget: int) -> tuple[_Connection, Http1Response]:
        kept = self._kept(origin)
        if kept is not None:
            try:
                return kept, _ask(kept, request, budget)
            except EndedUnanswered:
                if not self._sends_again:
                    raise
        fresh = self._open(origin)
        return fresh, _ask(fresh, request, budget)

    def _kept(self, origin: Origin) -> _Connection | None:
        """Take the most recently used connection. Connections that cannot be reused are closed."""
        while True:
            with self._lock:
                idle = self._idle.get(origin)
                if not idle:
                    return None
                connection = idle.pop()
            if connection.is_quiet:
                self._guard.hold(connection.handle)
                return connection
            connection.close()

    def _open(self, origin: Origin) -> _Connection:
        scheme, host, port = origin
        raw, handle = self._guard.connect(host, port)
        try:
            opened = raw if scheme == "http" else self._tls.wrap_socket(raw, server_hostname=host)
            opened.settimeout(self._guard.limits.attempt)
        except BaseException:
            raw.close()
            handle.orphan()
            raise
        return _Connection(origin, opened, handle)

    def _give_back(self, connection: _Connection, answer: Http1Response) -> None:
        """Keep a connection for the next request, if both sides allow it."""
        surplus = [] if answer.is_reusable else [connection]
        if not surplus:
            with self._lock:
                idle = self._idle.setdefault(connection.origin, [])
                self._idle.move_to_end(connection.origin)
                idle.append(connection)
                if len(idle) > self._per_host:
                    surplus.append(idle.pop(0))
                if len(self._idle) > _HOSTS:
                    surplus += self._idle.popitem(last=False)[1]
        for each in surplus:
            each.close()

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        context = create_urllib3_context()
        context.load_verify_locations(self._authorities or where())
        return context


def _close_all(idle: OrderedDict[Origin, list[_Connection]]) -> None:
    while idle:
        for connection in idle.popitem()[1]:
            connection.close()


def _ask(connection: _Connection, request: bytes, budget: int) -> Http1Response:
    try:
        return connection.ask(request, budget)
    except BaseException:
        connection.close()
        raise
