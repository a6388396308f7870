"""The rows of operations, and the one way to change them: read, decide, commit, and again after a conflict.

Each transaction stamps a random `tx` on a row. A commit whose reply was lost may have happened, at once or a little
later. `tx` in a row that is read afterwards shows that it did.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

from bridge.domain.attempt import KEPT_ATTEMPTS, AttemptRecord, known_to
from bridge.domain.errors import (
    CommitUnknown,
    Conflict,
    ConflictKind,
    Contended,
    StorageUnavailable,
    UnreadableRow,
)
from bridge.domain.ids import OperationRef, RegistrationRef
from bridge.domain.operation import Operation
from bridge.domain.poll_schedule import PollPlan
from bridge.domain.registration import Registration
from bridge.domain.retry import Backoff
from bridge.domain.time import Clock
from bridge.log import Event, log
from bridge.storage.aggregate import OperationAggregate
from bridge.storage.due import restore, with_due_rows
from bridge.storage.keys import (
    DURATION_PREFIX,
    SOURCES_PARTITION,
    SOURCES_RANGE,
    after,
    attempt_key,
    attempts_prefix,
    due_at,
    due_reference,
    is_due_before,
    partition_of,
    row_key,
)
from bridge.storage.records import Stored, decode, stored
from bridge.storage.table import Row, Table, Transaction

_Found = TypeVar("_Found")
_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)

#: How many times a step reads and decides, while others change the same rows first.
_ROUNDS = 6

#: The longest wait after conflicts in a row. The wait is a random part of that.
_BACKOFF = Backoff(timedelta(milliseconds=20), timedelta(milliseconds=320))

#: A due row is looked for once it has been due for this long: a sweep deals with nearly all of them sooner.
OVERDUE = timedelta(minutes=10)


def readable(rows: Iterable[Row], read: Callable[[Row], _T]) -> Iterator[_T]:
    """Read the rows that this version can read; skip and log the others."""
    for row in rows:
        try:
            yield read(row)
        except UnreadableRow as error:
            log(Event.ROW_UNREADABLE, partition=row.partition, key=row.key[:200], why=str(error))


@dataclass(frozen=True, slots=True)
class Commit(Generic[_T_co]):
    """The decision of a step: the transaction to commit, and the result afterwards."""

    #: Ways to write it. The next one is for the case that a row is missing which only the one before needs.
    ways: tuple[Transaction, ...]
    #: Called once after the commit, with the new ETag of the stamped row. Returns the result of the step.
    then: Callable[[str], _T_co]


def unchanged(result: _T) -> Commit[_T]:
    """Make the decision to write nothing."""
    return Commit((), lambda _: result)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """Reads, commits and steps over one table. Threads may share it.

    Every method raises StorageUnavailable, and reads of records raise UnreadableRow.
    """

    table: Table
    clock: Clock
    #: Makes a random text that no other call makes.
    new_id: Callable[[], str]
    #: Waits, in seconds.
    sleep: Callable[[float], None]
    #: Returns a number in [0, 1).
    random: Callable[[], float]

    def registration(self, ref: RegistrationRef) -> Stored[Registration] | None:
        """Read a registration: one call."""
        row = self.table.get(partition_of(ref), row_key(ref))
        return None if row is None else stored(Registration, ref, row)

    def attempt(self, ref: RegistrationRef, number: int) -> Stored[AttemptRecord] | None:
        """Read an attempt: one call."""
        row = self.table.get(partition_of(ref), attempt_key(ref, number))
        return None if row is None else stored(AttemptRecord, ref, row)

    def aggregate(self, ref: OperationRef, *, restore_overdue: bool = False) -> OperationAggregate | None:
        """Read an operation with its registrations: one call.

        With `restore_overdue`, due rows that are missing and long overdue are put back first, and all is read again.
        """
        found = OperationAggregate.read(ref, self.table.range(partition_of(ref), row_key(ref), after(row_key(ref))))
        if found is None or not restore_overdue:
            return found
        latest = self.clock() - OVERDUE
        overdue = [each for each in with_due_rows(found) if is_due_before(each.record.due, latest)]
        return self.aggregate(ref) if sum(self._restore(each) for each in overdue) else found

    def attempts(self, registration: Registration) -> Sequence[AttemptRecord]:
        """Read the last KEPT_ATTEMPTS attempts of a registration as of its own read, oldest first: one call."""
        ref, first = registration.ref, max(1, registration.last_attempt - KEPT_ATTEMPTS + 1)
        rows = self.table.range(
            partition_of(ref), attempt_key(ref, first), after(attempts_prefix(ref)), limit=2 * KEPT_ATTEMPTS
        )
        read = list(readable(rows, lambda row: decode(AttemptRecord, ref, row.values)))
        return known_to(registration, read)[-KEPT_ATTEMPTS:]

    def attempt_keys(self, ref: OperationRef | RegistrationRef) -> list[str]:
        """Read the keys of the attempts of an operation or a registration, oldest first: one call."""
        prefix = attempts_prefix(ref)
        return [row.key for row in self.table.range(partition_of(ref), prefix, after(prefix), columns=["number"])]

    def sources(self, plan: PollPlan) -> Sequence[Row]:
        """Read budgets and heartbeat, and the duration models if the plan is to learn: one call."""
        start, stop = SOURCES_RANGE
        return self.table.range(SOURCES_PARTITION, start if plan is PollPlan.LEARNT else after(DURATION_PREFIX), stop)

    def commit(self, *ways: Transaction) -> str:
        """Commit the first of some ways of one step; returns the new ETag of the stamped row, if there is one.

        The next way is tried if a row is missing. Raises Conflict if a row is not as the last way demands, and
        CommitUnknown if the outcome cannot be determined. A later read finds `tx` if the commit did succeed.
        """
        *others, last = ways
        for way in others:
            try:
                return self._commit(way)
            except Conflict as conflict:
                if conflict.kind is not ConflictKind.MISSING:
                    raise
        return self._commit(last)

    def _commit(self, transaction: Transaction) -> str:
        stamp = transaction.stamp
        try:
            return self.table.commit(transaction).get(stamp or "", "")
        except CommitUnknown:
            etag = stamped(None if stamp is None else self.table.get(transaction.partition, stamp), transaction.tx)
            if etag is None:
                raise
            return etag

    def transact(
        self,
        read: Callable[[], _Found],
        decide: Callable[[_Found, str], Commit[_T]],
        *,
        first: Callable[[str], Commit[_T]] | None = None,
        restores: OperationRef | None = None,
    ) -> _T:
        """Read, decide under one `tx` and commit, again while others change the rows first; returns the result.

        `first` is a round without a read. The `then` of the commit that happened is called once, also if its reply was
        lost. After a conflict about a missing row the due rows of `restores` are put back: the row can be one of them.

        Raises Contended after the last round (0.6 s of waits at most), and CommitUnknown after a second commit whose
        outcome cannot be determined.
        """
        tx, unknown = self.new_id(), list[Commit[_T]]()
        for number in range(1 if first is None else 0, _ROUNDS + 1):
            if number > 1:
                self.sleep(_BACKOFF.wait(number - 1).total_seconds() * self.random())
            try:
                decision = first(tx) if first is not None and number == 0 else _decided(read(), decide, tx, unknown)
                return self._done(decision, unknown)
            except Conflict as conflict:
                if restores is not None and conflict.kind is ConflictKind.MISSING:
                    self.restore(restores)
            except CommitUnknown:
                if len(unknown) != 1:
                    raise
        raise Contended("the same rows were changed by others again and again")

    def _done(self, decision: Commit[_T], unknown: list[Commit[_T]]) -> _T:
        try:
            etag = self.commit(*decision.ways) if decision.ways else ""
        except CommitUnknown:
            unknown.append(decision)
            raise
        return decision.then(etag)

    def restore(self, ref: OperationRef) -> None:
        """Put back every due row of an operation that is missing. Never raises for a failure of storage."""
        try:
            found = self.aggregate(ref)
        except (StorageUnavailable, UnreadableRow) as error:
            log(Event.STORAGE, step="restore", operation=due_reference(ref), error=str(error))
            return
        for each in () if found is None else with_due_rows(found):
            self._restore(each)

    def _restore(self, target: Stored[Operation] | Stored[Registration]) -> bool:
        """Put back the due row of one record, if it is missing; returns whether it was."""
        transaction, due = restore(target, tx=self.new_id()), target.record.due or ""
        if transaction is None:
            return False
        try:
            self.commit(transaction)
        except Conflict:
            return False  # the due row is there, or a step has just moved it
        except StorageUnavailable as error:
            log(Event.STORAGE, step="restore", key=due, error=str(error))
            return False
        overdue = self.clock() - (due_at(due) or self.clock())
        log(Event.RESTORED, key=due, overdue=overdue // timedelta(seconds=1))
        return True


def _decided(
    found: _Found, decide: Callable[[_Found, str], Commit[_T]], tx: str, unknown: Sequence[Commit[_T]]
) -> Commit[_T]:
    """Decide, or end the step if a commit whose outcome was unknown has happened."""
    etag = stamped(found, tx) if unknown else None
    return decide(found, tx) if etag is None else unchanged(unknown[0].then(etag))


def stamped(found: object, tx: str) -> str | None:
    """Return the ETag of a row that the transaction `tx` has stamped, if one was read. `tx` also names a claim."""
    match found:
        case Row():
            return found.etag if found.values.get("tx") == tx else None
        case Stored():
            marks = (getattr(found.record, name, None) for name in ("tx", "claim"))
            return found.etag if tx in marks else None
        case OperationAggregate():
            return stamped([found.operation, *found.registrations.values()], tx)
        case list() | tuple():
            return next((etag for each in found if (etag := stamped(each, tx)) is not None), None)
        case _:
            return None
