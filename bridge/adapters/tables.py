"""The table in Azure Table storage.

Translates and no more: what a transaction means is in `bridge/core/transaction.py`, how it is written in
`bridge/adapters/batch.py`, what its failures mean in `bridge/core/errors.py`. Facts that shape this file:

- of a transaction that failed the service answers for one write, with a status that tells a conflict, and a message
  that begins with the index of the write that lost;
- the library's own retry turns a commit whose reply was lost into a conflict, so writes are sent once.
"""

import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Any

from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.core.rest import HttpRequest
from azure.data.tables import EntityProperty, TableClient, TableEntity

from bridge.adapters.batch import Reply, content_type, read_batch, write_batch
from bridge.core.errors import CommitUnknown, Conflict, ConflictKind, StorageUnavailable
from bridge.core.transaction import Delete, Row, Transaction, Value

#: The service's largest page.
_PAGE = 1000

_CONFLICTS = {404: ConflictKind.MISSING, 409: ConflictKind.EXISTS, 412: ConflictKind.STALE}
#: Of the table, not of a row: nothing has changed, and reading again would not help.
_NO_TABLE = frozenset({"TableNotFound", "TableBeingDeleted"})
_INDEX = re.compile(r"(\d+):")
_READ_RETRIES: Mapping[str, Any] = {"retry_total": 2, "retry_backoff_factor": 0.2, "retry_backoff_max": 2}
_BATCH_HEADERS = {"Accept": "application/json", "DataServiceVersion": "3.0", "MaxDataServiceVersion": "3.0;NetFx"}
_ACCEPTED = 202

#: Answers after which nothing has changed; 408 is the service's own silence.
_REFUSALS = frozenset(range(400, 500)) - {408}


class AzureTable:
    """A table that is created when it is first written to. Thread-safe, as the client is."""

    def __init__(self, client: TableClient) -> None:
        self._client = client

    def get(self, partition: str, key: str) -> Row | None:
        """Read one row; None where it is not there."""
        with _reading():
            try:
                return _row(self._client.get_entity(partition, key, **_READ_RETRIES))
            except ResourceNotFoundError:
                return None

    def range(
        self, partition: str, start: str, stop: str, *, limit: int | None = None, columns: Sequence[str] = ()
    ) -> Sequence[Row]:
        """Read the rows with `start <= key < stop` in the order of their keys, at most `limit` of them."""
        select = ["PartitionKey", "RowKey", *columns] if columns else None
        with _reading():
            try:
                pages = self._client.query_entities(
                    "PartitionKey eq @partition and RowKey ge @start and RowKey lt @stop",
                    parameters={"partition": partition, "start": start, "stop": stop},
                    select=select,
                    results_per_page=min(limit or _PAGE, _PAGE),
                    **_READ_RETRIES,
                ).by_page()
                return [_row(entity) for entity in islice(chain.from_iterable(pages), limit)]
            except ResourceNotFoundError:
                return []

    def commit(self, transaction: Transaction) -> Mapping[str, str]:
        """Do all writes or none; returns the new ETags by row key.

        A crash right after this leaves the step done and nothing of it half done; what follows it (a message to
        send) is repeated by the due row that it wrote. Raises Conflict, CommitUnknown, StorageUnavailable.
        """
        name = str(uuid.uuid4())
        batch = write_batch(transaction, f"{self._account}/{self._client.table_name}", name)
        try:
            replies = self._submit(name, batch)
            if all(reply.is_done for reply in replies):
                _check(transaction, replies)
        except Exception as error:  # a reply that breaks off fails in many ways, and may have been a commit
            raise _unavailable(error, CommitUnknown) from error
        lost = next((reply for reply in replies if not reply.is_done), None)
        if lost is not None:
            raise _verdict(lost)
        written = zip(transaction.writes, replies, strict=True)
        return {write.key: str(reply.etag) for write, reply in written if not isinstance(write, Delete)}

    @property
    def _account(self) -> str:
        """The service's address, without a signature that it may have been given with."""
        return self._client.url.partition("?")[0]

    def _submit(self, name: str, batch: bytes) -> Sequence[Reply]:
        """Send a batch, and again if there was no table yet."""
        replies = self._send(name, batch)
        if not any(_code(reply) == "TableNotFound" for reply in replies):
            return replies
        with suppress(ResourceExistsError):  # another instance was faster
            self._client.create_table()
        return self._send(name, batch)

    def _send(self, name: str, batch: bytes) -> Sequence[Reply]:
        """Send a batch once. Raises HttpResponseError, and ValueError for an answer that is not whole."""
        request = HttpRequest(
            "POST",
            f"{self._account}/$batch",
            headers={**_BATCH_HEADERS, "x-ms-version": self._client.api_version, "Content-Type": content_type(name)},
            content=batch,
        )
        # The library's own pipeline, with the authorization that the client was made with; no public call leads to it.
        with self._client._client.send_request(request, stream=True) as response:  # noqa: SLF001 - see above
            answer = response.read()
        if response.status_code != _ACCEPTED:
            raise HttpResponseError(response=response)
        return read_batch(answer)


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a reply that breaks off fails in many ways
        raise _unavailable(error, StorageUnavailable) from error


def _check(transaction: Transaction, replies: Sequence[Reply]) -> None:
    """Raise ValueError where an answer is not about this transaction, or keeps an ETag to itself.

    Without its ETag a row could only be written again unconditionally, which is not done.
    """
    if len(replies) != len(transaction.writes):
        raise ValueError("an answer to another transaction")
    written = (reply for write, reply in zip(transaction.writes, replies, strict=True) if not isinstance(write, Delete))
    if any(reply.etag is None for reply in written):
        raise ValueError("an answer without an ETag")


def _row(entity: TableEntity) -> Row:
    values = {name: _plain(value) for name, value in entity.items() if name not in ("PartitionKey", "RowKey")}
    return Row(entity["PartitionKey"], entity["RowKey"], str(entity.metadata["etag"]), values)


def _plain(value: Any) -> Value:  # noqa: ANN401 - whatever somebody stored
    if isinstance(value, EntityProperty):
        return _plain(value.value)
    if isinstance(value, datetime):
        return datetime.fromtimestamp(value.timestamp(), UTC)
    return value if isinstance(value, str | int | float | bool | bytes) else str(value)


def _verdict(lost: Reply) -> Exception:
    """Say what the answer about the write that lost means."""
    kind, (code, message) = _CONFLICTS.get(lost.status), _error(lost)
    if kind is None or code in _NO_TABLE:
        why = CommitUnknown if lost.status not in _REFUSALS else StorageUnavailable
        return why(f"table storage: {code or 'no code'}, HTTP status {lost.status}")
    said = _INDEX.match(message)
    return Conflict(kind, int(said[1]) if said else None)


def _code(reply: Reply) -> str:
    return "" if reply.is_done else _error(reply)[0]


def _error(reply: Reply) -> tuple[str, str]:
    """Read code and message of what went wrong; empty where nothing is said."""
    try:
        error = json.loads(reply.body)["odata.error"]
        return str(error["code"]), str(error["message"]["value"])
    except (ValueError, TypeError, KeyError):
        return "", ""


def _unavailable(error: Exception, unknown: type[StorageUnavailable]) -> StorageUnavailable:
    """Tell a refusal, after which nothing has changed, from silence, after which nobody knows."""
    status = error.status_code if isinstance(error, HttpResponseError) else None
    kind = StorageUnavailable if status in _REFUSALS else unknown
    return kind(f"table storage: {type(error).__name__}, HTTP status {status}")
