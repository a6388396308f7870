"""References to operations and registrations, and the public ids that clients use."""

import hashlib
import re
from dataclasses import dataclass

#: The upstream's format of an operation id (its REST reference), in ASCII only.
OPERATION_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,62}[a-zA-Z0-9]", re.ASCII)

#: The format of a source's name in the settings.
SOURCE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}", re.ASCII)

#: The format of a group: a label of operations that take about equally long.
GROUP = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}", re.ASCII)

#: The format of the `webhook-id` of a message about an operation, with the shard of the operation. Messages of former
#: versions have 32 hexadecimal digits after `msg_`, without the shard.
MESSAGE_ID = re.compile(r"msg_x([0-9a-f]{2})[0-9a-f]{29}", re.ASCII)

#: The format of a registration's public id: source, operation and hash.
PUBLIC_ID = re.compile(rf"({SOURCE_NAME.pattern})~({OPERATION_ID.pattern})~([0-9a-f]{{16}})", re.ASCII)


@dataclass(frozen=True, slots=True)
class OperationRef:
    """Identifies an operation and its rows."""

    #: The name of the source that runs the operation.
    source: str
    #: The upstream's id.
    id: str

    @property
    def shard(self) -> int:
        """A number from 0 to 255 by a hash. Partitions and message ids depend on the number, so it never changes."""
        return hashlib.sha256(f"{self.source}\n{self.id}".encode()).digest()[0]

    def message_id(self, identity: str) -> str:
        """Return the id of the message about this operation with an `identity`, which no other message has."""
        return f"msg_x{self.shard:02x}{hashlib.sha256(identity.encode()).hexdigest()[:29]}"


@dataclass(frozen=True, slots=True)
class RegistrationRef:
    """Identifies a registration and its rows."""

    #: The operation that the registration waits for.
    operation: OperationRef
    #: Hash of owner, operation and callback URL. The same registration always has the same hash.
    hash: str

    @classmethod
    def of(cls, operation: OperationRef, *, owner: str, callback_url: str) -> "RegistrationRef":
        """Return the reference of the registration of `callback_url` (normalised) by `owner` for `operation`."""
        identity = f"{owner}\n{operation.source}\n{operation.id}\n{callback_url}"
        return cls(operation, hashlib.sha256(identity.encode()).hexdigest()[:16])

    @classmethod
    def parse(cls, public_id: str) -> "RegistrationRef | None":
        """Parse a public id, or return None if the text is not one."""
        found = PUBLIC_ID.fullmatch(public_id)
        return cls(OperationRef(found[1], found[2]), found[3]) if found else None

    @property
    def public_id(self) -> str:
        """The id that clients see. It contains all that locates the rows, and shows the operation's id."""
        return f"{self.operation.source}~{self.operation.id}~{self.hash}"
