"""What came of one attempt."""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from bridge.domain.callback_url import without_query
from bridge.domain.text import clipped


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
    CALLBACK_URL = "callback-url"  #: nothing was sent: the query of the callback URL cannot be decrypted


class TlsReason(StrEnum):
    """Why there was no TLS connection, as the `detail` of an attempt shows it."""

    EXPIRED = "the certificate has expired"
    NOT_YET_VALID = "the certificate is not valid yet"
    HOST = "the certificate is for another host name"
    SELF_SIGNED = "the certificate is self-signed"
    SELF_SIGNED_CHAIN = "the certificate is signed by a self-signed authority that is not trusted"
    AUTHORITY = "the certificate's authority is not trusted, or its chain is incomplete"
    CERTIFICATE = "the certificate is not valid"
    NOT_TLS = "the port does not speak TLS"
    ENDED = "the connection ended within the TLS handshake"
    NOTHING_IN_COMMON = "the receiver has no TLS version or cipher in common with the bridge"
    CLIENT_CERTIFICATE = "the receiver wants a client certificate"
    NO_SUCH_HOST = "the receiver has no certificate for the host name"
    HANDSHAKE = "the TLS handshake failed"


#: So much of the body of a receiver's answer is kept, in bytes of UTF-8.
KEPT_ANSWER = 1024

#: So much of the `Location` of a redirect, likewise.
KEPT_LOCATION = 300

_GONE = 410


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answered:
    """The receiver answered with a status."""

    status: int
    #: The address that was connected to.
    address: str | None
    #: The start of the answer, printable.
    body: str = ""
    #: Where a redirect leads, printable and without its query; None for any other answer.
    location: str | None = None
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
    #: The failure in a text for people.
    detail: str | None = field(default=None, compare=False)
    #: The address that was connected to, where it came that far.
    address: str | None = None


Outcome = Delivered | Gone | Rejected | Unreachable


def is_success(status: int) -> bool:
    """Tell whether a status is 2xx."""
    return 200 <= status < 300  # noqa: PLR2004 - 2xx


def answered(
    status: int,
    *,
    address: str | None,
    body: bytes = b"",
    location: str | None = None,
    retry_after: timedelta | None = None,
) -> Delivered | Gone | Rejected:
    """Classify a status."""
    kind = Delivered if is_success(status) else Gone if status == _GONE else Rejected
    is_redirect = 300 <= status < 400  # noqa: PLR2004 - 3xx
    target = without_query(location) if location is not None and is_redirect else ""
    return kind(
        status=status,
        address=address,
        body=clipped(body.decode("utf-8", "replace"), KEPT_ANSWER),
        location=clipped(target, KEPT_LOCATION) or None,
        retry_after=retry_after,
    )
