"""Races: each sets a scene, and names the invocations that happen at the same time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType

from bridge.domain.upstream import Reply
from tests.proof.simulation import Simulation

_HERE, _THERE = "https://here.example.com/", "https://there.example.com/"
_RETENTION = timedelta(days=30, seconds=10)

Acts = Sequence[Callable[[], object]]


@dataclass(frozen=True, slots=True)
class Race:
    """Two or three invocations that meet."""

    #: Sets the scene, and returns them. Each runs on an instance of its own, numbered from 0.
    scene: Callable[[Simulation], Acts]
    instances: int = 2
    #: Somebody is frozen past its lease, so that a receiver may be told twice whatever the clocks say.
    freezes: bool = False


def _waiting(simulation: Simulation) -> str:
    """Register for an operation that ends at its next poll, which is due."""
    simulation.upstream.tell("met", "Running", "Succeeded")
    name = simulation.register("met", _HERE)
    simulation.tick()
    simulation.clock.advance(15)
    return name


def _pending(simulation: Simulation) -> str:
    """Bring a registration to where its first message is in the queue."""
    simulation.upstream.tell("met", "Succeeded")
    name = simulation.register("met", _HERE)
    simulation.tick()
    return name


def _ended(simulation: Simulation) -> str:
    """Bring a registration to where its purge is due."""
    name = _pending(simulation)
    simulation.drain()
    simulation.clock.advance(_RETENTION)
    simulation.expectations.pop(name)  # it may be forgotten now
    return name


def sweep_and_sweep(simulation: Simulation) -> Acts:
    """Two sweeps find an end, a poll that brings nothing new, and a delivery whose message was lost."""
    _pending(simulation)
    simulation.queue.messages.clear()
    simulation.clock.advance(120)
    simulation.upstream.tell("other", "Succeeded")
    simulation.register("other", _HERE)
    simulation.upstream.tell("running", "Running", "Running", "Failed")
    simulation.register("running", _THERE)
    return [lambda: simulation.tick(0), lambda: simulation.tick(1)]


def sweep_and_register(simulation: Simulation) -> Acts:
    """One more waits for an operation just when its end is seen."""
    _waiting(simulation)
    return [lambda: simulation.tick(0), lambda: simulation.register("met", _THERE, on=1)]


def expire_and_register(simulation: Simulation) -> Acts:
    """One more waits for an operation just when the bridge gives it up."""
    simulation.upstream.tell("met", Reply(status=400), Reply(status=400), Reply(status=400), "Succeeded")
    simulation.register("met", _HERE)
    for _ in range(2):
        simulation.tick()
        simulation.clock.advance(60)
    return [lambda: simulation.tick(0), lambda: simulation.register("met", _THERE, on=1)]


def sweep_and_cancel(simulation: Simulation) -> Acts:
    """Let the only one who waits go away just when the end is seen."""
    name = _waiting(simulation)
    return [lambda: simulation.tick(0), lambda: simulation.cancel(name, on=1)]


def enqueue_and_cancel(simulation: Simulation) -> Acts:
    """Cancel a delivery just when its next message is sent."""
    name = _pending(simulation)
    simulation.queue.messages.clear()
    simulation.clock.advance(120)
    return [lambda: simulation.tick(0), lambda: simulation.cancel(name, on=1)]


def deliver_and_deliver(simulation: Simulation) -> Acts:
    """Let a message come twice."""
    _pending(simulation)
    message = simulation.queue.messages[0]
    return [lambda: simulation.follow(message, 0), lambda: simulation.follow(message, 1)]


def deliver_past_its_lease(simulation: Simulation) -> Acts:
    """Freeze an attempt, anywhere, for longer than its lease."""
    _pending(simulation)
    message = simulation.queue.messages[0]
    return [lambda: simulation.follow(message, 0), lambda: _after(simulation, 61, on=1)]


def slow_deliver(simulation: Simulation) -> Acts:
    """Claim and receiver take almost all the time that they may, while another instance does what is due."""
    return _slowly(simulation, claim=14, post=14)


def too_slow_deliver(simulation: Simulation) -> Acts:
    """Let the claim take longer than it may."""
    return _slowly(simulation, claim=25, post=14)


def deliver_and_cancel(simulation: Simulation) -> Acts:
    """Cancel a delivery while it is attempted."""
    name = _pending(simulation)
    message = simulation.queue.messages[0]
    return [lambda: simulation.follow(message, 0), lambda: simulation.cancel(name, on=1)]


def deliver_and_redeliver(simulation: Simulation) -> Acts:
    """Another run begins, and is attempted, while an attempt of the former one is made."""
    name = _pending(simulation)
    message = simulation.queue.messages[0]

    def begin_again() -> None:
        simulation.cancel(name, on=1)
        simulation.redeliver(name, on=1)
        simulation.drain(1)

    return [lambda: simulation.follow(message, 0), begin_again]


def purge_and_register(simulation: Simulation) -> Acts:
    """Somebody asks for an operation just when it is forgotten."""
    _ended(simulation)
    return [lambda: simulation.tick(0), lambda: simulation.register("met", _THERE, on=1)]


def purge_and_the_same(simulation: Simulation) -> Acts:
    """Somebody registers again, with the same URL, just when it is forgotten: it was there, or it is new."""
    _ended(simulation)
    return [lambda: simulation.tick(0), lambda: simulation.register("met", _HERE, on=1)]


def purge_and_redeliver(simulation: Simulation) -> Acts:
    """Somebody wants another run just when it is forgotten: 404, or it is kept."""
    name = _ended(simulation)
    return [lambda: simulation.tick(0), lambda: simulation.redeliver(name, on=1)]


def _full(simulation: Simulation) -> str:
    """Bring an operation to where a canceled registration, with a message and an attempt, has the oldest place."""
    simulation.limit_places(2)
    simulation.receivers.tell(_HERE, 500, 200)
    name = _pending(simulation)
    simulation.drain()
    simulation.cancel(name)
    simulation.register("met", "https://full.example.com/")
    simulation.clock.advance(1)
    return name


def replace_and_redeliver(simulation: Simulation) -> Acts:
    """Somebody wants another run just when the registration gives its place to a new one: 404, or it is kept."""
    name = _full(simulation)
    simulation.expectations.pop(name)
    return [lambda: simulation.ask_to_register("met", _THERE, on=0), lambda: simulation.redeliver(name, on=1)]


def replace_and_the_same(simulation: Simulation) -> Acts:
    """Somebody registers the same again just when it gives its place to a new one: one of them has no place."""
    simulation.expectations.pop(_full(simulation))
    return [
        lambda: simulation.ask_to_register("met", _THERE, on=0),
        lambda: simulation.ask_to_register("met", _HERE, on=1),
    ]


def replace_and_deliver(simulation: Simulation) -> Acts:
    """Cancel a registration, and register another in its place, while its message is delivered."""
    simulation.limit_places(2)
    name = _pending(simulation)
    simulation.register("met", "https://full.example.com/")
    message = simulation.queue.messages[0]

    def replace() -> None:
        simulation.cancel(name, on=1)
        simulation.ask_to_register("met", _THERE, on=1)  # what was delivered first keeps its place
        if name not in simulation.names():
            simulation.expectations.pop(name)

    return [lambda: simulation.follow(message, 0), replace]


def replace_and_purge(simulation: Simulation) -> Acts:
    """Register in the place of another just when the operation is forgotten."""
    _full(simulation)
    simulation.settle()
    simulation.clock.advance(_RETENTION)
    simulation.expectations.clear()  # they may be forgotten now
    return [lambda: simulation.tick(0), lambda: simulation.register("met", _THERE, on=1)]


def register_and_register(simulation: Simulation) -> Acts:
    """Make the same registration twice, and another one for the same new operation, all at once."""
    simulation.upstream.tell("met", "Succeeded")
    return [
        lambda: simulation.register("met", _HERE, on=0),
        lambda: simulation.register("met", _HERE, on=1),
        lambda: simulation.register("met", _THERE, on=2),
    ]


def sweep_sweep_and_register(simulation: Simulation) -> Acts:
    """Two sweeps see an end just when one more waits for it."""
    return [*sweep_and_register(simulation), lambda: simulation.tick(2)]


def sweep_cancel_and_register(simulation: Simulation) -> Acts:
    """Let the only one who waits go and come back just when the end is seen."""
    return [*sweep_and_cancel(simulation), lambda: simulation.register("met", _HERE, on=2)]


def deliver_deliver_and_redeliver(simulation: Simulation) -> Acts:
    """Let a message come twice, while another run begins."""
    acts = deliver_and_redeliver(simulation)
    message = simulation.queue.messages[0]
    return [*acts, lambda: simulation.follow(message, 2)]


def purge_register_and_sweep(simulation: Simulation) -> Acts:
    """Two sweeps forget what somebody asks for."""
    return [*purge_and_register(simulation), lambda: simulation.tick(2)]


RACES: Mapping[str, Race] = MappingProxyType(
    {
        scene.__name__: Race(scene)
        for scene in (
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
            register_and_register,
            sweep_sweep_and_register,
            sweep_cancel_and_register,
            deliver_deliver_and_redeliver,
            purge_register_and_sweep,
        )
    }
)


def _slowly(simulation: Simulation, *, claim: float, post: float) -> Acts:
    _pending(simulation)
    message = simulation.queue.messages[0]
    simulation.instances[0].caller.slow = {1: claim, 2: post}
    return [lambda: simulation.follow(message, 0), lambda: _after(simulation, 0, on=1)]


def _after(simulation: Simulation, seconds: float, *, on: int) -> None:
    """Let time pass, then do what is due."""
    simulation.clock.advance(seconds)
    simulation.tick(on)
    simulation.drain(on)
