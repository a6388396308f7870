"""Classification of network exceptions: the class of a failure, and a text for people without URLs or secrets."""

import ssl
from collections.abc import Iterator

from bridge.adapters.net.guard import ConnectFailed, RefusedByRules
from bridge.adapters.net.http1 import BrokenOff, EndedUnanswered, HeadTooLarge, HttpError
from bridge.adapters.net.resolver import NameNotResolved
from bridge.domain.callback_url import CallbackRefused
from bridge.domain.outcome import Failure, TlsReason

#: Classes of failures. The first one found among the causes counts.
_FAILURES: tuple[tuple[tuple[type[BaseException], ...], Failure], ...] = (
    ((RefusedByRules, CallbackRefused), Failure.REFUSED_BY_RULES),
    ((NameNotResolved,), Failure.DNS),
    ((ConnectFailed,), Failure.CONNECT),
    ((HeadTooLarge,), Failure.HEAD_TOO_LARGE),
    ((ssl.SSLError,), Failure.TLS),
    ((TimeoutError,), Failure.TIMEOUT),
    ((ConnectionError,), Failure.CLOSED),
)

#: Reasons by OpenSSL's number of a refused certificate (X509_V_ERR_… of X509_STORE_CTX_get_error).
_CERTIFICATES = {
    2: TlsReason.AUTHORITY,
    9: TlsReason.NOT_YET_VALID,
    10: TlsReason.EXPIRED,
    18: TlsReason.SELF_SIGNED,
    19: TlsReason.SELF_SIGNED_CHAIN,
    20: TlsReason.AUTHORITY,
    21: TlsReason.AUTHORITY,
    62: TlsReason.HOST,
    64: TlsReason.HOST,
}

#: Reasons by OpenSSL's name of an error.
_HANDSHAKES = {
    "WRONG_VERSION_NUMBER": TlsReason.NOT_TLS,
    "RECORD_LAYER_FAILURE": TlsReason.NOT_TLS,
    "PACKET_LENGTH_TOO_LONG": TlsReason.NOT_TLS,
    "UNKNOWN_PROTOCOL": TlsReason.NOT_TLS,
    "HTTP_REQUEST": TlsReason.NOT_TLS,
    "UNEXPECTED_EOF_WHILE_READING": TlsReason.ENDED,
    "UNSUPPORTED_PROTOCOL": TlsReason.NOTHING_IN_COMMON,
    "NO_PROTOCOLS_AVAILABLE": TlsReason.NOTHING_IN_COMMON,
    "TLSV1_ALERT_PROTOCOL_VERSION": TlsReason.NOTHING_IN_COMMON,
    "SSLV3_ALERT_HANDSHAKE_FAILURE": TlsReason.NOTHING_IN_COMMON,
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": TlsReason.CLIENT_CERTIFICATE,
    "TLSV1_UNRECOGNIZED_NAME": TlsReason.NO_SUCH_HOST,
}


#: Texts for people. The first matching class counts.
_TEXTS: tuple[tuple[type[BaseException], str], ...] = (
    (HeadTooLarge, "the head of the answer is larger than 16 KiB, or has more than 100 headers"),
    (HttpError, "the answer is not HTTP/1.x"),
    (TimeoutError, "no connection in time"),
    (EndedUnanswered, "the connection ended before an answer"),
    (BrokenOff, "the connection ended within the head of the answer"),
    (ConnectionError, "the connection was reset"),
)


def failure_of(error: BaseException) -> Failure:
    """Return the class of a failure."""
    causes = list(_causes(error))
    for kinds, failure in _FAILURES:
        if any(isinstance(cause, kinds) for cause in causes):
            return failure
    return Failure.PROTOCOL


def detail_of(error: BaseException) -> str:
    """Describe a failure for people. An exception's own text could contain the URL, so the texts are the bridge's."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError):
            return _tls(cause)
        if isinstance(cause, (RefusedByRules, CallbackRefused, NameNotResolved, ConnectFailed)):
            return str(cause)
        text = next((text for kind, text in _TEXTS if isinstance(cause, kind)), None)
        if text is not None:
            return text
    return "the request cannot be sent"


def _tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = _CERTIFICATES.get(error.verify_code, TlsReason.CERTIFICATE)
    elif isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        reason = TlsReason.ENDED
    else:
        reason = _HANDSHAKES.get(error.reason or "", TlsReason.HANDSHAKE)
    return reason.value


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Iterate over an exception and its causes."""
    seen = set[int]()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__
