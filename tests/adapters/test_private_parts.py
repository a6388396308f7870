"""Canaries: the parts of libraries that the bridge overrides, or uses although they are private, as they are today.

`bridge/adapters/net/README.md` lists the parts with the reason for each. A test here fails if a new version of a
library changes the signature or the behaviour of one of them. The tests look at the library alone, never at the bridge.
"""

import inspect
import io
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import requests
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.pipeline.transport import RequestsTransport
from azure.core.rest import HttpRequest
from azure.data.tables import TableClient
from requests.adapters import BaseAdapter, HTTPAdapter
from typing_extensions import override
from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LAST_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"

SIGNATURES = [
    (HTTPConnection._new_conn, "(self)"),
    (
        HTTPConnection.request,
        (
            "(self, method, url, body=None, headers=None, *, chunked=False, preload_content=True, decode_content=True, "
            "enforce_content_length=True)"
        ),
    ),
    (HTTPConnection.send, "(self, data)"),
    (HTTPConnection.close, "(self)"),
    (HTTPAdapter.__init__, "(self, pool_connections=10, pool_maxsize=10, max_retries=0, pool_block=False)"),
    (HTTPAdapter.init_poolmanager, "(self, connections, maxsize, block=False, **pool_kwargs)"),
    (HTTPAdapter.build_connection_pool_key_attributes, "(self, request, verify, cert=None)"),
    (HTTPAdapter.get_connection_with_tls_context, "(self, request, verify, proxies=None, cert=None)"),
    (HTTPAdapter.request_url, "(self, request, proxies)"),
    (HTTPAdapter.build_response, "(self, req, resp)"),
    (PoolManager.connection_from_host, "(self, host, port=None, scheme='http', pool_kwargs=None)"),
    (RequestsTransport.send, "(self, request, *, proxies=None, **kwargs)"),
]


def without_types(function: Callable[..., object]) -> str:
    """Return the signature of a function without annotations, which have no effect at run time."""
    signature = inspect.signature(function)
    plain = [each.replace(annotation=inspect.Parameter.empty) for each in signature.parameters.values()]
    return str(inspect.Signature(plain))


@pytest.mark.parametrize(("function", "expected"), SIGNATURES, ids=[each.__qualname__ for each, _ in SIGNATURES])
def test_signature_of_an_overridden_part_is_unchanged(function: Callable[..., object], expected: str) -> None:
    assert without_types(function) == expected


