"""The outside over real sockets: the Speech service, receivers, and failing storage."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from math import nan

import pytest
import requests
import trustme
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError
from azure.data.tables import TableClient
from azure.storage.queue import QueueClient, TextBase64DecodePolicy, TextBase64EncodePolicy

from bridge.adapters.azure.queue import AzureQueue
from bridge.adapters.azure.table import AzureTable
from bridge.adapters.net.guard import Guard, Limits
from bridge.adapters.speech import SpeechService
from bridge.adapters.webhook_sender import HttpWebhookSender
from bridge.domain.callback_url import CallbackRules
from bridge.domain.delivery import DeliveryTask
from bridge.domain.errors import BridgeError, CommitUnknown, Conflict, StorageRefused, StorageUnavailable
from bridge.domain.ids import Kind, OperationRef, RegistrationRef
from bridge.domain.operation import FinalStatus, PollErrorKind
from bridge.domain.outcome import Delivered, Failure, Gone, Rejected, TlsReason, Unreachable
from bridge.domain.time import whole_millis
from bridge.domain.upstream import NoReply, Pending, Reply, Terminal, read
from bridge.settings import read_settings
from bridge.storage.queue_message import read_task, write_task
from bridge.storage.table import Insert, Transaction
from local.answer import Answer
from local.azurite import Azurite
from local.receiver import Receiver
from local.upstream import Upstream
from tests.hostile_receivers.receivers import OK, drips, living, read_request, recording_with
from tests.local.fake_speech import KEY, WORK
from tests.support import factories
from tests.support.harness import ENVIRONMENT, NOON, FakeClock
from tests.support.poll_errors import no_reply

MULTIPART = b"HTTP/1.1 202 Accepted\r\nConnection: close\r\nContent-Type: multipart/mixed; boundary=batch_1\r\n"
OPERATION = OperationRef("default", "operation-1")
LOCAL = read_settings(
    {
        **ENVIRONMENT,
        "BRIDGE_CALLBACK_ALLOW_HTTP": "true",
        "BRIDGE_CALLBACK_ALLOWED_NETWORKS": "127.0.0.0/8,::1/128",
        "BRIDGE_CALLBACK_ALLOWED_PORTS": "*",
        "BRIDGE_CALLBACK_KEEP_ANSWERS": "true",
    }
).callback_rules


def speech(endpoint: str, key: str = "local-key") -> SpeechService:
    """Return a service with one source."""
    source = factories.source(endpoint)
    return SpeechService([source], {"default": lambda: {"Ocp-Apim-Subscription-Key": key}})


@contextmanager
def server(*replies: bytes) -> Iterator[str]:
    """Serve raw bytes, one connection each, then close. Yields the address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for reply in replies:
                connection, _ = listening.accept()
                with connection:
                    read_request(connection)  # closing with unread bytes would reset the connection
                    connection.sendall(reply)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield address_of(listening)
        thread.join(5)


def hang_up(listening: socket.socket) -> None:
    """Accept one connection and close without an answer."""
    listening.accept()[0].close()


def address_of(listening: socket.socket) -> str:
    """Return the address of a socket."""
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


