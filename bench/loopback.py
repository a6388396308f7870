"""A server on loopback that answers at once, or after a fixed delay: never what a measurement waits for by accident.

It knows just enough of HTTP/1.1 for the clients that are measured: keep-alive, one request after the other on a
connection. A GET is answered as Speech does, with the operation of the last part of its path; a POST with an empty
200. `python -m bench.loopback {delay in seconds} {ports}` runs it; `Loopback` is that as an object.
"""

import asyncio
import re
import sys
from collections.abc import Sequence
from typing import Self

from local.service import Service

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_READY = re.compile(r"answers on ([\d ]+)")


class Loopback(Service):
    """The server as a process of its own. Made by `start`; a context manager that stops it."""

    name = "the loopback server"
    stop_timeout = 5.0

    def __init__(self, delay: float, ports: int) -> None:
        super().__init__(folder=None, environ=None, on_end=lambda: None)
        self._delay = delay
        self._wanted = ports
        self._ports: list[int] = []

    @classmethod
    def start(cls, *, delay: float = 0.0, ports: int = 1) -> Self:
        """Start it on so many ports and return when it answers. Raises LocalError where it does not."""
        server = cls(delay, ports)
        server.launch()
        return server

    @property
    def url(self) -> str:
        """Where it answers."""
        return self.urls[0]

    @property
    def urls(self) -> Sequence[str]:
        """Return the address of each port. The bridge treats each one as a separate receiver."""
        return [f"http://127.0.0.1:{port}" for port in self._ports]

    def command(self) -> Sequence[str]:
        """Return the command that runs it."""
        return [sys.executable, "-u", "-m", "bench.loopback", str(self._delay), str(self._wanted)]

    def hear(self, line: str) -> bool:
        """Note the ports."""
        ready = _READY.search(line)
        if ready:
            self._ports = [int(port) for port in ready[1].split()]
        return ready is not None


class _Connection(asyncio.Protocol):
    """One connection: reads a request, answers it, reads the next."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._read = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer once the request is whole."""
        self._read += data
        head, end, body = self._read.partition(b"\r\n\r\n")
        if not end:
            return
        length = _LENGTH.search(head + b"\r\n")
        if length and len(body) < int(length[1]):
            return
        self._read = b""
        answer = _answer(head)
        if self._delay:
            asyncio.get_running_loop().call_later(self._delay, self._write, answer)
        else:
            self._write(answer)

    def _write(self, answer: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(answer)


def _answer(head: bytes) -> bytes:
    method, target, _ = head.split(b"\r\n", 1)[0].split(b" ")
    body = b""
    if method == b"GET":
        name = target.partition(b"?")[0].rpartition(b"/")[2]
        body = b'{"id": "%b", "status": "Running"}' % name
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def _serve(delay: float, ports: int) -> None:
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(lambda: _Connection(delay), "127.0.0.1", 0) for _ in range(ports)]
    print("answers on", *(server.sockets[0].getsockname()[1] for server in servers))
    await asyncio.to_thread(sys.stdin.read)  # until whoever started it ends
    for server in servers:
        server.close()


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1]), int(sys.argv[2])))
