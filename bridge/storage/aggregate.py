"""An operation with all its registrations, read as one range of the table."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from bridge.domain.errors import UnreadableRow
from bridge.domain.ids import OperationRef, RegistrationRef
from bridge.domain.operation import Operation
from bridge.domain.registration import LIVE, Registration, State
from bridge.storage.keys import row_key
from bridge.storage.records import Stored, stored
from bridge.storage.table import Row


@dataclass(frozen=True, slots=True)
class OperationAggregate:
    """The state on which a step about more than one registration decides."""

    operation: Stored[Operation]
    #: By the hash in their reference.
    registrations: Mapping[str, Stored[Registration]]
    #: The hashes of registrations that this version cannot read. They count, but are never changed.
    unreadable: frozenset[str] = frozenset()

    @classmethod
    def read(cls, ref: OperationRef, rows: Iterable[Row]) -> "OperationAggregate | None":
        """Assemble the rows of a range, or return None if the operation is not among them.

        Raises UnreadableRow if the operation itself cannot be read.
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
        """Return one registration.

        Raises UnreadableRow if the registration exists but cannot be read.
        """
        if ref.hash in self.unreadable:
            raise UnreadableRow(f"a registration of another version: {ref.public_id}")
        return self.registrations.get(ref.hash)

    def waiting(self) -> list[Stored[Registration]]:
        """Return the registrations that wait for the operation."""
        return [each for each in self.registrations.values() if each.record.state is State.WAITING]

    @property
    def taker(self) -> str | None:
        """The owner of the operation, if owners do not share operations: the first that took the operation."""
        first = min(
            (each.record for each in self.registrations.values() if each.record.takes_operation),
            key=lambda each: (each.generation, each.ref.hash),
            default=None,
        )
        return None if first is None else first.owner

    def oldest_replaceable(self, is_meant: Callable[[Registration], bool]) -> Stored[Registration] | None:
        """Return the replaceable registration that matches `is_meant` and has been in its state for the longest time.

        Returns None if there is no such registration.
        """
        found = (each for each in self.registrations.values() if each.record.is_replaceable and is_meant(each.record))
        return min(found, key=lambda each: (each.record.since, each.record.ref.hash), default=None)

    def size_of(self, owner: str) -> int:
        """Count an owner's registrations in any state, without unreadable ones."""
        return sum(each.record.owner == owner for each in self.registrations.values())

    @property
    def size(self) -> int:
        """The number of registrations in any state."""
        return len(self.registrations) + len(self.unreadable)

    @property
    def is_live(self) -> bool:
        """Whether the bridge has, or may have, work left for any of the registrations."""
        return bool(self.unreadable) or any(each.record.state in LIVE for each in self.registrations.values())


def as_seen_by(registration: Registration, operation: Operation) -> Operation:
    """Return the view of an operation for one registration: counts and times since its own generation.

    Another registration may have come first, and the operation may be followed for another one after this one has
    ended or was canceled. Polls before or after this registration's wait are not shown.
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
        error=None,
        created_at=None,
        ended_at=None,
    )


def as_seen_by_all(registrations: Iterable[Registration], operation: Operation) -> Operation:
    """Return an operation as the registrations of one owner may see it: by a waiting one, or else by the newest end."""
    best = min(
        registrations,
        key=lambda each: (
            each.state is not State.WAITING,
            each.finished_at is None or each.finished_at != operation.finished_at,
            each.generation,
        ),
    )
    return as_seen_by(best, operation)
