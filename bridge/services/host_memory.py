"""What an instance remembers of hosts between attempts: a bounded number of them, in constant time for each attempt."""

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta

from bridge.domain.host_limits import HostState

#: Hosts that are remembered. Beyond that the least recently used one that is not in use gives way, silent or not.
REMEMBERED_HOSTS = 4096


class HostMemory:
    """The states of hosts, the most recently used last. Not safe for threads by itself."""

    def __init__(self, is_in_use: Callable[[str], bool]) -> None:
        self._states: OrderedDict[str, HostState] = OrderedDict()
        self._is_in_use = is_in_use

    def __len__(self) -> int:
        return len(self._states)

    def get(self, origin: str) -> HostState:
        """Return what is known of a host."""
        state = self._states.get(origin)
        if state is None:
            return HostState()
        self._states.move_to_end(origin)
        return state

    def put(self, origin: str, state: HostState) -> None:
        """Remember a host."""
        self._states[origin] = state
        self._states.move_to_end(origin)
        if len(self._states) > REMEMBERED_HOSTS:
            self._forget_one()

    def _forget_one(self) -> None:
        """Forget one host. The number of those in use, which are passed over, is bounded."""
        for _ in range(len(self._states)):
            origin, state = self._states.popitem(last=False)
            if not self._is_in_use(origin):
                return
            self._states[origin] = state


class Bookings:
    """Until when deliveries are put back already, by what they wait for: the next one comes after the last one."""

    def __init__(self) -> None:
        self._until: OrderedDict[str, datetime] = OrderedDict()

    def book(
        self, key: str, now: datetime, earliest: datetime, interval: timedelta, *, latest: datetime, random: float
    ) -> datetime:
        """Return when the next delivery comes: `interval` after the one before it, and not before `earliest`.

        A backlog that is longer than `latest` is spread over the second half of the time until then.
        """
        until = max(earliest, self._until.pop(key, now))
        booked = min(until + interval, latest)
        self._until[key] = booked
        if len(self._until) > REMEMBERED_HOSTS:
            self._until.popitem(last=False)
        return until if until < latest else latest - (latest - now) * random / 2
