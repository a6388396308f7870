"""A transaction as the Table service reads it, and its answer: an OData batch of one change set.

`submit_transaction` of azure-data-tables writes the same, but starts and ends four pools of threads for it, one to
prepare the parts and one to read them, for the batch and for the change set in it: over Azurite that was half of the
time of a commit and most of an instance's processor time. Here the parts are written and read in one go; connection,
authorization and failures stay the library's. Two things of `submit_transaction` are missing: the library's own trace
span of the method, and its exception for a batch of over 4 MiB (413), which is StorageUnavailable here.

Source: 'Performing entity group transactions' and 'Payload format for Table service operations' of the REST reference.
"""

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from bridge.storage.transaction import Delete, Insert, Merge, Transaction, Upsert, Value, Write

_INT32 = range(-(2**31), 2**31)
_DONE = range(200, 300)

_HEADERS = "Accept: application/json;odata=minimalmetadata\r\nDataServiceVersion: 3.0\r\n"
#: Of what has a body; and of what would be answered with the row otherwise.
_JSON, _NO_ROW = "Content-Type: application/json\r\n", "Prefer: return-no-content\r\n"
_PART = "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"
_CHANGES = re.compile(rb"content-type: *multipart/mixed; *boundary=(changesetresponse_[\w-]+)", re.IGNORECASE)
_STATUS = re.compile(rb"\r\n\r\nHTTP/1\.1 (\d{3})[^\r\n]*(?=\r\n)")
_ETAG = re.compile(rb"^etag: *(\S+) *\r?$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class BatchReply:
    """What the service says of one write; of a transaction that failed it says one, about the write that lost."""

    status: int
    #: The row's new one; None where it is gone, or nothing was done.
    etag: str | None
    #: What went wrong, as JSON; empty where nothing did.
    body: bytes

    @property
    def is_done(self) -> bool:
        """Whether it was done."""
        return self.status in _DONE


def content_type(name: str) -> str:
    """Say what a batch is that was written with `name`."""
    return f"multipart/mixed; boundary=batch_{name}"


def write_batch(transaction: Transaction, table_url: str, name: str) -> bytes:
    """Write a transaction on a table; `name` is what no row holds, since it bounds the parts."""
    parts = [
        f"--changeset_{name}\r\n{_PART}{_request(transaction.partition, write, table_url)}"
        for write in transaction.writes
    ]
    return (
        f"--batch_{name}\r\nContent-Type: multipart/mixed; boundary=changeset_{name}\r\n\r\n"
        f"{''.join(parts)}--changeset_{name}--\r\n\r\n--batch_{name}--\r\n"
    ).encode("ascii")


def read_batch(body: bytes) -> Sequence[BatchReply]:
    """Read what the service says of a transaction, in the order of its writes.

    Raises ValueError where it is not whole: nobody knows then what was done.
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
    """Write one write as a request of its own."""
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
    """Write columns as JSON, in ASCII, with the types that JSON has not."""
    columns: dict[str, str | int | float | bool] = {"PartitionKey": partition, "RowKey": write.key}
    for name, value in write.values.items():
        written, kind = _typed(value)
        columns[name] = written
        if kind is not None:
            columns[f"{name}@odata.type"] = kind
    return json.dumps(columns, allow_nan=False)


def _typed(value: Value) -> tuple[str | int | float | bool, str | None]:
    """Write a value, and name its type where that is to be said."""
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
