"""Partitions and row keys.

A row key is `kind:part:part…`. No part contains a colon, so a key can be parsed without ambiguity. All rows of one
operation are the range from `op:{collection}:{id}:` to the same with the next character, `;`. The collection is the
name of a source for its operations, and the same with `.jobs` for its jobs.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import StrEnum

from bridge.domain.ids import MESSAGE_ID, OperationRef, RegistrationRef
from bridge.domain.time import from_millis, to_millis

#: The number of partitions for operations. Never change it: reads would miss existing rows.
PARTITION_COUNT = 8

#: The partition of rows without an operation: the heartbeat of the sweep, and the sources.
SOURCES_PARTITION = "sources"

#: The key of the heartbeat, in the partition of the sources.
HEARTBEAT_KEY = "heartbeat"

#: The row with the recent pings. A separate partition keeps the row out of the reads of a sweep.
PINGS_PARTITION, PINGS_KEY = "pings", "recent"

#: The row with the number of waiting registrations per owner, for owners near the limit.
WAITING_PARTITION, WAITING_KEY = "waiting", "owners"

#: The prefix of the keys of sources.
SOURCE_PREFIX = "source:"

#: The range of all rows in the partition of the sources.
SOURCES_RANGE = ("!", "~")


#: The prefix of the keys of duration models.
DURATION_PREFIX = "dur:"

#: The prefix of the keys of operations and their registrations.
OPERATION_PREFIX = "op:"

#: The prefix of the keys of due deliveries. Their own range keeps polls from hiding deliveries.
_DUE_DELIVERY = "due:deliver:"

_DUE = re.compile(r"due:(?:deliver:)?([0-9]{13}):", re.ASCII)


_LAST_MILLIS = 10**13 - 1


class DueKind(StrEnum):
    """The step of a due row."""

    POLL = "poll"
    DELIVER = "deliver"
    PURGE = "purge"


def partition_of(ref: OperationRef | RegistrationRef) -> str:
    """Return the partition of all rows of an operation, including those of its registrations."""
    return _partition(_operation(ref).shard)


def partitions_of_message(message_id: str) -> Sequence[str]:
    """Return the partitions that can have the message: one, or all of them for an id of a former version."""
    found = MESSAGE_ID.fullmatch(message_id)
    return tuple(operation_partitions()) if found is None else (_partition(int(found[1], 16)),)


def _partition(shard: int) -> str:
    return f"op{shard % PARTITION_COUNT}"


def row_key(ref: OperationRef | RegistrationRef) -> str:
    """Return the row key of an operation or a registration. The former is a prefix of the latter."""
    operation = _operation(ref)
    digest = ref.hash if isinstance(ref, RegistrationRef) else ""
    return f"{OPERATION_PREFIX}{operation.collection}:{operation.id}:{digest}"


def due_reference(ref: OperationRef | RegistrationRef) -> str:
    """Return the name of an operation or a registration in due rows and index rows."""
    operation = f"{_operation(ref).collection}:{_operation(ref).id}"
    return f"{operation}:{ref.hash}" if isinstance(ref, RegistrationRef) else operation


def attempts_prefix(ref: OperationRef | RegistrationRef) -> str:
    """Return the prefix of the keys of the attempts of an operation or a registration."""
    return f"att:{due_reference(ref)}:"


def attempt_key(ref: RegistrationRef, number: int) -> str:
    """Return the key of attempt `number`, counted from 1."""
    return f"{attempts_prefix(ref)}{number:06d}"


def _operation(ref: OperationRef | RegistrationRef) -> OperationRef:
    return ref.operation if isinstance(ref, RegistrationRef) else ref


def operation_partitions() -> Iterator[str]:
    """Return all partitions for operations."""
    return (f"op{number}" for number in range(PARTITION_COUNT))


def source_key(name: str) -> str:
    """Return the row key of a source."""
    return f"{SOURCE_PREFIX}{name}"


def duration_key(collection: str, group: str | None) -> str:
    """Return the row key of the duration model of a collection, or of one of its groups."""
    return f"{DURATION_PREFIX}{collection}:{group or ''}"


def registration_of(reference: str) -> RegistrationRef | None:
    """Parse the registration in a due row or an index row, or return None if the text is not the bridge's."""
    return RegistrationRef.parse(reference.replace(":", "~"))


