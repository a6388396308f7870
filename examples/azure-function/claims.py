"""Who works on which callback, in Table storage: no two at once, and nobody on what is done.

A queue gives a message to a function at least once, and the bridge may have sent the callback twice: a claim is what
makes one piece of work of all that.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.data.tables import TableClient, UpdateMode

#: Longer than `functionTimeout` in host.json: who claimed before that was ended by the host. Shorter than the ten
#: minutes after which the queue gives out the message of a crashed function again.
_LEASE = timedelta(minutes=6)

_ROW = "callback"


class Busy(Exception):
    """Somebody works on it at this moment; the queue brings the message again."""


class Claims:
    """One row for each `webhook-id`, kept: it says that the work is done."""

    def __init__(self, table: TableClient, lease: timedelta = _LEASE) -> None:
        self._table = table
        self._lease = lease

    @contextmanager
    def claim(self, message_id: str) -> Iterator[bool]:
        """Claim the work on a callback; False if it is done already.

        Raises Busy where somebody else has the claim. A block that raises gives it back; a crash in it leaves it to
        the end of its lease; one right after the work, before it is noted as done, repeats it.
        """
        if not self._begin(message_id):
            yield False
            return
        try:
            yield True
        except BaseException:
            self._table.delete_entity(message_id, _ROW)
            raise
        self._table.update_entity({**_key(message_id), "done": True}, mode=UpdateMode.REPLACE)

    def _begin(self, message_id: str) -> bool:
        row = {**_key(message_id), "done": False}
        try:
            self._table.create_entity(row)
        except ResourceExistsError:
            return self._take_over(message_id)
        except ResourceNotFoundError:  # there is no table yet
            self._create_table()
            return self._begin(message_id)
        return True

    def _take_over(self, message_id: str) -> bool:
        """Take the claim of one that crashed; only one of several that try gets it."""
        try:
            row = self._table.get_entity(message_id, _ROW)
            if row["done"]:
                return False
            began = row.metadata["timestamp"]
            if began is None or datetime.now(UTC) - began < self._lease:
                raise Busy(f"{message_id} is being worked on")
            etag = row.metadata["etag"]
            self._table.update_entity(
                row, mode=UpdateMode.REPLACE, etag=etag, match_condition=MatchConditions.IfNotModified
            )
        except (ResourceModifiedError, ResourceNotFoundError) as error:
            raise Busy(f"{message_id} changed hands at this moment") from error
        return True

    def _create_table(self) -> None:
        try:
            self._table.create_table()
        except ResourceExistsError:
            return  # another one was faster


def _key(message_id: str) -> dict[str, str | bool]:
    return {"PartitionKey": message_id, "RowKey": _ROW}
