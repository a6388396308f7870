"""Faults of storage that a test chooses by their content: the step that a transaction writes, never its number.

    bridge, table = faulty()
    table.fail(CLAIM, table.reply_lost)

The next claim is committed and its reply is lost. All other transactions are committed as ever.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bridge.storage.keys import DURATION_PREFIX, HEARTBEAT_KEY, OPERATION_PREFIX, PINGS_PARTITION, SOURCE_PREFIX
from bridge.storage.table import Delete, Insert, Merge, Table, Transaction, Upsert, Write
from tests.support.forwarding import FailingTable
from tests.support.harness import Harness, harness

#: Says whether a transaction is of a step.
Step = Callable[[Transaction], bool]

#: Takes the place of a commit.
Effect = Callable[[Transaction], Mapping[str, str]]


def _writes(kind: type[Write], part: str, *, column: str = "") -> Step:
    """Match a transaction with a write of a kind, whose key has a part and whose values have a column."""

    def matches(transaction: Transaction) -> bool:
        return any(
            isinstance(each, kind) and part in each.key and (not column or column in getattr(each, "values", {}))
            for each in transaction.writes
        )

    return matches


def _all(*steps: Step) -> Step:
    return lambda transaction: all(step(transaction) for step in steps)


def _no(step: Step) -> Step:
    return lambda transaction: not step(transaction)


def _in(partition: str) -> Step:
    return lambda transaction: transaction.partition == partition


def _key(prefix: str) -> Step:
    return lambda transaction: any(each.key.startswith(prefix) for each in transaction.writes)


#: A sweep shows that it runs.
HEARTBEAT = _key(HEARTBEAT_KEY)
#: A sweep takes tokens of a source, or writes down what the source answered.
BUDGET = _key(SOURCE_PREFIX)
#: A sweep adds durations to the models.
OBSERVATION = _key(DURATION_PREFIX)
#: A ping is counted.
PING = _in(PINGS_PARTITION)
#: An attempt begins, or is written down as one that was not sent.
CLAIM = _writes(Insert, "att:")
#: An attempt gets its outcome.
RECORD = _writes(Upsert, "att:")
#: An operation gets its end.
END = _writes(Merge, OPERATION_PREFIX, column="finished_at")
#: The due rows of polls move to their next time.
POLL_AGAIN = _all(_writes(Delete, ":poll:"), _writes(Insert, ":poll:"), _no(END))
#: The due rows of deliveries move behind the messages that are sent.
ENQUEUE = _all(_writes(Delete, ":deliver:"), _writes(Insert, ":deliver:"), _no(_key("att:")))
#: A due row that was missing is put back.
RESTORE = _all(_writes(Insert, "due:"), _no(_writes(Delete, "due:")), _no(_writes(Insert, "idx:")))
#: An operation is forgotten.
PURGE = _writes(Delete, OPERATION_PREFIX)
#: A client registers, as if the operation had no registration yet: the try without a read.
REGISTER_NEW = _all(_writes(Insert, OPERATION_PREFIX), _no(_writes(Merge, OPERATION_PREFIX)))
#: A client registers for an operation that was read.
REGISTER_FURTHER = _all(_writes(Insert, OPERATION_PREFIX), _writes(Merge, OPERATION_PREFIX))
#: Whatever changes an operation or a registration.
CHANGE = _key(OPERATION_PREFIX)


@dataclass(slots=True)
class _Fault:
    step: Step
    #: What happens to the next transactions of the step, one each; the last one stays if `stays`.
    effects: list[Effect] = field(default_factory=list)
    stays: bool = False
    #: How many transactions met it.
    met: int = 0


#: All tables with faults of the present test.
MADE: "list[FaultyTable]" = []


class FaultyTable(FailingTable):
    """A table of which the transactions of chosen steps go wrong."""

    def __init__(self, inner: Table) -> None:
        super().__init__(inner)
        self._faults: list[_Fault] = []
        self._mended: list[_Fault] = []
        MADE.append(self)

    def fail(self, step: Step, *effects: Effect) -> None:
        """Let the next transactions of a step meet these effects, one each."""
        self._faults.append(_Fault(step, list(effects)))

    def keep_failing(self, step: Step, effect: Effect) -> None:
        """Let every transaction of a step meet an effect, until `mend`."""
        self._faults.append(_Fault(step, [effect], stays=True))

    def mend(self) -> None:
        """Commit everything as ever."""
        self._mended += self._faults
        self._faults = []

    @property
    def met(self) -> int:
        """How many transactions met a fault."""
        return sum(each.met for each in (*self._mended, *self._faults))

    @property
    def is_met(self) -> bool:
        """Whether each fault was met: a test of a fault that never happens shows nothing."""
        return all(each.met for each in (*self._mended, *self._faults))

    def commit(self, transaction: Transaction) -> Mapping[str, str]:
        """Commit, or go wrong."""
        for fault in self._faults:
            if fault.effects and fault.step(transaction):
                fault.met += 1
                return (fault.effects[0] if fault.stays else fault.effects.pop(0))(transaction)
        return self.inner.commit(transaction)


def faulty() -> tuple[Harness, FaultyTable]:
    """Make a harness whose storage can go wrong."""
    tables: list[FaultyTable] = []

    def wrap(inner: Table) -> Table:
        tables.append(FaultyTable(inner))
        return tables[0]

    return harness(wrap), tables[0]
