"""Hostile receivers, each a name and a few lines: what they do with a connection, and what an attempt calls it."""

import contextlib
import gzip
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue

import trustme

#: What a receiver does with a connection, until it is told to stop.
Habit = Callable[[socket.socket, threading.Event], None]

OK = b"HTTP/1.1 200 OK\r\n"
BOMB = gzip.compress(b"\0" * 10_000_000)


def hear(connection: socket.socket) -> bytes:
    """Read one request to its end; nothing where the other side hangs up."""
    heard = b""
    while b"\r\n\r\n" not in heard:
        more = connection.recv(65_536)
        if not more:
            return b""
        heard += more
    head, _, body = heard.partition(b"\r\n\r\n")
    lengths = [int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length")]
    while len(body) < sum(lengths):
        body += connection.recv(65_536)
    return head


def says(reply: bytes) -> Habit:
    """Read the request, say `reply`, hang up."""

    def habit(connection: socket.socket, _: threading.Event) -> None:
        hear(connection)
        connection.sendall(reply)

    return habit


def says_and_stays(reply: bytes) -> Habit:
    """Read the request, say `reply`, and say nothing more."""

    def habit(connection: socket.socket, stop: threading.Event) -> None:
        hear(connection)
        connection.sendall(reply)
        stop.wait()

    return habit


def drips(head: bytes, drop: bytes) -> Habit:
    """Read the request, say `head`, then `drop` again and again, slower than any deadline."""

    def habit(connection: socket.socket, stop: threading.Event) -> None:
        hear(connection)
        connection.sendall(head)
        while not stop.wait(0.05):
            connection.sendall(drop)

    return habit


def floods(head: bytes, drop: bytes) -> Habit:
    """Read the request, say `head`, then `drop` as fast as it is taken."""

    def habit(connection: socket.socket, stop: threading.Event) -> None:
        hear(connection)
        connection.sendall(head)
        while not stop.is_set():
            connection.sendall(drop)

    return habit


class Recorder:
    """A receiver that keeps the heads of requests as they came from the wire."""

    def __init__(self) -> None:
        self.heads: SimpleQueue[bytes] = SimpleQueue()

    def __call__(self, connection: socket.socket, _: threading.Event) -> None:
        """Keep the head and say 200."""
        self.heads.put(hear(connection))
        connection.sendall(OK + b"Content-Length: 0\r\nConnection: close\r\n\r\n")


def never_reads(_: socket.socket, stop: threading.Event) -> None:
    """Take the connection, and nothing else."""
    stop.wait()


def hangs_up(connection: socket.socket, _: threading.Event) -> None:
    """Close the connection before the request is read, so that it is reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


#: Every habit with its name, and the class of failure or the status that an attempt records.
HOSTILE_RECEIVERS: dict[str, tuple[Habit, str | int]] = {
    "accepts and says nothing": (never_reads, "timeout"),
    "resets the connection": (hangs_up, "closed"),
    "reads and hangs up": (says(b""), "closed"),
    "drips headers": (drips(OK + b"X-Drip: ", b"a"), "timeout"),
    "drips one header after another": (drips(OK, b"X: y\r\n"), "timeout"),
    "drips a status line": (drips(b"HTTP/1.1 2", b"0"), "timeout"),
    "drips a body": (drips(OK + b"Content-Length: 100000\r\n\r\n", b"a"), 200),
    "drips a chunked body": (drips(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"), 200),
    "says its body is coming and stays silent": (says_and_stays(OK + b"Content-Length: 5\r\n\r\n"), 200),
    "closes half-way through the body": (says(OK + b"Content-Length: 1000\r\n\r\nhalf"), 200),
    "closes half-way through a chunk": (says(OK + b"Transfer-Encoding: chunked\r\n\r\nff\r\nhalf"), 200),
    "truncates the headers": (says(OK + b"Content-Le"), "closed"),
    "truncates after a header": (says(OK + b"Content-Length: 0\r\n"), "closed"),
    "truncates the status": (says(b"HTTP/1.1 20"), "protocol"),
    "truncates the status line": (says(b"HTTP/1.1 200"), "closed"),
    "redirects to itself": (says(b"HTTP/1.1 302 Found\r\nLocation: /hook\r\nContent-Length: 0\r\n\r\n"), 302),
    "redirects to the metadata address": (
        says(b"HTTP/1.1 307 T\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"),
        307,
    ),
    "redirects with a body without end": (
        floods(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Encoding: gzip\r\n\r\n", BOMB),
        302,
    ),
    "redirects and drips": (drips(b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", b"a"), 302),
    "redirects to no URL": (says(b"HTTP/1.1 302 Found\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n"), 302),
    "redirects to no text": (says(b"HTTP/1.1 302 Found\r\nLocation: /\xff\xfe\r\nContent-Length: 0\r\n\r\n"), 302),
    "sends a header without a colon": (says(OK + b"nonsense\r\nContent-Length: 0\r\n\r\n"), 200),
    "redirects to another scheme": (says(b"HTTP/1.1 308 P\r\nLocation: file:///etc/passwd\r\n\r\n"), 308),
    "sends a body without end": (floods(OK + b"\r\n", b"a" * 65_536), 200),
    "sends a gzip bomb": (
        says(OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB),
        200,
    ),
    "sends 10,000 headers": (
        says(OK + b"".join(b"X-%d: y\r\n" % n for n in range(10_000)) + b"\r\n"),
        "head-too-large",
    ),
    "sends headers without end": (floods(OK, b"X: y\r\n" * 1000), "head-too-large"),
    "sends one giant header": (says(OK + b"X: " + b"y" * 1_000_000 + b"\r\n\r\n"), "head-too-large"),
    "sends a giant status line": (says(b"HTTP/1.1 200 " + b"y" * 1_000_000 + b"\r\n\r\n"), "head-too-large"),
    "speaks HTTP/0.9": (says(b"<html>hello</html>\n"), "protocol"),
    "speaks another protocol": (says(b"220 mail.example.com ESMTP\r\n"), "protocol"),
    "speaks HTTP/9.9": (says(b"HTTP/9.9 200 OK\r\n\r\n"), "protocol"),
    "answers 99": (says(b"HTTP/1.1 99 Odd\r\nContent-Length: 0\r\n\r\n"), "protocol"),
    "answers 999": (says(b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n"), 999),
    "answers minus one": (says(b"HTTP/1.1 -1 Odd\r\nContent-Length: 0\r\n\r\n"), "protocol"),
    "lies of a longer body": (says(OK + b"Content-Length: 1000000\r\n\r\nabc"), 200),
    "lies of a shorter body": (says(OK + b"Content-Length: 1\r\n\r\nabcdef"), 200),
    "lies of a negative body": (says(OK + b"Content-Length: -5\r\n\r\nabc"), 200),
    "lies of two lengths": (says(OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"), 200),
    "lies of nonsense length": (says(OK + b"Content-Length: many\r\n\r\nabc"), 200),
    "sends broken chunks": (says(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc"), 200),
    "says 100 without end": (floods(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "head-too-large"),
    "drips 100 without end": (drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "timeout"),
    "hints early and then answers": (says(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK + b"\r\n"), 200),
    "sends a chunk of minus one": (
        floods(OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", b"a" * 65_536),
        200,
    ),
    "hides lines in a header": (says(OK + b"Content-Type: message/rfc822\r\r" * 400 + b"\r\n\r\n"), 200),
    "hides a thousand headers in one": (
        says(OK + b"".join(b"a%d:\r" % n for n in range(1000)) + b"\r\n\r\n"),
        200,
    ),
    "sends a header with a NUL": (says(OK + b"X: \0\r\n\r\n"), 200),
    "answers plus 200": (says(b"HTTP/1.1 +200 OK\r\nContent-Length: 0\r\n\r\n"), "protocol"),
    "answers 2_00": (says(b"HTTP/1.1 2_00 OK\r\nContent-Length: 0\r\n\r\n"), "protocol"),
    "speaks HTTP/0.9 with a status": (says(b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n"), "protocol"),
    "quotes the library": (says(b"got more than\r\n"), "protocol"),
    "switches protocols": (says(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), "protocol"),
    "answers with NUL bytes": (says(OK + b"Content-Length: 4\r\n\r\n\0\0\0\0"), 200),
    "answers before it is asked": (says(OK + b"Content-Length: 2\r\n\r\nok" + OK + b"Content-Length: 0\r\n\r\n"), 200),
    "sets ten thousand cookies in one": (says(OK + b"Set-Cookie: a=" + b"b" * 10_000 + b"\r\n\r\n"), 200),
    "folds its headers": (says(OK + b"X: y\r\n z\r\n\r\nok"), 200),
    "answers gone": (says(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"), 410),
}


@contextmanager
def living(habit: Habit, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Let a receiver live on a port of loopback; every thread and socket of its own is gone afterwards."""
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
def overhearing(certificate: trustme.LeafCert) -> Iterator[tuple[int, list[bytes]]]:
    """Let a receiver live that serves with a certificate; gives its port, and what it gets to hear."""
    heard: list[bytes] = []

    def listens(connection: socket.socket, _: threading.Event) -> None:
        heard.append(connection.recv(65_536))

    with living(listens, tls_with(certificate)) as port:
        yield port, heard


def tls_with(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """Serve with a certificate."""
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(served)
    return served
