"""The order of polls of one source if not all can be made: shares of owners, then the most lost delay.

The owners take turns, so that the operations of one owner delay no other's. Within the share of an owner the operation
with the most lost delay comes first: not the likeliest to be done, which would starve the others, nor the oldest. Only
the last turn is remembered, so a crash costs nothing.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from datetime import datetime

from bridge.domain.poll_schedule import PollSchedule
from bridge.storage.due import DuePoll


class PollPriority:
    """Orders operations by the mean delay, in seconds, that is lost if they are polled now."""

    def __init__(self, schedule: PollSchedule, now: datetime) -> None:
        self._schedule = schedule
        self._now = now
        self._known: dict[str, float] = {}

    def ordered(
        self, due: Sequence[DuePoll], *, after: str | None = None, is_newest_first: bool = False
    ) -> list[DuePoll]:
        """Order the due operations of one source for polling.

        The owners take turns by name, beginning with the one after `after`. Of the operations that were never polled
        the newest and the oldest take turns, beginning with the oldest unless `is_newest_first`.
        """
        shares = _by_owner(due)
        owners = sorted(shares, key=lambda owner: (after is not None and owner <= after, owner))
        turns = deque(deque(self._of_owner(shares[owner], is_newest_first)) for owner in owners)
        ordered: list[DuePoll] = []
        while turns:
            share = turns.popleft()
            ordered.append(share.popleft())
            if share:
                turns.append(share)
        return ordered

    def worth(self, due: Sequence[DuePoll], granted: int) -> float:
        """Return the worth of the last of `granted` polls of one source, in base prices.

        If owners share the polls, the owner with the least worthy last poll counts: the operations of another owner do
        not raise the price of its polls. An owner with all polls granted has no poll that is worth more.
        """
        values = [sorted(map(self._worth, share), reverse=True) for share in _by_owner(due).values()]
        shares = _fair_shares([len(each) for each in values], granted)
        lasts = [
            0.0 if share == len(each) and granted < len(due) else each[share - 1]
            for each, share in zip(values, shares, strict=True)
            if share > 0
        ]
        return min(lasts)

    def _of_owner(self, share: Sequence[DuePoll], is_newest_first: bool) -> Iterator[DuePoll]:
        """Order the operations of one owner by lost delay. Those that were polled but never found come last.

        The places of operations that were never polled go to the oldest and the newest of them in turn, so that many
        made-up ids do not delay a real one that was registered after them.
        """
        by_urgency = sorted(share, key=self._urgency, reverse=True)
        known = [due for due in by_urgency if not _is_missing(due)]
        new = deque(
            sorted((due for due in known if not due.poll_state.polls), key=lambda due: due.poll_state.registered_at)
        )
        is_oldest = not is_newest_first
        for due in known:
            if due.poll_state.polls:
                yield due
            else:
                yield new.popleft() if is_oldest else new.pop()
                is_oldest = not is_oldest
        yield from (due for due in by_urgency if _is_missing(due))

    def _worth(self, due: DuePoll) -> float:
        return self._urgency(due) / self._schedule.base_price(due.poll_state.ref)

    def _urgency(self, due: DuePoll) -> float:
        key = due.handle.key
        if key not in self._known:
            self._known[key] = self._schedule.urgency(due.poll_state, self._now)
        return self._known[key]


def _is_missing(due: DuePoll) -> bool:
    """Return whether an operation was polled and never found."""
    return due.poll_state.absences > 0 and due.poll_state.seen_running_at is None


def _by_owner(due: Sequence[DuePoll]) -> dict[str, list[DuePoll]]:
    shares: dict[str, list[DuePoll]] = {}
    for each in due:
        shares.setdefault(each.poll_state.owner, []).append(each)
    return shares


def _fair_shares(sizes: Sequence[int], granted: int) -> list[int]:
    """Share `granted` polls between owners that want `sizes`, like turns would. Returns the share of each."""
    shares = [0] * len(sizes)
    order = sorted(range(len(sizes)), key=lambda index: sizes[index])
    for place, index in enumerate(order):
        shares[index] = min(sizes[index], granted // (len(sizes) - place))
        granted -= shares[index]
    return shares
