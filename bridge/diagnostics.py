"""What is broken and what to do, for each thing that an attempt, a request to Speech or an operation can end in.

One table for everybody who shows the bridge to people. It reads what the API shows, so it needs no row: the status or
the class of failure of an attempt, the `lastError` of an operation, the reason of an end.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType

from bridge.domain.operation import ExpiredReason
from bridge.domain.outcome import Failure, TlsReason


@dataclass(frozen=True, slots=True)
class Hint:
    """One sentence for what is broken, one for what to do about it."""

    what: str
    do: str


#: By the class of failure of an attempt; `lost` is the one that nobody could record.
FAILURES: Mapping[str, Hint] = MappingProxyType(
    {
        Failure.REFUSED_BY_RULES: Hint(
            "the rules do not let callbacks go to this URL, or to an address behind its name",
            "use a public https URL on port 443, or open the rules: BRIDGE_CALLBACK_ALLOWED_NETWORKS, _PORTS, _HOSTS, "
            "BRIDGE_CALLBACK_ALLOW_HTTP",
        ),
        Failure.DNS: Hint(
            "the receiver's name leads to no address", "check the host's spelling in the callback URL, and its DNS"
        ),
        Failure.CONNECT: Hint(
            "nobody takes connections at the receiver",
            "start the receiver, and check its port and firewall; then redeliver what is dead",
        ),
        Failure.TLS: Hint(
            "the receiver's certificate or TLS handshake is not right",
            "renew its certificate, for this host name and with its whole chain",
        ),
        Failure.TIMEOUT: Hint(
            "the receiver did not answer whole within 15 s", "let it answer 2xx at once and do its work later"
        ),
        Failure.CLOSED: Hint(
            "the receiver closed the connection before its answer", "look into the log of the receiver or its proxy"
        ),
        Failure.HEAD_TOO_LARGE: Hint(
            "the receiver's answer has too many or too large headers", "let it answer with less than 16 KiB of headers"
        ),
        Failure.PROTOCOL: Hint("what the receiver answers is no HTTP/1.x", "check scheme and port of the callback URL"),
        Failure.HEADERS: Hint(
            "nothing was sent: the registration's own headers cannot be decrypted",
            "put the key that was removed back at the end of BRIDGE_SIGNING_KEYS, or cancel and register again",
        ),
        Failure.CALLBACK_URL: Hint(
            "nothing was sent: the query of the callback URL cannot be decrypted",
            "put the key that was removed back at the end of BRIDGE_SIGNING_KEYS, or cancel and register again",
        ),
        Failure.LOST: Hint(
            "the bridge died before it could record the attempt, which may have arrived",
            "nothing, if the next attempt goes well; the receiver drops duplicates by webhook-id",
        ),
    }
)

#: By the `detail` of an attempt that failed as `tls`: why, and who mends that.
TLS: Mapping[str, Hint] = MappingProxyType(
    {
        reason: Hint(f"there is no TLS connection to the receiver: {reason}", do)
        for reason, do in {
            TlsReason.EXPIRED: "renew the receiver's certificate",
            TlsReason.NOT_YET_VALID: "install a certificate that is valid now, or correct the clock that made it",
            TlsReason.HOST: "get a certificate for the host of the callback URL, or correct that host",
            TlsReason.SELF_SIGNED: "get a certificate of a public authority",
            TlsReason.SELF_SIGNED_CHAIN: "get a certificate of a public authority",
            TlsReason.AUTHORITY: "send the certificate with its whole chain, from a public authority",
            TlsReason.CERTIFICATE: "renew the receiver's certificate, with its whole chain",
            TlsReason.NOT_TLS: "check scheme and port of the callback URL: https needs a port with TLS",
            TlsReason.ENDED: "look into the log of the receiver or its proxy",
            TlsReason.NOTHING_IN_COMMON: "let the receiver take TLS 1.2 or 1.3",
            TlsReason.CLIENT_CERTIFICATE: "let the receiver take callbacks without one, and verify the signature",
            TlsReason.NO_SUCH_HOST: "get a certificate for the host of the callback URL, or correct that host",
            TlsReason.HANDSHAKE: "look into the log of the receiver or its proxy",
        }.items()
    }
)

#: By the status of an attempt's answer; what is not here goes by its class.
STATUSES: Mapping[int, Hint] = MappingProxyType(
    {
        401: Hint(
            "the receiver wants credentials that the callback did not have, or not the right ones",
            "register with the header that it wants, Authorization for instance, or let it verify the signature",
        ),
        403: Hint(
            "the receiver refuses the bridge, or the header that it was sent",
            "check its firewall's rules, and the headers of the registration",
        ),
        404: Hint("the receiver has nothing at this path", "check the path of the callback URL"),
        405: Hint("the receiver takes no POST at this path", "let it take POST there, or correct the callback URL"),
        410: Hint(
            "the receiver said that nobody wants callbacks there any more",
            "register the right callback URL; redeliver if the answer was a mistake",
        ),
        413: Hint("the receiver finds the callback too large", "raise its limit to 64 KiB"),
        415: Hint("the receiver does not take this content type", "choose another format, or let it take this one"),
        429: Hint("the receiver is asked too often", "nothing, if it recovers: its Retry-After is honoured"),
    }
)

_REDIRECT = Hint("the receiver redirects, and callbacks follow no redirect", "register the URL that it redirects to")
_REFUSAL = Hint("the receiver refuses the callback", "look into its log: the answer's start is shown with the attempt")
_SERVER_FAULT = Hint("the receiver failed", "look into its log; it is tried again by the schedule")

#: By the reason of an operation that the bridge gave up on.
REASONS: Mapping[str, Hint] = MappingProxyType(
    {
        ExpiredReason.DEADLINE: Hint(
            "the operation did not end within the deadline",
            "look it up at Speech; raise BRIDGE_OPERATION_DEADLINE if such operations take longer",
        ),
        ExpiredReason.NOT_FOUND: Hint(
            "for 10 minutes Speech knew no such operation",
            "check the operation id, and that the source is the resource where the work was submitted",
        ),
        ExpiredReason.REFUSED: Hint(
            "for 10 minutes Speech refused the request",
            "check SPEECH_PATH and SPEECH_API_VERSION, and that a regional endpoint has a key",
        ),
    }
)

#: What an operator does about a storage account that refuses the app.
STORAGE_ADVICE = (
    "check the app's roles on the storage account (Storage Table and Queue Data Contributor), its firewall, and "
    "AzureWebJobsStorage"
)

#: By whether the queue refuses its caller, or fails in another way.
QUEUE: Mapping[bool, Hint] = MappingProxyType(
    {
        True: Hint("the queue refuses the bridge, so no callback is sent", STORAGE_ADVICE),
        False: Hint(
            "messages cannot be sent to the queue, so callbacks wait",
            "nothing, if it passes: they are sent within a minute of its return; else look at the storage account",
        ),
    }
)

#: What an operator does about a credential that the source does not take.
CREDENTIAL_ADVICE = "check SPEECH_KEY, or the identity's role Cognitive Services Speech User and the custom subdomain"

_DENIED = Hint("Speech does not take the bridge's credential", CREDENTIAL_ADVICE)
#: What a 403 can mean besides, by the text that Azure's gateways put into it.
_QUOTA = Hint(
    "the quota of the Speech resource is used up",
    "wait until it is replenished, or raise the quota or the pricing tier of the resource",
)
_NETWORK = Hint(
    "the network rules of the Speech resource do not let the bridge in",
    "allow the app's subnet or outbound addresses in the resource's networking, or reach it by its private endpoint",
)
_UNREACHABLE = Hint("Speech cannot be reached", "check SPEECH_ENDPOINT, its name and the network's way to it")
_POLLS: tuple[tuple[re.Pattern[str], Hint], ...] = (
    (re.compile(r"HTTP 403\b.*([Qq]uota|[Cc]all volume|[Cc]all rate|[Rr]ate limit)"), _QUOTA),
    (re.compile(r"HTTP 403\b.*([Vv]irtual [Nn]etwork|VNet|[Ff]irewall|[Pp]rivate|[Pp]ublic|[Nn]etwork)"), _NETWORK),
    (re.compile(r"HTTP 40[13]\b|no token"), _DENIED),
    (
        re.compile(r"HTTP (404|410|204)\b"),
        Hint(
            "Speech knows no such operation, or not yet",
            "check the operation id and the source; the bridge gives up after 10 minutes of this",
        ),
    ),
    (
        re.compile(r"HTTP 429\b"),
        Hint(
            "Speech is asked too often, by the bridge and its other clients together",
            "nothing, if it passes; else lower SPEECH_REQUESTS_PER_SECOND or raise the resource's quota",
        ),
    ),
    (re.compile(r"HTTP 4(00|05|1[3-6]|22|31)\b"), Hint("Speech refuses the request", REASONS["refused"].do)),
    (
        re.compile(r"HTTP 4\d\d\b"),
        Hint(
            "a gateway before Speech, or Speech for the moment, does not answer the request",
            "nothing, if it passes: it is asked again, ever more slowly; else look at the proxies and gateways between",
        ),
    ),
    (
        re.compile(r"HTTP 5\d\d\b"),
        Hint("Speech has a fault", "nothing: it is asked again, ever more slowly; see its status page if it lasts"),
    ),
    (
        re.compile(r"HTTP \d+"),
        Hint(
            "what answers there is not the Speech API", "check SPEECH_ENDPOINT: a proxy or a gateway may be before it"
        ),
    ),
    (
        re.compile(r"no source is named"),
        Hint("the settings do not have the operation's source any more", "put it back into BRIDGE_SOURCES"),
    ),
)

#: By the class of the status.
_CLASSES = ((range(300, 400), _REDIRECT), (range(400, 500), _REFUSAL), (range(500, 600), _SERVER_FAULT))


def of_attempt(
    status: int | None, error: str | None, detail: str | None = None, location: str | None = None
) -> Hint | None:
    """Explain an attempt by the fields that the API shows of it; None if it went well or is under way."""
    if error is not None:
        return (TLS.get(detail or "") if error == Failure.TLS else None) or FAILURES.get(error)
    if status is None:
        return None
    hint = STATUSES.get(status) or next((hint for codes, hint in _CLASSES if status in codes), None)
    return Hint(f"{hint.what} ({location})", hint.do) if hint is not None and location is not None else hint


def of_poll(last_error: str | None) -> Hint | None:
    """Explain the `lastError` of an operation; None where the last poll went well."""
    if last_error is None:
        return None
    return next((hint for pattern, hint in _POLLS if pattern.match(last_error)), _UNREACHABLE)


def of_denial(what: str) -> Hint:
    """Explain why a source does not let the bridge in, by the text that its answer is kept as."""
    return of_poll(what) or _DENIED


def of_end(reason: str | None) -> Hint | None:
    """Explain why the bridge gave up on an operation; None where it did not."""
    return None if reason is None else REASONS.get(reason)


def table() -> Mapping[str, object]:
    """Write all of it as JSON values, for a page; the patterns mean the same to Python and to JavaScript."""
    return {
        "tls": {str(reason): asdict(hint) for reason, hint in TLS.items()},
        "failures": {str(error): asdict(hint) for error, hint in FAILURES.items()},
        "statuses": {status: asdict(hint) for status, hint in STATUSES.items()},
        "classes": {codes.start // 100: asdict(hint) for codes, hint in _CLASSES},
        "polls": [{"pattern": pattern.pattern, "hint": asdict(hint)} for pattern, hint in _POLLS],
        "unreachable": asdict(_UNREACHABLE),
        "reasons": {str(reason): asdict(hint) for reason, hint in REASONS.items()},
    }
