"""Verifies a received callback: headers, time, the signature of each scheme, and names.

Source: the Standard Webhooks specification. A mismatch of a signature does not show the cause, so the likely changes of
a body are tried: a proxy or a framework that parsed and rewrote the body leaves one of a few traces.
"""

import base64
import binascii
import hmac
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bridge.cli.client import is_this_machine, past_proxies
from bridge.cli.errors import UsageError
from bridge.cli.reading import header_lines, json_object, read_text
from bridge.domain.keyring import PublicKey
from bridge.domain.time import from_millis, iso

#: The largest accepted difference between the timestamp and the time of receipt.
TOLERANCE = timedelta(minutes=5)

_ID, _TIMESTAMP, _SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
_SECONDS = re.compile(r"\d{1,11}", re.ASCII)
_SECRET, _PUBLIC = "whsec_", "whpk_"
_LENGTHS = {"v1": 32, "v1a": 64}
_PUBLIC_KEY_BYTES = 32


class CheckResult(StrEnum):
    """The result of a check."""

    GOOD = "good"
    BAD = "bad"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a callback."""

    name: str
    result: CheckResult
    text: str


@dataclass(frozen=True, slots=True)
class ReceivedCallback:
    """A callback as received."""

    #: Values by lower-case name.
    headers: Mapping[str, str]
    #: The raw bytes.
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The keys and names that the receiver knows."""

    #: `whsec_…`, newest first.
    secrets: Sequence[str]
    #: `whpk_…`, newest first.
    public_keys: Sequence[str]
    #: The origin of its callback URL, if known.
    audience: str | None
    #: The owner of the registration, `sub_…`, if known.
    subscriber: str | None = None


@dataclass(frozen=True, slots=True)
class _Scheme:
    """One signature scheme, with a function per key that verifies a signature of some bytes."""

    version: str
    keys: str
    accepts: Sequence[Callable[[bytes, bytes], bool]]


def verify(received: ReceivedCallback, known: Known, now: datetime) -> list[Check]:
    """Check a callback like its receiver would at `now`. Returns one result per check."""
    missing = [name for name in (_ID, _TIMESTAMP, _SIGNATURE) if not received.headers.get(name)]
    if missing:
        return [Check("headers", CheckResult.BAD, f"{' and '.join(missing)} missing: did the bridge send this?")]
    malformed = [part for part in _parts(received) if _signature(part) is None]
    if malformed:
        text = f"{_SIGNATURE} is malformed at {malformed[0][:40]!r}: was it cut, or taken apart at its spaces?"
        headers = Check("headers", CheckResult.BAD, text)
    else:
        headers = Check("headers", CheckResult.GOOD, received.headers[_ID])
    return [
        headers,
        _time(received, now),
        _by_secret(received, known.secrets),
        _by_public_key(received, known.public_keys),
        _named(received, "audience", known.audience, "--callback-url"),
        _named(received, "subscriber", known.subscriber, "--subscriber"),
    ]


def is_genuine(checks: Sequence[Check]) -> bool:
    """Return whether a receiver may trust the callback: no check is bad, and at least one signature is good."""
    signed = any(each.result is CheckResult.GOOD for each in checks if each.name in _LENGTHS)
    return signed and all(each.result is not CheckResult.BAD for each in checks)


def _time(received: ReceivedCallback, now: datetime) -> Check:
    text = received.headers[_TIMESTAMP]
    if not _SECONDS.fullmatch(text):
        return Check("timestamp", CheckResult.BAD, f"{text[:40]!r} is malformed: it is seconds since 1970")
    at = from_millis(int(text) * 1000)
    away = abs(now - at)
    if away <= TOLERANCE:
        return Check("timestamp", CheckResult.GOOD, iso(at))
    seconds = away // timedelta(seconds=1)
    if at > now:
        why = f"{seconds} s ahead of this clock, more than {TOLERANCE.seconds}: set the clock"
    else:
        why = f"{seconds} s old, more than {TOLERANCE.seconds}: a receiver refuses it; --at sets the time of receipt"
    return Check("timestamp", CheckResult.BAD, f"{iso(at)} is {why}")


def _by_secret(received: ReceivedCallback, secrets: Sequence[str]) -> Check:
    keys = [_decoded(each, _SECRET) for each in secrets]
    if None in keys:
        text = f"the secret is malformed: it is {_SECRET} and base64, without spaces or quotes"
        return Check("v1", CheckResult.BAD, text)
    accepts = [_accepts_hmac(key) for key in keys if key is not None]
    return _signed(received, _Scheme("v1", "secret", accepts))


def _by_public_key(received: ReceivedCallback, public_keys: Sequence[str]) -> Check:
    keys = [_decoded(each, _PUBLIC) for each in public_keys]
    if any(key is None or len(key) != _PUBLIC_KEY_BYTES for key in keys):
        text = f"a public key is malformed: it is {_PUBLIC} and base64 of {_PUBLIC_KEY_BYTES} bytes"
        return Check("v1a", CheckResult.BAD, text)
    accepts = [_accepts_ed25519(PublicKey(key)) for key in keys if key is not None]
    return _signed(received, _Scheme("v1a", "public key", accepts))


