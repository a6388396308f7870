"""Dependencies that the settings create: clients, threads, randomness, and authentication."""

import json
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
from azure.core.credentials import AccessToken, AccessTokenInfo

from bridge.adapters.azure.clients import credential, table_client
from bridge.adapters.azure.storage_calls import DeadlineTransport
from bridge.adapters.azure.table import AzureTable
from bridge.app import App
from bridge.dependencies import Dependencies, build_dependencies
from bridge.domain.errors import CommitUnknown
from bridge.domain.header_cipher import NONCE_BYTES
from bridge.domain.ids import OperationRef
from bridge.settings import Settings, read_settings
from bridge.storage.table import Insert, Transaction
from local.upstream import Upstream
from tests.support.harness import ENVIRONMENT

#: Closed addresses: the clients are created, but not used.
STORAGE = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;TableEndpoint={0}/a;QueueEndpoint={0}/a;"


def settings(**changed: str) -> Settings:
    """Read the settings of an app, with some changes."""
    return read_settings({**ENVIRONMENT, "AzureWebJobsStorage": STORAGE.format("http://127.0.0.1:9"), **changed})


@contextmanager
def outside(made: Settings) -> Iterator[Dependencies]:
    """Create the dependencies like a start."""
    dependencies = build_dependencies(made)
    with dependencies.pools.sweep, dependencies.pools.reads:
        yield dependencies


@pytest.fixture
def made() -> Iterator[Dependencies]:
    """Create the dependencies with the settings of these tests."""
    with outside(settings()) as dependencies:
        yield dependencies


def test_no_two_nonces_are_the_same(made: Dependencies) -> None:
    """Two ciphertexts with the same nonce and key would reveal each other."""
    nonces = {made.randomness.nonce() for _ in range(100)}

    assert len(nonces) == 100
    assert {len(each) for each in nonces} == {NONCE_BYTES}


def test_calls_have_unique_ids(made: Dependencies) -> None:
    """Claims and steps are distinguished by ids."""
    assert len({made.randomness.new_id() for _ in range(1000)}) == 1000


def test_a_sweep_has_the_configured_number_of_threads() -> None:
    """All threads run at once, each waiting for a separate answer."""
    running = threading.Barrier(7)
    with outside(settings(BRIDGE_SWEEP_THREADS="7")) as dependencies:
        # The barrier breaks with fewer threads.
        places = [dependencies.pools.sweep.submit(running.wait, 20) for _ in range(7)]

        assert sorted(each.result() for each in places) == list(range(7))


def test_each_source_is_polled_with_its_own_key() -> None:
    """The key is not that of the last source in the settings."""
    with ExitStack() as stack:
        upstreams = [stack.enter_context(Upstream.start(key=key)) for key in ("first-key", "second-key", "third-key")]
        first, *others = upstreams
        sources = [
            {
                "name": name,
                "endpoint": each.endpoint,
                "path": "avatar",
                "keyVariable": name.upper(),
                "requestsPerSecond": 10,
            }
            for name, each in zip(("second", "third"), others, strict=True)
        ]
        keys = {"SPEECH_KEY": "first-key", "SECOND": "second-key", "THIRD": "third-key"}
        made = settings(SPEECH_ENDPOINT=first.endpoint, BRIDGE_SOURCES=json.dumps(sources), **keys)
        dependencies = stack.enter_context(outside(made))
        replies = [
            dependencies.network.upstream.fetch_operation(OperationRef(name, "operation-1"))
            for name in ("default", "second", "third")
        ]

    assert [getattr(each, "status", each) for each in replies] == [200, 200, 200]


class Identity:
    """Returns a different token each time, which expires at once."""

    def __init__(self) -> None:
        self.scopes: list[str] = []

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        """Return the next token."""
        self.scopes += scopes
        return AccessToken(f"token-{len(self.scopes)}", 0)

    def get_token_info(self, *scopes: str, **_: Any) -> AccessTokenInfo:
        """Return the next token."""
        self.scopes += scopes
        return AccessTokenInfo(f"token-{len(self.scopes)}", 0)


def test_an_expired_token_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token is for Speech, in the scope that a service principal requires."""
    identity, heard = Identity(), list[str]()
    monkeypatch.setattr("bridge.adapters.azure.clients.credential", lambda *_: identity)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for _ in range(2):
                connection, _ = listening.accept()
                with connection:
                    heard.extend(
                        line
                        for line in connection.recv(65_536).decode().splitlines()
                        if line.startswith("Authorization")
                    )
                    connection.sendall(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        endpoint = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with outside(settings(SPEECH_ENDPOINT=endpoint, SPEECH_KEY="")) as dependencies:
            for _ in range(2):
                dependencies.network.upstream.fetch_operation(OperationRef("default", "operation-1"))

    assert heard == ["Authorization: Bearer token-1", "Authorization: Bearer token-2"]
    assert set(identity.scopes) == {"https://cognitiveservices.azure.com/.default"}


def test_the_scope_of_a_token_is_that_of_the_endpoints_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each source may be in another cloud."""
    asked: list[str] = []
    monkeypatch.setattr("bridge.adapters.azure.clients.credential", lambda *_: Identity())
    monkeypatch.setattr("bridge.adapters.azure.clients.get_bearer_token_provider", lambda _, scope: asked.append(scope))
    endpoints = {"a": "https://n.cognitiveservices.azure.us", "b": "https://n.cognitiveservices.azure.cn"}
    sources = [{"name": name, "endpoint": at, "path": "avatar"} for name, at in endpoints.items()]
    made = settings(
        SPEECH_ENDPOINT="https://n.cognitiveservices.azure.com", SPEECH_KEY="", BRIDGE_SOURCES=json.dumps(sources)
    )

    with outside(made):
        pass

    assert asked == [f"https://cognitiveservices.azure.{end}/.default" for end in ("com", "us", "cn")]


def test_the_deployed_client_sends_a_commit_once() -> None:
    """The library's retry would turn a commit with a lost reply into a conflict."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        taken = []

        def be_busy() -> None:
            with suppress(OSError):  # after the port is closed
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        taken.append(connection.recv(65_536)[:14])
                        connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        busy = threading.Thread(target=be_busy)
        busy.start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with (
            table_client(settings(AzureWebJobsStorage=STORAGE.format(address)), None) as client,
            pytest.raises(CommitUnknown),
        ):
            AzureTable(client).commit(Transaction("p", (Insert("a", {"n": 1}),)))
        listening.shutdown(socket.SHUT_RDWR)
        busy.join(20)

    assert taken == [b"POST /a/$batch"]


def test_no_identity_waits_for_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """An identity endpoint can hang."""
    given: dict[str, Any] = {}
    monkeypatch.setattr("bridge.adapters.azure.clients.DefaultAzureCredential", given.update)

    credential(settings())

    assert isinstance(given["transport"], DeadlineTransport)
    assert given["retry_total"] == 1


def test_no_library_logs_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    """URLs of callbacks can contain secrets, and URLs of storage contain signatures."""
    libraries = [logging.getLogger(name) for name in ("azure", "urllib3")]
    for each in libraries:
        monkeypatch.setattr(each, "level", logging.NOTSET)

    App.from_environment({})

    assert [each.level for each in libraries] == [logging.WARNING, logging.CRITICAL]
