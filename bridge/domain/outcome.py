"""The outcome of one attempt."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from http import HTTPStatus

from bridge.domain.callback_url import without_query
from bridge.domain.text import clipped


class Failure(StrEnum):
    """Why there was no answer."""

    REFUSED_BY_RULES = "refused-by-rules"  #: the URL or an address behind it is not allowed
    DNS = "dns"  #: the name does not resolve, or not in time
    CONNECT = "connect"  #: the host does not accept connections
    TLS = "tls"  #: the certificate or the handshake is wrong
    TIMEOUT = "timeout"  #: there was no whole answer in time
    CLOSED = "closed"  #: the connection ended before an answer
    HEAD_TOO_LARGE = "head-too-large"  #: the headers exceed the limit
    PROTOCOL = "protocol"  #: the answer is not HTTP
    HEADERS = "headers"  #: nothing was sent: the registration's own headers cannot be decrypted
    CALLBACK_URL = "callback-url"  #: nothing was sent: the query of the callback URL cannot be decrypted
    LOST = "lost"  #: the lease ended without a record: the attempt may have arrived


class TlsReason(StrEnum):
    """Why TLS failed. The value is the `detail` of an attempt, a text for people that no code reads."""

    EXPIRED = "the certificate has expired"
    NOT_YET_VALID = "the certificate is not valid yet"
    HOST = "the certificate is for another host name"
    SELF_SIGNED = "the certificate is self-signed, not of a public authority"
    SELF_SIGNED_CHAIN = "the certificate is signed by a self-signed authority that is not trusted"
    AUTHORITY = "the certificate's authority is not trusted, or its chain is incomplete"
    CERTIFICATE = "the certificate is not valid"
    NOT_TLS = "the port does not speak TLS: check scheme and port"
    ENDED = "the connection ended within the TLS handshake: the server's log can say why"
    NOTHING_IN_COMMON = "the server has no TLS version or cipher in common with the bridge, which takes TLS 1.2 and 1.3"
    CLIENT_CERTIFICATE = "the server wants a client certificate, and the bridge has none"
    NO_SUCH_HOST = "the server has no certificate for the host name"
    HANDSHAKE = "the TLS handshake failed: the server's log can say why"


#: The kept length of a receiver's answer, in bytes of UTF-8.
KEPT_ANSWER = 1024

#: The kept length of a redirect's `Location`, in bytes of UTF-8.
KEPT_LOCATION = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answered:
    """The receiver answered with a status."""

    status: int
    #: The address of the connection.
    address: str | None
    #: The start of the answer, printable.
    body: str = ""
    #: The target of a redirect, printable and without its query. None for other answers.
    location: str | None = None
    #: The wait that the receiver requested by `Retry-After`.
    retry_after: timedelta | None = None


class Delivered(_Answered):
    """2xx: the receiver accepted the message."""


class Gone(_Answered):
    """410: the receiver does not want further messages."""


class Rejected(_Answered):
    """Any other status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreachable:
    """There was no valid answer."""

    #: The class of the failure.
    error: Failure
    #: A description of the failure for people.
    detail: str | None = field(default=None, compare=False)
    #: The address of the connection, if there was one.
    address: str | None = None


Outcome = Delivered | Gone | Rejected | Unreachable


@dataclass(frozen=True, slots=True, kw_only=True)
class LastAttempt:
    """The last attempt of a run whose outcome is known, as a list shows it."""

    #: Counted from 1 within the run.
    number: int
    #: When the attempt was claimed.
    at: datetime
    #: The status of the answer, or None without an answer.
    status: int | None = None
    #: The class of the failure, if there was no answer.
    error: Failure | None = None

    def has(self, outcome: str) -> bool:
        """Return whether `outcome` names the outcome: a status (`401`), its class (`4xx`), or a kind of failure."""
        if self.status is None:
            return self.error == outcome
        return outcome in (str(self.status), f"{self.status // 100}xx")


def is_success(status: int) -> bool:
    """Return whether a status is 2xx."""
    return status in range(200, 300)


def answered(
    status: int,
    *,
    address: str | None,
    body: bytes = b"",
    location: str | None = None,
    retry_after: timedelta | None = None,
) -> Delivered | Gone | Rejected:
    """Classify the status of a receiver's answer."""
    kind = Delivered if is_success(status) else Gone if status == HTTPStatus.GONE else Rejected
    is_redirect = status in range(300, 400)
    target = without_query(location) if location is not None and is_redirect else ""
    return kind(
        status=status,
        address=address,
        body=clipped(body.decode("utf-8", "replace"), KEPT_ANSWER),
        location=clipped(target, KEPT_LOCATION) or None,
        retry_after=retry_after,
    )
