"""The outside as one process of the bridge sees it: each call is numbered, and can go wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NoReturn

from bridge.domain.delivery import DeliveryTask
from bridge.domain.errors import CommitUnknown, StorageUnavailable
from bridge.domain.ids import OperationRef
from bridge.domain.outcome import Delivered, Failure, Gone, Outcome, Unreachable
from bridge.domain.upstream import NoReply, NoToken, Reply
from bridge.ports import DeliveryQueue, Upstream, WebhookSender
from bridge.storage.table import Table
from bridge.storage.transaction import Row, Transaction
from tests.proof.calls import Call, Caller, Calls, Invocation


@dataclass(slots=True)
class Post:
    """A callback that reached its receiver."""

    url: str
    message_id: str
    body: bytes
    #: When, by a clock that is right.
    at: datetime
    #: What the receiver answered.
    outcome: Outcome
    #: Made by this invocation.
    invocation: Invocation
    #: Whether the bridge got the answer.
    heard: bool = False

    @property
    def is_taken(self) -> bool:
        """Whether the receiver said 2xx."""
        return isinstance(self.outcome, Delivered)

    @property
    def is_gone(self) -> bool:
        """Whether the receiver said 410."""
        return isinstance(self.outcome, Gone)

    @property
    def may_be_repeated(self) -> bool:
        """Whether the bridge died after it, did not hear of it, or met more faults than it can know its way out of."""
        return self.invocation.died or not self.heard or self.invocation.faults > 1


@dataclass(slots=True)
class Poll:
    """A GET that reached the upstream."""

    ref: OperationRef
    at: datetime
    reply: Reply | NoReply | NoToken
    invocation: Invocation
    heard: bool = False


@dataclass(frozen=True, slots=True)
class OutsideTable:
    """The table behind numbered calls."""

    inner: Table
    calls: Calls
    caller: Caller

    def get(self, partition: str, key: str) -> Row | None:
        """Read one row."""
        return self.calls.make(self.caller, Call.GET, lambda: self.inner.get(partition, key), _no_storage)

    def range(
        self, partition: str, start: str, stop: str, *, limit: int | None = None, columns: Sequence[str] = ()
    ) -> Sequence[Row]:
        """Read a range."""

        def read() -> Sequence[Row]:
            return self.inner.range(partition, start, stop, limit=limit, columns=columns)

        return self.calls.make(self.caller, Call.RANGE, read, _no_storage)

    def commit(self, transaction: Transaction) -> Mapping[str, str]:
        """Commit."""
        return self.calls.make(self.caller, Call.COMMIT, lambda: self.inner.commit(transaction), _no_commit)


@dataclass(frozen=True, slots=True)
class OutsideQueue:
    """The queue behind numbered calls."""

    inner: DeliveryQueue
    calls: Calls
    caller: Caller

    def create(self) -> None:
        """Find it there."""

    def send(self, task: DeliveryTask, *, ttl: timedelta) -> None:
        """Send."""
        self.calls.make(self.caller, Call.SEND, lambda: self.inner.send(task, ttl=ttl), _no_storage)


@dataclass(frozen=True, slots=True)
class OutsideUpstream:
    """The upstream behind numbered calls."""

    inner: Upstream
    calls: Calls
    caller: Caller
    #: Everything that was polled.
    polls: list[Poll]

    def fetch_operation(self, ref: OperationRef) -> Reply | NoReply | NoToken:
        """Poll."""
        invocation = self.caller.invocation

        def fetch() -> Poll:
            reply = self.inner.fetch_operation(ref)
            self.polls.append(Poll(ref, self.calls.clock(), reply, invocation))
            return self.polls[-1]

        poll = self.calls.make(self.caller, Call.ASK, fetch, lambda _: None)
        if poll is None:
            return NoReply("timeout")
        poll.heard = True
        return poll.reply

    def fetch_failure(self, ref: OperationRef) -> Reply | NoReply | NoToken:
        """Fetch why it failed, which changes nothing and is no poll."""
        return self.calls.make(
            self.caller, Call.WHY, lambda: self.inner.fetch_failure(ref), lambda _: NoReply("timeout")
        )


@dataclass(frozen=True, slots=True)
class OutsideWebhookSender:
    """The receivers behind numbered calls."""

    inner: WebhookSender
    calls: Calls
    caller: Caller
    #: Everything that anybody posted.
    posts: list[Post]

    def address_of(self, origin: str) -> str | None:
        """Look up an address as ever."""
        return self.inner.address_of(origin)

    def check_destination(self, url: str) -> str | None:
        """Object to nothing: that is a matter of names, not of state."""
        return self.inner.check_destination(url)

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Make one POST."""
        invocation = self.caller.invocation

        def post() -> Post:
            outcome = self.inner.post(url, headers, body)
            made = Post(url, headers["webhook-id"], body, self.calls.clock(), outcome, invocation)
            self.posts.append(made)
            return made

        made = self.calls.make(self.caller, Call.POST, post, lambda _: None)
        if made is None:
            return Unreachable(error=Failure.TIMEOUT)
        made.heard = True
        return made.outcome


def _no_storage(refused: bool) -> NoReturn:
    raise StorageUnavailable("refused" if refused else "no reply")


def _no_commit(refused: bool) -> NoReturn:
    raise StorageUnavailable("refused") if refused else CommitUnknown("no reply")
