"""Untrusted text: sanitise for storage, logs and pages, compare and measure as JSON, and parse `traceparent`."""

import json
import re


def printable(text: str, limit: int) -> str:
    """Keep at most `limit` characters of `text`. Characters that are not printable become spaces, as do surrogates."""
    return "".join(character if character.isprintable() else " " for character in text[:limit]).strip()


def clipped(text: str, limit: int) -> str:
    """Keep as much of `text` as fits into `limit` bytes of UTF-8 in JSON, where a quote takes two."""
    kept = printable(text, limit)
    size = 0
    for place, character in enumerate(kept):
        size += len(json.dumps(character, ensure_ascii=False).encode()) - 2
        if size > limit:
            return kept[:place].rstrip()
    return kept


def same_json(one: str | None, other: str | None) -> bool:
    """Compare two texts of JSON by value. None equals only None.

    Numbers compare by value and the order of keys does not count (RFC 8259, 4 and 6): `1.0` equals `1`. Python treats
    `true` as 1, JSON does not.
    """
    if one is None or other is None:
        return one is other
    return one == other or _same(json.loads(one), json.loads(other))


def size_in_utf8(value: object) -> int:
    """Return the size in bytes of a value as compact JSON in UTF-8, the form of callbacks.

    Raises ValueError for a number that JSON cannot express.
    """
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode(errors="replace"))


def _same(one: object, other: object) -> bool:
    match one, other:
        case dict(), dict():
            return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())
        case list(), list():
            return len(one) == len(other) and all(map(_same, one, other))
        case _:
            return isinstance(one, bool) is isinstance(other, bool) and one == other


#: A `traceparent` of W3C Trace Context: exactly these four parts, in lower case (3.2.2), and neither id is all zeros
#: (3.2.2.3, 3.2.2.4).
_VERSION_00 = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def read_traceparent(given: str | None) -> str | None:
    """Validate a `traceparent` header of version 00. Returns None for a missing or any other header.

    The header joins a callback to the trace of the registering client. The bridge keeps it for days and sends it to
    another party, so the parsing is strict. A header of another version counts as missing, as the specification
    requires, and never makes a registration fail. A later version may have more parts (3.2.2.2), and is never cut.
    """
    return given if given is not None and _VERSION_00.fullmatch(given) else None
