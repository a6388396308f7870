"""References to operations, jobs and registrations, and the public ids that clients use."""

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum

#: The upstream's format of the ids of operations and jobs (its REST reference), in ASCII only.
OPERATION_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,62}[a-zA-Z0-9]", re.ASCII)

#: The format of a source's name in the settings.
SOURCE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}", re.ASCII)

#: The format of a group: a label of operations that take about equally long.
GROUP = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}", re.ASCII)

#: The format of the `webhook-id` of a message about an operation, with the shard of the operation. Messages of former
#: versions have 32 hexadecimal digits after `msg_`, without the shard.
MESSAGE_ID = re.compile(r"msg_x([0-9a-f]{2})[0-9a-f]{29}", re.ASCII)

#: Follows the name of a source in the name of its jobs. No name of a source contains a dot.
_JOBS = ".jobs"

#: The format of a collection: the name of a source for its operations, or the same with `.jobs` for its jobs.
COLLECTION = re.compile(rf"{SOURCE_NAME.pattern}(?:{re.escape(_JOBS)})?", re.ASCII)

#: The format of a registration's public id: collection, id of the operation or job, and hash.
PUBLIC_ID = re.compile(rf"({COLLECTION.pattern})~({OPERATION_ID.pattern})~([0-9a-f]{{16}})", re.ASCII)


class Kind(StrEnum):
    """The two resources of the upstream that a registration can wait for. Both can have the same id."""

    OPERATION = "operation"  #: `…/operations/{id}`
    JOB = "job"  #: `…/batchsyntheses/{id}`, a batch synthesis


@dataclass(frozen=True, slots=True)
class OperationRef:
    """Identifies an operation or a job, and its rows."""

    #: The name of the source that runs the operation.
    source: str
    #: The upstream's id.
    id: str
    kind: Kind = Kind.OPERATION

    @classmethod
    def parse(cls, collection: str, id_: str) -> "OperationRef | None":
        """Parse a collection and an id, or return None if they are not valid."""
        is_valid = COLLECTION.fullmatch(collection) and OPERATION_ID.fullmatch(id_)
        return cls.in_collection(collection, id_) if is_valid else None

    @classmethod
    def in_collection(cls, collection: str, id_: str) -> "OperationRef":
        """Return the reference of an id in a collection, both of which are valid."""
        is_job = collection.endswith(_JOBS)
        return cls(collection.removesuffix(_JOBS), id_, Kind.JOB if is_job else Kind.OPERATION)

    @property
    def is_job(self) -> bool:
        """Whether this is a job."""
        return self.kind is Kind.JOB

    @property
    def collection(self) -> str:
        """The source's operations, or its jobs. Part of all keys, so that rows of the two kinds never mix."""
        return f"{self.source}{_JOBS}" if self.is_job else self.source

    @property
    def shard(self) -> int:
        """A number from 0 to 255 by a hash. Partitions and message ids depend on the number, so it never changes."""
        return hashlib.sha256(f"{self.collection}\n{self.id}".encode()).digest()[0]

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
        identity = f"{owner}\n{operation.collection}\n{operation.id}\n{callback_url}"
        return cls(operation, hashlib.sha256(identity.encode()).hexdigest()[:16])

    @classmethod
    def parse(cls, public_id: str) -> "RegistrationRef | None":
        """Parse a public id, or return None if the text is not one."""
        found = PUBLIC_ID.fullmatch(public_id)
        return cls(OperationRef.in_collection(found[1], found[2]), found[3]) if found else None

    @property
    def public_id(self) -> str:
        """The id that clients see. It contains all that locates the rows, and shows the operation's id and kind."""
        return f"{self.operation.collection}~{self.operation.id}~{self.hash}"
