"""The headers that a client adds to its callbacks: allowed names and values, comparison, and encoding.

Custom headers are usually secrets, like an `Authorization` for the receiver. Accepted headers arrive unchanged: names
and values that a server or proxy on the way would change, drop or misread are refused.
"""

import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from bridge.domain.text import printable

#: The most headers of a registration.
MAX_HEADERS = 10

#: The limit of names and values together, in bytes.
MAX_HEADER_BYTES = 4_096

#: Longer names are cut in messages, in characters.
_SHOWN = 64

#: A token of RFC 9110, 5.6.2.
NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")

#: Visible ASCII and inner spaces. Some servers strip, decode or refuse all other characters (RFC 9110, 5.5).
VALUE = re.compile(r"(?:[!-~](?:[ -~]*[!-~])?)?")

#: Headers that the bridge sends itself, framing of the request, and connection-specific fields (RFC 9110, 7.6.1).
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
#: Prefixes of further reserved names.
RESERVED_PREFIXES = ("ce-", "content-", "proxy-", "webhook-")


@dataclass(frozen=True, slots=True)
class OwnHeaders:
    """A client's validated custom headers. The `repr` shows no values."""

    #: Values by name, both as given.
    given: Mapping[str, str] = field(default_factory=dict, repr=False)

    def same_as(self, other: "OwnHeaders") -> bool:
        """Compare names and values. The case of names and the order do not count."""
        return hmac.compare_digest(self.normal_form(), other.normal_form())  # in constant time

    def normal_form(self) -> bytes:
        """Encode the headers for comparison: lower case names, sorted."""
        return json.dumps(sorted((name.lower(), value) for name, value in self.given.items())).encode()

    def write(self) -> bytes:
        """Encode the headers for encryption."""
        return json.dumps(dict(self.given), separators=(",", ":")).encode()

    @classmethod
    def read(cls, written: bytes) -> "OwnHeaders":
        """Undo `write`."""
        return cls(json.loads(written))


def faults(given: Mapping[str, object]) -> list[tuple[str, str]]:
    """List all problems of a client's headers, as pairs of target and reason. Values are never included.

    Empty if there is none.
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
    """Normalise a name like receivers do: CGI and WSGI ignore case, and treat `_` and `-` as equal."""
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
