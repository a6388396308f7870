"""Compose, sign and send callbacks like the bridge."""

import uuid
from collections.abc import Mapping
from datetime import timedelta

from bridge.adapters.webhook_sender import HttpWebhookSender
from bridge.dependencies import real_clock
from bridge.domain.events import Addressee, Message, OperationCompleted, compose
from bridge.domain.ids import OperationRef, RegistrationRef
from bridge.domain.keyring import Keyring
from bridge.domain.operation import FinalStatus
from bridge.domain.outcome import Unreachable
from tests.examples.receivers import Example

OWNER = "shared"

#: The receivers' public address. The receivers listen on loopback behind a TLS proxy.
AUDIENCE = "https://hooks.example.com"

KEYRING = Keyring((b"k" * 32,))
NEWER = Keyring((b"n" * 32, *KEYRING.keys))
REMOVED = Keyring((b"r" * 32,))


def message(audience: str = AUDIENCE, *, owner: str = OWNER) -> Message:
    """Compose the callback of a new operation for the receiver at `audience`."""
    now = real_clock()
    ref = OperationRef("default", f"operation-{uuid.uuid4()}")
    completed = OperationCompleted(
        final_status=FinalStatus.SUCCEEDED,
        path="avatar",
        observed_at=now,
        not_before=None,
        reason=None,
        body=f'{{"id": "{ref.id}", "status": "Succeeded"}}',
    )
    url = f"{audience}/callback"
    registration = RegistrationRef.of(ref, owner=owner, callback_url=url)
    to = Addressee(ref=registration, owner=owner, callback_url=url)
    return compose(completed, to, metadata='{"grüße": "🎬"}', generation=now)


def signed(
    message: Message,
    ring: Keyring = KEYRING,
    *,
    owner: str = OWNER,
    audience: str = AUDIENCE,
    age: timedelta = timedelta(),
) -> dict[str, str]:
    """Return the headers with a signature made `age` ago."""
    at = real_clock() - age
    own = {"Content-Type": "application/json"}
    return ring.headers(message.id, message.body, owner=owner, origin=audience, at=at) | own


class Sender:
    """Posts to one receiver with the bridge's sender."""

    def __init__(self, receiver: Example, webhook_sender: HttpWebhookSender) -> None:
        self._receiver = receiver
        self._sender = webhook_sender

    def post(self, body: bytes, headers: Mapping[str, str]) -> int:
        """Send a body with headers. Returns the status."""
        outcome = self._sender.post(self._receiver.url, headers, body)
        assert not isinstance(outcome, Unreachable), outcome
        return outcome.status

    def send(self, message: Message) -> int:
        """Send a message like the bridge."""
        return self.post(message.body, signed(message))
