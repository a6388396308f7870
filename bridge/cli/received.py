"""Finds the callback that is to be verified: in files, or where the local start's receiver lists what came."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from bridge.cli.client import is_this_machine, past_proxies
from bridge.cli.errors import UsageError
from bridge.cli.reading import header_lines, json_object, read_text
from bridge.cli.verifying import ReceivedCallback

_SHAPE = 'a JSON object {"headers": {…}, "body": "…"}, or an array of them, the last one counting'


def from_record(place: str, message_id: str | None) -> ReceivedCallback:
    """Read a callback that was received and kept whole, as JSON: from a file, `-`, or a URL of this machine.

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
        raise UsageError(f"{place} has no callback{named}: it is {_SHAPE}")
    return ReceivedCallback(_lower(chosen[-1]["headers"]), _encoded(chosen[-1]["body"], place))


def from_files(headers: str, body: str) -> ReceivedCallback:
    """Read a callback whose headers and body were kept apart; headers as lines or as a JSON object.

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
    """Write names in lower case; a value that no header can carry is shown as such, and cannot verify."""
    return {name.lower(): str(value).encode(errors="replace").decode() for name, value in headers.items()}


def _encoded(body: str, place: str) -> bytes:
    try:
        return body.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"the body in {place} is not valid Unicode: save the raw bytes, and name them with --body"
        ) from None
