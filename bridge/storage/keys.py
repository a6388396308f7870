"""Where rows live: partitions and row keys.

A row key is `kind:part:part…`. No part contains a colon, so a key reads back without doubt, and all rows of one
operation are the range from `op:{source}:{id}:` up to the same with the next character, `;`.
"""

import hashlib
import re
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum

from bridge.domain.ids import OPERATION_ID, SOURCE_NAME, OperationRef, RegistrationRef
from bridge.domain.time import from_millis, to_millis

#: Operations are spread over this many partitions. Never change it: rows would be looked for where they aren't.
PARTITION_COUNT = 8

#: Holds what belongs to no operation: the heartbeat of the sweep, and the sources.
SOURCES_PARTITION = "sources"

#: The heartbeat's row in the partition of the sources.
HEARTBEAT_KEY = "heartbeat"

#: Holds what counts pings: a row of its own, so that a sweep does not read it.
PINGS_PARTITION, PINGS_KEY = "pings", "recent"

#: Holds how many registrations of each owner wait, for the owners that are near the limit.
WAITING_PARTITION, WAITING_KEY = "waiting", "owners"

#: What the keys of the sources' rows begin with.
SOURCE_PREFIX = "source:"

#: The range of all rows in the partition of the sources.
SOURCES_RANGE = ("!", "~")


#: What the keys of the duration models' rows begin with.
DURATION_PREFIX = "dur:"

#: What the keys of operations and their registrations begin with.
OPERATION_PREFIX = "op:"

#: What the keys of due deliveries begin with. They have a range of their own, so that no poll stands before them.
_DUE_DELIVERY = "due:deliver:"

_DUE = re.compile(r"due:(?:deliver:)?([0-9]{13}):", re.ASCII)


_LAST_MILLIS = 10**13 - 1


class DueKind(StrEnum):
    """What a due row is the handle of."""

    POLL = "poll"
    DELIVER = "deliver"
    PURGE = "purge"


def partition_of(ref: OperationRef | RegistrationRef) -> str:
    """Return the partition of all rows of an operation, those of its registrations too."""
    operation = _operation(ref)
    digest = hashlib.sha256(f"{operation.source}\n{operation.id}".encode()).digest()
    return f"op{digest[0] % PARTITION_COUNT}"


def row_key(ref: OperationRef | RegistrationRef) -> str:
    """Return the key of the row of an operation or a registration. The latter begins with the former."""
    operation = _operation(ref)
    return f"{OPERATION_PREFIX}{operation.source}:{operation.id}:{ref.hash if isinstance(ref, RegistrationRef) else ''}"


def due_reference(ref: OperationRef | RegistrationRef) -> str:
    """Return how due rows and index rows name an operation or a registration."""
    operation = f"{_operation(ref).source}:{_operation(ref).id}"
    return f"{operation}:{ref.hash}" if isinstance(ref, RegistrationRef) else operation


def attempts_prefix(ref: RegistrationRef) -> str:
    """Return what the keys of a registration's attempts begin with."""
    return f"att:{due_reference(ref)}:"


def attempt_key(ref: RegistrationRef, number: int) -> str:
    """Return the key of attempt `number`, counted from 1."""
    return f"{attempts_prefix(ref)}{number:06d}"


def _operation(ref: OperationRef | RegistrationRef) -> OperationRef:
    return ref.operation if isinstance(ref, RegistrationRef) else ref


def operation_partitions() -> Iterator[str]:
    """Every partition that can hold operations."""
    return (f"op{number}" for number in range(PARTITION_COUNT))


def source_key(name: str) -> str:
    """Name the row of a source."""
    return f"{SOURCE_PREFIX}{name}"


def duration_key(source: str, group: str | None) -> str:
    """Name the row of what was learnt of a source, or of one group of it."""
    return f"{DURATION_PREFIX}{source}:{group or ''}"


def registration_of(reference: str) -> RegistrationRef | None:
    """Read what a due row or an index row says of its registration; None where it is nothing of ours."""
    return RegistrationRef.parse(reference.replace(":", "~"))


def operation_of(reference: str) -> OperationRef | None:
    """Read what a due row says of its operation; None where it is nothing of ours."""
    source, _, operation_id = reference.partition(":")
    valid = SOURCE_NAME.fullmatch(source) and OPERATION_ID.fullmatch(operation_id)
    return OperationRef(source, operation_id) if valid else None


def due_key(at: datetime, kind: DueKind, reference: str, *, instead_of: str = "") -> str:
    """Key of the due row of `reference` at `at`, in time order among those of its range.

    Deliveries have one range, polls and purges another. A transaction may name a row only once, so a due row can't
    move to its own key: if it would, the new one is a millisecond later than `instead_of`.
    """
    key = _due_key(to_millis(at), kind, reference)
    return key if key != instead_of else _due_key(to_millis(at) + 1, kind, reference)


def _due_key(millis: int, kind: DueKind, reference: str) -> str:
    if kind is DueKind.DELIVER:
        return f"{_DUE_DELIVERY}{millis:013d}:{reference}"
    return f"due:{millis:013d}:{kind}:{reference}"


def due_parts(key: str) -> tuple[str, str]:
    """Read the kind and the reference out of the key of a due row. Older rows of deliveries name their kind too."""
    if key.startswith(_DUE_DELIVERY):
        return DueKind.DELIVER, key[len(_DUE_DELIVERY) + 14 :]
    _, _, kind, reference = (*key.split(":", 3), "", "", "")[:4]
    return kind, reference


def due_at(key: str) -> datetime | None:
    """Read off its key when a due row is due; None where the key is nothing of ours."""
    found = _DUE.match(key)
    return None if found is None else from_millis(int(found[1]))


def due_operations(now: datetime) -> tuple[str, str]:
    """Name the range of the polls and purges that are due at `now`, which counts as due."""
    return "due:0", f"due:{to_millis(now) + 1:013d}"


def due_deliveries(now: datetime) -> tuple[str, str]:
    """Name the range of the deliveries that are due at `now`, which counts as due."""
    return _DUE_DELIVERY, f"{_DUE_DELIVERY}{to_millis(now) + 1:013d}"


def index_key(state: str, since: datetime, ref: RegistrationRef) -> str:
    """Key of the index row of a registration that is in `state` since `since`: newest first."""
    return f"idx:{state}:{_LAST_MILLIS - to_millis(since):013d}:{due_reference(ref)}"


def index_from(state: str, since: datetime) -> str:
    """Bound the index rows of those that came into `state` at `since` or later, which stand before it."""
    return after(f"idx:{state}:{_LAST_MILLIS - to_millis(since):013d}:")


def index_since(place: str) -> datetime:
    """Read off the end of an index key, from the time on, since when its registration is in its state."""
    return from_millis(_LAST_MILLIS - int(place[:13]))


def after(prefix: str) -> str:
    """Name the end of the range of keys that begin with `prefix`, which ends in a colon."""
    return f"{prefix[:-1]};"