def _signed(received: ReceivedCallback, scheme: _Scheme) -> Check:
    """Verify the signatures of a scheme with every key. After a mismatch try the likely original bodies."""
    version = scheme.version
    if not scheme.accepts:
        return Check(version, CheckResult.SKIPPED, f"not checked: no {scheme.keys} was given")
    signatures = [found[1] for part in _parts(received) if (found := _signature(part)) and found[0] == version]
    if not signatures:
        return Check(version, CheckResult.BAD, f"{_SIGNATURE} has no {version} signature")

    def matches(body: bytes) -> bool:
        content = b".".join((received.headers[_ID].encode(), received.headers[_TIMESTAMP].encode(), body))
        return any(accepts(each, content) for accepts in scheme.accepts for each in signatures)

    if matches(received.body):
        return Check(version, CheckResult.GOOD, f"verified with the {scheme.keys}")
    for how, body in _former(received.body):
        if matches(body):
            return Check(version, CheckResult.BAD, f"the body was changed after it was signed: {how}")
    text = f"does not match: a wrong {scheme.keys} (another origin's, or one that was replaced), or the body, id or "
    return Check(version, CheckResult.BAD, f"{text}timestamp was changed after it was signed")


def _former(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Guess the original of a changed body. Yields each guess with a description of the change."""
    yield "white space was added at an end", body.strip()
    yield "a byte order mark was added", body.removeprefix(b"\xef\xbb\xbf")
    yield "line breaks were converted", body.replace(b"\r\n", b"\n")
    try:
        parsed = json.loads(body)
        again = json.dumps(parsed, ensure_ascii=False, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        return
    yield "its JSON was parsed and written again; verify the raw bytes, before any parser", again


def _named(received: ReceivedCallback, field: str, expected: str | None, option: str) -> Check:
    """Compare a name in the event. One key pair signs for all receivers and clients, so only names distinguish them."""
    try:
        found = json.loads(received.body)["data"][field]
    except (ValueError, KeyError, TypeError, RecursionError):
        return Check(field, CheckResult.BAD, f"the body is not JSON with data.{field}")
    if expected is None:
        return Check(field, CheckResult.SKIPPED, f"{str(found)[:200]!r}, not compared: name {option}")
    if found == expected:
        return Check(field, CheckResult.GOOD, expected)
    return Check(field, CheckResult.BAD, f"the callback is for {str(found)[:200]!r}, not for {expected!r}")


def _parts(received: ReceivedCallback) -> list[str]:
    return received.headers[_SIGNATURE].split(" ")


def _signature(part: str) -> tuple[str, bytes] | None:
    """Parse one signature, or return None for a malformed one. Signatures of unknown schemes are accepted."""
    version, comma, text = part.partition(",")
    if not comma or not version:
        return None
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return (version, raw) if len(raw) == _LENGTHS.get(version, len(raw)) else None


def _decoded(text: str, prefix: str) -> bytes | None:
    if not text.startswith(prefix):
        return None
    try:
        return base64.b64decode(text.removeprefix(prefix), validate=True) or None
    except (binascii.Error, ValueError):
        return None


def _accepts_hmac(key: bytes) -> Callable[[bytes, bytes], bool]:
    def accepts(signature: bytes, content: bytes) -> bool:
        return hmac.compare_digest(hmac.digest(key, content, "sha256"), signature)

    return accepts


def _accepts_ed25519(key: PublicKey) -> Callable[[bytes, bytes], bool]:
    public = Ed25519PublicKey.from_public_bytes(key.key)

    def accepts(signature: bytes, content: bytes) -> bool:
        try:
            public.verify(signature, content)
        except InvalidSignature:
            return False
        return True

    return accepts


_SHAPE = 'a JSON object {"headers": {…}, "body": "…"}, or an array of them, of which the last one counts'


def from_record(place: str, message_id: str | None) -> ReceivedCallback:
    """Read a recorded callback as JSON from a file, from standard input (`-`), or from a URL of this machine.

    Raises UsageError.
    """
    text = _fetched(place) if place.startswith(("http://", "https://")) else read_text(place)
    try:
        read: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise UsageError(f"{place} is not {_SHAPE}") from None
    records = [each for each in (read if isinstance(read, list) else [read]) if _is_record(each)]
    chosen = [each for each in records if message_id is None or _lower(each["headers"]).get("webhook-id") == message_id]
    if not chosen:
        named = "" if message_id is None else f" with the webhook-id {message_id}"
        raise UsageError(f"{place} has no callback{named}: write {_SHAPE}")
    return ReceivedCallback(_lower(chosen[-1]["headers"]), _encoded(chosen[-1]["body"], place))


def from_files(headers: str, body: str) -> ReceivedCallback:
    """Read a callback from one file with headers, as lines or as a JSON object, and one with the body.

    Raises UsageError.
    """
    text = read_text(headers)
    read = json_object(text, headers) if text.lstrip().startswith("{") else header_lines(text.splitlines(), headers)
    try:
        return ReceivedCallback(_lower(read), Path(body).read_bytes())
    except OSError as error:
        raise UsageError(f"{body} cannot be read: {error.strerror}") from error


def _fetched(url: str) -> str:
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        host = ""
    if not is_this_machine(host):
        raise UsageError("a callback is read from files, or from a URL of this machine")
    try:
        return requests.get(url, timeout=10, proxies=past_proxies(host)).text
    except requests.RequestException as error:
        raise UsageError(f"{url} does not answer: is `make start` running?") from error


def _is_record(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("headers"), dict) and isinstance(value.get("body"), str)


def _lower(headers: Mapping[str, object]) -> dict[str, str]:
    """Convert names to lower case. Characters that a header cannot carry are replaced, and do not verify."""
    return {name.lower(): str(value).encode(errors="replace").decode() for name, value in headers.items()}


def _encoded(body: str, place: str) -> bytes:
    try:
        return body.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"the body in {place} is not valid Unicode: save the raw bytes, and name them with --body"
        ) from None