def operation_of(reference: str) -> OperationRef | None:
    """Parse the operation in a due row, or return None if the text is not the bridge's."""
    collection, _, operation_id = reference.partition(":")
    return OperationRef.parse(collection, operation_id)


def due_key(at: datetime, kind: DueKind, reference: str, *, instead_of: str = "") -> str:
    """Return the key of the due row of `reference` at `at`, ordered by time within its range.

    Deliveries have one range, polls and purges another. A transaction can name a row only once, so a due row cannot
    move to its current key: if the new key equals `instead_of`, the result is a millisecond later.
    """
    key = _due_key(to_millis(at), kind, reference)
    return key if key != instead_of else _due_key(to_millis(at) + 1, kind, reference)


def _due_key(millis: int, kind: DueKind, reference: str) -> str:
    if kind is DueKind.DELIVER:
        return f"{_DUE_DELIVERY}{millis:013d}:{reference}"
    return f"due:{millis:013d}:{kind}:{reference}"


def due_parts(key: str) -> tuple[str, str]:
    """Parse kind and reference of a due row's key. Older rows of deliveries contain their kind, too."""
    if key.startswith(_DUE_DELIVERY):
        return DueKind.DELIVER, key[len(_DUE_DELIVERY) + 14 :]
    _, _, kind, reference = (*key.split(":", 3), "", "", "")[:4]
    return kind, reference


def due_at(key: str) -> datetime | None:
    """Parse the time of a due row's key, or return None if the key is not the bridge's."""
    found = _DUE.match(key)
    return None if found is None else from_millis(int(found[1]))


def is_due_before(key: str | None, latest: datetime) -> bool:
    """Return whether a due row was due before `latest`. A text that is no key of a due row was not."""
    at = None if key is None else due_at(key)
    return at is not None and at < latest


def due_operations(now: datetime) -> tuple[str, str]:
    """Return the range of polls and purges that are due at `now`, inclusive."""
    return "due:0", f"due:{to_millis(now) + 1:013d}"


def due_deliveries(now: datetime) -> tuple[str, str]:
    """Return the range of deliveries that are due at `now`, inclusive."""
    return _DUE_DELIVERY, f"{_DUE_DELIVERY}{to_millis(now) + 1:013d}"


def index_key(state: str, since: datetime, ref: RegistrationRef) -> str:
    """Return the key of the index row of a registration in `state` since `since`, ordered newest first."""
    return f"idx:{state}:{_inverted(since)}:{due_reference(ref)}"


def index_until(state: str, until: datetime) -> str:
    """Return the start of the range of index rows that entered `state` in the millisecond of `until` or earlier."""
    return f"idx:{state}:{_inverted(until)}:"


def index_from(state: str, since: datetime) -> str:
    """Return the end of the range of index rows that entered `state` at `since` or later."""
    return after(f"idx:{state}:{_inverted(since)}:")


def _inverted(instant: datetime) -> str:
    """Write a time so that later times sort first. Times that no row has become the first or the last one."""
    return f"{min(max(_LAST_MILLIS - to_millis(instant), 0), _LAST_MILLIS):013d}"


def index_since(place: str) -> datetime:
    """Parse the time at which a registration entered its state, from an index key without the prefix."""
    return from_millis(_LAST_MILLIS - int(place[:13]))


def after(prefix: str) -> str:
    """Return the end of the range of keys with a prefix, which ends in a colon."""
    return f"{prefix[:-1]};"
