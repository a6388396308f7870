"""How a step is done: it is decided again while others are faster, and a commit whose reply was lost is found."""

from collections.abc import Mapping

import pytest

from bridge.domain.errors import CommitUnknown, Conflict, ConflictKind, Contended, StorageUnavailable
from bridge.storage.repository import Commit, Repository, unchanged
from bridge.storage.table import Insert, Merge, Row, Transaction
from bridge.testing import MemoryTable
from tests.storage.flaky import Flaky
from tests.support.harness import FakeClock

PARTITION, KEY = "p", "counter"


class Counting:
    """A step that counts in a row, on a table whose commits go wrong by script."""

    def __init__(self) -> None:
        self.memory = MemoryTable()
        self.table = Flaky(self.memory)
        self.waited: list[float] = []
        self.decided: list[str] = []
        self.done: list[str] = []
        numbers = iter(range(1000))
        self.repository = Repository(
            table=self.table,
            clock=FakeClock(),
            new_id=lambda: f"tx-{next(numbers)}",
            sleep=self.waited.append,
            random=lambda: 0.5,
        )

    def read(self) -> Row | None:
        """Read the row."""
        return self.table.get(PARTITION, KEY)

    def count(self, row: Row | None, tx: str) -> Commit[str]:
        """Add one to the row."""
        self.decided.append(tx)
        if row is None:
            return self._commit(Insert(KEY, {"count": 1, "tx": tx}), tx)
        return self._commit(Merge(KEY, {"count": int(str(row.values["count"])) + 1, "tx": tx}, row.etag), tx)

    def count_first(self, tx: str) -> Commit[str]:
        """Insert the row, without a read."""
        return self.count(None, tx)

    def _commit(self, write: Insert | Merge, tx: str) -> Commit[str]:
        transaction = Transaction(PARTITION, (write,), stamp=KEY, tx=tx)
        return Commit((transaction,), lambda etag: self._then(f"{len(self.decided)}: {etag}"))

    def _then(self, result: str) -> str:
        self.done.append(result)
        return result

    def counted(self) -> int:
        """Return what the row says."""
        row = self.memory.get(PARTITION, KEY)
        return 0 if row is None else int(str(row.values["count"]))

    def etag(self) -> str:
        """Return the present ETag of the row."""
        row = self.memory.get(PARTITION, KEY)
        assert row is not None
        return row.etag

    def other_is_faster(self, transaction: Transaction) -> Mapping[str, str]:
        """Let another writer change the row first."""
        row = self.memory.get(PARTITION, KEY)
        write = Insert(KEY, {"count": 100}) if row is None else Merge(KEY, {"count": 200}, row.etag)
        self.memory.commit(Transaction(PARTITION, (write,)))
        return self.memory.commit(transaction)


@pytest.fixture
def step() -> Counting:
    """Make the step."""
    return Counting()


@pytest.mark.parametrize("conflicts", range(6))
def test_a_step_is_decided_again_while_others_are_faster(step: Counting, conflicts: int) -> None:
    step.table.instead = [step.table.conflict] * conflicts

    result = step.repository.transact(step.read, step.count)

    assert result == f"{conflicts + 1}: {step.etag()}"
    assert (step.counted(), step.done) == (1, [result])


def test_a_step_that_is_decided_again_reads_again(step: Counting) -> None:
    step.table.instead = [step.other_is_faster] * 2

    step.repository.transact(step.read, step.count)

    assert step.counted() == 201


def test_all_rounds_of_a_step_have_one_tx_and_no_other_step_has_it(step: Counting) -> None:
    step.table.instead = [step.table.conflict] * 2

    step.repository.transact(step.read, step.count)
    step.repository.transact(step.read, step.count)

    assert step.decided == ["tx-0", "tx-0", "tx-0", "tx-1"]


def test_others_that_are_faster_again_and_again_end_a_step(step: Counting) -> None:
    """After six rounds, with a reason for the caller."""
    step.table.instead = [step.table.conflict] * 6

    with pytest.raises(Contended, match=r"^the same rows were changed by others again and again$"):
        step.repository.transact(step.read, step.count)

    assert (step.table.instead, step.counted(), step.done) == ([], 0, [])


def test_writers_that_met_wait_apart_before_they_decide_again(step: Counting) -> None:
    step.table.instead = [step.table.conflict] * 5

    step.repository.transact(step.read, step.count)

    assert step.waited == [0.01, 0.02, 0.04, 0.08, 0.16]


