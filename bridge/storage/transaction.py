"""A step as one value: the writes that happen together or not at all.

Every write after a row's insert is a merge, so that columns of a newer version survive an older instance; what
becomes empty is written as an empty string, since the service drops None.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

#: What a column can hold.
Value = str | int | float | bool | bytes | datetime

#: The service takes at most this many rows in one transaction.
MAX_WRITES = 100

#: Stands for any ETag: the row must be there, whatever it holds.
ANY = "*"


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it was read."""

    partition: str
    key: str
    #: Names this state of the row.
    etag: str
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Insert:
    """The row must not be there."""

    key: str
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Merge:
    """The row must be there under `etag`; columns that are not named stay."""

    key: str
    values: Mapping[str, Value]
    etag: str


@dataclass(frozen=True, slots=True)
class Upsert:
    """The row may be there or not; columns that are not named stay."""

    key: str
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Delete:
    """The row must be there under `etag`."""

    key: str
    etag: str


Write = Insert | Merge | Upsert | Delete


@dataclass(frozen=True, slots=True)
class Transaction:
    """One entity-group transaction of at most 100 rows, each at most once."""

    partition: str
    writes: tuple[Write, ...]
    #: The row that carries `tx`, which tells after an unknown outcome whether this was committed; None if none does.
    stamp: str | None = None
    tx: str = ""
