"""What a receiver is told: the exact bytes of a message and its id."""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from bridge.core.callback import origin_of
from bridge.core.keys import RegistrationRef
from bridge.core.operation import Explanation, Operation, Verdict
from bridge.core.times import iso, iso_or_none, to_millis


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One event for one registration. The same id always means the same bytes."""

    #: The `webhook-id` of every attempt.
    id: str
    #: `<path of the source>.operation.<verdict>`
    type: str
    #: The exact bytes that are signed and sent.
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """How an operation ended, the same for every registration of it."""

    verdict: Verdict
    #: The path of its source: `avatar`, say. Event types begin with it.
    path: str
    #: When the bridge saw the end.
    observed_at: datetime
    #: The last poll that still saw it running; None where none did.
    not_before: datetime | None
    #: Why the bridge gave up on it; None for a verdict of the upstream's.
    reason: str | None
    #: What the upstream said, as JSON text; None where it said nothing final.
    body: str | None
    #: What it said of the failure; None where it said nothing of it.
    why: Explanation | None = None

    @classmethod
    def of(cls, operation: Operation, path: str) -> "News | None":
        """Read the news off an operation on which the upstream has spoken; None while it has not."""
        if operation.verdict is None or operation.finished_at is None or not operation.is_final:
            return None
        return cls(
            verdict=operation.verdict,
            path=path,
            observed_at=operation.finished_at,
            not_before=operation.seen_running_at,
            reason=None,
            body=operation.body,
            why=operation.why,
        )

    @property
    def type(self) -> str:
        """The event type."""
        return f"{self.path}.operation.{self.verdict.lower()}"


def compose(news: News, *, ref: RegistrationRef, callback_url: str, metadata: str | None, life: datetime) -> Message:
    """Write the message that tells `news` to one registration.

    The id is derived from registration, life and event, so that composing it again after a crash names the same
    message, and a new life another one.
    """
    identity = f"{ref.public_id}\n{to_millis(life)}\n{news.type}"
    body: dict[str, Any] = {
        "type": news.type,
        "timestamp": iso(news.observed_at),
        "data": {
            "operationId": ref.operation.id,
            "status": news.verdict.value,
            "source": ref.operation.source,
            "registrationId": ref.public_id,
            "audience": origin_of(callback_url),
            "metadata": None if metadata is None else json.loads(metadata),
            "registeredAt": iso(life),
            "observedAt": iso(news.observed_at),
            "notBefore": iso_or_none(news.not_before),
            "reason": news.reason,
            "operation": None if news.body is None else json.loads(news.body),
        },
    }
    if news.why is not None:
        body["data"]["error"] = asdict(news.why)
    return Message(
        id=f"msg_{hashlib.sha256(identity.encode()).hexdigest()[:32]}",
        type=news.type,
        body=json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(errors="replace"),
    )
