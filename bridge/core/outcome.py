"""What came of one attempt."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from bridge.core.text import printable


class Failure(StrEnum):
    """Why no answer came."""

    REFUSED_BY_RULES = "refused-by-rules"  #: the URL or an address behind it is not allowed
    DNS = "dns"  #: the name leads nowhere, or nobody says so in time
    CONNECT = "connect"  #: nobody takes connections there
    TLS = "tls"  #: the certificate or the handshake is not right
    TIMEOUT = "timeout"  #: the answer did not come in time, or not whole
    CLOSED = "closed"  #: the connection ended before an answer
    HEAD_TOO_LARGE = "head-too-large"  #: headers without end
    PROTOCOL = "protocol"  #: what came is no HTTP
    HEADERS = "headers"  #: nothing was sent: the registration's own headers cannot be decrypted


#: So much of a receiver's answer is kept, in characters.
KEPT_ANSWER = 1024

_GONE = 410


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answered:
    """The receiver answered with a status."""

    status: int
    #: The address that was connected to.
    address: str | None
    #: The start of the answer, printable.
    body: str = ""
    #: How long the receiver asked to be left alone.
    retry_after: timedelta | None = None


class Delivered(_Answered):
    """2xx: the receiver took it."""


class Gone(_Answered):
    """410: nobody wants it there any more."""


class Rejected(_Answered):
    """Any other status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreachable:
    """No answer came, or none that counts."""

    #: The class of the failure.
    error: Failure
    #: The address that was connected to, where it came that far.
    address: str | None = None
    #: Nobody was there to ask for one.
    retry_after: timedelta | None = None


Outcome = Delivered | Gone | Rejected | Unreachable


def answered(
    status: int, *, address: str | None, body: bytes = b"", retry_after: timedelta | None = None
) -> Delivered | Gone | Rejected:
    """Classify a status."""
    kind = Delivered if 200 <= status < 300 else Gone if status == _GONE else Rejected  # noqa: PLR2004 - 2xx
    return kind(
        status=status,
        address=address,
        body=printable(body.decode("utf-8", "replace"), KEPT_ANSWER),
        retry_after=retry_after,
    )
