"""An operation with all its registrations, as one range of the table reads them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from bridge.domain.delivery import DeliveryTask, pending_task
from bridge.domain.errors import UnreadableRow
from bridge.domain.ids import OperationRef, RegistrationRef
from bridge.domain.operation import Operation
from bridge.domain.registration import LIVE, Registration, State
from bridge.storage.keys import row_key
from bridge.storage.records import Stored, stored
from bridge.storage.transaction import Row


@dataclass(frozen=True, slots=True)
class OperationAggregate:
    """What a step that concerns more than one registration decides on."""

    operation: Stored[Operation]
    #: By the hash in their reference.
    registrations: Mapping[str, Stored[Registration]]
    #: The hashes of registrations that this version cannot read. They count, and nothing is done without them.
    unreadable: frozenset[str] = frozenset()

    @classmethod
    def read(cls, ref: OperationRef, rows: Iterable[Row]) -> "OperationAggregate | None":
        """Put the rows of a range together; None where the operation is not among them.

        Raises UnreadableRow where it is the operation that cannot be read.
        """
        operation: Stored[Operation] | None = None
        registrations: dict[str, Stored[Registration]] = {}
        unreadable: set[str] = set()
        for row in rows:
            digest = row.key.removeprefix(row_key(ref))
            if not digest:
                operation = stored(Operation, ref, row)
                continue
            try:
                registrations[digest] = stored(Registration, RegistrationRef(ref, digest), row)
            except UnreadableRow:
                unreadable.add(digest)
        return None if operation is None else cls(operation, registrations, frozenset(unreadable))

    def get(self, ref: RegistrationRef) -> Stored[Registration] | None:
        """Find one registration.

        Raises UnreadableRow where it is there and cannot be read.
        """
        if ref.hash in self.unreadable:
            raise UnreadableRow(f"a registration of another version: {ref.public_id}")
        return self.registrations.get(ref.hash)

    def waiting(self) -> list[Stored[Registration]]:
        """Those that wait for the operation."""
        return [each for each in self.registrations.values() if each.record.state is State.WAITING]

    def tasks_of(self, tx: str) -> list[DeliveryTask]:
        """Make the tasks that the transaction stamped `tx` opened and that are open still."""
        tasks = (pending_task(each.record) for each in self.registrations.values() if each.record.tx == tx)
        return [task for task in tasks if task is not None]

    @property
    def taker(self) -> str | None:
        """The owner whose operation it is, if owners do not share operations: that of the first who took it."""
        first = min(
            (each.record for each in self.registrations.values() if each.record.takes_operation),
            key=lambda each: (each.generation, each.ref.hash),
            default=None,
        )
        return None if first is None else first.owner

    def oldest_replaceable(self, is_meant: Callable[[Registration], bool]) -> Stored[Registration] | None:
        """Find the registration that gives its place to a new one, among those that are meant; None if there is none.

        The oldest is the one that has been in its state for the longest time.
        """
        found = (each for each in self.registrations.values() if each.record.is_replaceable and is_meant(each.record))
        return min(found, key=lambda each: (each.record.since, each.record.ref.hash), default=None)

    def size_of(self, owner: str) -> int:
        """How many registrations an owner has, whatever their state, apart from those that cannot be read."""
        return sum(each.record.owner == owner for each in self.registrations.values())

    @property
    def size(self) -> int:
        """How many registrations there are, whatever their state."""
        return len(self.registrations) + len(self.unreadable)

    @property
    def is_live(self) -> bool:
        """Whether the bridge has, or may have, something to do for any of them."""
        return bool(self.unreadable) or any(each.record.state in LIVE for each in self.registrations.values())


def as_seen_by(registration: Registration, operation: Operation) -> Operation:
    """Show of an operation what one of its registrations may know: counts and times are from its own generation on.

    Another registration can have been the first, and can have the operation followed after this one has ended or was
    canceled. Polls that came before or after this one's wait are not shown.
    """
    if registration.state is State.WAITING:
        polls = max(0, operation.polls - registration.polls_before)
        seen = replace(operation, registered_at=registration.generation, polls=polls)
        return seen if polls else replace(seen, status=None, last_polled_at=None, last_error=None)
    ended_alike = registration.final_status is not None and registration.final_status is operation.final_status
    if registration.finished_at is None and ended_alike:  # a row of a former version
        registration = replace(registration, polls=operation.polls, finished_at=operation.finished_at)
    own = replace(
        operation,
        registered_at=registration.generation,
        polls=registration.polls,
        last_polled_at=registration.last_polled_at,
    )
    if registration.finished_at is not None and registration.finished_at == operation.finished_at:
        return own
    return replace(
        own,
        due="",
        status=registration.final_status,
        final_status=registration.final_status,
        finished_at=registration.finished_at,
        reason=None,
        last_error=None,
        body=None,
        error_code=None,
        error_message=None,
    )


def as_seen_by_all(registrations: Iterable[Registration], operation: Operation) -> Operation:
    """Show of an operation what the registrations of one owner may know: the first that waits, or that knows most."""
    best = min(
        registrations,
        key=lambda each: (
            each.state is not State.WAITING,
            each.finished_at is None or each.finished_at != operation.finished_at,
            each.generation,
        ),
    )
    return as_seen_by(best, operation)
