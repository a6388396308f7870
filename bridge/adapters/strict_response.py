"""An HTTP response whose head is held to limits and to its end.

The standard library takes a head that breaks off for a whole one, waits for ever through interim answers, and takes
an interim answer other than 100 for the final one. Here a head ends with an empty line or is no head, everything
before the final head counts against one limit, and interim answers are skipped (RFC 9112, 2.1; RFC 9110, 15.2).
"""

import re
from http.client import BadStatusLine, HTTPException, HTTPResponse
from typing import Any, BinaryIO, cast

#: Everything before the body may have this many bytes, interim answers included.
MAX_HEAD_BYTES = 16_384

_SWITCHING = 101
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] [1-9][0-9]{2}(?: [^\r\n]*)?\r?\n?")


class HeadTooLarge(HTTPException):
    """The receiver sends headers without end."""


class HeadIncomplete(HTTPException):
    """The connection ended within the head."""


class _Head:
    """The lines of a head, counted."""

    def __init__(self, lines: BinaryIO) -> None:
        self._lines = lines
        self._bytes = 0
        #: The last line read, and whether it was the empty one.
        self.last = b""
        self.ended = False

    def readline(self, limit: int = -1) -> bytes:
        """Read a line. Raises HeadTooLarge."""
        line = self._lines.readline(limit)
        self._bytes += len(line)
        if self._bytes > MAX_HEAD_BYTES:
            raise HeadTooLarge
        if b"\r" in line.rstrip(b"\r\n") or b"\0" in line:  # the parser of headers would see lines of its own there
            raise HTTPException("a header with a control character")
        self.ended = line in (b"\r\n", b"\n")
        self.last = line
        return line

    def close(self) -> None:
        """Close what is read from; the base class does so where the head is none."""
        self._lines.close()

    def flush(self) -> None:
        """Do nothing, as a reader does."""


class StrictResponse(HTTPResponse):
    """What connections to receivers answer with."""

    fp: Any

    def begin(self) -> None:
        """Read the head. Raises HeadTooLarge, HeadIncomplete, or the base class's HTTPException."""
        body = cast("BinaryIO", self.fp)
        head = _Head(body)
        self.fp = head
        try:
            super().begin()
        finally:
            self.fp = body
        if not head.ended:
            raise HeadIncomplete

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not _STATUS_LINE.fullmatch(self.fp.last):
                raise BadStatusLine("not of HTTP/1.x")
            if status // 100 != 1:
                return version, status, reason
            if status == _SWITCHING:
                raise HTTPException("nobody asked to switch protocols")
            while not self.fp.ended:
                if not self.fp.readline(MAX_HEAD_BYTES + 1):
                    raise HeadIncomplete

    def _read_next_chunk_size(self) -> int:
        """Read the size of a chunk; a negative one would be read as everything that ever comes."""
        size = int(super()._read_next_chunk_size())  # type: ignore[misc]
        if size < 0:
            raise HTTPException("a chunk of negative size")
        return size
