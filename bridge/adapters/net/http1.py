"""HTTP/1.1 on one connection: a request as bytes, and an answer read within one budget of bytes.

`http.client` does not fit strangers' servers. It stops at the first header line that is no header, so that one odd line
hides `Content-Length`. It waits through interim answers without end, takes a head that breaks off for a whole one,
and reads trailers and chunk extensions without a limit. urllib3 above it rewrites the request target.

Here the target goes out as given. A head ends with an empty line or is no head, and its lines are read like browsers
and curl do: an odd line is passed over, and no other. Interim answers are skipped (RFC 9110, 15.2). Each byte that is
received counts against one budget, whatever part of an answer it belongs to. Trailers are never read.
"""

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

#: Everything before the body may have this many bytes, interim answers included.
MAX_HEAD_BYTES = 16_384

#: A head may have this many lines.
MAX_HEAD_LINES = 100

_CHUNK = 8_192
_SWITCHING, _NO_CONTENT, _NOT_MODIFIED = 101, 204, 304
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\r\n]*)?[\r\n]*")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\t -~\x80-\xff]*")
_TARGET = re.compile(r"/[!-~]*")
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9a-fA-F]{1,15})[ \t]*(?:;.*)?", re.DOTALL)


class HttpError(Exception):
    """The other side does not speak HTTP/1.x."""


class HeadTooLarge(HttpError):
    """The head of the answer is larger than the limit."""


class EndedUnanswered(ConnectionError):
    """The connection ended before the first byte of an answer."""


class BrokenOff(ConnectionError):
    """The connection ended within an answer."""


class BudgetSpent(HttpError):
    """The answer is larger than the budget of bytes."""


def write_request(method: str, host: str, target: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
    """Write a request in one piece, with `target` (path and query) byte for byte as given.

    Raises ValueError for anything that would end a line or a field.
    """
    fields = {"Host": host, **headers, **({} if body is None else {"Content-Length": str(len(body))})}
    wrong = [name for name, value in fields.items() if not (_TOKEN.fullmatch(name) and _VALUE.fullmatch(value))]
    if wrong or not _TARGET.fullmatch(target):
        raise ValueError(f"cannot be sent: {', '.join(wrong) or 'the request target'}")
    lines = (f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", "")
    return "\r\n".join(lines).encode("latin-1") + (body or b"")


class Wire:
    """Reads from a connection, and counts every byte that it receives."""

    def __init__(self, connection: socket.socket, budget: int) -> None:
        self._connection = connection
        self._left = budget
        self._buffer = bytearray()
        #: Whether anything has been received.
        self.began = False

    @property
    def unread(self) -> bytes:
        """What was received and not taken yet."""
        return bytes(self._buffer)

    def _fill(self) -> bool:
        """Receive once more; False at the end of the connection. Raises OSError and BudgetSpent."""
        if self._left <= 0:
            raise BudgetSpent
        received = self._connection.recv(min(_CHUNK, self._left))
        self._left -= len(received)
        self._buffer += received
        self.began = self.began or bool(received)
        return bool(received)

    def line(self, limit: int) -> bytes:
        """Take a line with its end; without one at the end of the connection. Raises HeadTooLarge over `limit`."""
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
        """Take up to `most` bytes, at least one; none at the end of the connection."""
        if not self._buffer:
            self._fill()
        return self._taken(min(most, len(self._buffer)))

    def _taken(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken


@dataclass(slots=True, kw_only=True)
class Http1Response:
    """The whole head of an answer; its body can be read once."""

    status: int
    #: Values by name in lower case; of a name that comes more than once, all of them in order.
    fields: Mapping[str, list[str]]
    #: Whether the other side can keep the connection, as far as the head says.
    keeps: bool
    #: Whether the body was read to its end.
    is_whole: bool = field(default=False, init=False)
    _wire: Wire
    _has_body: bool

    def get(self, name: str) -> str | None:
        """Return the first value of a header; None if there is none."""
        return next(iter(self.fields.get(name.lower(), ())), None)

    def read(self, limit: int, *, lenient: bool = False) -> bytes:
        """Read the body as it comes, at most `limit` bytes of it; nothing is unpacked.

        If it breaks off: raises OSError or HttpError, or returns the part that came if `lenient`.
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
        """Whether the next request can go out on the same connection."""
        return self.keeps and self.is_whole and not self._wire.unread

    def _parts(self) -> Iterator[bytes]:
        """Take the body part by part, by its framing (RFC 9112, 6.3)."""
        codings = [each.strip().lower() for value in self._all("transfer-encoding") for each in value.split(",")]
        lengths = {each.strip() for value in self._all("content-length") for each in value.split(",")}
        length = next(iter(lengths)) if len(lengths) == 1 else ""
        if not self._has_body:
            self.is_whole = True
        elif codings and codings[-1] == "chunked":
            yield from self._chunks()
            self.is_whole = not lengths  # both at once is a way to smuggle an answer
        elif not codings and length.isascii() and length.isdigit() and len(length) <= 15:  # noqa: PLR2004 - digits
            yield from self._exactly(int(length))
            self.is_whole = True
        else:  # lengths that disagree say nothing, so the end of the connection is the end
            while part := self._wire.part(_CHUNK):
                yield part

    def _chunks(self) -> Iterator[bytes]:
        """Take chunks up to the last one, and the empty line after that if it is there; never a trailer."""
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
        if status == _SWITCHING:
            raise HttpError("the answer switches to another protocol")
        if status // 100 != 1:
            break
    said = {each.strip().lower() for value in fields.get("connection", []) for each in value.split(",")}
    return Http1Response(
        status=status,
        fields=fields,
        keeps="close" not in said and (minor == 1 or "keep-alive" in said),
        _wire=wire,
        _has_body=status not in (_NO_CONTENT, _NOT_MODIFIED),
    )


def _read_head(wire: Wire, limit: int) -> tuple[int, int, Mapping[str, list[str]], int]:
    """Read a head to its empty line; returns the minor version, the status, the fields and its length in bytes."""
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
    """Take the first line of an answer. Raises EndedUnanswered if the connection ends before its first byte."""
    try:
        line = wire.line(limit)
    except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
        raise (BrokenOff if wire.began else EndedUnanswered) from error
    if not line:
        raise EndedUnanswered
    return line


def _fields(lines: list[bytes]) -> Mapping[str, list[str]]:
    """Read header lines; one that is no header is passed over, with the lines that continue it, and no other."""
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
