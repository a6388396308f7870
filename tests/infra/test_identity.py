"""Storage without keys: the app gets a token from the platform like on Azure, and storage accepts the token over HTTPS.

Azurite checks audience, issuer and times of a token, but no signature and no role. No emulator can check the roles that
the templates assign.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import jwt
import pytest
import trustme
from azure.core.credentials import AccessToken
from azure.storage.queue import QueueClient
from werkzeug import Request, Response

from bridge.adapters.azure.clients import queue_client, table_client
from bridge.adapters.azure.queue import DELIVERIES_QUEUE
from bridge.adapters.azure.table import AzureTable
from bridge.app import App
from bridge.domain.errors import StorageUnavailable
from bridge.settings import Settings, read_settings
from bridge.storage.table import Insert, Transaction
from local.azurite import Azurite, Certificate
from local.host.queue_rules import read_body
from local.receiver import Receiver
from local.upstream import Upstream
from local.web import WebServer
from tests.support.harness import ENVIRONMENT
from tests.support.http import Client

STORAGE = "https://storage.azure.com"
CLIENT_ID = "11111111-2222-3333-4444-555555555555"
LONG_AGO, FAR_AWAY = 1_000_000_000, 4_000_000_000


def token(audience: str = STORAGE, *, expires: int = FAR_AWAY, issuer: str = "https://sts.windows.net/tenant/") -> str:
    """Return a token in Entra's format, without a valid signature."""
    claims: dict[str, Any] = {"aud": audience, "iss": issuer, "iat": LONG_AGO, "nbf": LONG_AGO, "exp": expires}
    return jwt.encode(claims, "an unchecked key of at least 32 bytes", algorithm="HS256")


class Credential:
    """Returns one token and records the requested scopes."""

    def __init__(self, handed_out: str) -> None:
        self.handed_out = handed_out
        self.scopes: set[str] = set()

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        """Hand it out."""
        self.scopes.update(scopes)
        return AccessToken(self.handed_out, FAR_AWAY)


class Platform:
    """The identity endpoint of App Service: a token for callers that send the header."""

    def __init__(self) -> None:
        self.asked: set[tuple[str | None, str | None]] = set()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer as it does."""
        request = Request(environ)
        audience = request.args.get("resource", "")
        self.asked.add((audience, request.args.get("client_id")))
        body = {"access_token": token(audience), "expires_on": str(FAR_AWAY), "resource": audience}
        known = request.headers.get("X-IDENTITY-HEADER") == "known"
        answer = Response(json.dumps(body), 200, mimetype="application/json") if known else Response(status=401)
        return answer(environ, start_response)


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """Yield a storage that accepts tokens over HTTPS. This process trusts the issuer of the certificate."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    chain, key, trusted = (folder / name for name in ("chain.pem", "key.pem", "authority.pem"))
    for blob in issued.cert_chain_pems:
        blob.write_to_path(str(chain), append=True)
    issued.private_key_pem.write_to_path(str(key))
    authority.cert_pem.write_to_path(str(trusted))
    with pytest.MonkeyPatch.context() as patch, Azurite.start(certificate=Certificate(chain=chain, key=key)) as running:
        patch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(trusted))
        yield running


def environment(storage: Azurite) -> dict[str, str]:
    """Return the environment that the templates set: account name, addresses and identity."""
    named = {name: value for name, value in ENVIRONMENT.items() if name != "AzureWebJobsStorage"}
    return {
        **named,
        "AzureWebJobsStorage__accountName": "devstoreaccount1",
        "AzureWebJobsStorage__clientId": CLIENT_ID,
        "AzureWebJobsStorage__tableServiceUri": f"https://127.0.0.1:{storage.ports.table}/devstoreaccount1",
        "AzureWebJobsStorage__queueServiceUri": f"https://127.0.0.1:{storage.ports.queue}/devstoreaccount1",
    }


@pytest.fixture
def settings(storage: Azurite) -> Settings:
    """Read the settings."""
    return read_settings(environment(storage))


def test_table_and_queue_accept_a_token_for_storage(settings: Settings) -> None:
    """No other scope is requested."""
    credential = Credential(token())

    with table_client(settings, credential) as client, queue_client(settings, credential, "identity") as queue:
        etags = AzureTable(client).commit(Transaction("p", (Insert("a", {"column": 1}),)))
        queue.create_queue()
        queue.send_message("text")

        assert set(etags) == {"a"}
        assert [message.content for message in queue.peek_messages()] == ["dGV4dA=="]
    assert credential.scopes == {f"{STORAGE}/.default"}


@pytest.mark.parametrize(
    "handed_out",
    [token("https://vault.azure.net"), token(expires=LONG_AGO), token(issuer="https://elsewhere.example.com/"), "none"],
    ids=["another audience", "expired", "a stranger's", "no token"],
)
def test_a_rejected_token_counts_as_unavailable_storage(settings: Settings, handed_out: str) -> None:
    """A rejection proves that nothing was written."""
    with table_client(settings, Credential(handed_out)) as client:
        table = AzureTable(client)

        with pytest.raises(StorageUnavailable):
            table.get("p", "a")
        with pytest.raises(StorageUnavailable):
            table.commit(Transaction("p", (Insert("b", {"column": 1}),)))


def test_a_registration_is_delivered_with_the_platforms_identity(
    storage: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test covers the settings of the templates up to the callback, without a storage key."""
    platform = Platform()
    endpoint = WebServer(platform)
    monkeypatch.setenv("IDENTITY_ENDPOINT", endpoint.url)
    monkeypatch.setenv("IDENTITY_HEADER", "known")
    with Upstream.start() as upstream, Receiver.start() as receiver:
        upstream.script("identity-1", "Succeeded")
        app = App.from_environment(
            {
                **environment(storage),
                "SPEECH_ENDPOINT": upstream.endpoint,
                "SPEECH_KEY": upstream.key,
                "BRIDGE_CALLBACK_ALLOW_HTTP": "true",
                "BRIDGE_CALLBACK_ALLOWED_NETWORKS": "127.0.0.0/8",
                "BRIDGE_CALLBACK_ALLOWED_PORTS": "*",
            }
        )
        requested = {"operationId": "identity-1", "callbackUrl": f"{receiver.url}/hook"}

        registered = Client(app).register(requested)
        deliver(app, read_settings(environment(storage)), receiver)

    assert endpoint.stop(10)
    assert registered.status == 201
    assert [json.loads(each.body)["data"]["operationId"] for each in receiver.callbacks] == ["identity-1"]
    assert platform.asked == {(STORAGE, CLIENT_ID)}


def deliver(app: App, settings: Settings, receiver: Receiver) -> None:
    """Act as the host: tick the timer and pass on queue messages until a callback arrives."""
    with queue_client(settings, Credential(token()), DELIVERIES_QUEUE) as queue:
        queue.create_queue()
        for _ in range(100):
            app.sweep()
            take_all(app, queue)
            if receiver.callbacks:
                return
    raise AssertionError("no callback came")


def take_all(app: App, queue: QueueClient) -> None:
    """Pass on and delete every message."""
    for message in queue.receive_messages():
        app.deliver(read_body(message.content, "base64"))
        queue.delete_message(message)


def test_a_certificate_of_an_unknown_issuer_is_not_trusted(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The tests above trust one test authority, not every certificate."""
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(tmp_path / "other.pem"))

    with table_client(settings, Credential(token())) as client, pytest.raises(StorageUnavailable):
        AzureTable(client).get("p", "a")
