"""Everything that the bridge raises on purpose.

    BridgeError
    ├── Misconfigured       a setting is missing or wrong: nothing works until it is mended
    ├── StorageUnavailable  storage did not answer, or refused: try again later
    │   ├── CommitUnknown   a transaction was sent and no reply came: it may have been a commit
    │   └── StorageRefused  storage refuses its caller: an operator must act
    ├── Conflict            somebody else changed the rows first: read again and decide again
    ├── Contended           too many conflicts in a row: try again later
    └── UnreadableRow       a row or message that this version cannot read: skip it

Outcomes that the caller decides about (a receiver that refused, an operation that is pending) are values, not
exceptions.
"""

from enum import StrEnum


class BridgeError(Exception):
    """The root of the tree above."""


class Misconfigured(BridgeError):
    """Settings are missing or wrong; `problems` says for each what to do, without its value."""

    def __init__(self, problems: dict[str, str]) -> None:
        #: What is wrong, by the name of the setting.
        self.problems = problems
        #: The same, a line each.
        self.lines = [f"{name}: {problem}" for name, problem in problems.items()]
        super().__init__("; ".join(self.lines))


class StorageUnavailable(BridgeError):
    """Storage did not answer or refused; nothing is known to have changed."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        #: The service's error code, like `ServerBusy`; empty if there was no answer, or none with a code.
        self.code = code


class CommitUnknown(StorageUnavailable):
    """No reply came to a transaction: it may have been a commit. Its `tx` tells, once storage answers again."""


class StorageRefused(StorageUnavailable):
    """Storage refused its caller (401 or 403): a role, a key or a firewall is wrong, and waiting does not help."""


class ConflictKind(StrEnum):
    """Why a transaction was refused."""

    STALE = "stale"  #: the row has another ETag (412)
    MISSING = "missing"  #: the row is gone (404)
    EXISTS = "exists"  #: the row is already there (409)


class Conflict(BridgeError):
    """Somebody else changed a row first; the whole transaction did not happen."""

    def __init__(self, kind: ConflictKind, index: int | None) -> None:
        super().__init__(f"{kind} at write {index}")
        #: What was wrong with the row.
        self.kind = kind
        #: Which write of the transaction lost, from 0; None where the service did not say.
        self.index = index


class Contended(BridgeError):
    """The same rows were changed by others again and again; the caller may try again later."""


class UnreadableRow(BridgeError):
    """A row or a queue message that somebody else wrote, or a newer version of the bridge."""
