"""Races: each prepares a state and returns the invocations that run at the same time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType

from bridge.domain.host_limits import FAILURES_TO_OPEN
from bridge.domain.ids import Kind
from bridge.domain.outcome import Failure, Unreachable
from bridge.domain.upstream import Reply
from tests.proof.simulation import Simulation

_HERE, _THERE = "https://here.example.com/", "https://there.example.com/"
_RETENTION = timedelta(days=30, seconds=10)

Acts = Sequence[Callable[[], object]]


@dataclass(frozen=True, slots=True)
class Race:
    """Two or three simultaneous invocations."""

    #: Prepares the state and returns the invocations. Each runs on the instance with the same index.
    scene: Callable[[Simulation], Acts]
    instances: int = 2
    #: One invocation freezes past the lease, so a callback may be repeated even with equal clocks.
    freezes: bool = False


def _waiting(simulation: Simulation) -> str:
    """Register for an operation that ends at the next poll, which is due."""
    simulation.upstream.script("met", "Running", "Succeeded")
    name = simulation.register("met", _HERE)
    simulation.tick()
    simulation.clock.advance(15)
    return name


def _pending(simulation: Simulation) -> str:
    """Bring a registration to the point where the first message is in the queue."""
    simulation.upstream.script("met", "Succeeded")
    name = simulation.register("met", _HERE)
    simulation.tick()
    return name


def _ended(simulation: Simulation) -> str:
    """Bring a registration to the point where the purge is due."""
    name = _pending(simulation)
    simulation.drain()
    simulation.clock.advance(_RETENTION)
    simulation.expectations.pop(name)  # may now be purged
    return name


def sweep_and_sweep(simulation: Simulation) -> Acts:
    """Let two sweeps meet a final status, a poll without news, and a delivery with a lost message."""
    _pending(simulation)
    simulation.queue.messages.clear()
    simulation.clock.advance(120)
    simulation.upstream.script("other", "Succeeded")
    simulation.register("other", _HERE)
    simulation.upstream.script("running", "Running", "Running", "Failed")
    simulation.register("running", _THERE)
    return [lambda: simulation.tick(0), lambda: simulation.tick(1)]


def sweep_and_register(simulation: Simulation) -> Acts:
    """Register for an operation while a sweep reads the final status."""
    _waiting(simulation)
    return [lambda: simulation.tick(0), lambda: simulation.register("met", _THERE, on=1)]


def expire_and_register(simulation: Simulation) -> Acts:
    """Register for an operation while the operation expires."""
    simulation.upstream.script("met", Reply(status=400), Reply(status=400), Reply(status=400), "Succeeded")
    simulation.register("met", _HERE)
    for _ in range(2):
        simulation.tick()
        simulation.clock.advance(60)
    return [lambda: simulation.tick(0), lambda: simulation.register("met", _THERE, on=1)]


def sweep_and_cancel(simulation: Simulation) -> Acts:
    """Cancel the only waiting registration while a sweep reads the final status."""
    name = _waiting(simulation)
    return [lambda: simulation.tick(0), lambda: simulation.cancel(name, on=1)]


def enqueue_and_cancel(simulation: Simulation) -> Acts:
    """Cancel a delivery while the next message is sent."""
    name = _pending(simulation)
    simulation.queue.messages.clear()
    simulation.clock.advance(120)
    return [lambda: simulation.tick(0), lambda: simulation.cancel(name, on=1)]


def deliver_and_deliver(simulation: Simulation) -> Acts:
    """Deliver one message twice."""
    _pending(simulation)
    message = simulation.queue.messages[0]
    return [lambda: simulation.follow(message, 0), lambda: simulation.follow(message, 1)]


def deliver_past_its_lease(simulation: Simulation) -> Acts:
    """Freeze an attempt, at any call, for longer than the lease."""
    _pending(simulation)
    message = simulation.queue.messages[0]
    return [lambda: simulation.follow(message, 0), lambda: _after(simulation, 61, on=1)]


def slow_deliver(simulation: Simulation) -> Acts:
    """Let claim and receiver use almost all of the permitted time, while another instance performs due work."""
    return _slowly(simulation, claim=14, post=14)


def too_slow_deliver(simulation: Simulation) -> Acts:
    """Let the claim take longer than permitted."""
    return _slowly(simulation, claim=25, post=14)


def deliver_and_cancel(simulation: Simulation) -> Acts:
    """Cancel a delivery during an attempt."""
    name = _pending(simulation)
    message = simulation.queue.messages[0]
    return [lambda: simulation.follow(message, 0), lambda: simulation.cancel(name, on=1)]


def deliver_and_redeliver(simulation: Simulation) -> Acts:
    """Begin a second run, with an attempt, during an attempt of the first run."""
    name = _pending(simulation)
    message = simulation.queue.messages[0]

    def begin_again() -> None:
        simulation.cancel(name, on=1)
        simulation.redeliver(name, on=1)
        simulation.drain(1)

    return [lambda: simulation.follow(message, 0), begin_again]


def deliver_and_retry(simulation: Simulation) -> Acts:
    """Order the next attempt during an attempt that fails."""
    simulation.receivers.script(_HERE, 500, 200)
    name = _pending(simulation)
    message = simulation.queue.messages[0]
    return [lambda: simulation.follow(message, 0), lambda: simulation.redeliver(name, on=1)]


def enqueue_and_retry(simulation: Simulation) -> Acts:
    """Order the next attempt while a sweep sends its message."""
    simulation.receivers.script(_HERE, 500, 200)
    name = _pending(simulation)
    simulation.drain()
    simulation.clock.advance(10)
    return [lambda: simulation.tick(0), lambda: simulation.redeliver(name, on=1)]


def defer_and_retry(simulation: Simulation) -> Acts:
    """Order the next attempt while an open circuit puts the attempt back."""
    simulation.upstream.script("silent", "Succeeded")
    for number in range(FAILURES_TO_OPEN):
        simulation.receivers.script(f"{_HERE}{number}", Unreachable(error=Failure.TIMEOUT), 200)
        simulation.register("silent", f"{_HERE}{number}")
    simulation.tick()
    simulation.drain()
    simulation.clock.advance(1)
    name = _pending(simulation)
    message = simulation.queue.messages[-1]
    return [lambda: simulation.follow(message, 0), lambda: simulation.redeliver(name, on=1)]


def cancel_and_retry(simulation: Simulation) -> Acts:
    """Cancel a delivery while its next attempt is ordered, and while the order is repeated."""
    simulation.receivers.script(_HERE, 500, 200)
    name = _pending(simulation)
    simulation.drain()
    simulation.clock.advance(1)
    return [
        lambda: simulation.cancel(name, on=0),
        lambda: simulation.redeliver(name, on=1),
        lambda: simulation.redeliver(name, on=2),
    ]


def _delivered(simulation: Simulation) -> str:
    """Bring a registration to its end."""
    name = _pending(simulation)
    simulation.drain()
    simulation.clock.advance(1)
    return name


def erase_and_register(simulation: Simulation) -> Acts:
    """Purge the last registration of an operation while a client registers for the operation."""
    name = _delivered(simulation)
    return [lambda: simulation.purge(name, on=0), lambda: simulation.register("met", _THERE, on=1)]


def erase_and_the_same(simulation: Simulation) -> Acts:
    """Purge a registration while the same registration is repeated: afterwards it is new, or purged."""
    name = _delivered(simulation)

    def again() -> None:
        simulation.register("met", _HERE, on=1)
        if name not in simulation.names():
            simulation.expectations.pop(name, None)

    return [lambda: simulation.purge(name, on=0), again]


def erase_and_redeliver(simulation: Simulation) -> Acts:
    """Purge a registration while it is redelivered: one of the two requests is too late."""
    name = _delivered(simulation)
    simulation.expectations.pop(name)
    return [lambda: simulation.purge(name, on=0), lambda: simulation.redeliver(name, on=1)]


def erase_and_deliver(simulation: Simulation) -> Acts:
    """Cancel and purge a registration during an attempt."""
    name = _pending(simulation)
    message = simulation.queue.messages[0]

    def erase() -> None:
        simulation.cancel(name, on=1)
        simulation.purge(name, on=1)

    return [lambda: simulation.follow(message, 0), erase]


def erase_and_purge(simulation: Simulation) -> Acts:
    """Purge a registration while its operation is purged."""
    name = _ended(simulation)
    return [lambda: simulation.tick(0), lambda: simulation.purge(name, on=1)]


def erase_and_erase(simulation: Simulation) -> Acts:
    """Purge the last two registrations of an operation at once, and one of them twice."""
    name = _delivered(simulation)
    other = simulation.register("met", _THERE)
    simulation.drain()
    return [
        lambda: simulation.purge(name, on=0),
        lambda: simulation.purge(other, on=1),
        lambda: simulation.purge(name, on=2),
    ]


def purge_and_register(simulation: Simulation) -> Acts:
    """Register for an operation during the purge."""
    _ended(simulation)
    return [lambda: simulation.tick(0), lambda: simulation.register("met", _THERE, on=1)]


def purge_and_the_same(simulation: Simulation) -> Acts:
    """Repeat a registration, with the same URL, during the purge: the answer is 200 or 201."""
    _ended(simulation)
    return [lambda: simulation.tick(0), lambda: simulation.register("met", _HERE, on=1)]


def purge_and_redeliver(simulation: Simulation) -> Acts:
    """Redeliver during the purge: the answer is 404, or the registration stays."""
    name = _ended(simulation)
    return [lambda: simulation.tick(0), lambda: simulation.redeliver(name, on=1)]


def _full(simulation: Simulation) -> str:
    """Fill an operation such that a canceled registration, with a message and an attempt, is the oldest candidate."""
    simulation.limit_places(2)
    simulation.receivers.script(_HERE, 500, 200)
    name = _pending(simulation)
    simulation.drain()
    simulation.cancel(name)
    simulation.register("met", "https://full.example.com/")
    simulation.clock.advance(1)
    return name


def replace_and_redeliver(simulation: Simulation) -> Acts:
    """Redeliver while the registration is replaced: the answer is 404, or the registration stays."""
    name = _full(simulation)
    simulation.expectations.pop(name)
    return [lambda: simulation.try_to_register("met", _THERE, on=0), lambda: simulation.redeliver(name, on=1)]


def replace_and_the_same(simulation: Simulation) -> Acts:
    """Repeat a registration while the registration is replaced: one of the two requests gets no place."""
    simulation.expectations.pop(_full(simulation))
    return [
        lambda: simulation.try_to_register("met", _THERE, on=0),
        lambda: simulation.try_to_register("met", _HERE, on=1),
    ]


def replace_and_deliver(simulation: Simulation) -> Acts:
    """Cancel and replace a registration during a delivery."""
    simulation.limit_places(2)
    name = _pending(simulation)
    simulation.register("met", "https://full.example.com/")
    message = simulation.queue.messages[0]

    def replace() -> None:
        simulation.cancel(name, on=1)
        simulation.try_to_register("met", _THERE, on=1)  # a delivered registration keeps its place
        if name not in simulation.names():
            simulation.expectations.pop(name)

    return [lambda: simulation.follow(message, 0), replace]


def replace_and_purge(simulation: Simulation) -> Acts:
    """Replace a registration while the operation is purged."""
    _full(simulation)
    simulation.settle()
    simulation.clock.advance(_RETENTION)
    simulation.expectations.clear()  # may now be purged
    return [lambda: simulation.tick(0), lambda: simulation.register("met", _THERE, on=1)]


def register_and_register(simulation: Simulation) -> Acts:
    """Post two equal registrations and one other at once for the same new operation."""
    simulation.upstream.script("met", "Succeeded")
    return [
        lambda: simulation.register("met", _HERE, on=0),
        lambda: simulation.register("met", _HERE, on=1),
        lambda: simulation.register("met", _THERE, on=2),
    ]


def sweep_sweep_and_register(simulation: Simulation) -> Acts:
    """Read a final status in two sweeps while a client registers."""
    return [*sweep_and_register(simulation), lambda: simulation.tick(2)]


def sweep_cancel_and_register(simulation: Simulation) -> Acts:
    """Cancel and repeat the only waiting registration while a sweep reads the final status."""
    return [*sweep_and_cancel(simulation), lambda: simulation.register("met", _HERE, on=2)]


def deliver_deliver_and_redeliver(simulation: Simulation) -> Acts:
    """Deliver one message twice while another run begins."""
    acts = deliver_and_redeliver(simulation)
    message = simulation.queue.messages[0]
    return [*acts, lambda: simulation.follow(message, 2)]


def purge_register_and_sweep(simulation: Simulation) -> Acts:
    """Purge an operation in two sweeps while a client registers."""
    return [*purge_and_register(simulation), lambda: simulation.tick(2)]


def twins_and_sweeps(simulation: Simulation) -> Acts:
    """End an operation and a job with the same id in two sweeps, while a client registers for the job."""
    for kind, status in ((Kind.OPERATION, "Succeeded"), (Kind.JOB, "Failed")):
        simulation.upstream.script("met", "Running", status, kind=kind)
        simulation.register("met", _HERE, kind=kind)
    simulation.tick()
    simulation.clock.advance(15)
    return [
        lambda: simulation.tick(0),
        lambda: simulation.tick(1),
        lambda: simulation.register("met", _THERE, kind=Kind.JOB, on=2),
    ]


def job_and_cancel(simulation: Simulation) -> Acts:
    """Cancel the operation with the id of a job while a sweep reads the final status of the job."""
    simulation.upstream.script("met", "Succeeded", kind=Kind.JOB)
    simulation.register("met", _HERE, kind=Kind.JOB)
    name = simulation.register("met", _HERE)
    simulation.upstream.script("met", "Running", "Failed")
    return [lambda: simulation.tick(0), lambda: simulation.cancel(name, on=1)]


def purge_and_register_twin(simulation: Simulation) -> Acts:
    """Register for a job while the operation with the same id is purged."""
    _ended(simulation)
    simulation.upstream.script("met", "Failed", kind=Kind.JOB)
    return [lambda: simulation.tick(0), lambda: simulation.register("met", _HERE, kind=Kind.JOB, on=1)]


def erase_twins(simulation: Simulation) -> Acts:
    """Purge the last registrations of an operation and of a job with the same id, while the job is repeated."""
    name = _delivered(simulation)
    simulation.upstream.script("met", "Succeeded", kind=Kind.JOB)
    twin = simulation.register("met", _HERE, kind=Kind.JOB)
    simulation.tick()
    simulation.drain()
    simulation.clock.advance(1)

    def again() -> None:
        simulation.register("met", _HERE, kind=Kind.JOB, on=2)
        if twin not in simulation.names():
            simulation.expectations.pop(twin, None)

    return [lambda: simulation.purge(name, on=0), lambda: simulation.purge(twin, on=1), again]


RACES: Mapping[str, Race] = MappingProxyType(
    {
        scene.__name__: Race(scene)
        for scene in (
            job_and_cancel,
            purge_and_register_twin,
            sweep_and_sweep,
            sweep_and_register,
            expire_and_register,
            sweep_and_cancel,
            enqueue_and_cancel,
            deliver_and_deliver,
            slow_deliver,
            too_slow_deliver,
            deliver_and_cancel,
            deliver_and_redeliver,
            deliver_and_retry,
            enqueue_and_retry,
            defer_and_retry,
            erase_and_register,
            erase_and_the_same,
            erase_and_redeliver,
            erase_and_deliver,
            erase_and_purge,
            purge_and_register,
            purge_and_the_same,
            purge_and_redeliver,
            replace_and_redeliver,
            replace_and_the_same,
            replace_and_deliver,
            replace_and_purge,
        )
    }
    | {deliver_past_its_lease.__name__: Race(deliver_past_its_lease, freezes=True)}
    | {
        scene.__name__: Race(scene, instances=3)
        for scene in (
            twins_and_sweeps,
            erase_twins,
            register_and_register,
            sweep_sweep_and_register,
            sweep_cancel_and_register,
            deliver_deliver_and_redeliver,
            purge_register_and_sweep,
            cancel_and_retry,
            erase_and_erase,
        )
    }
)


def _slowly(simulation: Simulation, *, claim: float, post: float) -> Acts:
    _pending(simulation)
    message = simulation.queue.messages[0]
    simulation.instances[0].caller.slow = {1: claim, 2: post}
    return [lambda: simulation.follow(message, 0), lambda: _after(simulation, 0, on=1)]


def _after(simulation: Simulation, seconds: float, *, on: int) -> None:
    """Let time pass, then perform due work."""
    simulation.clock.advance(seconds)
    simulation.tick(on)
    simulation.drain(on)
