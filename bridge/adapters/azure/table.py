"""The table in Azure Table storage.

Only translates. `bridge/storage/table.py` defines transactions, `bridge/adapters/azure/table_batch.py` encodes
them, and `bridge/domain/errors.py` defines the failures. Two facts shape this file:

- the answer to a failed transaction describes one write, with a status that identifies a conflict, and a message that
  begins with the index of the lost write;
- the library's own retry would turn a commit with a lost reply into a conflict, so writes are sent once.
"""

import json
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import chain, islice, pairwise
from typing import Any, TypeVar

from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.core.pipeline import PipelineResponse
from azure.core.rest import HttpRequest
from azure.data.tables import EntityProperty, TableClient, TableEntity

from bridge.adapters.azure.storage_calls import REFUSALS, StorageCalls, code_of
from bridge.adapters.azure.table_batch import BatchReply, content_type, read_batch, write_batch
from bridge.adapters.net.guard import Guard
from bridge.domain.errors import CommitUnknown, Conflict, ConflictKind, StorageUnavailable
from bridge.storage.table import Delete, Row, Transaction, Value

#: The service's largest page.
_PAGE = 1000

_CONFLICTS: Mapping[int, ConflictKind] = {
    HTTPStatus.NOT_FOUND: ConflictKind.MISSING,
    HTTPStatus.CONFLICT: ConflictKind.EXISTS,
    HTTPStatus.PRECONDITION_FAILED: ConflictKind.STALE,
}
#: Errors about the table, not about a row. Nothing has changed, and a second read would not help.
_NO_TABLE = frozenset({"TableNotFound", "TableBeingDeleted"})
_INDEX = re.compile(r"(\d+):")
#: The waits before a read is repeated, in seconds.
_READ_PAUSES = (0.1, 0.4)

#: Statuses of a read that may be temporary.
_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})

_BATCH_HEADERS = {"Accept": "application/json", "DataServiceVersion": "3.0", "MaxDataServiceVersion": "3.0;NetFx"}
_T = TypeVar("_T")


