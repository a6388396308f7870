"""A session of `requests` for Azure's own clients that sends each request in one piece.

A guard opens each connection (`bridge/adapters/net/guard.py`). Proxies, netrc and cookies of the environment are not
used. All other requests go through `bridge/adapters/net/transport.py`.
"""

import socket
from collections.abc import Mapping
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from typing_extensions import override
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

from bridge.adapters.net.deadline import AbortHandle
from bridge.adapters.net.guard import Guard


class CoalescedRequest(HTTPConnection):
    """A connection that sends a request in one piece, so that the other side wakes up once. The library sends parts."""

    #: The parts of the request that is being written, or None between requests.
    parts: list[bytes] | None = None

    @override
    def request(self, *args: Any, **kwargs: Any) -> None:
        """Write a request. The body must be bytes or None."""
        self.parts = []
        try:
            super().request(*args, **kwargs)
        finally:
            whole, self.parts = b"".join(self.parts), None
        self.send(whole)

    @override
    def send(self, data: Any) -> None:
        """Send data, or buffer the parts of a request that is not complete yet."""
        if self.parts is None:
            super().send(data)
        else:
            self.parts.append(data)


#: The number of hosts with kept connections.
_HOSTS = 64


def guarded_session(guard: Guard, *, per_host: int) -> requests.Session:
    """Create a session that connects only through `guard` and ignores the environment.

    Threads may share the session. It keeps `per_host` connections to each host.
    """
    session = requests.Session()
    session.trust_env = False
    adapter = _GuardedAdapter(guard, per_host)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


class _GuardedAdapter(HTTPAdapter):
    """A `requests` transport with guarded connections. It never uses a proxy, which would connect past the guard."""

    def __init__(self, guard: Guard, per_host: int) -> None:
        self._pool_classes = _pool_classes(guard)
        super().__init__(pool_connections=_HOSTS, pool_maxsize=per_host)

    @override
    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: Any) -> None:
        """Create the pools. Called by the base class."""
        manager = PoolManager(num_pools=connections, maxsize=maxsize, block=block, **kwargs)
        manager.pool_classes_by_scheme = self._pool_classes
        self.poolmanager = manager

    @override
    def get_connection_with_tls_context(
        self,
        request: requests.PreparedRequest,
        verify: bool | str | None,
        proxies: Mapping[str, str] | None = None,
        cert: Any = None,
    ) -> HTTPConnectionPool:
        """Choose the connection pool. Called by the base class."""
        host, tls = self.build_connection_pool_key_attributes(request, True if verify is None else verify, cert)
        pool: HTTPConnectionPool = self.poolmanager.connection_from_host(**host, pool_kwargs=tls)
        return pool

    @override
    def request_url(self, request: requests.PreparedRequest, proxies: Mapping[str, str] | None) -> str:
        """Return the request target. Called by the base class."""
        return request.path_url

    @override
    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        """Wrap an answer unchanged. Called by the base class.

        Cookies and the text encoding are not read: no cookie is ever sent back, and no body is read as text here.
        """
        response = requests.Response()
        response.status_code, response.reason, response.headers = resp.status, resp.reason, resp.headers
        response.request, response.url, response.raw = req, req.url or "", resp
        return response


def _pool_classes(guard: Guard) -> dict[str, type[HTTPConnectionPool]]:
    class Guarded(CoalescedRequest):
        #: The second handle on this connection while it is open.
        handle: AbortHandle | None = None

        @override
        def _new_conn(self) -> socket.socket:
            connection, self.handle = guard.connect(self._dns_host, self.port or self.default_port)
            return connection

        @override
        def request(self, *args: Any, **kwargs: Any) -> None:
            if self.handle is not None:  # a reused connection
                guard.hold(self.handle)
            super().request(*args, **kwargs)

        @property
        @override
        def is_connected(self) -> bool:
            """Whether the connection may be reused. Surplus bytes of one answer must not become the next answer."""
            decrypted = getattr(self.sock, "pending", lambda: 0)() if self.sock else 0
            return super().is_connected and not decrypted

        @override
        def close(self) -> None:
            handle, self.handle = self.handle, None
            super().close()
            if handle is not None:
                handle.orphan()

    class GuardedTls(Guarded, HTTPSConnection):
        pass

    class Pool(HTTPConnectionPool):
        ConnectionCls = Guarded

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = GuardedTls

    return {"http": Pool, "https": TlsPool}
