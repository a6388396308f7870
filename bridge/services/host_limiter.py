"""Shares the places of this instance between receivers. The state is lost with the instance, and then learnt again.

A delivery acquires a place before any of its rows is read. The result is one of these:

    permit      attempt now
    waiting     the message is done: the task waits in memory, and a thread that ends another attempt continues with it
    pause       wait, then resume: attempts at unproven hosts do not all begin at once
    deferred    postpone the delivery, because the host is busy for longer, or the circuit is open

A waiting task occupies no place. If the process dies, the due row sends another message, like for every lost message.
All sizes are bounded: the number of remembered hosts, the number of waiting tasks, and the work per attempt.
"""

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TypeVar

from bridge.domain.delivery import ATTEMPT, DeliveryTask
from bridge.domain.host_limits import (
    CLASS_PLACES,
    Deferred,
    HeldPermit,
    HostClass,
    HostPermit,
    HostState,
    Work,
    places_of_owner,
    server_of,
)
from bridge.domain.ids import RegistrationRef
from bridge.domain.outcome import Outcome, Unreachable
from bridge.domain.registration import DeferredBy
from bridge.domain.time import Clock

#: The most remembered hosts. Beyond that the least recently used one that is not in use is dropped, silent or not.
REMEMBERED_HOSTS = 4096


class HostMemory:
    """The states of a bounded number of hosts, the most recently used last. Not thread-safe.

    The work per attempt is constant.
    """

    def __init__(self, is_in_use: Callable[[str], bool]) -> None:
        self._states: OrderedDict[str, HostState] = OrderedDict()
        self._is_in_use = is_in_use

    def __len__(self) -> int:
        return len(self._states)

    def get(self, origin: str) -> HostState:
        """Return the state of a host."""
        state = self._states.get(origin)
        if state is None:
            return HostState()
        self._states.move_to_end(origin)
        return state

    def put(self, origin: str, state: HostState) -> None:
        """Store the state of a host."""
        self._states[origin] = state
        self._states.move_to_end(origin)
        if len(self._states) > REMEMBERED_HOSTS:
            self._forget_one()

    def _forget_one(self) -> None:
        """Drop one host. Hosts in use are skipped, and their number is bounded."""
        for _ in range(len(self._states)):
            origin, state = self._states.popitem(last=False)
            if not self._is_in_use(origin):
                return
            self._states[origin] = state


class Bookings:
    """Until when deliveries are already deferred, by the reason of the wait. The next deferral follows the last one."""

    def __init__(self) -> None:
        self._until: OrderedDict[str, datetime] = OrderedDict()

    def book(
        self, key: str, now: datetime, earliest: datetime, interval: timedelta, *, latest: datetime, random: float
    ) -> datetime:
        """Return the time of the next delivery: `interval` after the previous one, and not before `earliest`.

        A backlog that is longer than `latest` is spread over the second half of the time until then.
        """
        until = max(earliest, self._until.pop(key, now))
        booked = min(until + interval, latest)
        self._until[key] = booked
        if len(self._until) > REMEMBERED_HOSTS:
            self._until.popitem(last=False)
        return until if until < latest else latest - (latest - now) * random / 2


#: How many tasks of a host are checked for one that may begin, and how many blocked hosts are checked for old tasks.
LOOKED_AT = 16


@dataclass(frozen=True, slots=True)
class WaitingTask:
    """A task, and the start of its wait."""

    task: DeliveryTask
    since: datetime


