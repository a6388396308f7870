"""The interfaces that the use cases need. `bridge/adapters/` implements them, and tests have other implementations."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from bridge.domain.delivery import DeliveryTask
from bridge.domain.ids import OperationRef
from bridge.domain.operation import PollState
from bridge.domain.outcome import Outcome
from bridge.domain.poll_schedule import Forecast, PollPlan, PollSchedule
from bridge.domain.principal import InvalidToken, KeysUnavailable
from bridge.domain.upstream import NoReply, PollResult, Reply
from bridge.storage.table import Row


class DeliveryQueue(Protocol):
    """The queue that passes deliveries to other instances."""

    def create(self) -> None:
        """Create the queue if it is missing. Raises StorageUnavailable."""

    def send(self, task: DeliveryTask, *, ttl: timedelta) -> None:
        """Send a task that expires after `ttl`. Raises StorageUnavailable; the due row then sends another."""


class Upstream(Protocol):
    """The Speech service."""

    def fetch_operation(self, ref: OperationRef) -> Reply | NoReply:
        """Fetch an operation or a job once. Never raises for failures of the network or the service."""

    def fetch_failure(self, ref: OperationRef) -> Reply | NoReply:
        """Fetch the job of an operation once, which can contain the reason of a failure. Never raises, likewise."""


class WebhookSender(Protocol):
    """Sends messages to receivers."""

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Make one POST. Never raises for failures of the network or the receiver."""

    def address_of(self, origin: str) -> str | None:
        """Return the address that an attempt would connect to, or None if the attempt itself would find none."""

    def check_destination(self, url: str) -> str | None:
        """Return an early reason to refuse a callback URL, or None if none is known."""


class Tokens(Protocol):
    """Verifies the tokens of a tenant."""

    def claims(self, token: str) -> Mapping[str, object] | InvalidToken | KeysUnavailable:
        """Verify signature, issuer and audience, and return the claims. Never raises for the content of a token."""


class StoredSchedule(PollSchedule, Protocol):
    """A schedule across sweeps, with its stored data among the rows of the sources."""

    @property
    def plan(self) -> PollPlan:
        """The schedule's name."""

    def begin(self, rows: Sequence[Row]) -> None:
        """Begin a sweep with the rows of the sources."""

    def observe(self, poll_state: PollState, result: PollResult, now: datetime) -> None:
        """Learn from the result of a poll at `now`; `poll_state` is as it was before."""

    def end(self) -> None:
        """End a sweep. Never raises for storage failures."""

    def forecasts(self, rows: Sequence[Row], prices: Mapping[str, float], *, polls: int) -> Iterator[Forecast]:
        """Return forecasts of up to `polls` polls: for each source of `prices`, then for each of its groups."""
