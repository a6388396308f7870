"""Connections to receivers, guarded where it counts: at the moment of connecting, on the address itself.

A name is resolved once; if any address in the answer is not allowed, none is connected to; the connection goes to
one of the checked addresses, so a name that changes between check and use gains nothing. Host header, SNI and the
certificate check stay those of the URL.
"""

import ipaddress
import socket
import threading
from collections.abc import Sequence
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

from bridge.core.callback import CallbackRules
from bridge.core.networks import Address

#: Seconds to open a connection.
CONNECT_TIMEOUT = 5

_POOL = 64


class RefusedByRules(Exception):
    """The name leads to an address that callbacks may not go to."""


class NameNotResolved(Exception):
    """The name leads nowhere."""


class Guard:
    """Opens sockets to allowed addresses only, and remembers for each thread whom it talks to."""

    def __init__(self, rules: CallbackRules) -> None:
        self._rules = rules
        self._local = threading.local()

    @property
    def address(self) -> str | None:
        """The address that this thread's present attempt is connected to."""
        return getattr(self._local, "address", None)

    def note(self, address: str | None) -> None:
        """Remember whom this thread talks to."""
        self._local.address = address

    def connect(self, host: str, port: int) -> socket.socket:
        """Open a connection to `host`.

        Raises NameNotResolved, RefusedByRules, or the OSError of the last address that was tried.
        """
        last: OSError = OSError("no address")
        for address in self._allowed(host, port):
            try:
                opened = socket.create_connection((str(address), port), timeout=CONNECT_TIMEOUT)
            except OSError as error:
                last = error
                continue
            self.note(str(address))
            return opened
        raise last

    def _allowed(self, host: str, port: int) -> Sequence[Address]:
        try:
            answer = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise NameNotResolved(str(error)) from error
        addresses = [ipaddress.ip_address(str(entry[4][0])) for entry in answer]
        if not all(self._rules.allows_address(address) for address in addresses):
            raise RefusedByRules("an address that the name leads to is not allowed")
        return addresses


def guarded_session(guard: Guard) -> requests.Session:
    """Make a session that reaches nothing but through `guard`, and takes nothing from the environment."""
    session = requests.Session()
    session.trust_env = False
    adapter = _GuardedAdapter(guard)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


class _GuardedAdapter(HTTPAdapter):
    """The transport of `requests`, with connections of our own."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        super().__init__(pool_connections=_POOL, pool_maxsize=_POOL)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: Any) -> None:  # noqa: ANN401 - the library's signature
        """Make the pools; called by the base class."""
        manager = PoolManager(num_pools=connections, maxsize=maxsize, block=block, **kwargs)
        manager.pool_classes_by_scheme = _pool_classes(self._guard)
        self.poolmanager = manager


def _pool_classes(guard: Guard) -> dict[str, type[HTTPConnectionPool]]:
    class Guarded(HTTPConnection):
        #: Whom this connection talks to, for as long as it is reused.
        address: str | None = None

        def _new_conn(self) -> socket.socket:
            opened = guard.connect(self._dns_host, self.port or self.default_port)
            self.address = guard.address
            return opened

        def request(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - the library's signature
            guard.note(self.address)
            super().request(*args, **kwargs)

    class GuardedTls(Guarded, HTTPSConnection):
        pass

    class Pool(HTTPConnectionPool):
        ConnectionCls = Guarded

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = GuardedTls

    return {"http": Pool, "https": TlsPool}
