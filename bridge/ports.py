"""What the use cases need of the outside; `bridge/adapters/` provides it, and tests provide it differently."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol

from bridge.domain.delivery import DeliveryTask
from bridge.domain.ids import OperationRef
from bridge.domain.outcome import Outcome
from bridge.domain.principal import InvalidToken, KeysUnavailable
from bridge.domain.upstream import NoReply, NoToken, Reply


class DeliveryQueue(Protocol):
    """The queue that hands deliveries to other instances."""

    def create(self) -> None:
        """Make the queue if there is none. Raises StorageUnavailable."""

    def send(self, task: DeliveryTask, *, ttl: timedelta) -> None:
        """Send a task that is worth nothing after `ttl`. Raises StorageUnavailable; the due row sends another."""


class Upstream(Protocol):
    """The Speech service."""

    def fetch_operation(self, ref: OperationRef) -> Reply | NoReply | NoToken:
        """Fetch an operation once. Never raises for what the network or the service does."""

    def fetch_failure(self, ref: OperationRef) -> Reply | NoReply | NoToken:
        """Fetch the job of an operation once, which can hold why the operation failed. Never raises, likewise."""


class WebhookSender(Protocol):
    """Brings messages to receivers."""

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Make one POST. Never raises for what the network or the receiver does."""

    def address_of(self, origin: str) -> str | None:
        """Look up the address that an attempt would connect to; None if the attempt itself would find none."""

    def check_destination(self, url: str) -> str | None:
        """Say early why callbacks to a URL would be refused; None where nothing is known against it."""


class Tokens(Protocol):
    """Knows a tenant's tokens from others."""

    def claims(self, token: str) -> Mapping[str, object] | InvalidToken | KeysUnavailable:
        """Verify signature, issuer and audience, and read the claims. Never raises for what a token holds."""