class Wire:
    """Both ends of the connections that urllib3 opens, in place of a network."""

    def __init__(self) -> None:
        #: The remote ends, one per opened connection.
        self.opened: list[socket.socket] = []
        self.ours: list[socket.socket] = []

    def open(self, *answers: bytes) -> socket.socket:
        """Open a connection with these answers already received."""
        ours, theirs = socket.socketpair()
        for answer in answers:
            theirs.sendall(answer)
        self.opened.append(theirs)
        self.ours.append(ours)
        return ours

    def received(self) -> bytes:
        """Read the bytes sent on the last connection."""
        return self.opened[-1].recv(1_000_000)


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """Provide connections without a network. Any other way to open a connection fails."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened past `_new_conn`")

    wire = Wire()
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("urllib3.util.connection.create_connection", refuse)
    yield wire
    for each in (*wire.opened, *wire.ours):
        each.close()


def connection_on(wire: Wire, *answers: bytes, base: type[HTTPConnection] = HTTPConnection) -> type[HTTPConnection]:
    """Return a class of connections that are opened on a wire."""

    class OnWire(base):  # type: ignore[misc, valid-type]
        def _new_conn(self) -> socket.socket:
            return wire.open(*answers)

    return OnWire


def test_urllib3_connects_through_new_conn_alone(wire: Wire) -> None:
    """Therefore no connection bypasses the guard."""
    connection = connection_on(wire)("example.com", 80)

    connection.connect()

    assert connection.sock is wire.ours[0]
    assert len(wire.opened) == 1


def test_urllib3_puts_tls_on_the_connection_of_new_conn(wire: Wire) -> None:
    """SNI and the certificate check use the name of the URL, independent of the address."""
    context = ssl.create_default_context()
    connection = connection_on(wire, base=HTTPSConnection)("example.com", 443, ssl_context=context)  # type: ignore[call-arg]
    new_conn = connection._new_conn

    def ending() -> socket.socket:
        ours = new_conn()
        wire.opened[-1].shutdown(socket.SHUT_WR)  # the handshake ends after the first message
        return ours

    connection._new_conn = ending  # type: ignore[method-assign]

    with pytest.raises((ssl.SSLError, OSError)):
        connection.connect()

    hello = wire.received()
    assert hello[:2] == b"\x16\x03"
    assert b"example.com" in hello
    assert len(wire.opened) == 1


def test_urllib3_keeps_the_name_to_look_up_in_dns_host() -> None:
    """The name has the final dot of an absolute name, while the name for TLS has none."""
    connection = HTTPConnection("example.com.", 80)

    assert (connection._dns_host, connection.host, connection.port) == ("example.com.", "example.com", 80)


def test_urllib3_writes_a_request_in_parts_and_through_send_alone(wire: Wire) -> None:
    """Head and body are two parts. If a future version sends one part, `CoalescedRequest` is obsolete."""
    parts: list[bytes] = []

    class Collecting(connection_on(wire)):  # type: ignore[misc]
        def send(self, data: bytes) -> None:
            parts.append(data)

    connection = Collecting("example.com", 80)

    connection.request("POST", "/a?b=c", body=b"x" * 100_000, headers={"Content-Length": "100000"})

    assert len(parts) == 2
    assert parts[0].startswith(b"POST /a?b=c HTTP/1.1\r\n")
    assert parts[0].endswith(b"\r\n\r\n")
    assert parts[1] == b"x" * 100_000
    assert wire.opened == []


def test_send_opens_a_connection_that_is_not_open_yet(wire: Wire) -> None:
    """Concerns `http.client`: the first request is sent before the connection exists."""
    connection = connection_on(wire)("example.com", 80)

    connection.send(b"whole request")

    assert wire.received() == b"whole request"


def test_is_connected_is_false_without_a_connection_and_with_bytes_to_read(wire: Wire) -> None:
    connection = connection_on(wire)("example.com", 80)
    before = connection.is_connected
    connection.connect()
    quiet = connection.is_connected
    wire.opened[0].sendall(b"surplus")

    assert (before, quiet, connection.is_connected) == (False, True, False)
    assert isinstance(inspect.getattr_static(HTTPConnection, "is_connected"), property)


def pool_on(wire: Wire, *answers: bytes, is_good: bool = True) -> tuple[HTTPConnectionPool, list[str]]:
    """Return a pool on a wire, and the list of its calls of `is_connected` and `close`."""
    calls: list[str] = []

    class Watched(connection_on(wire, *answers)):  # type: ignore[misc]
        @property
        def is_connected(self) -> bool:
            calls.append("is_connected")
            return is_good

        def close(self) -> None:
            if self.sock is not None:
                calls.append("close")
            super().close()

    class Pool(HTTPConnectionPool):
        ConnectionCls = Watched

    return Pool("example.com", 80, timeout=60), calls


def test_pool_asks_is_connected_before_it_uses_a_connection_again(wire: Wire) -> None:
    """A connected connection is used again, without a close in between."""
    pool, calls = pool_on(wire, ANSWER)

    first = pool.request("GET", "/")
    wire.opened[0].sendall(ANSWER)
    second = pool.request("GET", "/")

    assert (first.data, second.data) == (b"ok", b"ok")
    assert len(wire.opened) == 1
    assert calls == ["is_connected"]
    pool.close()


def test_pool_closes_a_connection_that_is_not_connected_and_opens_another(wire: Wire) -> None:
    pool, calls = pool_on(wire, ANSWER, is_good=False)

    first, second = pool.request("GET", "/"), pool.request("GET", "/")

    assert (first.data, second.data) == (b"ok", b"ok")
    assert len(wire.opened) == 2
    assert calls == ["is_connected", "close"]
    pool.close()


def test_pool_closes_a_connection_whose_last_answer_was_read(wire: Wire) -> None:
    """The `close` of the connection releases the second handle."""
    pool, calls = pool_on(wire, LAST_ANSWER)

    pool.request("GET", "/")

    assert calls == ["close"]
    pool.close()


def test_pool_manager_makes_pools_of_the_classes_that_it_is_given() -> None:
    """The pools create connections of their `ConnectionCls`."""

    class Pool(HTTPConnectionPool):
        pass

    class TlsPool(HTTPSConnectionPool):
        pass

    manager = PoolManager()
    manager.pool_classes_by_scheme = {"http": Pool, "https": TlsPool}

    pools = [
        manager.connection_from_host("example.com", port, scheme=scheme)
        for scheme, port in (("http", 80), ("https", 443))
    ]

    assert [type(pool) for pool in pools] == [Pool, TlsPool]
    assert isinstance(pools[0]._new_conn(), HTTPConnection)
    assert isinstance(pools[1]._new_conn(), HTTPSConnection)
    manager.clear()


class FakePool:
    """Replaces a pool of urllib3, and records the calls of `requests`."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def urlopen(self, **options: Any) -> HTTPResponse:
        """Answer 200."""
        self.asked = options
        return HTTPResponse(io.BytesIO(b"ok"), status=200, preload_content=False)


