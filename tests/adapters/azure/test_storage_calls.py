"""Answers of storage and failed calls, and the time that a call may take."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any

import pytest
from azure.data.tables import TableClient
from azure.storage.queue import QueueClient

from bridge.adapters.azure.clients import queue_client, table_client
from bridge.adapters.azure.queue import AzureQueue
from bridge.adapters.azure.storage_calls import Breaker, StorageCalls, request_deadline, storage_guard
from bridge.adapters.azure.table import AzureTable
from bridge.domain.delivery import DeliveryTask
from bridge.domain.errors import CommitUnknown, StorageRefused, StorageUnavailable
from bridge.domain.ids import OperationRef, RegistrationRef
from bridge.ports import DeliveryQueue
from bridge.settings import read_settings
from bridge.storage.table import Insert, Table, Transaction
from tests.hostile_receivers.receivers import Habit, drips, living, never_reads, replies
from tests.support.harness import ENVIRONMENT, NOON

TASK = DeliveryTask(
    ref=RegistrationRef(OperationRef("default", "operation-1"), "0123456789abcdef"), generation=NOON, number=1
)
INSERT = Transaction("p", (Insert("a", {"n": 1}),))


def reply(body: bytes, kind: str = "application/json", status: str = "200 OK", **headers: str) -> bytes:
    lines = {"Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close", **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items() if value)
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def rows(*keys: str, partition: str = "p") -> bytes:
    value = [{"odata.etag": "W/1", "PartitionKey": partition, "RowKey": key, "n": 1} for key in keys]
    return json.dumps({"odata.metadata": "x", "value": value}).encode()


def row(partition: str, key: str) -> bytes:
    return json.dumps({"odata.etag": "W/1", "PartitionKey": partition, "RowKey": key}).encode()


def problem(code: str) -> bytes:
    return json.dumps({"odata.error": {"code": code, "message": {"lang": "en-US", "value": "No."}}}).encode()


@contextmanager
def storage(habit: Habit, *, seconds: float = 30) -> Iterator[tuple[Table, DeliveryQueue]]:
    """Return the deployed clients for a storage with a behavior. A call may take `seconds`."""
    with living(habit) as port, ExitStack() as open_clients:
        url = f"http://127.0.0.1:{port}"
        connection = (
            f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;TableEndpoint={url}/a;QueueEndpoint={url}/a;"
        )
        settings = read_settings({**ENVIRONMENT, "AzureWebJobsStorage": connection})
        guard = storage_guard(seconds)
        table: TableClient = open_clients.enter_context(table_client(settings, None, guard))
        queue: QueueClient = open_clients.enter_context(queue_client(settings, None, "q", guard))
        yield AzureTable(table, guard, sleep=lambda _: None), AzureQueue(queue, guard)


def test_rows_are_what_the_service_returns_as_json() -> None:
    with storage(replies(reply(rows("a", "b"), "application/json;odata=minimalmetadata;charset=utf-8"))) as (table, _):
        found = table.range("p", "a", "z")

    assert [each.key for each in found] == ["a", "b"]


@pytest.mark.parametrize(
    "answer",
    [
        *(
            reply(b"<feed/>", kind)
            for kind in (
                "application/xml",
                "text/xml",
                "application/xhtml+xml",
                "application/atom+xml",
                "text/html",
                "",
            )
        ),
        reply(rows("a"), "text/plain"),
        reply(rows("a"), "application/xml"),
        reply(b"", "application/xml"),
        *(reply(body) for body in (b"", b"{}", b"[]", b"null", b'{"value": {}}', b'{"value": ""}', b'{"value": null}')),
        reply(rows("a", partition="q")),
        reply(rows("a", "zz")),
        reply(rows("A", "b")),
        reply(rows("b", "a")),
        reply(rows("a", "a")),
        reply(b"", status="204 No Content"),
        reply(b"{}", status="206 Partial Content"),
        reply(b"", status="304 Not Modified"),
        reply(b"<h1>no</h1>", "text/html", status="404 Not Found"),
        reply(problem("ResourceNotFound"), status="404 Not Found"),
    ],
)
def test_any_other_answer_is_a_failure_of_storage(answer: bytes) -> None:
    with storage(replies(answer)) as (table, _), pytest.raises(StorageUnavailable) as caught:
        table.range("p", "a", "z")

    assert "ServiceRequestError" not in str(caught.value)  # the service answered


@pytest.mark.parametrize(
    "answer",
    [
        reply(b"<entry/>", "application/atom+xml"),
        reply(row("p", "a"), "application/xml"),
        reply(row("p", "b")),
        reply(row("q", "a")),
        reply(b"{}"),
        reply(b""),
        reply(b"<h1>no</h1>", "text/html", status="404 Not Found"),
        reply(b"", status="404 Not Found"),
    ],
)
def test_a_row_is_missing_only_on_a_404_of_the_service(answer: bytes) -> None:
    with storage(replies(answer)) as (table, _), pytest.raises(StorageUnavailable) as caught:
        table.get("p", "a")

    assert "ServiceRequestError" not in str(caught.value)  # the service answered


@pytest.mark.parametrize("code", ["ResourceNotFound", "EntityNotFound", "TableNotFound"])
def test_a_missing_row_is_none(code: str) -> None:
    with storage(replies(reply(problem(code), status="404 Not Found"))) as (table, _):
        assert table.get("p", "a") is None


def test_a_table_that_does_not_exist_has_no_rows() -> None:
    with storage(replies(reply(problem("TableNotFound"), status="404 Not Found"))) as (table, _):
        assert table.range("p", "a", "z") == []


@pytest.mark.parametrize(
    "answer",
    [
        reply(b"", "", status="201 Created"),
        reply(b"<html></html>", "text/html", status="201 Created"),
        reply(b"<QueueMessagesList/>", "application/xml", status="201 Created"),
        reply(b"[]", status="201 Created"),
        reply(b"<QueueMessagesList><QueueMessage/></QueueMessagesList>", "application/xml", status="200 OK"),
        b"HTTP/1.1 201 Created\r\n\r\n",
        reply(b"", status="503 Busy"),
    ],
)
def test_any_error_of_a_send_is_a_failure_of_storage(answer: bytes) -> None:
    with storage(replies(answer)) as (_, queue), pytest.raises(StorageUnavailable) as caught:
        queue.send(TASK, ttl=timedelta(minutes=2))

    assert "ServiceRequestError" not in str(caught.value)  # the service answered


@pytest.mark.parametrize(
    "habit",
    [
        never_reads,
        drips(b"HTTP/1.1 2", b"0"),
        drips(b"HTTP/1.1 200 OK\r\nX: ", b"a"),
        drips(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n", b" "),
        drips(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", b" "),
        drips(b"HTTP/1.1 202 OK\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n", b" "),
    ],
)
def test_a_call_always_ends_at_its_deadline(habit: Habit) -> None:
    with storage(habit, seconds=0.2) as (table, queue):
        with pytest.raises(StorageUnavailable):
            table.range("p", "a", "z")
        with pytest.raises(StorageUnavailable):
            table.get("p", "a")
        with pytest.raises(CommitUnknown):
            table.commit(INSERT)
        with request_deadline(0.2), pytest.raises(StorageUnavailable):
            queue.send(TASK, ttl=timedelta(minutes=2))


def test_nothing_is_sent_once_the_time_of_the_request_is_over() -> None:
    with storage(replies(reply(rows("a")))) as (table, _):
        with request_deadline(0), pytest.raises(StorageUnavailable, match="the time of the request is over"):
            table.range("p", "a", "z")

        assert len(table.range("p", "a", "z")) == 1


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (
            "403 Forbidden",
            problem("AuthorizationPermissionMismatch"),
            "application/json",
            "AuthorizationPermissionMismatch",
        ),
        ("403 Forbidden", problem("AuthorizationFailure"), "application/json", "AuthorizationFailure"),
        ("401 Unauthorized", problem("InvalidAuthenticationInfo"), "application/json", "InvalidAuthenticationInfo"),
        (
            "403 Forbidden",
            b"<?xml version='1.0'?><Error><Code>AuthenticationFailed</Code><Message>No.</Message></Error>",
            "application/xml",
            "AuthenticationFailed",
        ),
        ("403 Forbidden", b"<h1>a firewall of the network</h1>", "text/html", "HTTP 403"),
    ],
)
def test_a_rejection_of_the_caller_has_the_code_of_the_service(status: str, body: bytes, kind: str, code: str) -> None:
    calls: list[Any] = []
    with storage(replies(reply(body, kind, status=status))) as (table, queue):
        calls += [lambda: table.get("p", "a"), lambda: table.range("p", "a", "z"), lambda: table.commit(INSERT)]
        calls += [lambda: queue.send(TASK, ttl=timedelta(minutes=2))]
        for call in calls:
            with pytest.raises(StorageRefused) as caught:
                call()

            assert caught.value.code == code


class Steps:
    """A clock that a test advances."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_silent_service_is_probed_by_one_call_at_a_time() -> None:
    clock = Steps()
    breaker = Breaker(silent_after=2, retry_after=5, now=clock)

    breaker.silent()
    after_one = breaker.allows()
    breaker.silent()
    after_two = breaker.allows()
    clock.now = 5
    first, second = breaker.allows(), breaker.allows()
    breaker.answered()

    assert (after_one, after_two, first, second, breaker.allows()) == (True, False, True, False, True)


def test_a_call_to_a_silent_service_fails_at_once() -> None:
    breaker = Breaker(silent_after=1, retry_after=1000)
    breaker.silent()

    with pytest.raises(StorageUnavailable, match="silent a moment ago"), StorageCalls("a", breaker=breaker).call():
        raise AssertionError("the call was made")