class WaitingTasks:
    """Tasks that wait in memory for a place at their host, at most one per registration.

    Not thread-safe.
    """

    def __init__(self) -> None:
        self._by_host: dict[str, dict[RegistrationRef, WaitingTask]] = {}
        #: Hosts below their own limit: another limit blocks their tasks. The most recent last.
        self._blocked: OrderedDict[str, None] = OrderedDict()
        #: The number of all waiting tasks.
        self.number = 0

    def __contains__(self, task: DeliveryTask) -> bool:
        """Return whether a task for the same registration waits."""
        return task.ref in self._by_host.get(task.origin or "", {})

    def count(self, origin: str) -> int:
        """Count the tasks of a host."""
        return len(self._by_host.get(origin, ()))

    def of(self, origin: str) -> Sequence[DeliveryTask]:
        """Return the tasks of a host, the oldest first."""
        return [each.task for each in self._by_host.get(origin, {}).values()]

    def first(self, origin: str) -> Sequence[DeliveryTask]:
        """Return the first tasks of a host, the oldest first."""
        return [each.task for each in islice(self._by_host.get(origin, {}).values(), LOOKED_AT)]

    def add(self, task: DeliveryTask, now: datetime) -> None:
        """Add a waiting task."""
        self._by_host.setdefault(task.origin or "", {})[task.ref] = WaitingTask(task, now)
        self.number += 1

    def take(self, task: DeliveryTask) -> DeliveryTask:
        """Remove a waiting task."""
        origin = task.origin or ""
        tasks = self._by_host[origin]
        del tasks[task.ref]
        self.number -= 1
        if not tasks:
            del self._by_host[origin]
            self._blocked.pop(origin, None)
        return task

    def replace(self, task: DeliveryTask) -> None:
        """Put a task in the place of the waiting task of the same registration."""
        tasks = self._by_host[task.origin or ""]
        tasks[task.ref] = replace(tasks[task.ref], task=task)

    def take_newest(self, origin: str, number: int) -> list[DeliveryTask]:
        """Remove the newest tasks of a host."""
        newest = [each.task for each in islice(reversed(self._by_host.get(origin, {}).values()), max(number, 0))]
        return [self.take(task) for task in reversed(newest)]

    def block(self, origin: str, *, has_room: bool) -> None:
        """Note whether a host has room for its waiting tasks."""
        if has_room and origin in self._by_host:
            self._blocked.setdefault(origin)
        else:
            self._blocked.pop(origin, None)

    def blocked(self) -> Sequence[str]:
        """Return the hosts that are blocked by another limit than their own, the most recent last."""
        return list(self._blocked)

    def older_than(self, then: datetime) -> Iterator[DeliveryTask]:
        """Find tasks that wait since before `then`: one of each of the longest blocked hosts."""
        for origin in list(islice(self._blocked, LOOKED_AT)):
            first = next(iter(self._by_host[origin].values()))
            if first.since < then:
                yield first.task


#: The most waiting tasks: of one host, of all hosts, and of all hosts while an unproven host may add one.
WAITING_PER_HOST = 256
WAITING = 1024
WAITING_BEFORE_UNPROVEN = 512

#: A host with a longer backlog gets no further waiting tasks.
MAX_WAIT = timedelta(seconds=30)

#: The shortest and the longest deferral of a delivery.
SHORTEST_DEFERRAL = timedelta(seconds=5)
LONGEST_DEFERRAL = timedelta(minutes=10)

#: The time between two attempts at unproven hosts, unless the first was answered. A flood of silent hosts then does not
#: take all of their places at once, and the places become free one by one. The first attempts begin at once.
UNPROVEN_INTERVAL = ATTEMPT / CLASS_PLACES[HostClass.UNPROVEN]
UNPROVEN_AT_ONCE = 2

#: The most messages that are sent again after one attempt, so that other threads come for free places.
_RESENT = 2

#: The time between two such sends for blocked hosts: the messages need a moment to arrive.
_RESENT_APART = timedelta(seconds=1)

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)

_K = TypeVar("_K")


