"""Shares the messages of a sweep between hosts, so that a host with many deliveries does not fill the queue."""

import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

from bridge.domain.delivery import Call
from bridge.storage.due import DueDelivery

#: Messages that a sweep sends for one host. The other deliveries stay due.
MESSAGES_PER_HOST = 100

#: From this message on, a delivery calls for more as soon as its host answers: a quick host need not wait for a sweep.
MORE_FROM = MESSAGES_PER_HOST // 2


class MessageShares:
    """Counts the messages of one sweep by host. Safe to call from any thread."""

    def __init__(self) -> None:
        self._sent: Counter[str] = Counter()
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Begin a sweep."""
        with self._lock:
            self._sent.clear()

    def take(self, call: Call) -> Call | None:
        """Return the call to send, or None if its host has had its share."""
        if call.origin is None:  # written by a former version
            return call
        with self._lock:
            self._sent[call.origin] += 1
            number = self._sent[call.origin]
        if number > MESSAGES_PER_HOST:
            return None
        return replace(call, has_more=True) if number >= MORE_FROM else call


def in_turns(due: Iterable[DueDelivery]) -> Iterator[DueDelivery]:
    """Order deliveries so that each host has one turn after the other; those of one host stay in their order."""
    by_host: dict[str, deque[DueDelivery]] = {}
    for each in due:
        by_host.setdefault(each.call.origin or each.call.ref.public_id, deque()).append(each)
    hosts = deque(by_host.values())
    while hosts:
        of_host = hosts.popleft()
        yield of_host.popleft()
        if of_host:
            hosts.append(of_host)
