"""Scenarios that run again and again, each time with a fault at another call."""

from collections.abc import Callable
from datetime import timedelta

from bridge.domain.ids import Kind
from bridge.domain.operation import MAX_REGISTRATIONS
from bridge.domain.outcome import Failure, Unreachable
from bridge.domain.registration import RUNS_AN_HOUR
from bridge.domain.upstream import Reply
from tests.proof import invariants
from tests.proof.simulation import Loss, Simulation
from tests.support.poll_errors import TIMED_OUT

Scenario = Callable[[Simulation], None]

_RETRIED, _GONE, _FILTERED, _REVIVED = (f"https://{name}.example.com/" for name in ("a", "b", "c", "d"))
_SILENT = Unreachable(error=Failure.TIMEOUT)


def everyday(simulation: Simulation) -> None:
    """Run common events: retries, 410, a filter, cancellations, a renewal, redeliveries, 429, 401, two sources."""
    simulation.upstream.script("shared", Reply(status=429, retry_after="20"), "Running", "Succeeded")
    simulation.upstream.script("voice", Reply(status=401), TIMED_OUT, "Failed")
    simulation.receivers.script(_RETRIED, 500, 200)
    simulation.receivers.script(_GONE, 410, 200)
    retried = simulation.register("shared", _RETRIED)
    gone = simulation.register("shared", _GONE)
    simulation.register("shared", _FILTERED, events=["Failed"])
    reactivated = simulation.register("shared", _REVIVED)
    simulation.live(10)
    simulation.cancel(reactivated)
    simulation.register("shared", _REVIVED)
    simulation.register("voice", _RETRIED, source="voices")
    simulation.settle()
    simulation.redeliver(gone)
    simulation.redeliver(retried)
    simulation.cancel(retried)
    simulation.redeliver(retried)
    late = simulation.register("shared", "https://e.example.com/")
    simulation.cancel(late)
    simulation.register("shared", "https://e.example.com/")
    _end(simulation)
    simulation.register("shared", _RETRIED)
    _end(simulation)


def given_up(simulation: Simulation) -> None:
    """Run expired operations, one operation that is found again, and one without waiting registrations."""
    simulation.upstream.script("lost", Reply(status=404))
    simulation.upstream.script("refused", Reply(status=400), Reply(status=204), Reply(status=400))
    simulation.register("lost", _RETRIED)
    simulation.register("lost", _FILTERED, events=["Succeeded"])
    simulation.register("refused", _RETRIED)
    dropped = simulation.register("dropped", _RETRIED)
    simulation.tick()
    simulation.cancel(dropped)
    simulation.settle()
    simulation.live(1)
    simulation.upstream.script("lost", "Running", "Canceled")
    simulation.upstream.script("dropped", "Failed")
    simulation.upstream.jobs["dropped"] = Reply(status=500)
    simulation.register("lost", _REVIVED)
    simulation.register("dropped", _RETRIED)
    _end(simulation)


def hopeless(simulation: Simulation) -> None:
    """Run all attempts against a silent receiver: deferred while the circuit is open, dead in the end."""
    simulation.upstream.script("done", "Succeeded")
    for url in ("https://silent.example.com/1", "https://silent.example.com/2"):
        simulation.receivers.script(url, _SILENT)
        simulation.register("done", url)
    _end(simulation)


def crowded(simulation: Simulation) -> None:
    """Replace canceled and skipped registrations of a full operation: before the end, after the end, and at once."""
    simulation.limit_places(2)
    simulation.upstream.script("full", "Running", "Succeeded")
    simulation.receivers.script(_RETRIED, 500)
    canceled = simulation.register("full", _GONE)
    simulation.register("full", _FILTERED, events=["Failed"])
    simulation.cancel(canceled)
    retried = simulation.register("full", _RETRIED)
    _let_go(simulation, canceled)
    simulation.live(60)
    simulation.cancel(retried)  # after a failed attempt
    simulation.register("full", _REVIVED)
    _let_go(simulation, *simulation.expectations)
    simulation.try_to_register("full", _GONE)
    _let_go(simulation, *simulation.expectations)
    simulation.try_to_register("full", "https://e.example.com/")
    _end(simulation)
    simulation.limit_places(MAX_REGISTRATIONS)


