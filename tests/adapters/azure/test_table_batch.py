"""Transactions on the wire: the request byte for byte, and the parsing of answers."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.adapters.azure.table_batch import BatchReply, read_batch, write_batch
from bridge.storage.table import ANY, Delete, Insert, Merge, Transaction, Upsert, Value, Write

TABLE = "https://account.table.core.windows.net/bridge"
#: An answer of the service, from the examples of its REST reference, with current ETags.
DONE = b"""--batchresponse_b
Content-Type: multipart/mixed; boundary=changesetresponse_c-1

--changesetresponse_c-1
Content-Type: application/http
Content-Transfer-Encoding: binary

HTTP/1.1 204 No Content
X-Content-Type-Options: nosniff
Cache-Control: no-cache
Preference-Applied: return-no-content
DataServiceVersion: 3.0;
Location: https://account.table.core.windows.net/bridge(PartitionKey='p',RowKey='a')
ETag: W/"datetime'2026-11-28T03%3A55%3A50.3202361Z'"


--changesetresponse_c-1
Content-Type: application/http
Content-Transfer-Encoding: binary

HTTP/1.1 204 No Content
DataServiceVersion: 1.0;


--changesetresponse_c-1--
--batchresponse_b--
""".replace(b"\n", b"\r\n")
STALE = b"""--batchresponse_b
Content-Type: multipart/mixed; boundary=changesetresponse_c

--changesetresponse_c
Content-Type: application/http
Content-Transfer-Encoding: binary

HTTP/1.1 412 Precondition Failed
DataServiceVersion: 3.0;
Content-Type: application/json;odata=minimalmetadata;charset=utf-8

{"odata.error":{"code":"UpdateConditionNotSatisfied","message":{"lang":"en-US","value":"1:It was not satisfied."}}}
--changesetresponse_c--
--batchresponse_b--
""".replace(b"\n", b"\r\n")


def request(write: Write) -> tuple[str, str]:
    """Write one write alone. Returns the first line with the condition, and the body."""
    text = write_batch(Transaction("p", (write,)), TABLE, "n").decode("ascii")
    head, _, body = text.split("binary\r\n\r\n")[1].partition("\r\n\r\n")
    line, *headers = head.split("\r\n")
    body = body.split("\r\n--changeset_n--")[0]
    assert not body or f"Content-Length: {len(body)}" in headers
    assert ("Prefer: return-no-content" in headers) == isinstance(write, Insert)
    return "\n".join([line, *(each for each in headers if each.startswith("If-Match"))]), body


def test_a_batch_is_one_change_set_with_a_part_for_each_write() -> None:
    """The bytes are those that the service requires."""
    written = write_batch(Transaction("p", (Delete("a", ANY), Delete("b", 'W/"1"'))), TABLE, "n")

    def part(key: str, etag: str) -> str:
        return (
            "--changeset_n\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"
            f"DELETE {TABLE}(PartitionKey='p',RowKey='{key}') HTTP/1.1\r\n"
            "Accept: application/json;odata=minimalmetadata\r\nDataServiceVersion: 3.0\r\n"
            f"If-Match: {etag}\r\n\r\n\r\n"
        )

    parts = part("a", "*") + part("b", 'W/"1"')
    assert written.decode() == (
        "--batch_n\r\nContent-Type: multipart/mixed; boundary=changeset_n\r\n\r\n"
        f"{parts}--changeset_n--\r\n\r\n--batch_n--\r\n"
    )


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (Insert("a", {}), f"POST {TABLE} HTTP/1.1"),
        (Merge("a", {}, 'W/"1"'), f"PATCH {TABLE}(PartitionKey='p',RowKey='a') HTTP/1.1\nIf-Match: W/\"1\""),
        (Merge("a", {}, ANY), f"PATCH {TABLE}(PartitionKey='p',RowKey='a') HTTP/1.1\nIf-Match: *"),
        (Upsert("a", {}), f"PATCH {TABLE}(PartitionKey='p',RowKey='a') HTTP/1.1"),
        (
            Delete("it's ü~:", ANY),
            f"DELETE {TABLE}(PartitionKey='p',RowKey='it%27%27s%20%C3%BC~%3A') HTTP/1.1\nIf-Match: *",
        ),
    ],
)
def test_each_write_has_its_method_its_row_and_its_condition(write: Write, expected: str) -> None:
    """An insert has neither row nor condition, since the row must not exist. An upsert has no condition."""
    assert request(write)[0] == expected


def test_columns_have_the_types_that_json_lacks() -> None:
    """The text is ASCII, so the length equals the number of bytes."""
    at = datetime(2026, 11, 23, 12, 0, 0, 4000, tzinfo=UTC)
    values: dict[str, Value] = {
        "text": 'ü"',
        "int": 1,
        "long": 2**31,
        "real": 2.0,
        "flag": True,
        "raw": b"\xff",
        "at": at,
    }

    assert request(Insert("a", values))[1] == (
        r'{"PartitionKey": "p", "RowKey": "a", "text": "\u00fc\"", "int": 1, '
        r'"long": "2147483648", "long@odata.type": "Edm.Int64", "real": 2.0, "real@odata.type": "Edm.Double", '
        r'"flag": true, "raw": "/w==", "raw@odata.type": "Edm.Binary", '
        r'"at": "2026-11-23T12:00:00.004000Z", "at@odata.type": "Edm.DateTime"}'
    )


def test_an_answer_has_a_reply_for_each_write() -> None:
    """A reply has the row's new ETag, unless the row was deleted."""
    etag = "W/\"datetime'2026-11-28T03%3A55%3A50.3202361Z'\""

    assert read_batch(DONE) == [BatchReply(204, etag, b""), BatchReply(204, None, b"")]


def test_an_answer_about_a_failed_write_has_the_error() -> None:
    """The transaction had no effect."""
    [reply] = read_batch(STALE)

    assert (reply.status, reply.etag, reply.is_done) == (412, None, False)
    assert reply.body.startswith(b'{"odata.error":')


@given(st.integers(0, DONE.rindex(b"--\r\n--batchresponse_b--")))
def test_a_truncated_answer_is_no_answer(at: int) -> None:
    """After truncation at any byte, the outcome of the commit is unknown."""
    with pytest.raises(ValueError, match="answer"):
        read_batch(DONE[:at])


@pytest.mark.parametrize(
    "body", [b"", b"<html>", DONE.replace(b"HTTP/1.1 204", b"204"), DONE.replace(b"\r\n\r\n--changesetresponse", b"x")]
)
def test_an_invalid_answer_is_no_answer(body: bytes) -> None:
    """The outcome of the commit is unknown."""
    with pytest.raises(ValueError, match="answer"):
        read_batch(body)
