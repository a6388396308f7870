"""Parsers of arguments: durations, times, ids, and headers from sources that process lists do not show."""

import codecs
import json
import math
import re
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bridge.cli.client import header_secret
from bridge.cli.context import PROGRAM
from bridge.cli.errors import UsageError
from bridge.domain.ids import GROUP, OPERATION_ID, RegistrationRef
from bridge.domain.outcome import Failure
from bridge.domain.registration import State
from bridge.domain.time import iso, parse_duration, parse_instant

#: A status of an answer, or its class.
_STATUSES = re.compile(r"[1-9](\d\d|xx)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECRET_NAME = re.compile(r"auth|key|token|secret|cookie|password", re.IGNORECASE)


def duration(text: str) -> timedelta:
    """Parse `45s`, `15m`, `24h` or `30d`. Raises UsageError."""
    read = parse_duration(text)
    if read is None:
        raise UsageError(f"{text!r} is not a duration: write a whole number with a unit, like 45s, 15m, 24h or 30d")
    return read


def moment(text: str) -> datetime:
    """Parse a time with its zone. Raises UsageError."""
    read = parse_instant(text)
    if read is None:
        raise UsageError(f"{text!r} is not a time with a zone: write 2026-11-23T15:04:05Z")
    return read


def instant(text: str, now: datetime) -> datetime:
    """Parse a time or an age. Raises UsageError, also for a time that no registration has."""
    age = parse_duration(text)
    try:
        read = (moment(text) if age is None else now - age).astimezone(UTC)
    except OverflowError:
        read = _EPOCH
    if read <= _EPOCH:
        raise UsageError(f"{text!r} is too long ago, or no time of a calendar")
    return read


def since(text: str, now: datetime) -> str:
    """Parse a time or an age, and return the time in the API's format. Raises UsageError."""
    return iso(instant(text, now))


def registration_id(text: str) -> str:
    """Validate an id before it becomes part of a path. Raises UsageError."""
    if RegistrationRef.parse(text) is None:
        raise UsageError(f"{text!r} is not a registration's id (source~operation~hash): `{PROGRAM} list` shows the ids")
    return text


def states(texts: Iterable[str]) -> str | None:
    """Parse states, several of them repeated or with commas, in the API's format. Raises UsageError."""
    names = [name.strip().lower() for text in texts for name in text.split(",")]
    unknown = [name for name in names if name not in set(State)]
    if unknown:
        raise UsageError(f"{unknown[0]!r} is not a state: {', '.join(State)}")
    return ",".join(dict.fromkeys(names)) or None


def outcome(text: str) -> str:
    """Parse the outcome of an attempt: a status, its class, or a kind of failure. Raises UsageError."""
    given = text.strip().lower()
    if not _STATUSES.fullmatch(given) and given not in set(Failure):
        raise UsageError(f"{text!r} is not an outcome: write a status (401), a class (4xx), or {', '.join(Failure)}")
    return given


def message_id(text: str) -> str:
    """Validate a `webhook-id`. Raises UsageError."""
    if not text.startswith("msg_"):
        raise UsageError(f"{text!r} is not the id of a message: it is the header webhook-id of a callback, msg_…")
    return text


def group(text: str) -> str:
    """Validate a group. Raises UsageError."""
    if not GROUP.fullmatch(text):
        raise UsageError(f"{text!r} is not a group: a group has up to 64 letters, digits, dots, dashes and underscores")
    return text


def is_operation_id(text: str) -> bool:
    """Return whether a text is an operation's id. A registration's id contains a `~`."""
    return OPERATION_ID.fullmatch(text) is not None


def read_text(place: str) -> str:
    """Read a file, or standard input for `-`, in UTF-8 or with the byte order mark of UTF-16. Raises UsageError."""
    try:
        raw = sys.stdin.buffer.read() if place == "-" else Path(place).read_bytes()
        return raw.decode("utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{place} cannot be read: {getattr(error, 'strerror', None) or 'not a text file'}") from error


def callback_url(given: str) -> str:
    """Return a callback URL, or for `@FILE` the URL in the file: process lists show arguments. Raises UsageError."""
    return read_text(given[1:]).strip() if given.startswith("@") else given


def json_object(text: str, what: str) -> dict[str, object]:
    """Parse a JSON object. Raises UsageError, also for numbers like 1e400 that would become Infinity."""
    try:
        read = json.loads(text.removeprefix("\ufeff"), parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        raise UsageError(f"{what} is not a JSON object, or has a number that JSON cannot express")
    return read


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def header_lines(lines: Iterable[str], what: str) -> dict[str, str]:
    """Parse headers, one `Name: value` per line. Raises UsageError, without the value, which can be a secret."""
    headers: dict[str, str] = {}
    for line in lines:
        if not line.strip():
            continue
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise UsageError(f"{what} has a line that is not a header: write Name: value")
        headers[name.strip()] = value.strip()
    return headers


def own_headers(
    given: Iterable[str], from_environment: Iterable[str], file: str | None, environment: Mapping[str, str]
) -> dict[str, str] | None:
    """Collect the custom headers of callbacks. Raises UsageError, also for a secret in an argument."""
    typed = header_lines(given, "--header")
    for name in typed:
        if _SECRET_NAME.search(name):
            raise UsageError(
                f"--header {name} would show its value in process lists: "
                "use --header-env 'Name: VARIABLE' or --headers-file"
            )
    named = header_lines(from_environment, "--header-env")
    values: dict[str, str] = {}
    for name, variable in named.items():
        value = header_secret(environment, variable)
        if value is None:
            raise UsageError(f"--header-env {name}: the environment has no {variable}")
        values[name] = value
    filed = {} if file is None else header_lines(read_text(file).splitlines(), "--headers-file")
    return {**typed, **values, **filed} or None
