"""Calls that wait in memory for a place at their host."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from bridge.domain.delivery import Call
from bridge.domain.ids import RegistrationRef

#: Calls of one host that are looked at to find one that may begin, and blocked hosts that are looked at for old calls.
LOOKED_AT = 16


@dataclass(frozen=True, slots=True)
class WaitingCall:
    """A call, and since when it waits."""

    call: Call
    since: datetime


class WaitingCalls:
    """The calls by host, each registration at most once. Not safe for threads by itself."""

    def __init__(self) -> None:
        self._by_host: dict[str, dict[RegistrationRef, WaitingCall]] = {}
        #: Hosts that have room themselves: something else keeps their calls. The most recent last.
        self._blocked: OrderedDict[str, None] = OrderedDict()
        #: All of them together.
        self.number = 0

    def __contains__(self, call: Call) -> bool:
        """Tell whether a call for the same registration waits."""
        return call.ref in self._by_host.get(call.origin or "", {})

    def count(self, origin: str) -> int:
        """Count the calls of a host."""
        return len(self._by_host.get(origin, ()))

    def first(self, origin: str) -> Sequence[Call]:
        """Return the first calls of a host, the oldest first."""
        return [each.call for each in islice(self._by_host.get(origin, {}).values(), LOOKED_AT)]

    def add(self, call: Call, now: datetime) -> None:
        """Let a call wait."""
        self._by_host.setdefault(call.origin or "", {})[call.ref] = WaitingCall(call, now)
        self.number += 1

    def take(self, call: Call) -> Call:
        """Take out a call that waits."""
        origin = call.origin or ""
        calls = self._by_host[origin]
        del calls[call.ref]
        self.number -= 1
        if not calls:
            del self._by_host[origin]
            self._blocked.pop(origin, None)
        return call

    def take_newest(self, origin: str, number: int) -> list[Call]:
        """Take out the newest calls of a host."""
        newest = [each.call for each in islice(reversed(self._by_host.get(origin, {}).values()), max(number, 0))]
        return [self.take(call) for call in reversed(newest)]

    def block(self, origin: str, *, has_room: bool) -> None:
        """Note whether a host has room for the calls that wait for it."""
        if has_room and origin in self._by_host:
            self._blocked.setdefault(origin)
        else:
            self._blocked.pop(origin, None)

    def blocked(self) -> Sequence[str]:
        """Return the hosts that something else than their own limit keeps, the most recent last."""
        return list(self._blocked)

    def older_than(self, then: datetime) -> Iterator[Call]:
        """Find calls that wait since before `then`: one of each of the hosts that are blocked longest."""
        for origin in list(islice(self._blocked, LOOKED_AT)):
            first = next(iter(self._by_host[origin].values()))
            if first.since < then:
                yield first.call