class Adapter(HTTPAdapter):
    """Overrides the same methods as the bridge, and records the calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[object, ...], Mapping[str, object]]] = []
        self.pool = FakePool()
        super().__init__(pool_connections=3, pool_maxsize=5)

    @override
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        self.calls.append(("init_poolmanager", args, kwargs))
        self.poolmanager = PoolManager()

    @override
    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        self.calls.append(("get_connection_with_tls_context", args, kwargs))
        return self.pool

    @override
    def request_url(self, *args: Any, **kwargs: Any) -> str:
        self.calls.append(("request_url", args, kwargs))
        return "/target"

    @override
    def build_response(self, *args: Any, **kwargs: Any) -> requests.Response:
        self.calls.append(("build_response", args, kwargs))
        response = requests.Response()
        response.status_code, response.request, response.url, response.raw = 200, args[0], args[0].url, args[1]
        return response


def test_requests_makes_its_pools_in_init_poolmanager() -> None:
    """The call happens in the adapter's constructor, so required attributes must exist before `super().__init__`."""
    assert Adapter().calls == [("init_poolmanager", (3, 5), {"block": False})]


def test_requests_sends_through_the_pool_the_target_and_the_response_of_the_adapter() -> None:
    """Each overridden method is called once. Below the session, `requests` makes no retry and follows no redirect."""
    adapter, session = Adapter(), requests.Session()
    session.trust_env = False
    session.mount("https://", adapter)
    adapter.calls.clear()

    answer = session.get("https://example.com/a?b=c", timeout=1, stream=True)

    prepared = answer.request
    [pool, target, response] = adapter.calls
    assert pool == ("get_connection_with_tls_context", (prepared, True), {"proxies": {}, "cert": None})
    assert target == ("request_url", (prepared, {}), {})
    assert (response[0], response[1][0], response[2]) == ("build_response", prepared, {})
    assert isinstance(response[1][1], HTTPResponse)
    wanted = {"method": "GET", "url": "/target", "redirect": False, "preload_content": False, "decode_content": False}
    assert {name: adapter.pool.asked[name] for name in wanted} == wanted
    assert adapter.pool.asked["retries"].total == 0


def test_key_attributes_of_requests_name_a_pool_of_a_pool_manager() -> None:
    """The attributes are the host's part and the TLS part, which verifies certificates."""
    prepared = requests.Request("GET", "https://example.com:8443/a").prepare()

    host, tls = HTTPAdapter().build_connection_pool_key_attributes(prepared, verify=True)
    pool = PoolManager().connection_from_host(**host, pool_kwargs=dict(tls))

    assert (pool.scheme, pool.host, pool.port) == ("https", "example.com", 8443)
    assert isinstance(pool, HTTPSConnectionPool)
    assert pool.cert_reqs in (None, "CERT_REQUIRED", ssl.CERT_REQUIRED)
    assert tls.get("cert_reqs") == "CERT_REQUIRED"


class Canned(BaseAdapter):
    """Answers each request of a session with 202, and records the request."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[requests.PreparedRequest, bool]] = []

    @override
    def send(self, request: requests.PreparedRequest, stream: bool = False, **_: Any) -> requests.Response:  # type: ignore[override]
        self.sent.append((request, stream))
        response = requests.Response()
        response.status_code, response.request, response.url = 202, request, request.url or ""
        response.raw = HTTPResponse(io.BytesIO(b"an answer"), status=202, preload_content=False)
        return response

    @override
    def close(self) -> None:
        pass


def test_private_client_of_a_table_client_sends_a_request_with_its_authorization() -> None:
    """Azure Data Tables has no public call for a whole batch, so the bridge uses `TableClient._client.send_request`."""
    canned, session = Canned(), requests.Session()
    session.mount("https://", canned)
    client = TableClient(
        "https://account.table.core.windows.net",
        "bridge",
        credential=AzureNamedKeyCredential("account", "a2V5"),
        transport=RequestsTransport(session=session),
    )
    request = HttpRequest(
        "POST", "https://account.table.core.windows.net/$batch", headers={"X-Own": "kept"}, content=b"a batch"
    )

    with client, client._client.send_request(request, stream=True) as response:
        body = response.read()

    [(sent, stream)] = canned.sent
    assert (response.status_code, body) == (202, b"an answer")
    assert (sent.method, sent.url, sent.body) == ("POST", request.url, b"a batch")
    assert sent.headers["Authorization"].startswith("SharedKey account:")
    assert sent.headers["X-Own"] == "kept"
    assert stream
