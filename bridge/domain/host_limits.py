"""How receivers share the places of an instance: limits, the state of a host, permits and deferrals.

An instance works on PLACES queue messages at once. Hosts that answered recently and quickly always find at least a
third of the places free. Hosts without a recent answer (unproven) share a third, and so do hosts that answer slowly:

    class      member                                        places together    in flight at one origin
    quick      answered within the last hour, mean <= 2 s    the remaining      6
    slow       answered within the last hour, mean > 2 s     8                  4
    unproven   every other one                               8                  1, and 1 at one address

A host is an origin: scheme, name and port. Unproven origins are also counted by their address, so that many names of
one silent server count as one. After several attempts without an answer the circuit of a host opens.
"""

import ipaddress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from urllib.parse import urlsplit

from bridge.domain.callback_url import DEFAULT_PORTS
from bridge.domain.delivery import ATTEMPT, DeliveryTask
from bridge.domain.outcome import Failure, Unreachable
from bridge.domain.registration import DeferredBy
from bridge.domain.retry import Backoff

#: The most queue messages that an instance works on at once: `batchSize` plus `newBatchThreshold` of host.json.
PLACES = 24

#: The most attempts in flight at a quick and at a slow origin. An attempt counts from claim to record.
MAX_IN_FLIGHT = 6
MAX_IN_FLIGHT_SLOW = 4

#: The most attempts in flight for one owner, if callers have tokens.
MAX_PER_OWNER = PLACES // 2

#: How long a host is proven after an answer, unless a later attempt gets no answer.
PROVEN_FOR = timedelta(hours=1)

#: The largest mean time of a quick host's answers.
QUICK = timedelta(seconds=2)

#: The number of attempts in a row without an answer that opens the circuit.
FAILURES_TO_OPEN = 5

#: How long a circuit is open.
CIRCUIT_BACKOFF = Backoff(timedelta(seconds=30), timedelta(minutes=10))

#: The shortest time between two attempts that clients ordered at a host with an open circuit.
FORCED_INTERVAL = timedelta(seconds=5)

#: The weight of the newest answer in the mean.
_NEWEST = 0.3


class HostClass(StrEnum):
    """A group of hosts that share places."""

    QUICK = "quick"
    SLOW = "slow"
    UNPROVEN = "unproven"


