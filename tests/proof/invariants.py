"""Invariants of a whole scenario: promises to clients, callbacks to receivers, polls of the upstream."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta

from bridge.domain.ids import RegistrationRef
from bridge.domain.operation import FinalStatus
from bridge.domain.registration import LIVE, Registration, State
from bridge.domain.retry import ATTEMPTS_PER_RUN
from bridge.domain.upstream import Reply
from bridge.storage.keys import attempt_key, due_reference, operation_partitions
from tests.proof import rows
from tests.proof.calls import Mode
from tests.proof.outside import Poll, Post
from tests.proof.simulation import Expectation, Loss, Simulation
from tests.support.factories import JOB_SECRET

_TOO_MANY, _UNAUTHORISED = 429, 401
_FIRST_PAUSE = timedelta(minutes=1)


def check(simulation: Simulation, *, repeats: bool = False) -> None:
    """Check all invariants once only purges are due. With `repeats`, callbacks may be repeated.

    Raises Loss with every violation.
    """
    simulation.check_rows()
    known = {
        name: registration
        for partition in operation_partitions()
        for name, registration in rows.states(simulation.memory.rows(partition)).items()
    }
    found = list(_broken(simulation, known))
    found += _misnamed(simulation.posts)
    found += [] if repeats else _repeated(simulation)
    found += _polled_too_early(simulation)
    found += _lost(simulation)
    found += _not_sent(simulation)
    found += _about_another(simulation.posts)
    found += _revealed(simulation)
    if found:
        raise Loss("; ".join(found))


def _broken(simulation: Simulation, known: dict[str, Registration]) -> Iterator[str]:
    """Check that each registration answered with 201 ended, in agreement with the outside."""
    posts: dict[str, list[Post]] = defaultdict(list)
    for post in simulation.posts:
        posts[post.message_id].append(post)
    statuses = _returned_statuses(simulation.polls)
    for name, expectation in simulation.expectations.items():
        registration = known.get(name)
        if registration is None:
            yield f"{name} is purged"
        elif registration.state in LIVE:
            yield f"{name} is still {registration.state}"
        else:
            got = posts[registration.message_id or ""]
            yield from _wrongly_ended(registration, expectation, got)
            yield from _invented(registration, statuses[due_reference(registration.ref.operation)])


def _wrongly_ended(registration: Registration, expectation: Expectation, got: list[Post]) -> Iterator[str]:
    name, state = registration.ref.public_id, registration.state
    if state is State.DELIVERED and not any(post.is_taken for post in got):
        yield f"{name} is delivered, but no receiver answered 2xx"
    if state is State.DEAD and registration.reason == "gone" and not any(post.is_gone for post in got):
        yield f"{name} is dead with reason gone, but no receiver answered 410"
    made = registration.last_attempt - registration.run_start + 1
    if state is State.DEAD and registration.reason == "exhausted" and made < ATTEMPTS_PER_RUN:
        yield f"{name} is dead after {made} attempts"
    if state is State.CANCELED and not expectation.cancels:
        yield f"{name} is canceled without a request"
    wanted = expectation.events is None or registration.final_status in expectation.events
    if state is State.SKIPPED and wanted:
        yield f"{name} is skipped, although the filter includes the event"
    if got and not wanted:
        yield f"{name} got a callback for an event outside of its filter"


def _invented(registration: Registration, statuses: set[str]) -> Iterator[str]:
    """Check that the upstream did return the final status."""
    final_status = registration.final_status
    if final_status not in (None, FinalStatus.EXPIRED) and final_status not in statuses:
        yield f"{registration.ref.public_id} got {final_status}, but the upstream returned {statuses}"


def _misnamed(posts: list[Post]) -> Iterator[str]:
    """Check that each generation of a registration has one message id, and each message id one body."""
    bodies: dict[str, set[bytes]] = defaultdict(set)
    names: dict[tuple[str, str], set[str]] = defaultdict(set)
    for post in posts:
        data = json.loads(post.body)["data"]
        bodies[post.message_id].add(post.body)
        names[data["registrationId"], data["registeredAt"]].add(post.message_id)
    yield from (f"{name} has {len(each)} bodies" for name, each in bodies.items() if len(each) > 1)
    yield from (
        f"a generation of {generation[0]} has {len(each)} messages"
        for generation, each in names.items()
        if len(each) > 1
    )


def _repeated(simulation: Simulation) -> Iterator[str]:
    """Find callbacks that were repeated without a redelivery and without a fault at that time."""
    taken = Counter(post.message_id for post in simulation.posts if post.is_taken and not post.may_be_repeated)
    owners = {post.message_id: json.loads(post.body)["data"]["registrationId"] for post in simulation.posts}
    made = Counter(post.message_id for post in simulation.posts)
    for message_id, name in owners.items():
        runs = 1 + simulation.redeliveries[name]
        if taken[message_id] > runs:
            yield f"{name} was taken {taken[message_id]} times in {runs} runs"
        if made[message_id] > runs * ATTEMPTS_PER_RUN:
            yield f"{name} was posted {made[message_id]} times in {runs} runs"


def _returned_statuses(polls: list[Poll]) -> dict[str, set[str]]:
    statuses: dict[str, set[str]] = defaultdict(set)
    for poll in polls:
        if isinstance(poll.reply, Reply) and poll.reply.status == 200:
            statuses[due_reference(poll.ref)].add(json.loads(poll.reply.body)["status"])
    return statuses


def _polled_too_early(simulation: Simulation) -> Iterator[str]:
    """Check that no source is polled during a pause or twice at once. Simultaneous sweeps may both begin a poll."""
    if len(simulation.instances) > 1:
        return
    free: dict[str, datetime] = {}
    last: dict[str, Poll] = {}
    for poll in simulation.polls:
        source, name = poll.ref.source, due_reference(poll.ref)
        if source in free and poll.at < free[source]:
            yield f"{source} was polled at {poll.at}, before {free[source]}"
        before = last.get(name, poll)
        faults = poll.invocation.faults + before.invocation.faults
        if before is not poll and before.at == poll.at and not faults:
            yield f"{name} was polled twice at {poll.at}"
        last[name] = poll
        if poll.has_answer and not poll.invocation.faults:
            free[source] = poll.at + _wait(poll)


def _wait(poll: Poll) -> timedelta:
    reply = poll.reply
    if not isinstance(reply, Reply):
        return timedelta(0)
    if reply.status == _TOO_MANY:
        return timedelta(seconds=int(reply.retry_after or 30))
    return _FIRST_PAUSE if reply.status == _UNAUTHORISED else timedelta(0)


def _lost(simulation: Simulation) -> Iterator[str]:
    """Find attempts without an outcome. Only a death, or two calls that went wrong, may cost an attempt.

    A claim whose reply was lost is found, and so is a record: the delivery goes on as if nothing had happened.
    """
    modes = list(simulation.calls.plan.values())
    if len(simulation.instances) > 1 or len(modes) > 1 or set(modes) & {Mode.DIE_BEFORE, Mode.DIE_AFTER}:
        return
    attempts = (row for row in simulation.memory.rows() if row.key.startswith("att:"))
    yield from (f"{row.key} is lost" for row in attempts if not {"status", "error"} & row.values.keys())


def _not_sent(simulation: Simulation) -> Iterator[str]:
    """Find ordered attempts that were counted as failed without a callback, since the circuit was open."""
    attempts = {row.key: row for row in simulation.memory.rows() if row.key.startswith("att:")}
    for name, number in simulation.ordered:
        ref = RegistrationRef.parse(name)
        row = None if ref is None else attempts.get(attempt_key(ref, number))
        if row is not None and str(row.values.get("detail", "")).startswith("not sent"):
            yield f"the ordered attempt {number} of {name} was not sent"


def _about_another(posts: list[Post]) -> Iterator[str]:
    """Check that each callback is about the operation or the job of its registration, and has the shape of its kind."""
    for post in posts:
        event = json.loads(post.body)
        data, ref = event["data"], RegistrationRef.parse(event["data"]["registrationId"])
        kind = "job" if "job" in data else "operation"
        about = data["job"]["id"] if "job" in data else data["operationId"]
        right = ref is not None and (kind, about) == (ref.operation.kind, ref.operation.id)
        if not right or ("job" in data) == ("operationId" in data) or f".{kind}." not in event["type"]:
            yield f"the callback of {data['registrationId']} is {event['type']} about {about}"
        elif (
            ref is not None
            and ref.operation.is_job
            and data["status"] != FinalStatus.EXPIRED
            and not data["job"]["endedAt"]
        ):
            yield f"the callback of {data['registrationId']} has no time of the end"


def _revealed(simulation: Simulation) -> Iterator[str]:
    """Find secrets of jobs in rows, messages and callbacks."""
    places = {
        "row": [repr(row) for row in simulation.memory.rows()],
        "message": [repr(message) for message in simulation.queue.messages],
        "callback": [repr(post.body) for post in simulation.posts],
    }
    yield from (
        f"a secret in a {name}: {text[:80]}" for name, texts in places.items() for text in texts if JOB_SECRET in text
    )
