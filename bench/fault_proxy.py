"""A proxy between the app and a storage service, which answers wrongly, refuses or is silent as a scenario chooses."""

import http.client
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

#: What is answered instead of the service; None lets a request through. It gets the method and the path.
Fault = Callable[[str, str], bytes | None]

BUSY = b"HTTP/1.1 503 Server Busy\r\nContent-Length: 0\r\n\r\n"
_XML = b"<feed/>"
XML = b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n%s" % (len(_XML), _XML)
#: Stands for no answer at all.
SILENCE = b""

_NOT_FORWARDED = frozenset({"connection", "transfer-encoding"})


@dataclass(slots=True)
class FaultProxy:
    """What a proxy does at this moment."""

    port: int = 0
    fault: Fault | None = None
    #: Ends all silences.
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """Return where it listens."""
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def fault_proxy(service: str) -> Iterator[FaultProxy]:
    """Let a proxy run before a service at `service`, like `http://127.0.0.1:10002`."""
    proxy = FaultProxy()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            """Answer with the fault, or as the service does."""
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            instead = proxy.fault(self.command, self.path) if proxy.fault else None
            if instead == SILENCE:
                proxy.over.wait()
                self.close_connection = True
                return
            self.wfile.write(instead if instead is not None else self._of_the_service(body))

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = forward

        def _of_the_service(self, body: bytes) -> bytes:
            with closing(http.client.HTTPConnection(urlsplit(service).netloc)) as connection:
                connection.request(self.command, self.path, body=body, headers=dict(self.headers))
                answer = connection.getresponse()
                content: bytes = answer.read()
            kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in _NOT_FORWARDED]
            if all(name.lower() != "content-length" for name, _ in kept):
                kept.append(("Content-Length", str(len(content))))
            head = "".join(f"{name}: {value}\r\n" for name, value in kept)
            return f"HTTP/1.1 {answer.status} {answer.reason}\r\n{head}\r\n".encode() + content

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

    with Server(("127.0.0.1", 0), Handler) as server:
        proxy.port = int(server.server_address[1])
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield proxy
        finally:
            proxy.over.set()
            server.shutdown()


def sometimes(answer: bytes, share: float, seed: int = 1) -> Fault:
    """Answer a share of the reads so."""
    rng = random.Random(seed)  # repeatable
    return lambda method, _: answer if method == "GET" and rng.random() < share else None


def always(answer: bytes) -> Fault:
    """Answer every request so."""
    return lambda _method, _path: answer
