"""What a delivery gets that asks for a place: the right to one attempt, a pause, or a later time."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bridge.domain.delivery import Call
from bridge.domain.host_limits import FailedProbe, HostClass


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferred:
    """No attempt now: the delivery is put back, and keeps its attempts."""

    until: datetime
    #: `busy`, or `resting` if the circuit is open.
    why: str
    #: The failed probe of an open circuit. It counts as an attempt of every delivery that was due by then.
    probe: FailedProbe | None = None

    def counts_for(self, due: datetime) -> FailedProbe | None:
        """Return the probe that counts as an attempt of a delivery that is due since `due`, if any."""
        return self.probe if self.probe is not None and due <= self.probe.at else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HostPermit:
    """The right to one attempt at one host."""

    call: Call
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
    deferred: list[tuple[Call, Deferred]] = field(default_factory=list)
    #: Send messages for these, so that other threads come for places that are free.
    resent: list[Call] = field(default_factory=list)
