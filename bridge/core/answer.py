"""What an answer of the upstream means.

Sources: the REST reference of `Operations - Get` (api-version 2024-08-01) and what its siblings were seen to answer.
The HTTP status decides; codes and messages in the body are for people only.
"""

import json
from dataclasses import dataclass
from typing import Any

from bridge.core.operation import Verdict
from bridge.core.text import printable

#: The upstream's body is kept and passed on up to this size.
MAX_BODY_BYTES = 4096

_OK = 200
_VERDICTS = {
    "succeeded": Verdict.SUCCEEDED,
    "failed": Verdict.FAILED,
    "canceled": Verdict.CANCELED,
    "cancelled": Verdict.CANCELED,
}


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back to one GET."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class NoReply:
    """Nothing usable came back: a timeout, a connection fault, no token."""

    #: For people: the class of the fault, never a URL or a secret.
    what: str


@dataclass(frozen=True, slots=True)
class Pending:
    """It is still running, or in a status that nobody has documented, which is no end either."""

    status: str


@dataclass(frozen=True, slots=True)
class Terminal:
    """It has ended."""

    verdict: Verdict
    #: The upstream's body as JSON text; None where it was too large to keep.
    body: str | None


@dataclass(frozen=True, slots=True)
class Fault:
    """This was no answer about the operation: it is asked again."""

    what: str


Answer = Pending | Terminal | Fault


def read(reply: Reply | NoReply, operation_id: str) -> Answer:
    """Say what `reply` means for the operation that was asked for."""
    if isinstance(reply, NoReply):
        return Fault(reply.what)
    if reply.status != _OK:
        return Fault(f"HTTP {reply.status}{_explanation(reply.body)}")
    body = _json_object(reply.body)
    if body is None:
        return Fault("HTTP 200 without a JSON object")
    if not _names(body, operation_id):
        return Fault("HTTP 200 about another operation")
    status = body.get("status")
    if not isinstance(status, str) or not status.strip():
        return Fault("HTTP 200 without a status")
    verdict = _VERDICTS.get(status.strip().lower())
    return Pending(printable(status, 64)) if verdict is None else Terminal(verdict, _kept(body))


def _names(body: dict[str, Any], operation_id: str) -> bool:
    """Neither `id` nor its letter case is promised by the reference; another operation's id is a fault."""
    named = body.get("id")
    return named is None or (isinstance(named, str) and named.lower() == operation_id.lower())


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def _kept(body: dict[str, Any]) -> str | None:
    try:
        text = json.dumps(body, separators=(",", ":"), allow_nan=False)
    except ValueError:
        return None
    return text if len(text) <= MAX_BODY_BYTES else None


def _explanation(body: bytes) -> str:
    """Take code and message out of an error body, nested or flat, for people to read."""
    parsed = _json_object(body) or {}
    error = parsed.get("error")
    fields = error if isinstance(error, dict) else parsed
    said = [fields[name] for name in ("code", "message") if isinstance(fields.get(name), str)]
    return f" ({printable(': '.join(said), 300)})" if said else ""
