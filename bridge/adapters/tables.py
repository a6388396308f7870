"""The table in Azure Table storage.

Translates and no more: what a transaction means is in `bridge/core/transaction.py`, what its failures mean is in
`bridge/core/errors.py`. Facts about the library that shape this file:

- every failure of `submit_transaction` is a TableTransactionError; its status tells a conflict, and its message
  begins with the index of the write that lost, where the service says so (the library's `index` is 0 otherwise);
- the library's own retry turns a commit whose reply was lost into a conflict, so writes are sent once;
- None is dropped from a merge, integers past 32 bits need a type of their own.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.data.tables import EdmType, EntityProperty, TableClient, TableEntity, TableTransactionError, UpdateMode

from bridge.core.errors import CommitUnknown, Conflict, ConflictKind, StorageUnavailable
from bridge.core.transaction import ANY, Delete, Insert, Merge, Row, Transaction, Upsert, Value, Write

#: The service's largest page.
_PAGE = 1000

_CONFLICTS = {404: ConflictKind.MISSING, 409: ConflictKind.EXISTS, 412: ConflictKind.STALE}
_INDEX = re.compile(r"(\d+):")
_READ_RETRIES: Mapping[str, Any] = {"retry_total": 2, "retry_backoff_factor": 0.2, "retry_backoff_max": 2}
_INT32 = range(-(2**31), 2**31)

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
        operations = [_operation(transaction.partition, write) for write in transaction.writes]
        try:
            replies = zip(transaction.writes, self._submit(operations), strict=True)
            return {write.key: reply["etag"] for write, reply in replies if not isinstance(write, Delete)}
        except TableTransactionError as error:
            raise _verdict(error) from error
        except Exception as error:  # a reply that breaks off fails in many ways, and may have been a commit
            raise _unavailable(error, CommitUnknown) from error

    def _submit(self, operations: list[Any]) -> list[Mapping[str, Any]]:
        try:
            return self._send(operations)
        except TableTransactionError as error:
            if not _lacks_table(error):
                raise
        with suppress(ResourceExistsError):  # another instance was faster
            self._client.create_table()
        return self._send(operations)

    def _send(self, operations: list[Any]) -> list[Mapping[str, Any]]:
        """Send a transaction once. The library leaves a reply that breaks off open, so that it is closed here."""
        replies: list[Any] = []
        try:
            return self._client.submit_transaction(
                operations, raw_response_hook=lambda reply: replies.append(reply.http_response)
            )
        except Exception:
            for reply in replies:
                reply.close()
            raise


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a reply that breaks off fails in many ways
        raise _unavailable(error, StorageUnavailable) from error


def _operation(partition: str, write: Write) -> tuple[Any, ...]:
    keys = {"PartitionKey": partition, "RowKey": write.key}
    match write:
        case Insert(values=values):
            return "create", {**keys, **_columns(values)}
        case Merge(values=values, etag=etag):
            return "update", {**keys, **_columns(values)}, {"mode": UpdateMode.MERGE, **_condition(etag)}
        case Upsert(values=values):
            return "upsert", {**keys, **_columns(values)}, {"mode": UpdateMode.MERGE}
        case Delete(etag=etag):
            return "delete", keys, _condition(etag)


def _condition(etag: str) -> dict[str, Any]:
    if etag == ANY:
        return {"match_condition": MatchConditions.Unconditionally}
    return {"etag": etag, "match_condition": MatchConditions.IfNotModified}


def _columns(values: Mapping[str, Value]) -> dict[str, Any]:
    return {name: _typed(value) for name, value in values.items()}


def _typed(value: Value) -> Any:  # noqa: ANN401 - the library takes what it takes
    if isinstance(value, int) and not isinstance(value, bool) and value not in _INT32:
        return EntityProperty(value, EdmType.INT64)
    return value


def _row(entity: TableEntity) -> Row:
    values = {name: _plain(value) for name, value in entity.items() if name not in ("PartitionKey", "RowKey")}
    return Row(entity["PartitionKey"], entity["RowKey"], str(entity.metadata["etag"]), values)


def _plain(value: Any) -> Value:  # noqa: ANN401 - whatever somebody stored
    if isinstance(value, EntityProperty):
        return _plain(value.value)
    if isinstance(value, datetime):
        return datetime.fromtimestamp(value.timestamp(), UTC)
    return value if isinstance(value, str | int | float | bool | bytes) else str(value)


def _lacks_table(error: TableTransactionError) -> bool:
    return bool(getattr(error, "error_code", None) == "TableNotFound")


def _verdict(error: TableTransactionError) -> Exception:
    kind = _CONFLICTS.get(error.status_code or 0)
    if kind is None or _lacks_table(error):
        return _unavailable(error, CommitUnknown)
    said = _INDEX.match(error.message or "")
    return Conflict(kind, int(said[1]) if said else None)


def _unavailable(error: Exception, unknown: type[StorageUnavailable]) -> StorageUnavailable:
    """Tell a refusal, after which nothing has changed, from silence, after which nobody knows."""
    status = error.status_code if isinstance(error, HttpResponseError) else None
    kind = StorageUnavailable if status in _REFUSALS else unknown
    return kind(f"table storage: {type(error).__name__}, HTTP status {status}")
