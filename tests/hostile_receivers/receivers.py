"""Hostile receivers, each with a name, a behavior on a connection, and the expected result of the attempt."""

import contextlib
import gzip
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue

import trustme

#: The behavior of a receiver on a connection, until the stop event.
Habit = Callable[[socket.socket, threading.Event], None]

OK = b"HTTP/1.1 200 OK\r\n"
BOMB = gzip.compress(b"\0" * 10_000_000)


def read_request(connection: socket.socket) -> bytes:
    """Read one request to the end. Returns no bytes if the client disconnects."""
    received = b""
    while b"\r\n\r\n" not in received:
        more = connection.recv(65_536)
        if not more:
            return b""
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    lengths = [int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length")]
    while len(body) < sum(lengths):
        body += connection.recv(65_536)
    return head


def replies(reply: bytes) -> Habit:
    """Read the request, send `reply` and disconnect."""

    def habit(connection: socket.socket, _: threading.Event) -> None:
        read_request(connection)
        connection.sendall(reply)

    return habit


def replies_and_stays(reply: bytes) -> Habit:
    """Read the request, send `reply` and keep the connection open."""

    def habit(connection: socket.socket, stop: threading.Event) -> None:
        read_request(connection)
        connection.sendall(reply)
        stop.wait()

    return habit


def drips(head: bytes, drop: bytes) -> Habit:
    """Read the request and send `head`, then repeat `drop` more slowly than any deadline."""

    def habit(connection: socket.socket, stop: threading.Event) -> None:
        read_request(connection)
        connection.sendall(head)
        while not stop.wait(0.05):
            connection.sendall(drop)

    return habit


def floods(head: bytes, drop: bytes) -> Habit:
    """Read the request and send `head`, then repeat `drop` at full speed."""

    def habit(connection: socket.socket, stop: threading.Event) -> None:
        read_request(connection)
        connection.sendall(head)
        while not stop.is_set():
            connection.sendall(drop)

    return habit


class Recorder:
    """A receiver that records the raw heads of requests."""

    def __init__(self) -> None:
        self.heads: SimpleQueue[bytes] = SimpleQueue()

    def __call__(self, connection: socket.socket, _: threading.Event) -> None:
        """Record the head and answer 200."""
        self.heads.put(read_request(connection))
        connection.sendall(OK + b"Content-Length: 0\r\nConnection: close\r\n\r\n")


def never_reads(_: socket.socket, stop: threading.Event) -> None:
    """Accept the connection without reading."""
    stop.wait()


def hangs_up(connection: socket.socket, _: threading.Event) -> None:
    """Close the connection before reading the request, which resets the connection."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


#: Each behavior by name, with the kind of failure or the status that the attempt records.
HOSTILE_RECEIVERS: dict[str, tuple[Habit, str | int]] = {
    "accepts and stays silent": (never_reads, "timeout"),
    "resets the connection": (hangs_up, "closed"),
    "reads and disconnects": (replies(b""), "closed"),
    "drips headers": (drips(OK + b"X-Drip: ", b"a"), "timeout"),
    "drips one header after another": (drips(OK, b"X: y\r\n"), "timeout"),
    "drips a status line": (drips(b"HTTP/1.1 2", b"0"), "timeout"),
    "drips a body": (drips(OK + b"Content-Length: 100000\r\n\r\n", b"a"), 200),
    "drips a chunked body": (drips(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"), 200),
    "announces a body and stays silent": (replies_and_stays(OK + b"Content-Length: 5\r\n\r\n"), 200),
    "closes half-way through the body": (replies(OK + b"Content-Length: 1000\r\n\r\nhalf"), 200),
    "closes half-way through a chunk": (replies(OK + b"Transfer-Encoding: chunked\r\n\r\nff\r\nhalf"), 200),
    "truncates the headers": (replies(OK + b"Content-Le"), "closed"),
    "truncates after a header": (replies(OK + b"Content-Length: 0\r\n"), "closed"),
    "truncates the status": (replies(b"HTTP/1.1 20"), "protocol"),
    "truncates the status line": (replies(b"HTTP/1.1 200"), "closed"),
    "redirects to itself": (replies(b"HTTP/1.1 302 Found\r\nLocation: /hook\r\nContent-Length: 0\r\n\r\n"), 302),
    "redirects to the metadata address": (
        replies(b"HTTP/1.1 307 T\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"),
        307,
    ),
    "redirects with a body without end": (
        floods(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Encoding: gzip\r\n\r\n", BOMB),
        302,
    ),
    "redirects and drips": (drips(b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", b"a"), 302),
    "redirects to no URL": (replies(b"HTTP/1.1 302 Found\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n"), 302),
    "redirects to no text": (replies(b"HTTP/1.1 302 Found\r\nLocation: /\xff\xfe\r\nContent-Length: 0\r\n\r\n"), 302),
    "sends a header without a colon": (replies(OK + b"nonsense\r\nContent-Length: 0\r\n\r\n"), 200),
    "redirects to another scheme": (replies(b"HTTP/1.1 308 P\r\nLocation: file:///etc/passwd\r\n\r\n"), 308),
    "sends a body without end": (floods(OK + b"\r\n", b"a" * 65_536), 200),
    "sends a gzip bomb": (
        replies(OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB),
        200,
    ),
    "sends 10,000 headers": (
        replies(OK + b"".join(b"X-%d: y\r\n" % n for n in range(10_000)) + b"\r\n"),
        "head-too-large",
    ),
    "sends headers without end": (floods(OK, b"X: y\r\n" * 1000), "head-too-large"),
    "sends one giant header": (replies(OK + b"X: " + b"y" * 1_000_000 + b"\r\n\r\n"), "head-too-large"),
    "sends a giant status line": (replies(b"HTTP/1.1 200 " + b"y" * 1_000_000 + b"\r\n\r\n"), "head-too-large"),
    "speaks HTTP/0.9": (replies(b"<html>hello</html>\n"), "protocol"),
    "speaks another protocol": (replies(b"220 mail.example.com ESMTP\r\n"), "protocol"),
    "speaks HTTP/9.9": (replies(b"HTTP/9.9 200 OK\r\n\r\n"), "protocol"),
    "answers 99": (replies(b"HTTP/1.1 99 Odd\r\nContent-Length: 0\r\n\r\n"), "protocol"),
    "answers 999": (replies(b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n"), 999),
    "answers minus one": (replies(b"HTTP/1.1 -1 Odd\r\nContent-Length: 0\r\n\r\n"), "protocol"),
    "lies of a longer body": (replies(OK + b"Content-Length: 1000000\r\n\r\nabc"), 200),
    "lies of a shorter body": (replies(OK + b"Content-Length: 1\r\n\r\nabcdef"), 200),
    "lies of a negative body": (replies(OK + b"Content-Length: -5\r\n\r\nabc"), 200),
    "lies of two lengths": (replies(OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"), 200),
    "lies of nonsense length": (replies(OK + b"Content-Length: many\r\n\r\nabc"), 200),
    "sends broken chunks": (replies(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc"), 200),
    "answers 100 without end": (floods(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "head-too-large"),
    "drips 100 without end": (drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "timeout"),
    "hints early and then answers": (replies(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK + b"\r\n"), 200),
    "sends a chunk of minus one": (
        floods(OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", b"a" * 65_536),
        200,
    ),
    "hides lines in a header": (replies(OK + b"Content-Type: message/rfc822\r\r" * 400 + b"\r\n\r\n"), 200),
    "hides a thousand headers in one": (
        replies(OK + b"".join(b"a%d:\r" % n for n in range(1000)) + b"\r\n\r\n"),
        200,
    ),
    "sends a header with a NUL": (replies(OK + b"X: \0\r\n\r\n"), 200),
    "answers plus 200": (replies(b"HTTP/1.1 +200 OK\r\nContent-Length: 0\r\n\r\n"), "protocol"),
    "answers 2_00": (replies(b"HTTP/1.1 2_00 OK\r\nContent-Length: 0\r\n\r\n"), "protocol"),
    "speaks HTTP/0.9 with a status": (replies(b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n"), "protocol"),
    "quotes the library": (replies(b"got more than\r\n"), "protocol"),
    "switches protocols": (replies(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), "protocol"),
    "answers with NUL bytes": (replies(OK + b"Content-Length: 4\r\n\r\n\0\0\0\0"), 200),
    "answers before the request": (
        replies(OK + b"Content-Length: 2\r\n\r\nok" + OK + b"Content-Length: 0\r\n\r\n"),
        200,
    ),
    "sets ten thousand cookies in one": (replies(OK + b"Set-Cookie: a=" + b"b" * 10_000 + b"\r\n\r\n"), 200),
    "folds its headers": (replies(OK + b"X: y\r\n z\r\n\r\nok"), 200),
    "answers gone": (replies(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"), 410),
}


@contextmanager
def living(habit: Habit, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Run a receiver on a loopback port. Afterwards, all threads and sockets of the receiver are gone."""
    stop = threading.Event()
    threads: list[threading.Thread] = []
    open_ones: list[socket.socket] = []

    def serve(accepted: socket.socket) -> None:
        with contextlib.suppress(OSError, ssl.SSLError):
            connection = tls.wrap_socket(accepted, server_side=True) if tls else accepted
            open_ones.append(connection)
            habit(connection, stop)
            connection.close()
        accepted.close()

    def accept(listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = listening.accept()
                open_ones.append(accepted)
                threads.append(threading.Thread(target=serve, args=[accepted], name="receiver"))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        threads.append(threading.Thread(target=accept, args=[listening], name="receiver"))
        threads[0].start()
        try:
            yield int(listening.getsockname()[1])
        finally:
            stop.set()
            listening.shutdown(socket.SHUT_RDWR)
            for each in open_ones:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(10)
            for each in open_ones:
                each.close()


@contextmanager
def recording_with(certificate: trustme.LeafCert) -> Iterator[tuple[int, list[bytes]]]:
    """Run a receiver with a certificate. Yields the port and a list of received requests."""
    received: list[bytes] = []

    def listens(connection: socket.socket, _: threading.Event) -> None:
        received.append(connection.recv(65_536))

    with living(listens, tls_with(certificate)) as port:
        yield port, received


def tls_with(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """Return the TLS context of a server with a certificate."""
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(served)
    return served
