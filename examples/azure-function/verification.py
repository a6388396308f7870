"""Verify that a request is a callback of the bridge for this receiver.

Standard Webhooks, by one of two schemes: `v1`, a secret that only this receiver and the bridge know, or `v1a`, public
keys that are the same for all receivers. The FastAPI and the Azure Functions example have the same copy of this file.
"""

import base64
import contextlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook, WebhookVerificationError

#: How far `webhook-timestamp` may be from this machine's clock, in seconds; older ones are somebody's recording.
TOLERANCE = 300


class NotForUs(Exception):
    """What came is not a callback of the bridge for this receiver; the message says why."""


class Verifier:
    """Knows what the callbacks for this receiver are verified with."""

    def __init__(
        self, *, secret: str = "", public_keys: Sequence[str] = (), audience: str = "", subscriber: str = ""
    ) -> None:
        """Take one secret, or one or more public keys; raises ValueError, naming the variable, for anything else."""
        if bool(secret) == bool(public_keys):
            raise ValueError("Set either WEBHOOK_SECRET or WEBHOOK_PUBLIC_KEYS.")
        if public_keys and not (audience and subscriber):
            names = "WEBHOOK_AUDIENCE and WEBHOOK_SUBSCRIBER"
            raise ValueError(f"Set {names} beside WEBHOOK_PUBLIC_KEYS, which all receivers share.")
        self._webhook = Webhook(secret) if secret else None
        self._public_keys = [_public_key(each) for each in public_keys]
        self._expected = {"audience": audience, "subscriber": subscriber}

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Read `WEBHOOK_SECRET`, or `WEBHOOK_PUBLIC_KEYS` with `WEBHOOK_AUDIENCE` and `WEBHOOK_SUBSCRIBER`."""
        return cls(
            secret=environ.get("WEBHOOK_SECRET", ""),
            public_keys=[each.strip() for each in environ.get("WEBHOOK_PUBLIC_KEYS", "").split(",") if each.strip()],
            audience=environ.get("WEBHOOK_AUDIENCE", ""),
            subscriber=environ.get("WEBHOOK_SUBSCRIBER", ""),
        )

    def verify(self, body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
        """Return the event; `body` is the raw bytes, and the names of `headers` are in lower case.

        Raises NotForUs for everything else that a stranger can send.
        """
        try:
            event: dict[str, Any] = (
                self._webhook.verify(body, dict(headers)) if self._webhook else self._by_public_keys(body, headers)
            )
            found = {name: event["data"][name] for name in self._expected}
        except WebhookVerificationError as error:
            raise NotForUs(str(error)) from error
        except (ValueError, LookupError, TypeError) as error:  # the package, too, lets them through
            raise NotForUs("malformed headers or body") from error
        for name, expected in self._expected.items():
            if expected and found[name] != expected:
                raise NotForUs(f"signed for another {name}")
        return event

    def _by_public_keys(self, body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
        """Verify `v1a`: Ed25519 over id, time and body. A bridge that is replacing its key sends several."""
        message_id, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
        if not re.fullmatch("[0-9]{1,12}", timestamp) or abs(int(time.time()) - int(timestamp)) > TOLERANCE:
            raise NotForUs("webhook-timestamp is more than five minutes off")
        signed = f"{message_id}.{timestamp}.".encode() + body
        signatures = [each[4:] for each in headers["webhook-signature"].split(" ") if each.startswith("v1a,")]
        for signature in map(base64.b64decode, signatures):
            for key in self._public_keys:
                with contextlib.suppress(InvalidSignature):
                    key.verify(signature, signed)
                    event: dict[str, Any] = json.loads(body.decode())
                    return event
        raise NotForUs("no signature by a known key")


def _public_key(text: str) -> Ed25519PublicKey:
    """Read a key as `GET /api/signing-keys` of the bridge writes it."""
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text.removeprefix("whpk_"), validate=True))
    except ValueError as error:
        raise ValueError("WEBHOOK_PUBLIC_KEYS has something that is no whpk_… key.") from error
