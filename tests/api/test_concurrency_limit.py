"""Lists and overviews leave threads for registrations, deliveries and sweeps."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from itertools import islice

import pytest

from bridge.adapters.azure.storage_calls import StorageCalls, request_deadline
from bridge.api.concurrency_limit import RUNNING, WAITING, ConcurrencyLimit
from bridge.api.errors import Problem
from bridge.api.handlers import Handlers
from bridge.api.routes import Handler
from bridge.domain.errors import StorageRefused, StorageUnavailable
from bridge.pool import map_in_order
from bridge.storage.table import Row, Table
from tests.support.forwarding import ForwardingTable
from tests.support.harness import Harness, harness
from tests.support.http import Client

#: The host's threads.
HOST = 32


class Held(ForwardingTable):
    """A table that blocks index reads until a test continues them."""

    def __init__(self, inner: Table) -> None:
        super().__init__(inner)
        self.go_on = threading.Event()
        self.begun = threading.Semaphore(0)

    def range(
        self, partition: str, start: str, stop: str, *, limit: int | None = None, columns: Sequence[str] = ()
    ) -> Sequence[Row]:
        if start.startswith("idx:"):
            self.begun.release()
            assert self.go_on.wait(60)
        return super().range(partition, start, stop, limit=limit, columns=columns)


@contextmanager
def held() -> Iterator[tuple[Harness, Held]]:
    tables: list[Held] = []

    def wrap(inner: Table) -> Table:
        tables.append(Held(inner))
        return tables[0]

    bridge = harness(wrap)
    try:
        yield bridge, tables[0]
    finally:
        tables[0].go_on.set()


#: Each with the number of simultaneous index reads: one status counts, and the other waits for the counts.
READ_MANY: list[tuple[Handler, str, int]] = [
    (Handlers.list_registrations, "/registrations", RUNNING),
    (Handlers.status, "/status", 1),
    (Handlers.overview, "/overview", RUNNING),
]


@pytest.mark.parametrize(("route", "path", "reading"), READ_MANY, ids=[path for _, path, _ in READ_MANY])
def test_expensive_calls_leave_most_threads_of_the_host(route: Handler, path: str, reading: int) -> None:
    with held() as (bridge, table), ThreadPoolExecutor(HOST) as host:
        client = Client.of(bridge)
        flood = [host.submit(client.call, route, path) for _ in range(200)]
        for _ in range(reading):
            assert table.begun.acquire(timeout=60)

        registered = host.submit(
            client.register, {"operationId": "operation-1", "callbackUrl": "https://receiver.example.com/"}
        ).result(60)
        ended = list(islice(as_completed(flood, timeout=60), 200 - RUNNING - WAITING))  # before a read goes on
        table.go_on.set()
        answers = [each.result(60) for each in flood]

    refused = [each for each in answers if each.status == 503]
    assert registered.status == 201
    assert {each.result().status for each in ended} == {503}
    assert {(each.error["code"], each.headers["Retry-After"]) for each in refused} == {("TooBusy", "5")}
    assert {each.status for each in answers} == {200, 503}


def test_a_call_waits_a_moment_for_a_place() -> None:
    limit, inside, results = ConcurrencyLimit(running=1, waiting=1, max_wait=60), threading.Event(), list[str]()
    release = threading.Event()

    def first() -> None:
        with limit.slot():
            inside.set()
            release.wait(60)

    def second() -> None:
        with limit.slot():
            results.append("done")

    with ThreadPoolExecutor(2) as pool:
        pool.submit(first)
        assert inside.wait(60)
        waiting = pool.submit(second)
        release.set()
        waiting.result(60)

    assert results == ["done"]


def test_a_call_without_a_place_in_time_is_rejected() -> None:
    limit = ConcurrencyLimit(running=1, waiting=1, max_wait=0.001)

    with limit.slot():
        for _ in range(3):
            with pytest.raises(Problem) as caught, limit.slot():
                pass

    with limit.slot():
        assert caught.value.code == "TooBusy"


def test_a_failed_call_releases_its_place(bridge: Harness) -> None:
    client = Client.of(bridge)
    for _ in range(3 * (RUNNING + WAITING)):
        client.call(Handlers.list_registrations, "/registrations?limit=x")

    assert client.call(Handlers.list_registrations).status == 200


class Down(ForwardingTable):
    """A table with failures that a test chooses."""

    def __init__(self, inner: Table, error: Exception) -> None:
        super().__init__(inner)
        self.error = error

    def range(self, *_: object, **__: object) -> Sequence[Row]:
        raise self.error


def test_a_rejection_by_storage_is_reported_with_its_code_and_no_retry_after(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refusal = StorageRefused("table storage: AuthorizationFailure, HTTP status 403", "AuthorizationFailure")
    bridge = harness(lambda inner: Down(inner, refusal))

    answer = Client.of(bridge).call(Handlers.list_registrations)
    bridge.sweep()

    assert (answer.status, answer.error["code"], answer.headers["Retry-After"]) == (503, "StorageRefused", "60")
    assert "AuthorizationFailure" in answer.error["message"]
    assert "same request" not in answer.error["message"]
    assert caplog.text.count('"event": "storage.refused"') == 2
    assert '"step": "answer", "code": "AuthorizationFailure"' in caplog.text


def test_silent_storage_is_reported_differently() -> None:
    bridge = harness(lambda inner: Down(inner, StorageUnavailable("down")))

    answer = Client.of(bridge).call(Handlers.list_registrations)

    assert (answer.status, answer.error["code"]) == (503, "StorageUnavailable")


def test_reads_in_the_threads_of_a_pool_are_under_the_deadline_of_their_request() -> None:
    calls = StorageCalls("table storage")

    def read(_: int) -> None:
        with calls.call():
            raise AssertionError("it was sent")

    with (
        ThreadPoolExecutor(2) as pool,
        request_deadline(0),
        pytest.raises(StorageUnavailable, match="the time of the request is over"),
    ):
        map_in_order(pool, read, range(4))