class AzureTable:
    """A table, created by the first write. Thread-safe, like the client."""

    def __init__(
        self, client: TableClient, guard: Guard | None = None, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Wrap a client. `guard` must be the guard of the client. `sleep` waits for a number of seconds."""
        self._client = client
        self._calls = StorageCalls("table storage", guard)
        self._sleep = sleep

    def get(self, partition: str, key: str) -> Row | None:
        """Read one row, or return None if the service answers that the row is missing."""

        def read() -> Row | None:
            try:
                row = _row(self._client.get_entity(partition, key, raw_response_hook=_check_json))
            except ResourceNotFoundError:
                return None
            if (row.partition, row.key) != (partition, key):
                raise ValueError("an answer about another row")
            return row

        return self._read(read)

    def range(
        self, partition: str, start: str, stop: str, *, limit: int | None = None, columns: Sequence[str] = ()
    ) -> Sequence[Row]:
        """Read the rows with `start <= key < stop` in key order, at most `limit` of them."""
        select = ["PartitionKey", "RowKey", *columns] if columns else None

        def read() -> Sequence[Row]:
            try:
                pages = self._client.query_entities(
                    "PartitionKey eq @partition and RowKey ge @start and RowKey lt @stop",
                    parameters={"partition": partition, "start": start, "stop": stop},
                    select=select,
                    results_per_page=min(limit or _PAGE, _PAGE),
                    raw_response_hook=_check_list,
                ).by_page()
                rows = [_row(entity) for entity in islice(chain.from_iterable(pages), limit)]
            except ResourceNotFoundError as error:
                if code_of(error) not in _NO_TABLE:
                    raise
                return []
            _check_rows(rows, partition, start, stop)
            return rows

        return self._read(read)

    def commit(self, transaction: Transaction) -> Mapping[str, str]:
        """Commit all writes or none. Returns the new ETags by row key.

        A crash right after this leaves the step complete, never half done. The due row that the step wrote repeats a
        follow-up like a message to send. Raises Conflict, CommitUnknown, StorageUnavailable.
        """
        name = str(uuid.uuid4())
        batch = write_batch(transaction, f"{self._account}/{self._client.table_name}", name)
        with self._calls.call(CommitUnknown):
            replies = self._submit(name, batch)
            if all(reply.is_done for reply in replies):
                _check(transaction, replies)
        lost = next((reply for reply in replies if not reply.is_done), None)
        if lost is not None:
            raise _failure_of(lost)
        written = zip(transaction.writes, replies, strict=True)
        return {write.key: str(reply.etag) for write, reply in written if not isinstance(write, Delete)}

    def _read(self, read: Callable[[], _T]) -> _T:
        """Read within one deadline. Repeat a few times after a temporary failure."""
        with self._calls.call():
            for pause in _READ_PAUSES:
                try:
                    return read()
                except (HttpResponseError, ServiceRequestError, ServiceResponseError) as error:
                    if not _is_transient(error) or pause >= self._calls.remaining():
                        raise
                self._sleep(pause)
            return read()

    @property
    def _account(self) -> str:
        """The URL of the service, without the signature that the client's URL may contain."""
        return self._client.url.partition("?")[0]

    def _submit(self, name: str, batch: bytes) -> Sequence[BatchReply]:
        """Send a batch. If the table is missing, create the table and send again."""
        replies = self._send(name, batch)
        if not any(_code(reply) == "TableNotFound" for reply in replies):
            return replies
        with suppress(ResourceExistsError):  # another instance was faster
            self._client.create_table()
        return self._send(name, batch)

    def _send(self, name: str, batch: bytes) -> Sequence[BatchReply]:
        """Send a batch once. Raises HttpResponseError, or ValueError for an incomplete answer."""
        request = HttpRequest(
            "POST",
            f"{self._account}/$batch",
            headers={**_BATCH_HEADERS, "x-ms-version": self._client.api_version, "Content-Type": content_type(name)},
            content=batch,
        )
        # The library's own pipeline, with the client's authorization. There is no public call for it.
        with self._client._client.send_request(request, stream=True) as response:  # noqa: SLF001 - see above
            answer = response.read()
        if response.status_code != HTTPStatus.ACCEPTED:
            raise HttpResponseError(response=response)
        return read_batch(answer)


def _is_transient(error: AzureError) -> bool:
    return not isinstance(error, HttpResponseError) or error.status_code in _TRANSIENT


def _check_json(response: PipelineResponse[Any, Any]) -> None:
    """Raise ValueError for an answer that is not the service's: the library reads XML as an empty answer."""
    kind = str(response.http_response.headers.get("Content-Type", "")).partition(";")[0].strip().lower()
    if response.http_response.status_code == HTTPStatus.OK and kind != "application/json":
        raise ValueError("an answer that is no JSON")


def _check_list(response: PipelineResponse[Any, Any]) -> None:
    """Raise ValueError for an answer without a list of rows: the library reads some of them as an empty list."""
    _check_json(response)
    if response.http_response.status_code == HTTPStatus.OK:
        answer = json.loads(response.http_response.body())
        if not isinstance(answer, dict) or not isinstance(answer.get("value"), list):
            raise ValueError("an answer without rows")


def _check_rows(rows: Sequence[Row], partition: str, start: str, stop: str) -> None:
    """Raise ValueError for rows outside of the requested range, or out of order."""
    keys = [row.key for row in rows]
    if any(row.partition != partition for row in rows) or (keys and not (start <= keys[0] and keys[-1] < stop)):
        raise ValueError("an answer about other rows")
    if any(first >= second for first, second in pairwise(keys)):
        raise ValueError("an answer whose rows are out of order")


def _check(transaction: Transaction, replies: Sequence[BatchReply]) -> None:
    """Raise ValueError if an answer belongs to another transaction, or lacks an ETag.

    Without its ETag a row could only be written unconditionally, which the bridge never does.
    """
    if len(replies) != len(transaction.writes):
        raise ValueError("an answer to another transaction")
    written = (reply for write, reply in zip(transaction.writes, replies, strict=True) if not isinstance(write, Delete))
    if any(reply.etag is None for reply in written):
        raise ValueError("an answer without an ETag")


def _row(entity: TableEntity) -> Row:
    values = {name: _plain(value) for name, value in entity.items() if name not in ("PartitionKey", "RowKey")}
    return Row(entity["PartitionKey"], entity["RowKey"], str(entity.metadata["etag"]), values)


def _plain(value: object) -> Value:
    if isinstance(value, EntityProperty):
        return _plain(value.value)
    if isinstance(value, datetime):
        return datetime.fromtimestamp(value.timestamp(), UTC)
    return value if isinstance(value, str | int | float | bool | bytes) else str(value)


def _failure_of(lost: BatchReply) -> Exception:
    """Return the exception for the answer about the lost write."""
    kind, (code, message) = _CONFLICTS.get(lost.status), _error(lost)
    # The bridge deletes a due row if its target is missing, so only the service's own answer may count as missing.
    if kind is None or code in _NO_TABLE or (kind is ConflictKind.MISSING and not code):
        why = CommitUnknown if lost.status not in REFUSALS else StorageUnavailable
        return why(f"table storage: {code or 'no code'}, HTTP status {lost.status}")
    said = _INDEX.match(message)
    return Conflict(kind, int(said[1]) if said else None)


def _code(reply: BatchReply) -> str:
    return "" if reply.is_done else _error(reply)[0]


def _error(reply: BatchReply) -> tuple[str, str]:
    """Return code and message of an error. Empty if the answer contains neither."""
    try:
        error = json.loads(reply.body)["odata.error"]
        return str(error["code"]), str(error["message"]["value"])
    except (ValueError, TypeError, KeyError):
        return "", ""
