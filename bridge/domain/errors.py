"""All exceptions that the bridge raises on purpose.

    BridgeError
    ├── Misconfigured       a setting is missing or wrong: nothing works until an operator corrects the setting
    ├── StorageUnavailable  storage did not answer, or refused: try again later
    │   ├── CommitUnknown   a transaction got no reply: it may have been committed
    │   └── StorageRefused  storage refused the caller: an operator must act
    ├── Conflict            another writer changed the rows first: read and decide again
    ├── Contended           too many conflicts in a row: try again later
    └── UnreadableRow       a row or message that this version cannot read: skip it

Outcomes that the caller decides about (a receiver that refused, an operation that is pending) are values, not
exceptions.
"""

from enum import StrEnum


class BridgeError(Exception):
    """The root of the tree above."""


class Misconfigured(BridgeError):
    """Settings are missing or wrong. `problems` has the remedy for each, without its value."""

    def __init__(self, problems: dict[str, str]) -> None:
        #: The problems by name of the setting.
        self.problems = problems
        #: The same as text, one line each.
        self.lines = [f"{name}: {problem}" for name, problem in problems.items()]
        super().__init__("; ".join(self.lines))


class StorageUnavailable(BridgeError):
    """Storage did not answer or refused. No change is known to have happened."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        #: The service's error code, like `ServerBusy`. Empty without an answer or without a code.
        self.code = code


class CommitUnknown(StorageUnavailable):
    """A transaction got no reply and may have been committed. A later read finds its `tx` if so."""


class StorageRefused(StorageUnavailable):
    """Storage refused the caller (401 or 403): a role, a key or a firewall is wrong, and waiting does not help."""


class ConflictKind(StrEnum):
    """Why a transaction was refused."""

    STALE = "stale"  #: the row has another ETag (412)
    MISSING = "missing"  #: the row is gone (404)
    EXISTS = "exists"  #: the row is already there (409)


class Conflict(BridgeError):
    """Another writer changed a row first. The transaction had no effect."""

    def __init__(self, kind: ConflictKind, index: int | None) -> None:
        super().__init__(f"{kind} at write {index}")
        #: The state of the row.
        self.kind = kind
        #: The index of the refused write in the transaction, from 0. None if the service did not give the index.
        self.index = index


class Contended(BridgeError):
    """Other writers changed the same rows again and again. The caller may try again later."""


class UnreadableRow(BridgeError):
    """A row or a queue message of another writer, or of a newer version of the bridge."""
