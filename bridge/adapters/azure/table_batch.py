"""Encoding of a transaction for the Table service, and decoding of the answer: an OData batch of one change set.

`submit_transaction` of azure-data-tables writes the same bytes, but starts and ends four thread pools to do so, one to
prepare the parts and one to read them, for the batch and for the change set. Over Azurite that was half of the time of
a commit and most of an instance's processor time. Here the parts are written and read directly. Connection,
authorization and failures stay the library's. Two things of `submit_transaction` are missing: the library's trace span
of the method, and its exception for a batch of over 4 MiB (413), which is StorageUnavailable here.

Source: 'Performing entity group transactions' and 'Payload format for Table service operations' of the REST reference.
"""

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from bridge.storage.table import Delete, Insert, Merge, Transaction, Upsert, Value, Write

_INT32 = range(-(2**31), 2**31)
_DONE = range(200, 300)

_HEADERS = "Accept: application/json;odata=minimalmetadata\r\nDataServiceVersion: 3.0\r\n"
#: Headers for a write with a body, and for a write that should not be answered with the row.
_JSON, _NO_ROW = "Content-Type: application/json\r\n", "Prefer: return-no-content\r\n"
_PART = "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"
_CHANGES = re.compile(rb"content-type: *multipart/mixed; *boundary=(changesetresponse_[\w-]+)", re.IGNORECASE)
_STATUS = re.compile(rb"\r\n\r\nHTTP/1\.1 (\d{3})[^\r\n]*(?=\r\n)")
_ETAG = re.compile(rb"^etag: *(\S+) *\r?$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class BatchReply:
    """The service's answer to one write. A failed transaction has one reply, about the lost write."""

    status: int
    #: The row's new ETag. None after a deletion or a failure.
    etag: str | None
    #: The error as JSON. Empty after a success.
    body: bytes

    @property
    def is_done(self) -> bool:
        """Whether the write succeeded."""
        return self.status in _DONE


def content_type(name: str) -> str:
    """Return the content type of a batch with the boundary `name`."""
    return f"multipart/mixed; boundary=batch_{name}"


def write_batch(transaction: Transaction, table_url: str, name: str) -> bytes:
    """Encode a transaction on a table. `name` becomes the boundary of the parts, so no row may contain the text."""
    parts = [
        f"--changeset_{name}\r\n{_PART}{_request(transaction.partition, write, table_url)}"
        for write in transaction.writes
    ]
    return (
        f"--batch_{name}\r\nContent-Type: multipart/mixed; boundary=changeset_{name}\r\n\r\n"
        f"{''.join(parts)}--changeset_{name}--\r\n\r\n--batch_{name}--\r\n"
    ).encode("ascii")


def read_batch(body: bytes) -> Sequence[BatchReply]:
    """Decode the service's answer to a transaction, in the order of its writes.

    Raises ValueError for an incomplete answer, after which the outcome is unknown.
    """
    bounded = _CHANGES.search(body)
    if bounded is None:
        raise ValueError("no answer to a transaction")
    first, *parts = body[bounded.end() :].split(b"--" + bounded[1])
    if first.strip() or not parts or not parts.pop().startswith(b"--"):
        raise ValueError("an answer to a transaction that breaks off")
    return [_reply(part) for part in parts]


def _reply(part: bytes) -> BatchReply:
    status = _STATUS.search(part)
    if status is None:
        raise ValueError("a part of an answer without a status")
    head, _, content = part[status.end() :].partition(b"\r\n\r\n")
    etag = _ETAG.search(head)
    return BatchReply(int(status[1]), None if etag is None else etag[1].decode("ascii"), content.strip())


def _request(partition: str, write: Write, table_url: str) -> str:
    """Encode one write as an embedded request."""
    if isinstance(write, Insert):
        return _written("POST", table_url, _NO_ROW, _entity(partition, write))
    row = f"{table_url}(PartitionKey='{_key(partition)}',RowKey='{_key(write.key)}')"
    match write:
        case Merge(etag=etag):
            return _written("PATCH", row, f"If-Match: {etag}\r\n", _entity(partition, write))
        case Upsert():
            return _written("PATCH", row, "", _entity(partition, write))
        case Delete(etag=etag):
            return f"DELETE {row} HTTP/1.1\r\n{_HEADERS}If-Match: {etag}\r\n\r\n\r\n"


def _written(method: str, url: str, more: str, body: str) -> str:
    head = f"{method} {url} HTTP/1.1\r\n{_HEADERS}{_JSON}{more}Content-Length: {len(body)}"
    return f"{head}\r\n\r\n{body}\r\n"


def _key(text: str) -> str:
    return quote(text.replace("'", "''"), safe="")


def _entity(partition: str, write: Insert | Merge | Upsert) -> str:
    """Encode columns as JSON, in ASCII, with annotations for types that JSON lacks."""
    columns: dict[str, str | int | float | bool] = {"PartitionKey": partition, "RowKey": write.key}
    for name, value in write.values.items():
        written, kind = _typed(value)
        columns[name] = written
        if kind is not None:
            columns[f"{name}@odata.type"] = kind
    return json.dumps(columns, allow_nan=False)


def _typed(value: Value) -> tuple[str | int | float | bool, str | None]:
    """Encode a value, and return the annotation of its type if the service needs one."""
    match value:
        case datetime():
            return value.isoformat().replace("+00:00", "Z"), "Edm.DateTime"
        case bytes():
            return base64.b64encode(value).decode("ascii"), "Edm.Binary"
        case float():
            return value, "Edm.Double"
        case int() if not isinstance(value, bool) and value not in _INT32:
            return str(value), "Edm.Int64"
        case _:
            return value, None
