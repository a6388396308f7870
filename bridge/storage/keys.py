"""Where rows live: partitions, row keys and public ids.

A row key is `kind:part:part…`. No part contains a colon, so a key reads back without doubt, and all rows of one
operation are the range from `job:{source}:{id}:` up to the same with the next character, `;`.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

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

#: What the upstream allows as an operation id (its REST reference), in ASCII only.
OPERATION_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,62}[a-zA-Z0-9]", re.ASCII)

#: Names of sources, as settings give them.
SOURCE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}", re.ASCII)

#: Labels of operations that take about equally long.
GROUP = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}", re.ASCII)

#: What the keys of the laws' rows begin with.
LAW_PREFIX = "law:"

#: What the keys of operations and their registrations begin with.
OPERATION_PREFIX = "job:"

#: What the keys of due deliveries begin with. They have a range of their own, so that no poll stands before them.
_DUE_DELIVERY = "due:deliver:"

_DUE = re.compile(r"due:(?:deliver:)?([0-9]{13}):", re.ASCII)

#: What a registration's public id looks like: source, operation and hash.
PUBLIC_ID = re.compile(rf"({SOURCE_NAME.pattern})~({OPERATION_ID.pattern})~([0-9a-f]{{16}})", re.ASCII)

_LAST_MILLIS = 10**13 - 1

#: The last attempts of a registration that are kept, each in a row.
KEPT_ATTEMPTS = 50


class DueKind(StrEnum):
    """What a due row is the token of."""

    POLL = "poll"
    DELIVER = "deliver"
    PURGE = "purge"


@dataclass(frozen=True, slots=True)
class OperationRef:
    """Names an operation, and so its rows."""

    #: The name of the source that answers for it.
    source: str
    #: The upstream's id.
    id: str

    @property
    def partition(self) -> str:
        """The partition of all rows of this operation."""
        digest = hashlib.sha256(f"{self.source}\n{self.id}".encode()).digest()
        return f"op{digest[0] % PARTITION_COUNT}"

    @property
    def key(self) -> str:
        """The operation's own row; its registrations' keys begin with it."""
        return f"{OPERATION_PREFIX}{self.source}:{self.id}:"

    @property
    def due_reference(self) -> str:
        """How due rows name it."""
        return f"{self.source}:{self.id}"


@dataclass(frozen=True, slots=True)
class RegistrationRef:
    """Names a registration, and so its rows."""

    #: The operation that it waits for.
    operation: OperationRef
    #: Taken over owner, operation and callback URL: the same registration has the same.
    hash: str

    @classmethod
    def of(cls, operation: OperationRef, *, owner: str, callback_url: str) -> "RegistrationRef":
        """Name the registration of `callback_url` (normalised) by `owner` for `operation`."""
        identity = f"{owner}\n{operation.source}\n{operation.id}\n{callback_url}"
        return cls(operation, hashlib.sha256(identity.encode()).hexdigest()[:16])

    @classmethod
    def parse(cls, public_id: str) -> "RegistrationRef | None":
        """Read a public id; None where it is not one."""
        found = PUBLIC_ID.fullmatch(public_id)
        return cls(OperationRef(found[1], found[2]), found[3]) if found else None

    @property
    def partition(self) -> str:
        """The partition of the registration's rows: its operation's."""
        return self.operation.partition

    @property
    def key(self) -> str:
        """The registration's own row."""
        return f"{self.operation.key}{self.hash}"

    @property
    def public_id(self) -> str:
        """The id that clients see. It locates the rows by itself, and a person sees the operation in it."""
        return f"{self.operation.source}~{self.operation.id}~{self.hash}"

    @property
    def due_reference(self) -> str:
        """How due rows and index rows name it."""
        return f"{self.operation.due_reference}:{self.hash}"

    @property
    def attempts_prefix(self) -> str:
        """What the keys of its attempts begin with."""
        return f"att:{self.due_reference}:"

    def attempt_key(self, number: int) -> str:
        """Name the row of attempt `number`, counted from 1."""
        return f"{self.attempts_prefix}{number:06d}"


def operation_partitions() -> Iterator[str]:
    """Every partition that can hold operations."""
    return (f"op{number}" for number in range(PARTITION_COUNT))


def source_key(name: str) -> str:
    """Name the row of a source."""
    return f"{SOURCE_PREFIX}{name}"


def law_key(source: str, group: str | None) -> str:
    """Name the row of what was learnt of a source, or of one group of it."""
    return f"{LAW_PREFIX}{source}:{group or ''}"


def registration_of(due_reference: str) -> RegistrationRef | None:
    """Read what a due row or an index row says of its registration; None where it is nothing of ours."""
    return RegistrationRef.parse(due_reference.replace(":", "~"))


def operation_of(due_reference: str) -> OperationRef | None:
    """Read what a due row says of its operation; None where it is nothing of ours."""
    source, _, operation_id = due_reference.partition(":")
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
    return f"idx:{state}:{_LAST_MILLIS - to_millis(since):013d}:{ref.due_reference}"


def index_from(state: str, since: datetime) -> str:
    """Bound the index rows of those that came into `state` at `since` or later, which stand before it."""
    return after(f"idx:{state}:{_LAST_MILLIS - to_millis(since):013d}:")


def index_since(place: str) -> datetime:
    """Read off the end of an index key, from the time on, since when its registration is in its state."""
    return from_millis(_LAST_MILLIS - int(place[:13]))


def after(prefix: str) -> str:
    """Name the end of the range of keys that begin with `prefix`, which ends in a colon."""
    return f"{prefix[:-1]};"
