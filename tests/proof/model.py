"""The bridge against a model: anything may happen after anything, and each registration moves as the model says.

The model knows the requests of clients, the answers of the upstream and of receivers, and no row. After a step without
a fault, the model gives the state of each registration. After a fault any path of the state machine is right, and the
invariants of rows and scenarios hold all the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from bridge.domain.operation import FinalStatus
from bridge.domain.registration import TRANSITIONS, Registration, State
from bridge.domain.retry import ATTEMPTS_PER_RUN
from bridge.domain.upstream import Reply
from bridge.storage.keys import operation_partitions
from tests.proof import rows
from tests.proof.outside import Poll, Post
from tests.proof.simulation import Loss, Simulation

#: What registers or is registered again can be found in one of these.
_BEGINNINGS = frozenset({State.WAITING, State.PENDING, State.SKIPPED})

_RETENTION = timedelta(days=30)


@dataclass(slots=True)
class Step:
    """What happened in one step, as the outside saw it."""

    polls: Sequence[Poll]
    posts: Sequence[Post]
    #: Something went wrong, so that any legal way is as good as another.
    troubled: bool
    #: The operation for which a client registers, and the registration: None if there was no place.
    asked_for: str | None = None
    registered: str | None = None
    canceled: str | None = None
    redelivered: str | None = None


@dataclass(slots=True)
class Model:
    """Where each registration stood after the last step."""

    known: dict[str, Registration] = field(default_factory=dict)

    def follow(self, simulation: Simulation, step: Step) -> None:
        """Look where everything stands now. Raises Loss where that is not what the step leads to."""
        now = _standing(simulation)
        replaced = self._replaced(simulation, now, step)
        for name, before in self.known.items():
            if name in replaced:
                simulation.expectations.pop(name, None)
            elif name not in now:
                self._forget(simulation, before)
            elif now[name].state not in self._allowed(before, now[name], step):
                raise Loss(f"{name} went from {before.state} to {now[name].state} by {step}")
        for name in now.keys() - self.known.keys():
            if now[name].state not in _BEGINNINGS and not step.troubled:
                raise Loss(f"{name} begins as {now[name].state}")
        self.known = now

    def _replaced(self, simulation: Simulation, now: Mapping[str, Registration], step: Step) -> Sequence[str]:
        """Name the registration that has given its place to a new one.

        Raises Loss if it is not the oldest of those that may, if a place was free, or if a place was refused though
        one could have been given.
        """
        if step.asked_for is None:
            return []
        known = {name: each for name, each in self.known.items() if each.ref.operation.id == step.asked_for}
        may = [name for name, each in known.items() if each.state in (State.CANCELED, State.SKIPPED)]
        gone = [name for name in known if name not in now]
        is_new = step.registered is not None and step.registered not in known
        if len(known) < simulation.places or not (is_new or gone or step.registered is None):
            return []
        oldest = min((known[name].since for name in may), default=None)
        right = [name for name in may if known[name].since == oldest]
        if step.registered is None and may and not step.troubled:
            raise Loss(f"{step.asked_for} had no place, and {may} could have given theirs")
        if is_new and not may:
            raise Loss(f"{step.registered} has a place that nobody gave")
        if len(gone) > 1 or not set(gone) <= set(right) or (is_new and not gone and not step.troubled):
            raise Loss(f"{gone} gave their places to {step.registered}, and {right} should have")
        return gone

    def _forget(self, simulation: Simulation, before: Registration) -> None:
        """Let go of what ended so long ago that it may be forgotten."""
        ended = before.state not in (State.WAITING, State.PENDING)
        if not ended or simulation.clock() - before.since < _RETENTION - timedelta(minutes=5):
            raise Loss(f"{before.ref.public_id} was {before.state} since {before.since}, and is forgotten")
        simulation.expectations.pop(before.ref.public_id, None)

    def _allowed(self, before: Registration, now: Registration, step: Step) -> frozenset[State]:
        """Say where a step may lead."""
        if step.troubled:
            return _REACHABLE[before.state]
        return _asked_for(before, step) or self._brought(before, now, step)

    @staticmethod
    def _brought(before: Registration, now: Registration, step: Step) -> frozenset[State]:
        """Say where upstream and receivers bring a registration of which its client asked nothing."""
        match before.state:
            case State.WAITING:
                return _after_polls(before, now, step.polls)
            case State.PENDING:
                return _after_posts(before, now, step.posts)
            case _:
                return frozenset({before.state})


def _asked_for(before: Registration, step: Step) -> frozenset[State]:
    """Say where its client brings a registration; nothing if it did not ask for a change."""
    name = before.ref.public_id
    if name == step.canceled and before.state in (State.WAITING, State.PENDING):
        return frozenset({State.CANCELED})
    if name == step.registered and (before.state is State.CANCELED or before.final_status is FinalStatus.EXPIRED):
        return _BEGINNINGS
    if name == step.redelivered and before.message is not None:
        return frozenset({State.PENDING})
    return frozenset()


def _after_polls(before: Registration, now: Registration, polls: Sequence[Poll]) -> frozenset[State]:
    """Whoever waits is told the upstream's end at once, or `Expired` where the last answer was no good answer."""
    replies = [poll.reply for poll in polls if poll.ref == before.ref.operation]
    if not replies:
        return frozenset({State.WAITING})
    reply = replies[-1]
    said = _final_status(reply.body) if isinstance(reply, Reply) and reply.status == 200 else None
    if said is None:
        told = State.PENDING if FinalStatus.EXPIRED in before.events else State.SKIPPED
        gave_up = now.final_status in (None, FinalStatus.EXPIRED)
        return frozenset({State.WAITING, told} if gave_up else {State.WAITING})
    return frozenset({State.PENDING if said in before.events else State.SKIPPED})


def _after_posts(before: Registration, now: Registration, posts: Sequence[Post]) -> frozenset[State]:
    """Return the possible states: a receiver's answer ends a delivery, and so does the end of its attempts."""
    mine = [post for post in posts if post.message_id == before.message_id]
    if any(post.is_taken for post in mine):
        return frozenset({State.DELIVERED})
    if any(post.is_gone for post in mine):
        return frozenset({State.DEAD})
    used_up = now.last_attempt - now.run_start + 1 >= ATTEMPTS_PER_RUN
    return frozenset({State.PENDING, State.DEAD} if used_up else {State.PENDING})


def _final_status(body: bytes) -> FinalStatus | None:
    return next((final_status for final_status in FinalStatus if f'"{final_status}"'.encode() in body), None)


def _standing(simulation: Simulation) -> dict[str, Registration]:
    return {
        name: registration
        for partition in operation_partitions()
        for name, registration in rows.states(simulation.memory.rows(partition)).items()
    }


def _closure() -> Mapping[State, frozenset[State]]:
    """Follow the state machine as far as it goes from each state."""
    reachable = {state: {state} for state in State}
    for _ in State:
        for (start, _move), end in TRANSITIONS.items():
            for reached in reachable.values():
                if start in reached:
                    reached.add(end)
    return {state: frozenset(reached) for state, reached in reachable.items()}


_REACHABLE = _closure()