class HostLimiter:
    """Grants the places of an instance. Thread-safe."""

    def __init__(self, clock: Clock, *, random: Callable[[], float], by_owner: bool) -> None:
        """Create a limiter. `random` in [0, 1) spreads long deferrals. `by_owner` limits the places of one owner."""
        self._clock = clock
        self._random = random
        self._by_owner = by_owner
        self._lock = threading.Lock()
        self._in_flight: Counter[str] = Counter()
        self._hosts = HostMemory(self._is_in_use)
        self._bookings = Bookings()
        self._by_class: Counter[HostClass] = Counter()
        self._at_server: Counter[str] = Counter()
        self._of_owner: Counter[tuple[str, HostClass]] = Counter()
        self._waiting = WaitingTasks()
        self._is_pacing = False
        self._unproven_since = self._resent_at = _LONG_AGO

    def acquire(self, task: DeliveryTask) -> Work:
        """Request a place for a task with a known origin and owner."""
        origin, now = task.origin or "", self._clock()
        with self._lock:
            state = self._hosts.get(origin)
            if not state.admits(task, now):
                return Work(deferred=[(task, self._wait_for_circuit(task, state, now))])
            waits = task in self._waiting
            if self._fits(task, now):
                return Work(permit=self._take(self._waiting.take(task) if waits else task, now))
            if waits and task.forced:
                self._waiting.replace(task)
            return Work() if waits else self._wait(task, now)

    def resume(self) -> Work:
        """Continue after a pause."""
        now = self._clock()
        with self._lock:
            self._is_pacing = False
            self._by_class[HostClass.UNPROVEN] -= 1
            return self._next(now, paced=True)

    def locate(self, permit: HostPermit, address: str) -> HostPermit | Work:
        """Count an unproven host by its address. Returns a permit, or other work if that address is busy."""
        now = self._clock()
        with self._lock:
            self._hosts.put(permit.origin, replace(self._hosts.get(permit.origin), address=address))
            self._release_place(permit)
            if self._fits(permit.task, now, paced=True, is_admitted=bool(permit.task.forced)):
                return self._take(permit.task, now)
            put_back = self._wait(permit.task, now).deferred
            work = self._next(now)
            work.deferred.extend(put_back)
            return work

    @contextmanager
    def permit(self, work: Work, resend: Callable[..., None]) -> Iterator[HeldPermit]:
        """Hold the place that `work` has, for an attempt or for a pause, and give it back at the end of the block.

        The held permit then has the next work of the thread. If the block raises, the thread begins nothing more: tasks
        that it would have taken get another message by `resend`.
        """
        held = HeldPermit(work.permit)
        try:
            yield held
        except BaseException:
            left = held.then or self._end(held.permit, work.pause, take=False)
            while left is not None:
                taken = [] if left.permit is None else [left.permit.task]
                resend(*left.resent, *(task for task, _ in left.deferred), *taken)
                left = self._end(left.permit, left.pause, take=False)
            raise
        held.then = held.then or self._end(held.permit, work.pause, take=held.takes_more)

    def _end(self, permit: HostPermit | None, pause: timedelta | None, *, take: bool) -> Work | None:
        if pause is not None:
            return self.resume()
        return None if permit is None else self.release(permit, take=take)

    def waiting(self, origin: str) -> int:
        """Count the tasks that wait for a host."""
        with self._lock:
            return self._waiting.count(origin)

    def note(self, permit: HostPermit, outcome: Outcome, took: timedelta) -> None:
        """Store the outcome of an attempt as soon as it is known."""
        now = self._clock()
        with self._lock:
            state = self._hosts.get(permit.origin)
            if isinstance(outcome, Unreachable):
                state = state.failed(now, outcome)
            else:
                state = state.answered(now, took, address=outcome.address)
                if permit.host_class is HostClass.UNPROVEN:  # the attempt did not hang, so another one may begin
                    self._unproven_since = _LONG_AGO
            self._hosts.put(permit.origin, state)

    def release(self, permit: HostPermit, *, take: bool = True) -> Work:
        """Release the place. Returns the next work of the same thread. Without `take`, it begins no other attempt."""
        origin, now = permit.origin, self._clock()
        with self._lock:
            self._release_place(permit)
            state = self._hosts.get(origin)
            if state.is_open(now):
                not_admitted = [task for task in self._waiting.of(origin) if not state.admits(task, now)]
                deferred = [
                    (self._waiting.take(task), self._wait_for_circuit(task, state, now)) for task in not_admitted
                ]
            else:
                excess = self._waiting.count(origin) - self._room(state, now)
                deferred = [(task, self._busy(task, now)) for task in self._waiting.take_newest(origin, excess)]
            self._sort_in(origin, now)
            work = self._next(now, origin=origin, take=take)
            # A first answer gives a host more places, each of which needs a thread. So does a thread that stops here.
            wanted = state.limit(now) - permit.limit if take else 1
            work.resent.extend(self._waiting.take_newest(origin, wanted))
            work.deferred.extend(deferred)
            return work

    def _next(self, now: datetime, *, origin: str | None = None, take: bool = True, paced: bool = False) -> Work:
        """Find the next attempt for a thread: at the same host, or at a blocked one.

        Further blocked hosts that could begin get a thread by a message that is sent again.
        """
        work = Work(deferred=list(self._aged(now)))
        permit = self._begun(origin, now) if take and origin is not None else None
        resent: list[DeliveryTask] = []
        for name in sorted(self._waiting.blocked(), key=self._urgency)[::-1]:
            if take and permit is None:
                permit = self._begun(name, now, paced=paced)
                if permit is None and not self._is_pacing and self._candidate(name, now, paced=True):
                    return Work(pause=self._pace(now), deferred=work.deferred)
            elif len(resent) >= _RESENT or now < self._resent_at + _RESENT_APART:
                break
            elif name != origin and (task := self._candidate(name, now, paced=not self._is_pacing)) is not None:
                resent.append(self._waiting.take(task))
        self._resent_at = now if resent else self._resent_at
        return Work(permit=permit, deferred=work.deferred, resent=resent)

    def _urgency(self, origin: str) -> tuple[bool, int]:
        """Sort blocked hosts, the most urgent last: without a failure, with the longest backlog, and the most recent.

        Under a flood of silent hosts a new host then gets the next place instead of the last one.
        """
        return self._hosts.get(origin).failures == 0, self._waiting.count(origin)

    def _begun(self, origin: str, now: datetime, *, paced: bool = False) -> HostPermit | None:
        task = self._candidate(origin, now, paced=paced)
        return None if task is None else self._take(self._waiting.take(task), now)

    def _candidate(self, origin: str, now: datetime, *, paced: bool) -> DeliveryTask | None:
        """Return the first task that could begin. One owner's tasks do not block another owner's."""
        return next((task for task in self._waiting.first(origin) if self._fits(task, now, paced=paced)), None)

    def _fits(self, task: DeliveryTask, now: datetime, *, paced: bool = False, is_admitted: bool = False) -> bool:
        """Return whether an attempt may begin. `paced` skips the interval between attempts at unproven hosts.

        `is_admitted` skips the circuit, which has admitted the attempt before.
        """
        origin = task.origin or ""
        state = self._hosts.get(origin)
        host_class = state.class_at(now)
        if not (is_admitted or state.admits(task, now)) or self._in_flight[origin] >= state.limit(now):
            return False
        if self._by_class[host_class] >= CLASS_PLACES[host_class]:
            return False
        if self._by_owner and self._of_owner[task.owner or "", host_class] >= places_of_owner(host_class):
            return False
        if host_class is not HostClass.UNPROVEN:
            return True
        server = server_of(origin, state)
        return (server is None or not self._at_server[server]) and (paced or not self._is_early(now))

    def _is_early(self, now: datetime) -> bool:
        at_once = self._by_class[HostClass.UNPROVEN] < UNPROVEN_AT_ONCE
        return not at_once and now < self._unproven_since + UNPROVEN_INTERVAL

    def _take(self, task: DeliveryTask, now: datetime) -> HostPermit:
        origin, owner = task.origin or "", task.owner or ""
        state = self._hosts.get(origin)
        host_class = state.class_at(now)
        server = server_of(origin, state) if host_class is HostClass.UNPROVEN else None
        if state.is_open(now):
            self._hosts.put(origin, replace(state, forced_at=now))
        self._in_flight[origin] += 1
        self._by_class[host_class] += 1
        self._of_owner[owner, host_class] += 1
        if server is not None:
            self._at_server[server] += 1
        if host_class is HostClass.UNPROVEN:
            self._unproven_since = now
        self._sort_in(origin, now)
        return HostPermit(
            task=task, origin=origin, owner=owner, host_class=host_class, server=server, limit=state.limit(now)
        )

    def _release_place(self, permit: HostPermit) -> None:
        _less(self._in_flight, permit.origin)
        self._by_class[permit.host_class] -= 1
        _less(self._of_owner, (permit.owner, permit.host_class))
        if permit.server is not None:
            _less(self._at_server, permit.server)

    def _pace(self, now: datetime) -> timedelta:
        self._is_pacing = True
        self._by_class[HostClass.UNPROVEN] += 1
        return self._unproven_since + UNPROVEN_INTERVAL - now

    def _wait(self, task: DeliveryTask, now: datetime) -> Work:
        """Let a task wait in memory, or defer it if there is no room."""
        origin = task.origin or ""
        state = self._hosts.get(origin)
        most = WAITING_BEFORE_UNPROVEN if state.class_at(now) is HostClass.UNPROVEN else WAITING
        if self._waiting.number >= most or self._waiting.count(origin) >= self._room(state, now):
            return Work(deferred=[(task, self._busy(task, now))])
        self._waiting.add(task, now)
        self._sort_in(origin, now)
        if not self._is_pacing and self._fits(task, now, paced=True):
            return Work(pause=self._pace(now))
        return Work()

    def _room(self, state: HostState, now: datetime) -> int:
        """Return how many tasks may wait for a host: as many as it can take within the longest wait."""
        if state.class_at(now) is HostClass.UNPROVEN:
            return WAITING_PER_HOST  # they wait for the outcome of one attempt
        return min(WAITING_PER_HOST, MAX_WAIT // max(state.interval(now), timedelta(milliseconds=1)))

    def _wait_for_circuit(self, task: DeliveryTask, state: HostState, now: datetime) -> Deferred:
        """Defer a task that the open circuit does not admit. Forced attempts follow one after the other.

        The failed probe counts for no forced attempt, since a client wants to see whether the host answers now.
        """
        if not task.forced:
            return Deferred(until=state.open_until or now, why=DeferredBy.CIRCUIT_OPEN, probe=state.probe)
        earliest, latest = max(now + SHORTEST_DEFERRAL, state.forced_again_at(now)), now + LONGEST_DEFERRAL
        key = f"forced {task.origin or ''}"
        until = self._bookings.book(key, now, earliest, ATTEMPT, latest=latest, random=self._random())
        return Deferred(until=until, why=DeferredBy.CIRCUIT_OPEN)

    def _busy(self, task: DeliveryTask, now: datetime) -> Deferred:
        """Defer a task to the end of its backlog."""
        origin = task.origin or ""
        state = self._hosts.get(origin)
        key, interval, ahead = origin, state.interval(now), self._waiting.count(origin)
        if state.class_at(now) is HostClass.UNPROVEN and not self._in_flight[origin]:
            server = server_of(origin, state)
            is_busy = server is not None and self._at_server[server] > 0
            key, interval = (server or "", ATTEMPT) if is_busy else (HostClass.UNPROVEN.value, UNPROVEN_INTERVAL)
        until = max(now + SHORTEST_DEFERRAL, now + ahead * interval)
        until = self._bookings.book(key, now, until, interval, latest=now + LONGEST_DEFERRAL, random=self._random())
        return Deferred(until=until, why=DeferredBy.CONCURRENCY)

    def _aged(self, now: datetime) -> Iterator[tuple[DeliveryTask, Deferred]]:
        """Defer blocked tasks that waited too long, a few at a time, those of the longest blocked hosts first."""
        for task in list(self._waiting.older_than(now - MAX_WAIT)):
            yield self._waiting.take(task), self._busy(task, now)

    def _sort_in(self, origin: str, now: datetime) -> None:
        """Note whether a host has room for its waiting tasks, so that only another limit blocks them."""
        self._waiting.block(origin, has_room=self._in_flight[origin] < self._hosts.get(origin).limit(now))

    def _is_in_use(self, origin: str) -> bool:
        return origin in self._in_flight or self._waiting.count(origin) > 0


def _less(counter: Counter[_K], key: _K) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
