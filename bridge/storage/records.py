"""Conversion between records and rows.

A row contains the version of its schema. A row of a newer schema, or of another program, is an UnreadableRow, which is
skipped and never guessed at.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from functools import cache
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar, cast, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from bridge.domain.errors import UnreadableRow
from bridge.domain.ids import OperationRef, RegistrationRef
from bridge.domain.registration import Registration
from bridge.storage.table import Row, Value

#: The schema version that this code writes. The code reads this version and the one before.
SCHEMA_VERSION = 1

#: The column of the schema version.
VERSION_COLUMN = "v"


class Record(Protocol):
    """A dataclass with the columns of a row as fields, apart from `ref`, which is in the key."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


R = TypeVar("R", bound=Record)


class _Kind(NamedTuple):
    """How the records of one class are read."""

    adapter: TypeAdapter[Any]
    columns: tuple[str, ...]
    #: Columns that hold a time.
    times: tuple[str, ...]
    #: Columns that hold several values, separated by commas.
    lists: frozenset[str]
    #: Fields with several columns, `{field}_{part}`, and the class of their value.
    parts: Mapping[str, type]


@cache  # a sweep reads and writes thousands of rows
def _kind(kind: type) -> _Kind:
    hints = {name: hint for name, hint in get_type_hints(kind).items() if name != "ref"}
    columns = tuple(field.name for field in fields(kind) if field.name in hints)
    times = tuple(name for name in columns if datetime in (hints[name], *get_args(hints[name])))
    lists = frozenset(name for name in columns if get_origin(hints[name]) is tuple)
    parts = {
        name: part
        for name in columns
        for part in get_args(hints[name])
        if isinstance(part, type) and is_dataclass(part)
    }
    return _Kind(TypeAdapter(kind), columns, times, lists, parts)


@dataclass(frozen=True, slots=True)
class Stored(Generic[R]):
    """A record with the ETag of its row at the read."""

    record: R
    etag: str
    #: The schema version of the row.
    schema_version: int = SCHEMA_VERSION


def for_insert(record: Record) -> dict[str, Value]:
    """Encode a record as the columns of a new row. Empty values get no column."""
    return {name: value for name, value in for_merge(record).items() if value != ""}


def for_merge(record: Record) -> dict[str, Value]:
    """Encode a record to merge into any row. Empty values become empty strings, which clear their columns."""
    return _written(record, _kind(type(record)).columns)


def for_update(before: Stored[R], after: R) -> dict[str, Value]:
    """Encode the changes of a record since the read. The ETag guarantees that the other columns are unchanged.

    A row of the previous schema is written as a whole, so that it has the current schema afterwards. A column can be
    missing because the value was the default at the time of the write, so a changed default needs a new schema.
    """
    if before.schema_version != SCHEMA_VERSION:
        return for_merge(after)
    was = before.record
    changed = [name for name in _kind(type(after)).columns if getattr(was, name) != getattr(after, name)]
    old = _written(was, changed)
    columns = {name: value for name, value in _written(after, changed).items() if value != old[name]}
    return {VERSION_COLUMN: SCHEMA_VERSION, **columns}


def part_columns(name: str, part: type, value: object) -> dict[str, Value]:
    """Encode a value of the dataclass `part` as its columns. All of them are empty if the value is None."""
    return {f"{name}_{each.name}": _plain(getattr(value, each.name, None)) for each in fields(part)}


def _written(record: Record, names: Iterable[str]) -> dict[str, Value]:
    parts = _kind(type(record)).parts
    columns: dict[str, Value] = {VERSION_COLUMN: SCHEMA_VERSION}
    for name in names:
        if name in parts:
            columns |= part_columns(name, parts[name], getattr(record, name))
        else:
            columns[name] = _plain(getattr(record, name))
    return columns


def decode(kind: type[R], ref: OperationRef | RegistrationRef | None, values: Mapping[str, Value]) -> R:
    """Decode a record of `kind` about `ref` from the columns of a row.

    Raises UnreadableRow if the columns are not the bridge's, or of a newer schema.
    """
    _schema_version(kind, values)
    columns: dict[str, Any] = {name: value for name, value in values.items() if value != ""}
    for name in _kind(kind).lists & columns.keys():
        columns[name] = str(columns[name]).split(",")
    for name, part in _kind(kind).parts.items():
        found = {each.name: columns.get(f"{name}_{each.name}") for each in fields(part)}
        columns[name] = {each: value for each, value in found.items() if value is not None} or None
    try:
        record = cast("R", _kind(kind).adapter.validate_python({**columns, "ref": ref}))
    except ValidationError as error:
        wrong = ", ".join(str(problem["loc"][0]) for problem in error.errors() if problem["loc"])
        raise UnreadableRow(f"{kind.__name__} with unreadable columns: {wrong}") from error
    if not _is_of_its_key(record):
        raise UnreadableRow("Registration whose owner or callback URL is not the one in its key")
    naive = [name for name in _kind(kind).times if _is_naive(getattr(record, name))]
    for name, part in _kind(kind).parts.items():
        value = getattr(record, name)
        naive += [f"{name}_{each.name}" for each in fields(part) if _is_naive(getattr(value, each.name, None))]
    if naive:
        raise UnreadableRow(f"{kind.__name__} with times without a zone: {', '.join(naive)}")
    return record


def stored(kind: type[R], ref: OperationRef | RegistrationRef | None, row: Row) -> Stored[R]:
    """Decode a record together with its ETag.

    Raises UnreadableRow.
    """
    return Stored(decode(kind, ref, row.values), row.etag, _schema_version(kind, row.values))


def _schema_version(kind: type, values: Mapping[str, Value]) -> int:
    schema_version = values.get(VERSION_COLUMN)
    if not isinstance(schema_version, int) or not SCHEMA_VERSION - 1 <= schema_version <= SCHEMA_VERSION:
        raise UnreadableRow(
            f"{kind.__name__} of schema {schema_version!r}: this version reads {SCHEMA_VERSION} and the one before"
        )
    return schema_version


def _is_of_its_key(record: Record) -> bool:
    return not isinstance(record, Registration) or record.is_of_its_key


def _is_naive(value: object) -> bool:
    return isinstance(value, datetime) and value.tzinfo is None


def _plain(value: object) -> Value:
    match value:
        case None:
            return ""
        case tuple():
            return ",".join(f"{item:.6g}" if isinstance(item, float) else str(item) for item in value)
        case str():
            return str(value)
        case bool() | int() | float() | bytes() | datetime():
            return value
        case _:
            raise TypeError(f"no column can hold a {type(value).__name__}")