def unused_port() -> int:
    """Return a closed port."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        return int(listening.getsockname()[1])


def sender(rules: CallbackRules = LOCAL) -> HttpWebhookSender:
    """Return a sender, by default with access to loopback."""
    return HttpWebhookSender(Guard(rules), FakeClock())


def test_speech_is_called_according_to_its_reference() -> None:
    """Compared: path, api-version and key."""
    with Upstream.start() as upstream:
        upstream.script("operation-1", "Running")

        reply = speech(upstream.endpoint).fetch_operation(OPERATION)

        assert isinstance(reply, Reply)
        assert (reply.status, b'"Running"' in reply.body) == (200, True)
        [asked] = upstream.requests
        assert (asked.path, asked.api_version) == ("/avatar/operations/operation-1", "2024-08-01")


def test_a_job_is_fetched_by_its_id_with_its_times_and_error() -> None:
    """The operation of the job has another id. Compared: path, api-version, and the times of the answer."""
    with Upstream.start(key=KEY) as upstream:
        upstream.script("deck-1-op", "Running")
        place = f"{upstream.endpoint}/avatar/batchsyntheses/deck-1?api-version=2024-08-01"
        headers = {"Ocp-Apim-Subscription-Key": KEY, "Operation-Id": "deck-1-op"}
        assert requests.put(place, headers=headers, json=WORK, timeout=10).status_code == 201
        job, service = OperationRef("default", "deck-1", Kind.JOB), speech(upstream.endpoint, KEY)

        running = service.fetch_operation(job)
        upstream.script("deck-1-op", "Failed")
        failed = service.fetch_operation(job)

        assert isinstance(running, Reply)
        created_at = datetime.fromisoformat(json.loads(running.body)["createdDateTime"])
        soon = created_at + timedelta(minutes=1)
        first, last = read(running, job, soon), read(failed, job, soon)
        assert isinstance(first, Pending)
        assert isinstance(last, Terminal)
        assert first.created_at == last.created_at == whole_millis(created_at)
        assert last.ended_at is not None
        assert created_at - timedelta(milliseconds=1) <= last.ended_at <= soon
        assert (last.final_status, last.why is not None) == (FinalStatus.FAILED, True)
        assert {(each.path, each.api_version) for each in upstream.requests if each.method == "GET"} == {
            ("/avatar/batchsyntheses/deck-1", "2024-08-01")
        }


def test_speech_answers_a_wrong_key_with_401() -> None:
    """The 401 is an answer, not an exception."""
    with Upstream.start() as upstream:
        reply = speech(upstream.endpoint, key="wrong").fetch_operation(OPERATION)

        assert isinstance(reply, Reply)
        assert reply.status == 401


def test_a_redirect_of_the_upstream_is_not_followed() -> None:
    """The key would leak to the target."""
    with Upstream.start() as upstream:
        elsewhere = Answer.of({}, status=302, headers={"Location": f"{upstream.endpoint}/avatar/operations/other"})
        upstream.script("operation-1", answers=[elsewhere])

        reply = speech(upstream.endpoint).fetch_operation(OPERATION)

        assert isinstance(reply, Reply)
        assert reply.status == 302
        assert len(upstream.requests) == 1


def test_an_unreachable_upstream_is_no_reply() -> None:
    """The error has a readable message without the URL."""
    reply = speech(f"http://127.0.0.1:{unused_port()}").fetch_operation(OPERATION)

    assert reply == no_reply(PollErrorKind.CONNECTION_FAILED, "connection refused")


def test_an_upstream_that_speaks_no_http_is_no_reply() -> None:
    """Any bytes are possible."""
    with server(b"nonsense\r\n\r\n") as endpoint:
        assert isinstance(speech(endpoint).fetch_operation(OPERATION), NoReply)


def test_a_long_answer_of_the_upstream_is_cut() -> None:
    """64 KiB are read."""
    body = b"x" * 300_000
    with server(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + body) as endpoint:
        reply = speech(endpoint).fetch_operation(OPERATION)

    assert isinstance(reply, Reply)
    assert len(reply.body) == 65_536


def test_an_unavailable_token_is_no_reply() -> None:
    """The operation is polled again."""

    def refuse() -> dict[str, str]:
        raise ClientAuthenticationError("no identity here")

    source = factories.source("http://127.0.0.1:9")

    assert SpeechService([source], {"default": refuse}).fetch_operation(OPERATION) == no_reply(
        PollErrorKind.CREDENTIAL_UNAVAILABLE, "no token: ClientAuthenticationError"
    )


def test_an_unreachable_identity_endpoint_is_no_token() -> None:
    """Any exception of the library is possible."""

    def refuse() -> dict[str, str]:
        raise ServiceRequestError("no route")

    source = factories.source("http://127.0.0.1:9")

    assert SpeechService([source], {"default": refuse}).fetch_operation(OPERATION) == no_reply(
        PollErrorKind.CREDENTIAL_UNAVAILABLE, "no token: ServiceRequestError"
    )


def test_a_source_with_an_invalid_certificate_gets_no_request() -> None:
    """The key is not sent either."""
    with recording_with(trustme.CA().issue_cert("localhost")) as (port, received):
        reply = speech(f"https://localhost:{port}").fetch_operation(OPERATION)

    assert reply == no_reply(PollErrorKind.TLS_FAILED, TlsReason.AUTHORITY)
    assert received in ([], [b""])


def test_an_operation_of_a_source_that_was_removed_is_no_reply() -> None:
    """The settings of the source are gone, but may return."""
    assert speech("http://127.0.0.1:9").fetch_operation(OperationRef("gone", "operation-1")) == no_reply(
        PollErrorKind.UNKNOWN_SOURCE, "no source is named gone"
    )


@pytest.mark.parametrize(
    ("status", "kind"),
    [(200, Delivered), (204, Delivered), (410, Gone), (302, Rejected), (404, Rejected), (500, Rejected)],
)
def test_the_outcome_has_the_answer_of_the_receiver(status: int, kind: type) -> None:
    """The outcome has the status, the address and the start of the body."""
    with Receiver.start() as receiver:
        answer = Answer(status=status, body=b"said" if status != 204 else b"", headers={"Location": "/elsewhere"})
        receiver.answer("/hook", then=answer)

        outcome = sender().post(f"{receiver.url}/hook", {"webhook-id": "msg_1"}, b"{}")

        assert isinstance(outcome, kind)
        assert outcome.address == "127.0.0.1"
        [callback] = receiver.callbacks
        assert (callback.body, callback.headers["webhook-id"]) == (b"{}", "msg_1")
        assert callback.headers["user-agent"].startswith("speech-webhook-bridge/")


def test_a_url_is_called_as_it_was_registered() -> None:
    """The URL is unchanged, and no encoding is requested."""
    with Receiver.start() as receiver:
        sender().post(f"{receiver.url}/a%7Eb/%2F?c=%7E&d=+", {}, b"{}")

        [callback] = receiver.callbacks
        assert callback.path.endswith("?c=%7E&d=+")
        assert callback.headers["accept-encoding"] == "identity"


def test_an_answer_is_kept_in_part_and_printable() -> None:
    """The limit is 1,024 characters, for any bytes."""
    with Receiver.start() as receiver:
        receiver.answer("/hook", then=Answer(status=500, body=b"\x00\xff\x1b[31m" + b"a" * 5000))

        outcome = sender().post(f"{receiver.url}/hook", {}, b"{}")

        assert isinstance(outcome, Rejected)
        assert outcome.body.isprintable()
        assert len(outcome.body) <= 1024


def test_an_answer_is_not_unpacked() -> None:
    """The claimed encoding is ignored, so a decompression bomb is harmless."""
    with Receiver.start() as receiver:
        receiver.answer("/hook", then=Answer(status=200, body=b"not gzip", headers={"Content-Encoding": "gzip"}))

        outcome = sender().post(f"{receiver.url}/hook", {}, b"{}")

        assert isinstance(outcome, Delivered)
        assert outcome.body == "not gzip"


def test_retry_after_of_a_receiver_is_read() -> None:
    """The value is in seconds here."""
    with Receiver.start() as receiver:
        receiver.answer("/hook", then=Answer(status=503, headers={"Retry-After": "38"}))

        outcome = sender().post(f"{receiver.url}/hook", {}, b"{}")

        assert isinstance(outcome, Rejected)
        assert outcome.retry_after == timedelta(seconds=38)


def test_connections_to_receivers_are_reused() -> None:
    """The address of a reused connection is known too."""
    with Receiver.start() as receiver:
        one = sender()
        outcomes = [one.post(f"{receiver.url}/hook", {}, b"{}") for _ in range(3)]

    assert [outcome.address for outcome in outcomes] == ["127.0.0.1"] * 3


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{port}/", "http://localhost:{port}/", "http://127.1:{port}/", "http://[::1]:{port}/"]
)
def test_an_address_that_is_not_allowed_gets_no_connection(url: str) -> None:
    """The check happens at connection time, in addition to earlier checks."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0)
        port = listening.getsockname()[1]

        outcome = sender(CallbackRules(allow_http=True)).post(url.format(port=port), {}, b"{}")

        assert outcome == Unreachable(error=Failure.REFUSED_BY_RULES)
        with pytest.raises(BlockingIOError):
            listening.accept()


