"""A connection that sends a request in one piece."""

from typing import Any

from urllib3.connection import HTTPConnection


class CoalescedRequest(HTTPConnection):
    """Keeps the parts of a request, which the library sends one by one: the other side is to wake up once."""

    #: The parts of the request that is being written; None when none is.
    parts: list[bytes] | None = None

    def request(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - the library's signature
        """Write a request whose body is bytes, or none."""
        self.parts = []
        try:
            super().request(*args, **kwargs)
        finally:
            whole, self.parts = b"".join(self.parts), None
        self.send(whole)

    def send(self, data: Any) -> None:  # noqa: ANN401 - the library's signature
        """Send, or keep what belongs to a request that is not whole yet."""
        if self.parts is None:
            super().send(data)
        else:
            self.parts.append(data)
