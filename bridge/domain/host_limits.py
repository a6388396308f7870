"""How the places of an instance are shared between receivers: the limits, the state of a host, permits and deferrals.

An instance works on PLACES queue messages at once. Hosts that answered lately and quickly always find at least a third
of the places free. Hosts that did not answer lately (unproven) share a third, and so do hosts that answer slowly:

    class      member                                        places together    in flight at one origin
    quick      answered within the last hour, mean <= 2 s    what is left       6
    slow       answered within the last hour, mean > 2 s     8                  4
    unproven   every other one                               8                  1, and 1 at one address

A host is an origin: scheme, name and port. Unproven origins are counted by the address they lead to as well, so that
many names of one silent server count as one. After several attempts without an answer the circuit of a host opens.
"""

import ipaddress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from urllib.parse import urlsplit

from bridge.domain.backoff import Backoff
from bridge.domain.callback_url import DEFAULT_PORTS
from bridge.domain.delivery import ATTEMPT, DeliveryTask
from bridge.domain.outcome import Failure, Unreachable

#: Queue messages that an instance works on at once: `batchSize` and `newBatchThreshold` of host.json together.
PLACES = 24

#: Attempts in flight at one origin that answers quickly, and at one that answers slowly. An attempt counts from its
#: claim to its record.
MAX_IN_FLIGHT = 6
MAX_IN_FLIGHT_SLOW = 4

#: Attempts in flight for one owner, where tokens tell owners apart.
MAX_PER_OWNER = PLACES // 2

#: A host is proven for this long after an answer, unless a later attempt gets none.
PROVEN_FOR = timedelta(hours=1)

#: A host is slow if its answers take longer than this, on average.
QUICK = timedelta(seconds=2)

#: Attempts without an answer in a row, after which the circuit opens.
FAILURES_TO_OPEN = 5

#: How long a circuit is open.
CIRCUIT_BACKOFF = Backoff(timedelta(seconds=30), timedelta(minutes=10))

#: Weight of the newest answer in the mean time of answers.
_NEWEST = 0.3


class HostClass(StrEnum):
    """Hosts that share places."""

    QUICK = "quick"
    SLOW = "slow"
    UNPROVEN = "unproven"


#: Places that the hosts of a class share. Slow and unproven ones leave a third.
CLASS_PLACES = {HostClass.QUICK: PLACES, HostClass.SLOW: PLACES // 3, HostClass.UNPROVEN: PLACES // 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedProbe:
    """The attempt that opened a circuit, or kept it open."""

    #: When it ended.
    at: datetime
    error: Failure
    #: The address that it connected to, if any.
    address: str | None = None
    #: The failure in a text for people.
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostState:
    """What an instance remembers of a host between attempts."""

    #: When the last answer came; None if the last attempt got none, or none was made.
    answered_at: datetime | None = None
    #: The mean time of its answers, the newest weighing most.
    mean: timedelta | None = None
    #: Attempts without an answer since the last answer.
    failures: int = 0
    #: How often the circuit opened since the last answer.
    openings: int = 0
    open_until: datetime | None = None
    #: Why the circuit is open.
    probe: FailedProbe | None = None
    #: The address that the last attempt connected to.
    address: str | None = None

    def class_at(self, now: datetime) -> HostClass:
        """Return the class whose places its attempts take."""
        if self.answered_at is None or now - self.answered_at > PROVEN_FOR:
            return HostClass.UNPROVEN
        return HostClass.SLOW if self.mean is not None and self.mean > QUICK else HostClass.QUICK

    def limit(self, now: datetime) -> int:
        """Return how many attempts may be in flight."""
        limits = {HostClass.QUICK: MAX_IN_FLIGHT, HostClass.SLOW: MAX_IN_FLIGHT_SLOW, HostClass.UNPROVEN: 1}
        return limits[self.class_at(now)]

    def is_open(self, now: datetime) -> bool:
        """Return whether no attempt may begin. After that one at a time probes, as at every unproven host."""
        return self.open_until is not None and now < self.open_until

    def interval(self, now: datetime) -> timedelta:
        """Return the mean time between the ends of two attempts, if it is always busy."""
        mean = ATTEMPT if self.class_at(now) is HostClass.UNPROVEN or self.mean is None else self.mean
        return mean / self.limit(now)

    def answered(self, now: datetime, took: timedelta, *, address: str | None) -> "HostState":
        """Return the state after an answer. Every answer closes the circuit."""
        mean = took if self.mean is None else self.mean + (took - self.mean) * _NEWEST
        return HostState(answered_at=now, mean=mean, address=address or self.address)

    def failed(self, now: datetime, failure: Unreachable) -> "HostState":
        """Return the state after an attempt without an answer.

        An attempt that ends while the circuit is open began before, and does not lengthen it.
        """
        address = failure.address or self.address
        failed = replace(self, answered_at=None, failures=self.failures + 1, address=address)
        if failed.failures < FAILURES_TO_OPEN or failed.is_open(now):
            return failed
        openings = failed.openings + 1
        probe = FailedProbe(at=now, error=failure.error, address=address, detail=failure.detail)
        return replace(failed, openings=openings, open_until=now + CIRCUIT_BACKOFF.wait(openings), probe=probe)


def places_of_owner(host_class: HostClass) -> int:
    """Return how many places of a class one owner can take, if tokens tell owners apart."""
    return MAX_PER_OWNER if host_class is HostClass.QUICK else CLASS_PLACES[host_class] // 2


def server_of(origin: str, state: HostState) -> str | None:
    """Name the server that an origin leads to, by address and port; an IPv6 network of 64 bits is one server."""
    try:
        parts = urlsplit(origin)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
        address = ipaddress.ip_address(state.address or parts.hostname or "")
    except ValueError:  # a name, or a message that is not ours
        return None
    if isinstance(address, ipaddress.IPv6Address):
        address = ipaddress.IPv6Address(int(address) >> 64 << 64)
    return f"{address} {port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferred:
    """No attempt now: the delivery is put back, and keeps its attempts."""

    until: datetime
    #: `concurrency`, or `circuitOpen` if the circuit is open.
    why: str
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
    #: The address and port that an unproven host counts for; None for other hosts, and as long as it is unknown.
    server: str | None
    #: How many attempts could be in flight at the host when this one began.
    limit: int

    @property
    def needs_address(self) -> bool:
        """Whether the address has to be looked up before the attempt."""
        return self.host_class is HostClass.UNPROVEN and self.server is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the thread of a message does next."""

    #: Make this attempt, and release it.
    permit: HostPermit | None = None
    #: Wait for this long, and call `resume`.
    pause: timedelta | None = None
    #: Put these back.
    deferred: list[tuple[DeliveryTask, Deferred]] = field(default_factory=list)
    #: Send messages for these, so that other threads come for places that are free.
    resent: list[DeliveryTask] = field(default_factory=list)
