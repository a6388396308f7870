"""The headers that a client wants on its callbacks: which ones it may have, and how they are compared and written.

They are the client's secrets as a rule, an `Authorization` for the receiver. What is taken arrives as it was given:
a name or a value that anything on the way would change, drop or read as something else is refused.
"""

import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from bridge.domain.text import printable

#: A registration has at most this many.
MAX_HEADERS = 10

#: Names and values together, in bytes.
MAX_HEADER_BYTES = 4_096

#: A name longer than this is cut where it is shown.
_SHOWN = 64

#: A token of RFC 9110, 5.6.2.
NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")

#: Visible ASCII and inner spaces: everything else is stripped, decoded or refused by somebody (RFC 9110, 5.5).
VALUE = re.compile(r"(?:[!-~](?:[ -~]*[!-~])?)?")

#: What the bridge sends itself, what frames the request, and what belongs to one connection (RFC 9110, 7.6.1).
RESERVED = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    }
)
#: What the names of further ones begin with.
RESERVED_PREFIXES = ("ce-", "content-", "proxy-", "webhook-")


@dataclass(frozen=True, slots=True)
class OwnHeaders:
    """A client's own headers, already found right. Has no readable form but the one asked for."""

    #: Values by name, both as given.
    given: Mapping[str, str] = field(default_factory=dict, repr=False)

    def same_as(self, other: "OwnHeaders") -> bool:
        """Tell whether both say the same; the case of names and the order make no difference."""
        return hmac.compare_digest(self.normal_form(), other.normal_form())  # says nothing by how long it takes

    def normal_form(self) -> bytes:
        """Write them as they are compared."""
        return json.dumps(sorted((name.lower(), value) for name, value in self.given.items())).encode()

    def write(self) -> bytes:
        """Write them as they are encrypted."""
        return json.dumps(dict(self.given), separators=(",", ":")).encode()

    @classmethod
    def read(cls, written: bytes) -> "OwnHeaders":
        """Undo `write`."""
        return cls(json.loads(written))


def faults(given: Mapping[str, object]) -> list[tuple[str, str]]:
    """Say everything that is wrong with a client's headers: target and reason, never with a value.

    Empty where nothing is.
    """
    found = [
        (f"headers.{printable(name, _SHOWN)}", why) for name, value in given.items() for why in _fault(name, value)
    ]
    names = [_read_by_receivers(name) for name in given]
    found += [
        (f"headers.{printable(name, _SHOWN)}", "is there twice: neither case nor `_` for `-` makes another name")
        for place, name in enumerate(given)
        if names[place] in names[:place]
    ]
    if len(given) > MAX_HEADERS:
        found.append(("headers", f"are more than {MAX_HEADERS}"))
    if sum(_size(name) + _size(value) for name, value in given.items()) > MAX_HEADER_BYTES:
        found.append(("headers", f"are longer than {MAX_HEADER_BYTES} bytes together"))
    return found


def _read_by_receivers(name: str) -> str:
    """Write a name like receivers read it: CGI and WSGI make no difference of case, nor of `_` and `-`."""
    return name.lower().replace("_", "-")


def _fault(name: str, value: object) -> list[str]:
    found = []
    if not NAME.fullmatch(name):
        found.append("has a name that no header has: letters, digits and !#$%&'*+-.^_`|~")
    elif (read := _read_by_receivers(name)) in RESERVED or read.startswith(RESERVED_PREFIXES):
        found.append("is the bridge's own, or belongs to the connection")
    if not isinstance(value, str):
        found.append("must be a string")
    elif not VALUE.fullmatch(value):
        found.append("must be visible ASCII, with spaces only between: no control character, nothing to strip")
    return found


def _size(part: object) -> int:
    return len(part.encode(errors="replace")) if isinstance(part, str) else 0
