"""A server that takes connections and never answers: whoever waits for it is in the middle of a request."""

import socket

from local.record import MAX_WAIT
from local.stoppable import Stoppable


class Silent(Stoppable):
    """Listens on 127.0.0.1; a context manager that closes every connection."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(MAX_WAIT)
        self._clients: list[socket.socket] = []

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        """Its address, with a slash at the end."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def has_clients(self) -> bool:
        """Whether a client was waited for and came."""
        return bool(self._clients)

    def wait_for_a_client(self) -> None:
        """Return when a client has sent the first bytes of its request."""
        client, _ = self._listener.accept()
        client.settimeout(MAX_WAIT)
        client.recv(1)
        self._clients.append(client)

    def stop(self) -> None:
        """Close every connection."""
        for each in (self._listener, *self._clients):
            each.close()
