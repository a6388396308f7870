"""Invariants of the rows between any two commits.

Every row is visited later: an operation and its registrations through the due row of the operation, attempts through
the purge of their operation, due rows and index rows through the registration or operation they refer to.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from bridge.domain.errors import UnreadableRow
from bridge.domain.ids import OperationRef
from bridge.domain.operation import Operation
from bridge.domain.registration import Registration, State
from bridge.storage.aggregate import OperationAggregate
from bridge.storage.index import IndexEntry, index_key_of
from bridge.storage.keys import due_reference
from bridge.storage.records import decode
from bridge.storage.table import Row


def problems(rows: Sequence[Row]) -> list[str]:
    """Return the problems of one partition of operations. Empty if the rows are consistent."""
    keys = {row.key for row in rows}
    try:
        aggregates = _aggregates(rows)
    except UnreadableRow as error:
        return [f"a row that cannot be read: {error}"]
    found = [problem for aggregate in aggregates.values() for problem in _problems(aggregate, rows)]
    wanted = {key for aggregate in aggregates.values() for key in _wanted(aggregate)}
    attempts = tuple(f"att:{due_reference(ref)}:" for ref in aggregates)
    strays = {key for key in keys if key.startswith(("due:", "idx:"))} - wanted
    found += [f"nothing points to {key}" for key in strays]
    found += [f"nothing visits {key}" for key in keys if key.startswith("att:") and not key.startswith(attempts)]
    found += [f"{key} is missing" for key in wanted - keys]
    return found


def states(rows: Sequence[Row]) -> dict[str, Registration]:
    """Return all registrations of a partition, by public id."""
    aggregates = _aggregates(rows).values()
    return {
        each.record.ref.public_id: each.record for aggregate in aggregates for each in aggregate.registrations.values()
    }


def _aggregates(rows: Sequence[Row]) -> dict[OperationRef, OperationAggregate]:
    by_operation: dict[OperationRef, list[Row]] = defaultdict(list)
    for row in rows:
        if row.key.startswith("op:"):
            _, collection, operation_id, _ = row.key.split(":")
            ref = OperationRef.parse(collection, operation_id)
            if ref is None:
                raise UnreadableRow(f"a row of no operation: {row.key}")
            by_operation[ref].append(row)
    aggregates = {}
    for ref, members in by_operation.items():
        aggregate = OperationAggregate.read(ref, members)
        if aggregate is None:
            raise UnreadableRow(f"registrations without their operation: {members[0].key}")
        aggregates[ref] = aggregate
    return aggregates


def _wanted(aggregate: OperationAggregate) -> Iterator[str]:
    """Return the due rows and index rows that an aggregate refers to."""
    yield aggregate.operation.record.due
    for each in aggregate.registrations.values():
        yield index_key_of(each.record)
        if each.record.due is not None:
            yield each.record.due


def _problems(aggregate: OperationAggregate, rows: Sequence[Row]) -> Iterator[str]:
    """Check that pending work has a due row, and that every other operation has a purge."""
    operation: Operation = aggregate.operation.record
    name = due_reference(operation.ref)
    if bool(aggregate.waiting()) != operation.is_polled:
        polled = "is" if operation.is_polled else "is not"
        yield f"{name}: {len(aggregate.waiting())} wait, and the operation {polled} polled"
    if aggregate.unreadable:
        yield f"{name}: unreadable registration"
    entries = {row.key: row for row in rows if row.key.startswith("idx:")}
    for each in aggregate.registrations.values():
        registration = each.record
        if (registration.state is State.PENDING) != (registration.due is not None):
            yield f"{registration.ref.public_id}: {registration.state}, and its due row is {registration.due}"
        shown = entries.get(index_key_of(registration))
        if shown and not _shows(decode(IndexEntry, registration.ref, shown.values), registration):
            yield f"{registration.ref.public_id}: the index row differs"


def _shows(entry: IndexEntry, registration: Registration) -> bool:
    """Compare two due times.

    A claim leaves the index row unchanged, so lists show the old due time until the result is stored.
    """
    expected = IndexEntry.of(registration)
    if registration.claim is not None:
        expected = replace(expected, next_attempt_at=entry.next_attempt_at, deferred_by=entry.deferred_by)
    return entry == expected
