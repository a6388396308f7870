"""The outside as seen by one process of the bridge: each call is numbered and can fail."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import NoReturn

from bridge.domain.delivery import DeliveryTask
from bridge.domain.errors import CommitUnknown, StorageUnavailable
from bridge.domain.ids import OperationRef
from bridge.domain.outcome import Delivered, Failure, Gone, Outcome, Unreachable
from bridge.domain.time import Clock
from bridge.domain.upstream import NoReply, Reply
from bridge.ports import DeliveryQueue, Upstream, WebhookSender
from bridge.storage.table import Row, Table, Transaction
from tests.proof.calls import Call, Caller, Calls, Invocation
from tests.support.factories import JOB_SECRET, job_reply
from tests.support.harness import FakeUpstream
from tests.support.poll_errors import TIMED_OUT

_ENDS = ("Succeeded", "Failed")
_WHY = {"code": "Aborted", "message": f"see https://results.example.com/?sig={JOB_SECRET}"}


@dataclass(slots=True)
class Post:
    """A callback that reached the receiver."""

    url: str
    message_id: str
    body: bytes
    #: The true time, whatever the clock of the instance.
    at: datetime
    #: The receiver's answer.
    outcome: Outcome
    #: The invocation that made the request.
    invocation: Invocation
    #: Whether the bridge received the answer.
    has_answer: bool = False

    @property
    def is_taken(self) -> bool:
        """Whether the receiver answered 2xx."""
        return isinstance(self.outcome, Delivered)

    @property
    def is_gone(self) -> bool:
        """Whether the receiver answered 410."""
        return isinstance(self.outcome, Gone)

    @property
    def may_be_repeated(self) -> bool:
        """Whether a repetition is allowed: the bridge died, missed the answer, or met more than one fault."""
        return self.invocation.died or not self.has_answer or self.invocation.faults > 1


@dataclass(slots=True)
class Poll:
    """A GET that reached the upstream."""

    ref: OperationRef
    at: datetime
    reply: Reply | NoReply
    invocation: Invocation
    has_answer: bool = False


class TimedUpstream(FakeUpstream):
    """A scripted upstream whose jobs have times and secrets. A job is created at its first poll."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._created: dict[OperationRef, datetime] = {}
        self._ended: dict[OperationRef, datetime] = {}

    def fetch_operation(self, ref: OperationRef) -> Reply | NoReply:
        """Return the next scripted answer. A status of a job becomes a whole job."""
        reply = super().fetch_operation(ref)
        if not ref.is_job or not isinstance(reply, Reply) or reply.status != HTTPStatus.OK:
            return reply
        status = json.loads(reply.body)["status"]
        created_at = self._created.setdefault(ref, self._clock())
        ended_at = self._ended.setdefault(ref, self._clock()) if status in _ENDS else None
        why = _WHY if status == "Failed" else None
        return job_reply(ref.id, status, created_at=created_at, ended_at=ended_at, error=why)


@dataclass(frozen=True, slots=True)
class OutsideTable:
    """The table behind numbered calls."""

    inner: Table
    calls: Calls
    caller: Caller

    def get(self, partition: str, key: str) -> Row | None:
        return self.calls.make(self.caller, Call.GET, lambda: self.inner.get(partition, key), _no_storage)

    def range(
        self, partition: str, start: str, stop: str, *, limit: int | None = None, columns: Sequence[str] = ()
    ) -> Sequence[Row]:
        def read() -> Sequence[Row]:
            return self.inner.range(partition, start, stop, limit=limit, columns=columns)

        return self.calls.make(self.caller, Call.RANGE, read, _no_storage)

    def commit(self, transaction: Transaction) -> Mapping[str, str]:
        return self.calls.make(self.caller, Call.COMMIT, lambda: self.inner.commit(transaction), _no_commit)


@dataclass(frozen=True, slots=True)
class OutsideQueue:
    """The queue behind numbered calls."""

    inner: DeliveryQueue
    calls: Calls
    caller: Caller

    def create(self) -> None:
        """Do nothing: the queue exists."""

    def send(self, task: DeliveryTask, *, ttl: timedelta) -> None:
        self.calls.make(self.caller, Call.SEND, lambda: self.inner.send(task, ttl=ttl), _no_storage)


@dataclass(frozen=True, slots=True)
class OutsideUpstream:
    """The upstream behind numbered calls."""

    inner: Upstream
    calls: Calls
    caller: Caller
    #: All polls so far.
    polls: list[Poll]

    def fetch_operation(self, ref: OperationRef) -> Reply | NoReply:
        invocation = self.caller.invocation

        def fetch() -> Poll:
            reply = self.inner.fetch_operation(ref)
            self.polls.append(Poll(ref, self.calls.clock(), reply, invocation))
            return self.polls[-1]

        poll = self.calls.make(self.caller, Call.POLL, fetch, lambda _: None)
        if poll is None:
            return TIMED_OUT
        poll.has_answer = True
        return poll.reply

    def fetch_failure(self, ref: OperationRef) -> Reply | NoReply:
        """Fetch the reason of a failure: a read without an effect, not counted as a poll."""
        return self.calls.make(
            self.caller, Call.FETCH_FAILURE, lambda: self.inner.fetch_failure(ref), lambda _: TIMED_OUT
        )


@dataclass(frozen=True, slots=True)
class OutsideWebhookSender:
    """The receivers behind numbered calls."""

    inner: WebhookSender
    calls: Calls
    caller: Caller
    #: All callbacks so far, from every instance.
    posts: list[Post]

    def address_of(self, origin: str) -> str | None:
        return self.inner.address_of(origin)

    def check_destination(self, url: str) -> str | None:
        """Accept every destination: the check concerns names, not state."""
        return self.inner.check_destination(url)

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        invocation = self.caller.invocation

        def post() -> Post:
            outcome = self.inner.post(url, headers, body)
            made = Post(url, headers["webhook-id"], body, self.calls.clock(), outcome, invocation)
            self.posts.append(made)
            return made

        made = self.calls.make(self.caller, Call.POST, post, lambda _: None)
        if made is None:
            return Unreachable(error=Failure.TIMEOUT)
        made.has_answer = True
        return made.outcome


def _no_storage(refused: bool) -> NoReturn:
    raise StorageUnavailable("refused" if refused else "no reply")


def _no_commit(refused: bool) -> NoReturn:
    raise StorageUnavailable("refused") if refused else CommitUnknown("no reply")