def test_a_name_with_one_bad_address_gets_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole answer of the resolver is rejected."""
    entries = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 80)) for ip in ("1.1.1.1", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: entries)

    outcome = sender().post("http://mixed.example.com/", {}, b"{}")

    assert outcome == Unreachable(error=Failure.REFUSED_BY_RULES)


def test_an_unknown_name_is_a_dns_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name may resolve later."""

    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", fail)

    assert sender().post("http://nowhere.example.com/", {}, b"{}") == Unreachable(error=Failure.DNS)


def test_a_closed_port_is_unreachable() -> None:
    """The connection is refused at once."""
    outcome = sender().post(f"http://127.0.0.1:{unused_port()}/", {}, b"{}")

    assert outcome == Unreachable(error=Failure.CONNECT)


@pytest.mark.parametrize("reply", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"])
def test_a_truncated_answer_is_an_outcome(reply: bytes) -> None:
    """No exception is raised."""
    with server(reply) as url:
        outcome = sender().post(f"{url}/", {}, b"{}")

    assert isinstance(outcome, Unreachable | Delivered)


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would see every callback."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{unused_port()}")
    with Receiver.start() as receiver:
        assert isinstance(sender().post(f"{receiver.url}/hook", {}, b"{}"), Delivered)


def test_messages_are_encoded_as_the_host_expects(azurite: Azurite) -> None:
    """The first message creates the queue, and the message has the given lifetime."""
    task = DeliveryTask(ref=RegistrationRef(OPERATION, "0123456789abcdef"), generation=NOON, number=3, sends=2)
    with QueueClient.from_connection_string(
        azurite.connection_string,
        "adapters",
        message_encode_policy=TextBase64EncodePolicy(),
        message_decode_policy=TextBase64DecodePolicy(),
    ) as client:
        for minutes in (2, 4):  # the first message creates the queue
            AzureQueue(client).send(task, ttl=timedelta(minutes=minutes))
        messages = sorted(client.receive_messages(), key=lambda message: str(message.expires_on))

    for message, minutes in zip(messages, (2, 4), strict=True):
        assert read_task(message.content.encode()) == DeliveryTask(ref=task.ref, generation=NOON, number=3)
        assert message.content == write_task(task)
        assert message.inserted_on is not None
        assert message.expires_on == message.inserted_on + timedelta(minutes=minutes)


