"""A step as one value: writes that are committed together or not at all.

After its insert a row is only merged into, so that columns of a newer version survive an older instance. Empty values
are written as empty strings, since the service drops None.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

#: The type of a column's value.
Value = str | int | float | bool | bytes | datetime

#: The service's limit of rows in one transaction.
MAX_WRITES = 100

#: Matches any ETag: the row must exist, in any state.
ANY = "*"


@dataclass(frozen=True, slots=True)
class Row:
    """A row as read."""

    partition: str
    key: str
    #: Identifies this state of the row.
    etag: str
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Insert:
    """The row must not exist."""

    key: str
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Merge:
    """The row must exist with this `etag`. Other columns stay unchanged."""

    key: str
    values: Mapping[str, Value]
    etag: str


@dataclass(frozen=True, slots=True)
class Upsert:
    """The row may exist or not. Other columns stay unchanged."""

    key: str
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Delete:
    """The row must exist with this `etag`."""

    key: str
    etag: str


Write = Insert | Merge | Upsert | Delete


@dataclass(frozen=True, slots=True)
class Transaction:
    """One entity-group transaction of at most 100 rows, each at most once."""

    partition: str
    writes: tuple[Write, ...]
    #: The row with `tx`, which shows after an unknown outcome whether this was committed. None without such a row.
    stamp: str | None = None
    tx: str = ""