def test_a_step_without_a_conflict_waits_for_nothing(step: Counting) -> None:
    step.repository.transact(step.read, step.count)

    assert step.waited == []


def test_a_step_that_writes_nothing_commits_nothing(step: Counting) -> None:
    step.table.instead = [step.table.down]

    result = step.repository.transact(step.read, lambda _, tx: unchanged(tx))

    assert (result, len(step.table.instead)) == ("tx-0", 1)


def test_the_first_round_can_do_without_a_read(step: Counting) -> None:
    reads: list[int] = []

    result = step.repository.transact(lambda: reads.append(1), lambda _, tx: unchanged(tx), first=step.count_first)

    assert (result, reads) == (f"1: {step.etag()}", [])


def test_after_a_conflict_of_the_first_round_the_step_reads_without_a_wait(step: Counting) -> None:
    """The row is there: that is no meeting of writers."""
    step.repository.transact(step.read, step.count)

    step.repository.transact(step.read, step.count, first=step.count_first)

    assert (step.counted(), step.waited) == (2, [])


@pytest.mark.parametrize("has_first", [False, True])
def test_a_commit_whose_reply_was_lost_is_found_at_once(step: Counting, *, has_first: bool) -> None:
    step.table.instead = [step.table.reply_lost]

    result = step.repository.transact(step.read, step.count, first=step.count_first if has_first else None)

    assert result == f"1: {step.etag()}"
    assert (step.counted(), len(step.decided), step.done) == (1, 1, [result])


@pytest.mark.parametrize("has_first", [False, True])
def test_a_commit_that_lands_before_the_next_read_is_found_by_that_read(step: Counting, *, has_first: bool) -> None:
    """Its result is that of the round that sent it, with the ETag that was read."""
    step.table.instead = [step.table.lands_late]

    def read() -> Row | None:
        if step.table.late.writes and step.counted() == 0:
            step.memory.commit(step.table.late)
        return step.read()

    result = step.repository.transact(read, step.count, first=step.count_first if has_first else None)

    assert result == f"1: {step.etag()}"
    assert (step.counted(), step.done) == (1, [result])


def test_a_commit_that_lands_after_the_next_read_is_found_by_the_read_after_its_conflict(step: Counting) -> None:
    """The second try meets the first one, and is not done as well."""
    step.table.instead = [step.table.lands_late, step.table.late_lands_first]

    result = step.repository.transact(step.read, step.count)

    assert result.endswith(f": {step.etag()}")
    assert (step.counted(), step.done) == (1, [result])


def test_a_request_that_was_lost_is_sent_again(step: Counting) -> None:
    step.table.instead = [step.table.request_lost]

    step.repository.transact(step.read, step.count)

    assert (step.counted(), len(step.decided), len(step.done)) == (1, 2, 1)


def test_a_second_commit_without_a_reply_ends_a_step(step: Counting) -> None:
    """Each can take as long as a call may."""
    step.table.instead = [step.table.request_lost, step.table.conflict, step.table.request_lost]

    with pytest.raises(CommitUnknown):
        step.repository.transact(step.read, step.count)

    assert (step.table.instead, step.done) == ([], [])


def test_storage_that_is_down_ends_a_step(step: Counting) -> None:
    step.table.instead = [step.table.down]

    with pytest.raises(StorageUnavailable, match="down"):
        step.repository.transact(step.read, step.count)

    assert step.done == []


def test_the_next_way_is_committed_if_only_the_first_needs_a_missing_row(step: Counting) -> None:
    missing = Transaction(PARTITION, (Merge("gone", {}, "*"), Insert(KEY, {"count": 1})), stamp=KEY)
    without = Transaction(PARTITION, (Insert(KEY, {"count": 2}),), stamp=KEY)

    etag = step.repository.commit(missing, without)

    assert (etag, step.counted()) == (step.etag(), 2)


def test_a_conflict_about_a_row_that_has_changed_tries_no_other_way(step: Counting) -> None:
    step.memory.commit(Transaction(PARTITION, (Insert(KEY, {"count": 1}),)))
    ways = [Transaction(PARTITION, (Merge(KEY, {"count": number}, "stale"),)) for number in (2, 3)]
    step.table.instead = [step.memory.commit, step.table.down]

    with pytest.raises(Conflict) as conflict:
        step.repository.commit(*ways)

    assert (conflict.value.kind, len(step.table.instead)) == (ConflictKind.STALE, 1)