#: The places that the hosts of a class share. Slow and unproven hosts leave a third.
CLASS_PLACES = {HostClass.QUICK: PLACES, HostClass.SLOW: PLACES // 3, HostClass.UNPROVEN: PLACES // 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedProbe:
    """The attempt that opened a circuit, or kept the circuit open."""

    #: When the attempt ended.
    at: datetime
    error: Failure
    #: The address of the connection, if any.
    address: str | None = None
    #: A description of the failure for people.
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostState:
    """An instance's memory of a host between attempts."""

    #: When the last answer came. None without an attempt, or if the last attempt got no answer.
    answered_at: datetime | None = None
    #: The mean time of the answers. The newest has the largest weight.
    mean: timedelta | None = None
    #: Attempts without an answer since the last answer.
    failures: int = 0
    #: How often the circuit opened since the last answer.
    openings: int = 0
    open_until: datetime | None = None
    #: Why the circuit is open.
    probe: FailedProbe | None = None
    #: When the last attempt began that passed the open circuit by a client's order.
    forced_at: datetime | None = None
    #: The address of the last attempt's connection.
    address: str | None = None

    def class_at(self, now: datetime) -> HostClass:
        """Return the class that provides the places for the host's attempts."""
        if self.answered_at is None or now - self.answered_at > PROVEN_FOR:
            return HostClass.UNPROVEN
        return HostClass.SLOW if self.mean is not None and self.mean > QUICK else HostClass.QUICK

    def limit(self, now: datetime) -> int:
        """Return the most attempts in flight."""
        limits = {HostClass.QUICK: MAX_IN_FLIGHT, HostClass.SLOW: MAX_IN_FLIGHT_SLOW, HostClass.UNPROVEN: 1}
        return limits[self.class_at(now)]

    def is_open(self, now: datetime) -> bool:
        """Return whether no attempt may begin. Afterwards one attempt at a time probes, as at every unproven host."""
        return self.open_until is not None and now < self.open_until

    def admits(self, task: DeliveryTask, now: datetime) -> bool:
        """Return whether the circuit lets a task pass. An open circuit admits a forced attempt, one at a time."""
        return not self.is_open(now) or (bool(task.forced) and now >= self.forced_again_at(now))

    def forced_again_at(self, now: datetime) -> datetime:
        """Return when the open circuit admits the next forced attempt."""
        return now if self.forced_at is None else self.forced_at + FORCED_INTERVAL

    def interval(self, now: datetime) -> timedelta:
        """Return the mean time between the ends of two attempts at a busy host."""
        mean = ATTEMPT if self.class_at(now) is HostClass.UNPROVEN or self.mean is None else self.mean
        return mean / self.limit(now)

    def answered(self, now: datetime, took: timedelta, *, address: str | None) -> "HostState":
        """Return the state after an answer. Every answer closes the circuit."""
        mean = took if self.mean is None else self.mean + (took - self.mean) * _NEWEST
        return HostState(answered_at=now, mean=mean, address=address or self.address)

    def failed(self, now: datetime, failure: Unreachable) -> "HostState":
        """Return the state after an attempt without an answer.

        An attempt that ends while the circuit is open began before, and does not lengthen the open time.
        """
        address = failure.address or self.address
        failed = replace(self, answered_at=None, failures=self.failures + 1, address=address)
        if failed.failures < FAILURES_TO_OPEN or failed.is_open(now):
            return failed
        openings = failed.openings + 1
        probe = FailedProbe(at=now, error=failure.error, address=address, detail=failure.detail)
        return replace(failed, openings=openings, open_until=now + CIRCUIT_BACKOFF.wait(openings), probe=probe)


def places_of_owner(host_class: HostClass) -> int:
    """Return the most places of a class for one owner, if callers have tokens."""
    return MAX_PER_OWNER if host_class is HostClass.QUICK else CLASS_PLACES[host_class] // 2


def server_of(origin: str, state: HostState) -> str | None:
    """Return the server of an origin, as address and port. An IPv6 network of 64 bits is one server."""
    try:
        parts = urlsplit(origin)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
        address = ipaddress.ip_address(state.address or parts.hostname or "")
    except ValueError:  # a name instead of an address, or a malformed origin in a message
        return None
    if isinstance(address, ipaddress.IPv6Address):
        address = ipaddress.IPv6Address(int(address) >> 64 << 64)
    return f"{address} {port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferred:
    """No attempt now. The delivery is postponed and keeps its attempts."""

    until: datetime
    why: DeferredBy
    #: The failed probe of an open circuit. It counts as an attempt of every delivery that was due by then.
    probe: FailedProbe | None = None

    def counts_for(self, due: datetime) -> FailedProbe | None:
        """Return the probe that counts as an attempt of a delivery that is due since `due`, if any."""
        return self.probe if self.probe is not None and due <= self.probe.at else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HostPermit:
    """The right to one attempt at one host."""

    task: DeliveryTask
    origin: str
    owner: str
    host_class: HostClass
    #: The address and port of an unproven host. None for other hosts, and while the address is unknown.
    server: str | None
    #: The limit of attempts in flight at the host when this attempt began.
    limit: int

    @property
    def needs_address(self) -> bool:
        """Whether the address must be resolved before the attempt."""
        return self.host_class is HostClass.UNPROVEN and self.server is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The next actions of a message's thread."""

    #: Make this attempt.
    permit: HostPermit | None = None
    #: Wait for this long.
    pause: timedelta | None = None
    #: Postpone these deliveries.
    deferred: list[tuple[DeliveryTask, Deferred]] = field(default_factory=list)
    #: Send messages for these tasks, so that other threads use the free places.
    resent: list[DeliveryTask] = field(default_factory=list)


@dataclass(slots=True)
class HeldPermit:
    """The right that a thread holds during a block."""

    permit: HostPermit | None
    #: Whether the thread may begin another attempt after this one.
    takes_more: bool = True
    #: The next work of the thread after the block, if any.
    then: Work | None = None
