"""HTTP/1.1 on one connection: a request as bytes, and an answer read within one budget of bytes.

`http.client` is not made for untrusted servers. It stops at the first malformed header line, so that one odd line hides
`Content-Length`. It skips interim answers without a limit, accepts a head that breaks off, and reads trailers and chunk
extensions without a limit. urllib3 also rewrites the request target.

Here the target is sent as given. A head must end with an empty line. Its lines are read like browsers and curl do: only
a malformed line itself is ignored. Interim answers are skipped (RFC 9110, 15.2). Each received byte counts against one
budget, whatever part of an answer the byte belongs to. Trailers are never read.
"""

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

#: The limit of everything before the body in bytes, interim answers included.
MAX_HEAD_BYTES = 16_384

#: The limit of header lines.
MAX_HEAD_LINES = 100

_CHUNK = 8_192
#: A longer `Content-Length` counts as none.
_MAX_DIGITS = 15
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\r\n]*)?[\r\n]*")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\t -~\x80-\xff]*")
_TARGET = re.compile(r"/[!-~]*")
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9a-fA-F]{1,15})[ \t]*(?:;.*)?", re.DOTALL)


class HttpError(Exception):
    """The server does not speak HTTP/1.x."""


class HeadTooLarge(HttpError):
    """The head of the answer is larger than the limit."""


class EndedUnanswered(ConnectionError):
    """The connection ended before the first byte of an answer."""


class BrokenOff(ConnectionError):
    """The connection ended within an answer."""


class BudgetSpent(HttpError):
    """The answer is larger than the budget of bytes."""


