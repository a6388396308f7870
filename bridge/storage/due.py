"""Due rows: the handles of the steps that are due."""

from dataclasses import dataclass

from bridge.domain.delivery import DeliveryTask
from bridge.domain.errors import UnreadableRow
from bridge.domain.ids import OperationRef
from bridge.domain.operation import PollState
from bridge.storage.keys import DueKind, due_at, due_parts, operation_of, registration_of
from bridge.storage.records import decode
from bridge.storage.transaction import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class DueHandle:
    """A due row as read. Deleting it with a matching ETag grants the exclusive right to perform its step."""

    partition: str
    key: str
    etag: str


@dataclass(frozen=True, slots=True)
class DuePoll:
    """An operation is due for a poll."""

    handle: DueHandle
    poll_state: PollState


@dataclass(frozen=True, slots=True)
class DueDelivery:
    """A delivery is due for a message."""

    handle: DueHandle
    task: DeliveryTask


@dataclass(frozen=True, slots=True)
class DuePurge:
    """An operation is due for a purge."""

    handle: DueHandle
    ref: OperationRef


Due = DuePoll | DueDelivery | DuePurge


def read_due(row: Row) -> Due:
    """Decode a due row.

    Raises UnreadableRow if the row is not the bridge's, or of a newer schema.
    """
    handle = DueHandle(partition=row.partition, key=row.key, etag=row.etag)
    kind, reference = due_parts(row.key)
    operation, registration = operation_of(reference), registration_of(reference)
    if due_at(row.key) is None:
        raise UnreadableRow(f"a due row without a time: {row.key[:64]}")
    if kind == DueKind.POLL and operation is not None:
        return DuePoll(handle, decode(PollState, operation, row.values))
    if kind == DueKind.DELIVER and registration is not None:
        return DueDelivery(handle, decode(DeliveryTask, registration, row.values))
    if kind == DueKind.PURGE and operation is not None:
        return DuePurge(handle, operation)
    raise UnreadableRow(f"a due row of unknown kind: {row.key[:64]}")
