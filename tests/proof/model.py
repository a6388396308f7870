"""Compare the bridge with a model: events come in any order, and each registration moves as the model predicts.

The model knows the requests of clients and the answers of upstream and receivers, but no row. After a step without a
fault, the model predicts the state of each registration. After a fault, any path through the state machine is correct,
and the invariants of rows and scenarios still hold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from bridge.domain.ids import OperationRef
from bridge.domain.operation import FinalStatus
from bridge.domain.registration import LIVE, TRANSITIONS, Registration, State
from bridge.domain.retry import ATTEMPTS_PER_RUN
from bridge.domain.upstream import Reply
from bridge.storage.keys import operation_partitions
from tests.proof import rows
from tests.proof.outside import Poll, Post
from tests.proof.simulation import Loss, Simulation

#: The possible states after registering, for the first time or again.
_BEGINNINGS = frozenset({State.WAITING, State.PENDING, State.SKIPPED})

_RETENTION = timedelta(days=30)


@dataclass(slots=True)
class Step:
    """The visible events of one step."""

    polls: Sequence[Poll]
    posts: Sequence[Post]
    #: A fault happened, so any legal path is correct.
    troubled: bool
    #: The operation of the client's request, and the registration: None if the operation had no place.
    requested: OperationRef | None = None
    registered: str | None = None
    canceled: str | None = None
    redelivered: str | None = None
    purged: str | None = None


@dataclass(slots=True)
class Model:
    """The state of each registration after the last step."""

    known: dict[str, Registration] = field(default_factory=dict)

    def follow(self, simulation: Simulation, step: Step) -> None:
        """Read the new states. Raises Loss if the step cannot lead there."""
        now = _standing(simulation)
        replaced = self._replaced(simulation, now, step)
        for name, before in self.known.items():
            if name in replaced:
                simulation.expectations.pop(name, None)
            elif name not in now:
                self._forget(simulation, before, step)
            elif now[name].state not in self._allowed(before, now[name], step):
                raise Loss(f"{name} went from {before.state} to {now[name].state} by {step}")
        for name in now.keys() - self.known.keys():
            if now[name].state not in _BEGINNINGS and not step.troubled:
                raise Loss(f"{name} begins as {now[name].state}")
        self.known = now

    def _replaced(self, simulation: Simulation, now: Mapping[str, Registration], step: Step) -> Sequence[str]:
        """Return the registration that was replaced by a new one.

        Raises Loss if an older candidate existed, if a place was free, or if the bridge refused a place despite a
        candidate.
        """
        if step.requested is None:
            return []
        known = {name: each for name, each in self.known.items() if each.ref.operation == step.requested}
        may = [name for name, each in known.items() if each.state in (State.CANCELED, State.SKIPPED)]
        gone = [name for name in known if name not in now]
        is_new = step.registered is not None and step.registered not in known
        if len(known) < simulation.places or not (is_new or gone or step.registered is None):
            return []
        oldest = min((known[name].since for name in may), default=None)
        right = [name for name in may if known[name].since == oldest]
        if step.registered is None and may and not step.troubled:
            raise Loss(f"{step.requested} had no place, and {may} could have been replaced")
        if is_new and not may:
            raise Loss(f"{step.registered} has a place, although the operation was full")
        if len(gone) > 1 or not set(gone) <= set(right) or (is_new and not gone and not step.troubled):
            raise Loss(f"{gone} were replaced by {step.registered} instead of {right}")
        return gone

    def _forget(self, simulation: Simulation, before: Registration, step: Step) -> None:
        """Drop a registration that a client purged after its end, or that ended longer ago than the retention."""
        ended = before.state not in LIVE
        if ended and before.ref.public_id == step.purged:
            return
        if not ended or simulation.clock() - before.since < _RETENTION - timedelta(minutes=5):
            raise Loss(f"{before.ref.public_id} was {before.state} since {before.since}, and is purged")
        simulation.expectations.pop(before.ref.public_id, None)

    def _allowed(self, before: Registration, now: Registration, step: Step) -> frozenset[State]:
        """Return the states that a step may lead to."""
        if step.troubled:
            return _REACHABLE[before.state]
        if before.ref.public_id == step.purged and before.state not in LIVE:
            return frozenset()  # it has to be gone
        return _after_request(before, step) or self._brought(before, now, step)

    @staticmethod
    def _brought(before: Registration, now: Registration, step: Step) -> frozenset[State]:
        """Return the states that upstream and receivers may lead to, without a request of the client."""
        match before.state:
            case State.WAITING:
                return _after_polls(before, now, step.polls)
            case State.PENDING:
                return _after_posts(before, now, step.posts)
            case _:
                return frozenset({before.state})


def _after_request(before: Registration, step: Step) -> frozenset[State]:
    """Return the states that the client's request may lead to: empty if no change was requested."""
    name = before.ref.public_id
    if name == step.canceled and before.state in (State.WAITING, State.PENDING):
        return frozenset({State.CANCELED})
    if name == step.registered and (before.state is State.CANCELED or before.final_status is FinalStatus.EXPIRED):
        return _BEGINNINGS
    if name == step.redelivered and before.message is not None:
        return frozenset({State.PENDING})
    return frozenset()


def _after_polls(before: Registration, now: Registration, polls: Sequence[Poll]) -> frozenset[State]:
    """Return the possible states after polls. `Expired` is possible only if the last answer was an error."""
    replies = [poll.reply for poll in polls if poll.ref == before.ref.operation]
    if not replies:
        return frozenset({State.WAITING})
    reply = replies[-1]
    status = _final_status(reply.body) if isinstance(reply, Reply) and reply.status == 200 else None
    if status is None:
        ended = State.PENDING if FinalStatus.EXPIRED in before.events else State.SKIPPED
        gave_up = now.final_status in (None, FinalStatus.EXPIRED)
        return frozenset({State.WAITING, ended} if gave_up else {State.WAITING})
    return frozenset({State.PENDING if status in before.events else State.SKIPPED})


def _after_posts(before: Registration, now: Registration, posts: Sequence[Post]) -> frozenset[State]:
    """Return the possible states: a receiver's answer ends a delivery, and so does the end of all attempts."""
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
    """Return all states that the state machine can reach from each state."""
    reachable = {state: {state} for state in State}
    for _ in State:
        for (start, _move), end in TRANSITIONS.items():
            for reached in reachable.values():
                if start in reached:
                    reached.add(end)
    return {state: frozenset(reached) for state, reached in reachable.items()}


_REACHABLE = _closure()
