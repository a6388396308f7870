"""Guarded connections: to receivers, and to Speech, which may be anywhere but has a deadline too.

The guard is where it counts: at the moment of connecting, on the address itself.

A name is resolved once; if any address in the answer is not allowed, none is connected to; the connection goes to
one of the checked addresses, so a name that changes between check and use gains nothing. Host header, SNI and the
certificate check stay those of the URL.
"""

import ipaddress
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPSConnection

from bridge import __version__
from bridge.adapters.attempt_deadline import AttemptDeadline, Leash
from bridge.adapters.resolver import NoConnection, Resolver
from bridge.adapters.strict_response import StrictResponse
from bridge.adapters.whole_request import WholeRequest
from bridge.core.callback import CallbackRules
from bridge.core.delivery import ATTEMPT
from bridge.core.networks import Address

#: Headers of every request: who calls, and that nothing is to be unpacked. No session adds any of its own.
STANDING = {
    "User-Agent": f"speech-webhook-bridge/{__version__}",
    "Accept-Encoding": "identity",
    "Connection": "keep-alive",
}

#: Hosts whose connections are kept.
_HOSTS = 64

#: Connections kept for each receiver: as many as attempts may be in flight there.
_PER_HOST = 4

#: Lookups for registrations that may be under way.
_EARLY_LOOKUPS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long things may take, in seconds."""

    #: The whole attempt.
    attempt: float = ATTEMPT.total_seconds()
    #: Looking the name up.
    lookup: float = 5
    #: Opening the connection, over all addresses.
    connect: float = 5


class RefusedByRules(NoConnection):
    """The name leads to an address that callbacks may not go to."""


class ConnectFailed(NoConnection):
    """Nobody takes connections there."""


class Guard:
    """Opens connections to allowed addresses only, each under the deadline of the thread's present attempt."""

    def __init__(self, rules: CallbackRules, limits: Limits | None = None) -> None:
        self.rules = rules
        self.limits = limits or Limits()
        self._resolver = Resolver()
        self._early = Resolver(_EARLY_LOOKUPS)
        self._local = threading.local()

    @contextmanager
    def attempt(self) -> Iterator[AttemptDeadline]:
        """Begin an attempt in this thread: everything until the end of the block is under one deadline."""
        with AttemptDeadline(self.limits.attempt) as deadline:
            self._local.deadline = deadline
            try:
                yield deadline
            finally:
                self._local.deadline = None

    def hold(self, leash: Leash) -> None:
        """Put a connection under the deadline of this thread's attempt."""
        self._deadline().hold(leash)

    def connect(self, host: str, port: int) -> tuple[socket.socket, Leash]:
        """Open a connection to `host`.

        Raises NameNotResolved, RefusedByRules, ConnectFailed or TimeoutError.
        """
        deadline = self._deadline()
        addresses = self.allowed(host, deadline.remaining(self.limits.lookup))
        within = deadline.remaining(self.limits.connect)
        failure: OSError = ConnectionError("no address")
        for address in addresses:
            try:
                connection = socket.create_connection((str(address), port), timeout=within / len(addresses))
            except OSError as error:
                failure = error
                if isinstance(error, ConnectionResetError):  # somebody took it, and closed it at once
                    deadline.address = str(address)
                continue
            deadline.address = str(address)
            return connection, self._leashed(connection, str(address), within)
        if isinstance(failure, TimeoutError | ConnectionResetError):
            raise failure
        raise ConnectFailed(type(failure).__name__) from failure

    def allowed(self, host: str, timeout: float) -> Sequence[Address]:
        """Look a name up, and refuse the whole answer if any address in it is not allowed.

        Raises NameNotResolved and RefusedByRules.
        """
        return self._checked(self._resolver.resolve(host.strip("[]"), timeout))

    def look_early(self, host: str, timeout: float) -> Sequence[Address]:
        """Do the same for a registration, whose lookups take no place from those of attempts."""
        return self._checked(self._early.resolve(host.strip("[]"), timeout))

    def _checked(self, addresses: Sequence[Address]) -> Sequence[Address]:
        if not all(self.rules.allows_address(address) for address in addresses):
            raise RefusedByRules("an address that the name leads to is not allowed")
        return addresses

    def _leashed(self, connection: socket.socket, address: str, timeout: float) -> Leash:
        """Put a fresh connection under the deadline; closes it if it may not stay open."""
        try:
            self._check_peer(connection)
            connection.settimeout(timeout)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            leash = Leash(connection, address)
        except OSError as error:  # it has been closed at the other end meanwhile
            connection.close()
            raise ConnectionResetError(type(error).__name__) from error
        except RefusedByRules:
            connection.close()
            raise
        self.hold(leash)
        return leash

    def _check_peer(self, connection: socket.socket) -> None:
        """Look at whom the connection really goes to; whatever happened in between, it is the last word."""
        peer = ipaddress.ip_address(connection.getpeername()[0].partition("%")[0])
        if not self.rules.allows_address(peer):
            raise RefusedByRules("the connection goes to an address that is not allowed")

    def _deadline(self) -> AttemptDeadline:
        deadline: AttemptDeadline | None = getattr(self._local, "deadline", None)
        if deadline is None:
            raise RuntimeError("connections to receivers are opened within an attempt")
        return deadline


def prepared(method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> requests.PreparedRequest:
    """Prepare a request for the transport of a guarded session; `url` is normalised, and goes out as it is."""
    request = requests.PreparedRequest()
    request.method, request.url = method, url
    request.prepare_headers({**headers, **STANDING})
    request.prepare_body(body, None)
    return request


def guarded_session(guard: Guard, *, per_host: int = _PER_HOST) -> requests.Session:
    """Make a session that reaches nothing but through `guard`, and takes nothing from the environment.

    Threads may share it; it keeps `per_host` connections to each host.
    """
    session = requests.Session()
    session.trust_env = False
    adapter = _GuardedAdapter(guard, per_host)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


class _GuardedAdapter(HTTPAdapter):
    """The transport of `requests`, with connections of our own."""

    def __init__(self, guard: Guard, per_host: int) -> None:
        self._guard = guard
        super().__init__(pool_connections=_HOSTS, pool_maxsize=per_host)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: Any) -> None:  # noqa: ANN401 - the library's signature
        """Make the pools; called by the base class."""
        manager = PoolManager(num_pools=connections, maxsize=maxsize, block=block, **kwargs)
        manager.pool_classes_by_scheme = _pool_classes(self._guard)
        self.poolmanager = manager


def _pool_classes(guard: Guard) -> dict[str, type[HTTPConnectionPool]]:
    class Guarded(WholeRequest):
        response_class = StrictResponse
        #: The second handle on this connection, while it is open.
        leash: Leash | None = None

        def _new_conn(self) -> socket.socket:
            connection, self.leash = guard.connect(self._dns_host, self.port or self.default_port)
            return connection

        def request(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - the library's signature
            if self.leash is not None:  # a connection that is used again
                guard.hold(self.leash)
            super().request(*args, **kwargs)

        @property
        def is_connected(self) -> bool:
            """Whether it may be used again: what the other side sent beyond its answer must not answer the next."""
            decrypted = getattr(self.sock, "pending", lambda: 0)() if self.sock else 0
            return super().is_connected and not decrypted

        def close(self) -> None:
            leash, self.leash = self.leash, None
            super().close()
            if leash is not None:
                leash.orphan()

    class GuardedTls(Guarded, HTTPSConnection):
        pass

    class Pool(HTTPConnectionPool):
        ConnectionCls = Guarded

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = GuardedTls

    return {"http": Pool, "https": TlsPool}
