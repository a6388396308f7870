"""An operation with all its registrations, as one range of the table reads them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bridge.core.delivery import Call, open_call
from bridge.core.errors import ForeignRow
from bridge.core.keys import OperationRef, RegistrationRef
from bridge.core.operation import Operation
from bridge.core.registration import LIVE, Registration, State
from bridge.core.rows import Stored, stored
from bridge.core.transaction import Row


@dataclass(frozen=True, slots=True)
class Family:
    """What a step that concerns more than one registration decides on."""

    operation: Stored[Operation]
    #: By the hash in their reference.
    registrations: Mapping[str, Stored[Registration]]
    #: The hashes of registrations that this version cannot read. They count, and nothing is done without them.
    unreadable: frozenset[str] = frozenset()

    @classmethod
    def read(cls, ref: OperationRef, rows: Iterable[Row]) -> "Family | None":
        """Put the rows of a range together; None where the operation is not among them.

        Raises ForeignRow where it is the operation that cannot be read.
        """
        operation: Stored[Operation] | None = None
        registrations: dict[str, Stored[Registration]] = {}
        unreadable: set[str] = set()
        for row in rows:
            digest = row.key.removeprefix(ref.key)
            if not digest:
                operation = stored(Operation, ref, row)
                continue
            try:
                registrations[digest] = stored(Registration, RegistrationRef(ref, digest), row)
            except ForeignRow:
                unreadable.add(digest)
        return None if operation is None else cls(operation, registrations, frozenset(unreadable))

    def get(self, ref: RegistrationRef) -> Stored[Registration] | None:
        """Find one registration.

        Raises ForeignRow where it is there and cannot be read.
        """
        if ref.hash in self.unreadable:
            raise ForeignRow(f"a registration of another version: {ref.public_id}")
        return self.registrations.get(ref.hash)

    def waiting(self) -> list[Stored[Registration]]:
        """Those that wait for the operation."""
        return [each for each in self.registrations.values() if each.record.state is State.WAITING]

    def calls_of(self, tx: str) -> list[Call]:
        """Make the calls that the transaction stamped `tx` opened and that are open still."""
        calls = (open_call(each.record) for each in self.registrations.values() if each.record.tx == tx)
        return [call for call in calls if call is not None]

    @property
    def size(self) -> int:
        """How many registrations there are, whatever their state."""
        return len(self.registrations) + len(self.unreadable)

    @property
    def is_live(self) -> bool:
        """Whether the bridge has, or may have, something to do for any of them."""
        return bool(self.unreadable) or any(each.record.state in LIVE for each in self.registrations.values())