def write_request(method: str, host: str, target: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
    """Encode a request in one piece, with `target` (path and query) byte for byte as given.

    Raises ValueError for characters that would end a line or a field.
    """
    fields = {"Host": host, **headers, **({} if body is None else {"Content-Length": str(len(body))})}
    wrong = [name for name, value in fields.items() if not (_TOKEN.fullmatch(name) and _VALUE.fullmatch(value))]
    if wrong or not _TARGET.fullmatch(target):
        raise ValueError(f"cannot be sent: {', '.join(wrong) or 'the request target'}")
    lines = (f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", "")
    return "\r\n".join(lines).encode("latin-1") + (body or b"")


class Wire:
    """Reads from a connection, and counts every received byte."""

    def __init__(self, connection: socket.socket, budget: int) -> None:
        self._connection = connection
        self._left = budget
        self._buffer = bytearray()
        #: Whether anything has been received.
        self.began = False

    @property
    def unread(self) -> bytes:
        """The bytes that were received but not taken yet."""
        return bytes(self._buffer)

    def _fill(self) -> bool:
        """Receive more bytes. Returns False at the end of the connection. Raises OSError and BudgetSpent."""
        if self._left <= 0:
            raise BudgetSpent
        received = self._connection.recv(min(_CHUNK, self._left))
        self._left -= len(received)
        self._buffer += received
        self.began = self.began or bool(received)
        return bool(received)

    def line(self, limit: int) -> bytes:
        """Take a line with its line end, which is missing at the end of the connection. Raises HeadTooLarge."""
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > limit:
                raise HeadTooLarge
            if not self._fill():
                break
        line = self._taken(len(self._buffer) if end < 0 else end + 1)
        if len(line) > limit:
            raise HeadTooLarge
        return line

    def part(self, most: int) -> bytes:
        """Take 1 to `most` bytes, or no byte at the end of the connection."""
        if not self._buffer:
            self._fill()
        return self._taken(min(most, len(self._buffer)))

    def _taken(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken


@dataclass(slots=True, kw_only=True)
class Http1Response:
    """The complete head of an answer. The body can be read once."""

    status: int
    #: Values by lower-case name, in order of appearance.
    fields: Mapping[str, list[str]]
    #: Whether the server keeps the connection, according to the head.
    keeps: bool
    #: Whether the body was read to its end.
    is_whole: bool = field(default=False, init=False)
    _wire: Wire
    _has_body: bool

    def get(self, name: str) -> str | None:
        """Return the first value of a header, or None if the header is missing."""
        return next(iter(self.fields.get(name.lower(), ())), None)

    def read(self, limit: int, *, lenient: bool = False) -> bytes:
        """Read at most `limit` bytes of the body, without decoding.

        If the body breaks off: raises OSError or HttpError, or with `lenient` returns the received part.
        """
        kept = bytearray()
        try:
            for part in self._parts():
                kept += part
                if len(kept) > limit:
                    break
        except BudgetSpent:
            pass
        except (OSError, HttpError):
            if not lenient:
                raise
        return bytes(kept[:limit])

    @property
    def is_reusable(self) -> bool:
        """Whether the next request can be sent on the same connection."""
        return self.keeps and self.is_whole and not self._wire.unread

    def _parts(self) -> Iterator[bytes]:
        """Iterate over the body by its framing (RFC 9112, 6.3)."""
        codings = [each.strip().lower() for value in self._all("transfer-encoding") for each in value.split(",")]
        lengths = {each.strip() for value in self._all("content-length") for each in value.split(",")}
        length = next(iter(lengths)) if len(lengths) == 1 else ""
        if not self._has_body:
            self.is_whole = True
        elif codings and codings[-1] == "chunked":
            yield from self._chunks()
            self.is_whole = not lengths  # both headers at once can smuggle an answer
        elif not codings and length.isascii() and length.isdigit() and len(length) <= _MAX_DIGITS:
            yield from self._exactly(int(length))
            self.is_whole = True
        else:  # contradictory lengths do not count, so the end of the connection is the end of the body
            while part := self._wire.part(_CHUNK):
                yield part

    def _chunks(self) -> Iterator[bytes]:
        """Iterate over the chunks to the last one, and read a final empty line if there is one, but no trailer."""
        while True:
            line = self._wire.line(MAX_HEAD_BYTES)
            size = _CHUNK_SIZE.fullmatch(line.rstrip(b"\r\n"))
            if not line:
                raise BrokenOff
            if size is None:
                raise HttpError("a chunk without a size")
            if int(size[1], 16) == 0:
                if self._wire.unread == b"\r\n":
                    self._wire.line(2)
                else:
                    self.keeps = False
                return
            yield from self._exactly(int(size[1], 16))
            if self._wire.line(2) not in (b"\r\n", b"\n"):
                raise HttpError("a chunk without an end")

    def _exactly(self, count: int) -> Iterator[bytes]:
        while count:
            part = self._wire.part(min(count, _CHUNK))
            if not part:
                raise BrokenOff
            count -= len(part)
            yield part

    def _all(self, name: str) -> list[str]:
        return self.fields.get(name, [])


def read_answer(wire: Wire) -> Http1Response:
    """Read the final head of an answer.

    Raises EndedUnanswered, BrokenOff, HeadTooLarge, other HttpErrors, and OSError.
    """
    left = MAX_HEAD_BYTES
    while True:
        minor, status, fields, length = _read_head(wire, left)
        left -= length
        if status == HTTPStatus.SWITCHING_PROTOCOLS:
            raise HttpError("the answer switches to another protocol")
        if status // 100 != 1:
            break
    said = {each.strip().lower() for value in fields.get("connection", []) for each in value.split(",")}
    return Http1Response(
        status=status,
        fields=fields,
        keeps="close" not in said and (minor == 1 or "keep-alive" in said),
        _wire=wire,
        _has_body=status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED),
    )


def _read_head(wire: Wire, limit: int) -> tuple[int, int, Mapping[str, list[str]], int]:
    """Read a head to its empty line. Returns the minor version, the status, the fields and the length in bytes."""
    line = _first_line(wire, limit)
    begin = _STATUS_LINE.fullmatch(line)
    if begin is None:
        raise HttpError("the answer is not HTTP/1.x")
    length, lines = 0, list[bytes]()
    while line.rstrip(b"\r\n"):
        if not line.endswith(b"\n"):
            raise BrokenOff
        lines.append(line.rstrip(b"\r\n"))
        if len(lines) > 1 + MAX_HEAD_LINES:
            raise HeadTooLarge
        length += len(line)
        line = wire.line(limit - length)
        if not line:
            raise BrokenOff
    return int(begin[1]), int(begin[2]), _fields(lines[1:]), length + len(line)


def _first_line(wire: Wire, limit: int) -> bytes:
    """Read the first line of an answer. Raises EndedUnanswered if the connection ends before its first byte."""
    try:
        line = wire.line(limit)
    except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
        raise (BrokenOff if wire.began else EndedUnanswered) from error
    if not line:
        raise EndedUnanswered
    return line


def _fields(lines: list[bytes]) -> Mapping[str, list[str]]:
    """Parse header lines. A malformed line is ignored, together with its continuation lines."""
    fields: dict[str, list[str]] = {}
    last: list[str] | None = None
    for raw in lines:
        line = raw.decode("latin-1")
        is_odd = "\r" in line or "\0" in line
        if line[:1] in (" ", "\t"):
            if last is not None and not is_odd:  # folded (RFC 9112, 5.2)
                last[-1] = f"{last[-1]} {line.strip()}".strip()
            continue
        name, colon, value = line.partition(":")
        name = name.rstrip(" \t")
        last = None
        if colon and not is_odd and _TOKEN.fullmatch(name):
            last = fields.setdefault(name.lower(), [])
            last.append(value.strip(" \t"))
    return fields