def retried(simulation: Simulation) -> None:
    """Order retries: before the first attempt, while the circuit is open, twice, up to the last attempt and beyond."""
    simulation.upstream.script("done", "Succeeded")
    first, second = (f"https://silent.example.com/{number}" for number in (1, 2))
    simulation.receivers.script(first, _SILENT)
    simulation.receivers.script(second, _SILENT)
    used_up, delivered = simulation.register("done", first), simulation.register("done", second)
    simulation.tick()
    simulation.redeliver(used_up)
    simulation.live(400)  # the circuit opens
    for name in (used_up, delivered, delivered):
        simulation.redeliver(name)
    simulation.drain()
    simulation.live(30)
    simulation.redeliver_many()
    simulation.live(60)
    simulation.receivers.script(first, 500)
    simulation.receivers.script(second, 200)
    simulation.redeliver(delivered)
    simulation.drain()
    for _ in range(RUNS_AN_HOUR):
        simulation.redeliver(used_up)
        simulation.drain()
    simulation.receivers.script(first, 200)
    _end(simulation)


def erased(simulation: Simulation) -> None:
    """Purge registrations: of each ended state, beside others, as the last one, and after another beginning."""
    simulation.upstream.script("done", "Running", "Succeeded")
    simulation.receivers.script(_GONE, 410)
    simulation.receivers.script(_RETRIED, 500, 200)
    names = [simulation.register("done", url) for url in (_RETRIED, _GONE)]
    names.append(simulation.register("done", _FILTERED, events=["Failed"]))
    names.append(simulation.register("done", _REVIVED))
    for name in names:
        if simulation.purge(name) != 409:
            raise Loss(f"{name} was purged before its end")
    simulation.cancel(names[3])
    _erase(simulation, names[3])
    simulation.settle()
    for name in names[:3]:
        _erase(simulation, name)
    if simulation.left():
        raise Loss(f"left behind: {simulation.left()}")
    simulation.upstream.script("done", "Succeeded")
    again = simulation.register("done", _RETRIED)
    simulation.settle()
    invariants.check(simulation)
    _erase(simulation, again)
    simulation.posts.clear()
    simulation.clock.advance(timedelta(minutes=1))
    simulation.register("done", _RETRIED)
    _end(simulation)


def twins(simulation: Simulation) -> None:
    """Run an operation and a job with one id through a whole life each, to different ends, with the same callbacks."""
    simulation.upstream.script("twin", "Running", TIMED_OUT, "Succeeded")
    simulation.upstream.script("twin", Reply(status=404), "NotStarted", "Running", "Failed", kind=Kind.JOB)
    simulation.upstream.script("lost", Reply(status=404), kind=Kind.JOB)
    simulation.receivers.script(_RETRIED, 500, 200)
    operation = simulation.register("twin", _RETRIED)
    job = simulation.register("twin", _RETRIED, kind=Kind.JOB)
    simulation.register("twin", _FILTERED, kind=Kind.JOB, events=["Succeeded"])
    simulation.register("lost", _REVIVED, kind=Kind.JOB)
    simulation.live(10)
    simulation.cancel(operation)
    simulation.register("twin", _RETRIED)
    simulation.settle()
    invariants.check(simulation)
    simulation.redeliver(job)
    late = simulation.register("twin", _GONE, kind=Kind.JOB)
    simulation.settle()
    _erase(simulation, operation)
    if simulation.names() & {job, late} != {job, late}:
        raise Loss("the job was purged with the operation")
    simulation.live(1)
    simulation.upstream.script("lost", "Succeeded", kind=Kind.JOB)
    simulation.register("lost", _REVIVED, kind=Kind.JOB)
    _end(simulation)


SCENARIOS: tuple[Scenario, ...] = (everyday, given_up, hopeless, crowded, retried, erased, twins)


def _erase(simulation: Simulation, name: str) -> None:
    """Purge an ended registration. After a lost answer a repetition gets 404."""
    if simulation.purge(name) == 409 or name in simulation.names():
        raise Loss(f"{name} was not purged")


def _let_go(simulation: Simulation, *names: str) -> None:
    """Drop the expectations of ended registrations that were replaced."""
    for name in set(names) - simulation.names():
        promise = simulation.expectations.pop(name)
        if not promise.cancels and promise.events is None:
            raise Loss(f"{name} was replaced, and was neither canceled nor skipped")


def _end(simulation: Simulation) -> None:
    """Run until only purges are due, check all promises, then run all purges."""
    simulation.settle()
    invariants.check(simulation)
    simulation.forget()
    if simulation.left():
        raise Loss(f"left behind: {simulation.left()}")
    simulation.expectations.clear()
    simulation.posts.clear()
    simulation.ordered.clear()
    simulation.clock.advance(timedelta(minutes=1))
