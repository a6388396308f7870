"""Names of operations and registrations, and the public ids that clients see."""

import hashlib
import re
from dataclasses import dataclass

#: What the upstream allows as an operation id (its REST reference), in ASCII only.
OPERATION_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,62}[a-zA-Z0-9]", re.ASCII)

#: Names of sources, as settings give them.
SOURCE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}", re.ASCII)

#: Labels of operations that take about equally long.
GROUP = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}", re.ASCII)

#: What a registration's public id looks like: source, operation and hash.
PUBLIC_ID = re.compile(rf"({SOURCE_NAME.pattern})~({OPERATION_ID.pattern})~([0-9a-f]{{16}})", re.ASCII)


@dataclass(frozen=True, slots=True)
class OperationRef:
    """Names an operation, and so its rows."""

    #: The name of the source that answers for it.
    source: str
    #: The upstream's id.
    id: str


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
    def public_id(self) -> str:
        """The id that clients see. It locates the rows by itself, and a person sees the operation in it."""
        return f"{self.operation.source}~{self.operation.id}~{self.hash}"