def test_a_queue_that_does_not_answer_is_reported() -> None:
    """The due row causes another message."""
    nowhere = (
        f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;QueueEndpoint=http://127.0.0.1:{unused_port()}/a;"
    )
    task = DeliveryTask(ref=RegistrationRef(OPERATION, "0123456789abcdef"), generation=NOON, number=1)
    with (
        QueueClient.from_connection_string(nowhere, "adapters", retry_total=0) as client,
        pytest.raises(StorageUnavailable),
    ):
        AzureQueue(client).send(task, ttl=timedelta(minutes=2))


def table_at(endpoint: str) -> TableClient:
    """Return a client of an address without a table service."""
    connection = f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;TableEndpoint={endpoint}/a;"
    return TableClient.from_connection_string(connection, table_name="t", retry_total=0)


def test_a_table_that_does_not_answer_is_reported() -> None:
    """A read has no result, and the outcome of a transaction is unknown."""
    with table_at(f"http://127.0.0.1:{unused_port()}") as client:
        table = AzureTable(client)
        with pytest.raises(CommitUnknown):
            table.commit(Transaction("p", (Insert("a", {"n": 1}),)))


def multipart(output: bytes, times: int = 1) -> bytes:
    """Return an answer to a transaction with the same part for each write."""
    part = b"--changesetresponse_1\r\nContent-Type: application/http\r\n\r\n" + output
    head = b"--batchresponse_1\r\nContent-Type: multipart/mixed; boundary=changesetresponse_1\r\n\r\n"
    body = head + part * times + b"--changesetresponse_1--\r\n--batchresponse_1--\r\n"
    return MULTIPART + b"Content-Length: %d\r\n\r\n" % len(body) + body


