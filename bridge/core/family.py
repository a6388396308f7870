"""An operation with all its registrations, as one range of the table reads them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

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

    @classmethod
    def read(cls, ref: OperationRef, rows: Iterable[Row]) -> "Family | None":
        """Put the rows of a range together; None where the operation is not among them.

        Raises ForeignRow.
        """
        operation: Stored[Operation] | None = None
        registrations: dict[str, Stored[Registration]] = {}
        for row in rows:
            digest = row.key.removeprefix(ref.key)
            if digest:
                registrations[digest] = stored(Registration, RegistrationRef(ref, digest), row)
            else:
                operation = stored(Operation, ref, row)
        return None if operation is None else cls(operation, registrations)

    def get(self, ref: RegistrationRef) -> Stored[Registration] | None:
        """Find one registration."""
        return self.registrations.get(ref.hash)

    def waiting(self) -> list[Stored[Registration]]:
        """Those that wait for the operation."""
        return [each for each in self.registrations.values() if each.record.state is State.WAITING]

    @property
    def is_live(self) -> bool:
        """Whether the bridge still has something to do for any of them."""
        return any(each.record.state in LIVE for each in self.registrations.values())
