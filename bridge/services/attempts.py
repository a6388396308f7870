"""Decides whether a call is followed: takes the right to the attempt, or puts the delivery back to a later time."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import assert_never

from bridge.domain.callback_url import host_and_port
from bridge.domain.delivery import LEASE_NEEDED, Attempt, Bury, Call, Drop, answer_call
from bridge.domain.errors import ForeignRow
from bridge.domain.host_places import Deferred
from bridge.domain.registration import Registration
from bridge.domain.time import Clock
from bridge.log import Event, log
from bridge.services.recorder import AttemptRecorder
from bridge.services.repair import Repair
from bridge.storage.keys import partition_of, row_key
from bridge.storage.records import Stored, stored
from bridge.storage.repository import Waits, commit, commit_first, transact
from bridge.storage.table import Table
from bridge.storage.writes import deliver
from bridge.storage.writes.deliver import Claimed


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What is written before a POST, or instead of one. Raises StorageUnavailable and Contended."""

    table: Table
    clock: Clock
    #: Makes a random text that no other call makes.
    token: Callable[[], str]
    #: Waits between the rounds of a step that others were faster at.
    waits: Waits
    recorder: AttemptRecorder
    #: Puts due rows back that are missing.
    repair: Repair

    def claim(self, call: Call) -> Claimed | None:
        """Take the right to the attempt, with enough time left to make it; None if there is nothing to do."""
        name = self.token()
        try:
            restore = partial(self.repair.restore, call.ref.operation)
            claimed = transact(lambda: self._claim(call, name), self.waits, missing=restore)
        except ForeignRow as error:
            log(Event.SET_ASIDE, registration=call.ref.public_id, why=str(error))
            return None
        if claimed is not None and claimed.attempt.leased_until - self.clock() < LEASE_NEEDED:
            log(Event.DROPPED, registration=call.ref.public_id, attempt=call.number, why="the claim took too long")
            return None
        return claimed

    def _claim(self, call: Call, name: str) -> Claimed | None:
        """Read, decide and commit once."""
        before = self._read(call)
        if before is None:
            return None
        if before.record.claim == name:
            return Claimed.held(before)
        now = self.clock()
        if not self._may_attempt(call, before, now, name):
            return None
        claims = [
            deliver.claim(before, now, name=name, drops_oldest=drops) for drops in deliver.ways_to_drop(before.record)
        ]
        etags = commit_first(self.table, [transaction for transaction, _ in claims])
        after = claims[0][1]
        return Claimed.held(Stored(after, etags[row_key(after.ref)]))

    def _may_attempt(self, call: Call, before: Stored[Registration], now: datetime, name: str) -> bool:
        """Return whether the call may be followed; end the run if its last attempt was lost."""
        match answer_call(call, before.record, now):
            case Drop(why=why):
                log(Event.DROPPED, registration=call.ref.public_id, attempt=call.number, why=why)
                return False
            case Bury():
                commit(self.table, deliver.bury(before, now, tx=name))
                log(Event.BURIED, registration=call.ref.public_id, attempt=before.record.last_attempt)
                return False
            case Attempt():
                return True
            case never:
                assert_never(never)

    def put_back(self, call: Call, deferred: Deferred) -> None:
        """Put a delivery back; if a failed probe of its host counts for it, an attempt of it has failed instead."""
        tx = self.token()
        try:
            restore = partial(self.repair.restore, call.ref.operation)
            transact(lambda: self._put_back(call, deferred, tx), self.waits, missing=restore)
        except ForeignRow as error:
            log(Event.SET_ASIDE, registration=call.ref.public_id, why=str(error))

    def _put_back(self, call: Call, deferred: Deferred, tx: str) -> None:
        """Read, decide and commit once."""
        now = self.clock()
        before = self._read(call)
        if before is None or not self._may_attempt(call, before, now, tx):
            return
        record = before.record
        probe = deferred.counts_for(record.next_attempt_at or record.run_began_at or record.since)
        if probe is not None:
            self.recorder.fail_unsent(before, probe, now, tx=tx)
            return
        commit(self.table, deliver.defer(before, deferred, tx=tx))
        host = host_and_port(record.callback_url)
        log(Event.HELD_BACK, registration=record.ref.public_id, to=host, why=deferred.why, until=deferred.until)

    def _read(self, call: Call) -> Stored[Registration] | None:
        """Read the registration of a call. Raises ForeignRow."""
        row = self.table.get(partition_of(call.ref), row_key(call.ref))
        if row is None:
            log(Event.SET_ASIDE, registration=call.ref.public_id, why="a queue message about no registration here")
            return None
        return stored(Registration, call.ref, row)