#: A problem of the table is no conflict of a row, although the status is the same.
BEING_DELETED = b'{"odata.error": {"code": "TableBeingDeleted", "message": {"lang": "en-US", "value": "It is."}}}\r\n'


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (b"", CommitUnknown),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", CommitUnknown),
        (b"HTTP/1.1 408 Slow\r\nContent-Length: 0\r\n\r\n", CommitUnknown),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\n<html", CommitUnknown),
        (b"HTTP/1.1 202 OK\r\nContent-Length: 0\r\n\r\n", CommitUnknown),
        (MULTIPART + b"Content-Length: 9999\r\n\r\n--batch_1\r\n", CommitUnknown),
        (MULTIPART + b"Content-Length: 12\r\n\r\n--batch_1--\r\n", CommitUnknown),
        (MULTIPART + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", CommitUnknown),
        (multipart(b"HTTP/1.1 204 No Content\r\n\r\n"), CommitUnknown),
        (multipart(b"HTTP/1.1 204 No Content\r\nETag: 1\r\n\r\n", 2), CommitUnknown),
        (multipart(b"HTTP/1.1 500 Oops\r\n\r\n"), CommitUnknown),
        (multipart(b"HTTP/1.1 400 No\r\n\r\n"), StorageUnavailable),
        (multipart(b"HTTP/1.1 412 No\r\n\r\n"), Conflict),
        (multipart(b"HTTP/1.1 409 No\r\n\r\n"), Conflict),
        (multipart(b"HTTP/1.1 409 No\r\n\r\n" + BEING_DELETED), StorageUnavailable),
        (multipart(b"HTTP/1.1 404 No\r\n\r\n"), StorageUnavailable),
        (b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", StorageRefused),
        (b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", StorageRefused),
        (b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n", StorageUnavailable),
    ],
)
def test_lost_replies_and_rejections_are_distinguished(reply: bytes, kind: type[Exception]) -> None:
    """Without a reply, the outcome of a commit is unknown. After a rejection, no write happened."""
    with server(reply) as endpoint, table_at(endpoint) as client, pytest.raises(BridgeError) as caught:
        AzureTable(client).commit(Transaction("p", (Insert("a", {"n": 1}),)))

    assert type(caught.value) is kind


def test_an_invalid_transaction_is_not_sent() -> None:
    """A bug must not look like a commit with an unknown outcome."""
    with table_at(f"http://127.0.0.1:{unused_port()}") as client, pytest.raises(ValueError, match="not JSON compliant"):
        AzureTable(client).commit(Transaction("p", (Insert("a", {"n": nan}),)))


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"value": [7]}', b'{"value": [{}]}', b'{"value'])
def test_a_truncated_read_is_reported(body: bytes) -> None:
    """Covers any bytes instead of rows."""
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    with server(reply + body) as endpoint, table_at(endpoint) as client, pytest.raises(StorageUnavailable):
        list(AzureTable(client).range("p", "a", "b"))


def test_a_table_that_cannot_be_created_is_unavailable() -> None:
    """The error is no conflict, since no row changed."""
    no_table = b'{"odata.error": {"code": "TableNotFound", "message": {"lang": "en-US", "value": "0:It is not."}}}\r\n'
    missing = multipart(b"HTTP/1.1 404 No\r\n\r\n" + no_table)
    there = b'{"odata.error": {"code": "TableAlreadyExists", "message": {"lang": "en-US", "value": "It is."}}}'
    head = b"HTTP/1.1 409 Conflict\r\nConnection: close\r\nContent-Length: %d\r\n" % len(there)
    with (
        server(missing, head + b"Content-Type: application/json\r\n\r\n" + there, missing) as endpoint,
        table_at(endpoint) as client,
        pytest.raises(StorageUnavailable) as caught,
    ):
        AzureTable(client).commit(Transaction("p", (Insert("a", {"n": 1}),)))

    assert type(caught.value) is StorageUnavailable


def test_a_read_is_repeated() -> None:
    """A repeated read is harmless and spares the wait for the next sweep."""
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    rows = b'{"value": []}'
    found = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(rows) + rows
    with server(busy, found) as endpoint, table_at(endpoint) as client:
        assert list(AzureTable(client).range("p", "a", "b")) == []


def test_a_transaction_is_sent_once() -> None:
    """The library's retry would turn a commit with a lost reply into a conflict."""
    with socket.create_server(("127.0.0.1", 0)) as listening, table_at(address_of(listening)) as client:
        accepted = threading.Thread(target=hang_up, args=[listening], daemon=True)
        accepted.start()
        with pytest.raises(CommitUnknown):
            AzureTable(client).commit(Transaction("p", (Insert("a", {"n": 1}),)))
        accepted.join(5)

        listening.settimeout(0)
        with pytest.raises(BlockingIOError):
            listening.accept()


def test_an_upstream_that_drips_has_one_deadline() -> None:
    """A byte from time to time would otherwise block a thread of the sweep."""
    with living(drips(OK + b"Content-Length: 999\r\n\r\n", b" ")) as port:
        source = factories.source(f"http://127.0.0.1:{port}")
        service = SpeechService([source], {"default": dict}, Limits(attempt=0.3))

        assert service.fetch_operation(OPERATION) == no_reply(PollErrorKind.TIMEOUT, "no whole answer in time")
