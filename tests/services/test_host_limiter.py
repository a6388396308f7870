"""The permits of an instance: attempts get a permit, wait in memory, or are deferred."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from itertools import count

import pytest

from bridge.domain.delivery import ATTEMPT, DeliveryTask
from bridge.domain.host_limits import (
    CIRCUIT_BACKOFF,
    CLASS_PLACES,
    FAILURES_TO_OPEN,
    FORCED_INTERVAL,
    MAX_IN_FLIGHT,
    MAX_IN_FLIGHT_SLOW,
    PLACES,
    HostClass,
    HostPermit,
    Work,
)
from bridge.domain.ids import OperationRef, RegistrationRef
from bridge.domain.outcome import Failure, Outcome, Unreachable, answered
from bridge.services.host_limiter import (
    LONGEST_DEFERRAL,
    MAX_WAIT,
    REMEMBERED_HOSTS,
    SHORTEST_DEFERRAL,
    UNPROVEN_AT_ONCE,
    UNPROVEN_INTERVAL,
    WAITING_BEFORE_UNPROVEN,
    WAITING_PER_HOST,
    HostLimiter,
)
from tests.support.harness import NOON, FakeClock

HOST = "https://receiver.example.com"
TAKEN = answered(200, address="203.0.113.7")
SILENCE = Unreachable(error=Failure.TIMEOUT)
QUICKLY = timedelta(milliseconds=50)
SLOWLY = timedelta(seconds=10)

_numbers = count()


def task_for(origin: str = HOST, owner: str = "ann") -> DeliveryTask:
    operation = OperationRef("default", f"operation-{next(_numbers)}")
    ref = RegistrationRef.of(operation, owner=owner, callback_url=f"{origin}/")
    return DeliveryTask(ref=ref, generation=NOON, number=1, origin=origin, owner=owner)


def forced_task(origin: str = HOST) -> DeliveryTask:
    """Return a task that a client has ordered."""
    return replace(task_for(origin), forced=True)


class Instance:
    """A limiter with a clock, and the behavior of threads."""

    def __init__(self, *, by_owner: bool = False) -> None:
        self.clock = FakeClock()
        self.hosts = HostLimiter(self.clock, random=lambda: 0.5, by_owner=by_owner)

    def begin(self, origin: str = HOST, owner: str = "ann") -> HostPermit:
        """Begin an attempt that must get a permit, after a pause if the limiter requires one."""
        work = self.hosts.acquire(task_for(origin, owner))
        if work.pause is not None:
            self.clock.advance(work.pause)
            work = self.hosts.resume()
        assert work.permit is not None
        return work.permit

    def end(self, permit: HostPermit, outcome: Outcome = TAKEN, took: timedelta = QUICKLY) -> Work:
        self.hosts.note(permit, outcome, took)
        return self.hosts.release(permit)

    def prove(self, origin: str = HOST, *, took: timedelta = QUICKLY) -> None:
        self.end(self.begin(origin), took=took)

    def fill(self, origins: Iterable[str]) -> list[HostPermit]:
        """Begin attempts until none gets a permit at once."""
        works = [self.hosts.acquire(task_for(origin)) for origin in origins]
        return [work.permit for work in works if work.permit is not None]


def is_waiting(work: Work) -> bool:
    return work == Work()


def test_a_quick_host_has_its_own_permits_and_further_tasks_wait_in_memory() -> None:
    instance = Instance()
    instance.prove()

    works = [instance.hosts.acquire(task_for()) for _ in range(100)]

    assert sum(work.permit is not None for work in works) == MAX_IN_FLIGHT
    assert all(is_waiting(work) for work in works[MAX_IN_FLIGHT:])


def test_the_thread_that_ends_an_attempt_goes_on_with_the_oldest_task_that_waits() -> None:
    instance = Instance()
    instance.prove()
    permits = [instance.begin() for _ in range(MAX_IN_FLIGHT)]
    first, second = task_for(), task_for()
    instance.hosts.acquire(first)
    instance.hosts.acquire(second)

    work = instance.end(permits[0])

    assert work.permit is not None
    assert work.permit.task is first
    assert instance.hosts.waiting(HOST) == 1


def test_a_waiting_task_is_not_accepted_twice() -> None:
    instance = Instance()
    permit, again = instance.begin(), task_for()

    assert is_waiting(instance.hosts.acquire(again))
    assert is_waiting(instance.hosts.acquire(again))
    instance.end(permit)

    assert instance.hosts.waiting(HOST) == 0


def test_a_first_answer_starts_threads_for_the_other_permits() -> None:
    instance = Instance()
    permit = instance.begin()
    for _ in range(50):
        instance.hosts.acquire(task_for())

    work = instance.end(permit)

    assert work.permit is not None
    assert len(work.resent) == MAX_IN_FLIGHT - 1


def test_an_unproven_host_has_one_attempt_at_a_time() -> None:
    instance = Instance()
    instance.begin()

    assert is_waiting(instance.hosts.acquire(task_for()))


def test_many_names_of_one_server_count_as_one_until_they_answer() -> None:
    instance = Instance()
    located = [instance.hosts.locate(instance.begin(f"https://{name}.example.com"), "203.0.113.7") for name in range(3)]

    assert isinstance(located[0], HostPermit)
    assert located[1:] == [Work(), Work()]
    following = instance.end(located[0], SILENCE, ATTEMPT)
    assert following.permit is not None
    assert following.permit.server == "203.0.113.7 443"


def test_an_answering_origin_has_its_own_permits_behind_a_shared_address() -> None:
    instance = Instance()
    good = instance.hosts.locate(instance.begin("https://good.example.com"), "203.0.113.7")
    assert isinstance(good, HostPermit)
    instance.end(good)
    bad = instance.hosts.locate(instance.begin("https://bad.example.com"), "203.0.113.7")
    assert isinstance(bad, HostPermit)

    permits = instance.fill(["https://good.example.com"] * MAX_IN_FLIGHT)

    assert len(permits) == MAX_IN_FLIGHT


@pytest.mark.parametrize(("took", "host_class"), [(SLOWLY, HostClass.SLOW), (None, HostClass.UNPROVEN)])
def test_slow_and_silent_hosts_leave_places_for_quick_ones(took: timedelta | None, host_class: HostClass) -> None:
    instance = Instance()
    others = [f"https://{number}.example.net" for number in range(50)]
    for origin in others:
        if took is not None:
            instance.prove(origin, took=took)
    good = [f"https://good-{number}.example.com" for number in range(4)]
    for origin in good:
        instance.prove(origin)

    taken = []
    for origin in others * MAX_IN_FLIGHT_SLOW:
        taken += instance.fill([origin])
        instance.clock.advance(UNPROVEN_INTERVAL)
        if len(taken) == CLASS_PLACES[host_class]:
            break
    assert not instance.fill(others)

    free = instance.fill(good * MAX_IN_FLIGHT)
    assert len(free) >= PLACES - 2 * CLASS_PLACES[host_class]


def test_attempts_at_unproven_hosts_do_not_begin_all_at_once() -> None:
    instance = Instance()
    first = instance.fill(f"https://{number}.example.net" for number in range(UNPROVEN_AT_ONCE))

    paused = instance.hosts.acquire(task_for("https://third.example.net"))
    newest = instance.hosts.acquire(task_for("https://newest.example.net"))
    instance.clock.advance(UNPROVEN_INTERVAL)
    work = instance.hosts.resume()

    assert len(first) == UNPROVEN_AT_ONCE
    assert paused.pause == UNPROVEN_INTERVAL
    assert is_waiting(newest)
    assert work.permit is not None
    assert work.permit.origin == "https://newest.example.net"


def test_an_answer_lets_the_next_new_host_begin_at_once() -> None:
    instance = Instance()
    permits = instance.fill(f"https://{number}.example.net" for number in range(UNPROVEN_AT_ONCE))
    instance.hosts.acquire(task_for("https://third.example.net"))
    new = [f"https://new-{number}.example.net" for number in range(10)]
    for origin in new:
        instance.hosts.acquire(task_for(origin))
    instance.clock.advance(UNPROVEN_INTERVAL)

    work, seen, resent = instance.hosts.resume(), [], []
    while work.permit is not None:
        seen.append(work.permit.origin)
        resent += [each.origin or "" for each in work.resent]
        work = instance.end(work.permit)

    assert sorted({*seen, *resent}) == sorted(["https://third.example.net", *new])
    assert len(permits) == UNPROVEN_AT_ONCE


def test_among_new_hosts_the_one_with_the_longest_backlog_is_next() -> None:
    instance = Instance()
    instance.fill(f"https://{number}.example.net" for number in range(UNPROVEN_AT_ONCE))
    instance.hosts.acquire(task_for("https://one.example.net"))
    for _ in range(40):
        instance.hosts.acquire(task_for("https://many.example.net"))
    instance.hosts.acquire(task_for("https://other.example.net"))
    instance.clock.advance(UNPROVEN_INTERVAL)

    work = instance.hosts.resume()

    assert work.permit is not None
    assert work.permit.origin == "https://many.example.net"


def test_a_slow_host_is_deferred_for_the_time_of_its_backlog() -> None:
    instance = Instance()
    instance.prove(took=SLOWLY)

    works = [instance.hosts.acquire(task_for()) for _ in range(100)]

    interval = SLOWLY / MAX_IN_FLIGHT_SLOW
    deferred = [until.until - NOON for work in works for _, until in work.deferred]
    waiting = MAX_WAIT // interval
    assert len(deferred) == 100 - MAX_IN_FLIGHT_SLOW - waiting
    assert deferred == [waiting * interval + number * interval for number in range(len(deferred))]
    assert {until.why for work in works for _, until in work.deferred} == {"concurrency"}


def test_a_backlog_of_hours_is_spread_over_the_longest_deferral() -> None:
    instance = Instance()
    instance.prove(took=SLOWLY)

    works = [instance.hosts.acquire(task_for()) for _ in range(1000)]

    waits = [until.until - NOON for work in works for _, until in work.deferred]
    assert all(SHORTEST_DEFERRAL <= wait <= LONGEST_DEFERRAL for wait in waits)


def test_a_host_that_proves_slow_defers_the_tasks_that_waited() -> None:
    instance = Instance()
    permit = instance.begin()
    for _ in range(99):
        instance.hosts.acquire(task_for())

    work = instance.end(permit, took=SLOWLY)

    assert instance.hosts.waiting(HOST) <= MAX_WAIT // (SLOWLY / MAX_IN_FLIGHT_SLOW)
    assert len(work.deferred) > 80


def test_an_open_circuit_defers_every_task_and_names_the_failed_probe() -> None:
    instance = Instance()
    permit = instance.begin()
    waiting = [task_for() for _ in range(FAILURES_TO_OPEN + 20)]
    for each in waiting:
        instance.hosts.acquire(each)

    work = Work(permit=permit)
    for _ in range(FAILURES_TO_OPEN):
        assert work.permit is not None
        work = instance.end(work.permit, SILENCE)

    assert work.permit is None
    assert len(work.deferred) == 21
    for _, deferred in work.deferred:
        assert (deferred.until, deferred.why) == (NOON + CIRCUIT_BACKOFF.first, "circuitOpen")
        assert deferred.probe is not None
        assert deferred.probe.error is Failure.TIMEOUT
    [(_, later)] = instance.hosts.acquire(task_for()).deferred
    assert later.probe == work.deferred[0][1].probe


def test_after_the_time_of_an_open_circuit_one_attempt_probes_and_the_others_wait_for_it() -> None:
    instance = Instance()
    for _ in range(FAILURES_TO_OPEN):
        instance.end(instance.begin(), SILENCE)
    instance.clock.advance(CIRCUIT_BACKOFF.first)

    probe = instance.begin()

    assert is_waiting(instance.hosts.acquire(task_for()))
    work = instance.end(probe)
    assert work.permit is not None


def silenced(origin: str = HOST) -> Instance:
    """Return an instance on which the circuit of a host is open."""
    instance = Instance()
    for _ in range(FAILURES_TO_OPEN):
        instance.end(instance.begin(origin), SILENCE)
    return instance


def test_an_open_circuit_admits_a_forced_attempt_and_its_answer_closes_the_circuit() -> None:
    instance = silenced()

    forced = instance.hosts.acquire(forced_task())

    assert forced.permit is not None
    instance.end(forced.permit)
    assert instance.hosts.acquire(task_for()).permit is not None


def test_a_forced_attempt_without_an_answer_leaves_the_end_of_the_open_time() -> None:
    instance = silenced()
    instance.clock.advance(10)
    permit = instance.hosts.acquire(forced_task()).permit
    assert permit is not None

    instance.end(permit, SILENCE)

    [(_, deferred)] = instance.hosts.acquire(task_for()).deferred
    assert deferred.until == NOON + CIRCUIT_BACKOFF.first


def test_forced_attempts_at_an_open_circuit_are_apart_and_none_counts_as_failed() -> None:
    """The deferred ones follow one after the other."""
    instance = silenced()
    permit = instance.hosts.acquire(forced_task()).permit
    assert permit is not None
    instance.end(permit, SILENCE)

    deferred = [each for _ in range(3) for _, each in instance.hosts.acquire(forced_task()).deferred]

    assert [each.until - NOON for each in deferred] == [
        FORCED_INTERVAL,
        FORCED_INTERVAL + ATTEMPT,
        FORCED_INTERVAL + 2 * ATTEMPT,
    ]
    assert {(each.why, each.probe) for each in deferred} == {("circuitOpen", None)}
    instance.clock.advance(FORCED_INTERVAL)
    assert instance.hosts.acquire(forced_task()).permit is not None


def test_forced_attempts_at_an_open_circuit_take_one_place_and_wait_for_its_end() -> None:
    instance = silenced()
    permit = instance.hosts.acquire(forced_task()).permit
    assert permit is not None
    instance.clock.advance(FORCED_INTERVAL)
    second, third = forced_task(), forced_task()

    assert is_waiting(instance.hosts.acquire(second))
    assert is_waiting(instance.hosts.acquire(third))
    work = instance.end(permit, SILENCE)

    assert work.permit is not None
    assert work.permit.task == second
    assert instance.hosts.waiting(HOST) == 1
    [(left, _)] = instance.end(work.permit, SILENCE).deferred
    assert left == third


def test_a_forced_task_replaces_the_waiting_task_of_its_registration() -> None:
    """The circuit then opens, which the waiting task must pass."""
    instance = Instance()
    permit = instance.begin()
    task = task_for()
    assert is_waiting(instance.hosts.acquire(task))

    assert is_waiting(instance.hosts.acquire(replace(task, forced=True)))

    for _ in range(FAILURES_TO_OPEN):
        instance.hosts.note(permit, SILENCE, ATTEMPT)
    work = instance.hosts.release(permit)
    assert work.permit is not None
    assert work.permit.task == replace(task, forced=True)


def test_a_forced_attempt_begins_once_its_address_is_known() -> None:
    """The circuit has admitted it, and does not count it again."""
    instance = silenced("https://named.example.com")
    permit = instance.hosts.acquire(forced_task("https://named.example.com")).permit
    assert permit is not None
    assert permit.needs_address

    located = instance.hosts.locate(permit, "203.0.113.9")

    assert isinstance(located, HostPermit)
    assert located.server == "203.0.113.9 443"


def test_tokens_limit_the_permits_of_one_owner() -> None:
    instance = Instance(by_owner=True)
    origins = [f"https://{number}.example.com" for number in range(8)]
    for origin in origins:
        instance.prove(origin)

    anns = [instance.hosts.acquire(task_for(origin, "ann")) for origin in origins * 4]
    bobs = [instance.hosts.acquire(task_for(origin, "bob")) for origin in origins]

    assert sum(work.permit is not None for work in anns) == PLACES // 2
    assert all(work.permit is not None for work in bobs)


def test_an_owner_at_its_limit_continues_after_the_end_of_an_attempt() -> None:
    instance = Instance(by_owner=True)
    origins = [f"https://{number}.example.com" for number in range(8)]
    for origin in origins:
        instance.prove(origin)
    permits = [work.permit for origin in origins * 4 if (work := instance.hosts.acquire(task_for(origin))).permit]

    work = instance.end(permits[0])

    assert work.permit is not None


def test_a_key_for_all_limits_no_owner() -> None:
    instance = Instance()
    origins = [f"https://{number}.example.com" for number in range(8)]
    for origin in origins:
        instance.prove(origin)

    works = [instance.hosts.acquire(task_for(origin)) for origin in origins * 2]

    assert all(work.permit is not None for work in works)


def test_a_thread_without_a_next_task_starts_another_for_waiting_tasks() -> None:
    instance = Instance()
    instance.prove()
    permits = [instance.begin() for _ in range(MAX_IN_FLIGHT)]
    for _ in range(5):
        instance.hosts.acquire(task_for())

    work = instance.hosts.release(permits[0], take=False)

    assert work.permit is None
    assert len(work.resent) == 1


@pytest.mark.parametrize("trouble", [RuntimeError, SystemExit, KeyboardInterrupt])
def test_a_permit_is_released_and_another_thread_called_if_its_block_raises(trouble: type[BaseException]) -> None:
    instance, waiting, sent = Instance(), task_for(), list[DeliveryTask]()
    permit = instance.begin()
    instance.hosts.acquire(waiting)

    with pytest.raises(trouble), instance.hosts.permit(Work(permit=permit), lambda *tasks: sent.extend(tasks)):
        raise trouble

    assert sent == [waiting]
    assert instance.hosts.acquire(waiting).permit is not None


def test_a_pause_ends_if_its_block_raises() -> None:
    instance, third, sent = Instance(), task_for("https://third.example.net"), list[DeliveryTask]()
    instance.fill(f"https://{number}.example.net" for number in range(UNPROVEN_AT_ONCE))
    paused = instance.hosts.acquire(third)

    with pytest.raises(SystemExit), instance.hosts.permit(paused, lambda *tasks: sent.extend(tasks)):
        raise SystemExit

    assert sent == [third]
    instance.clock.advance(UNPROVEN_INTERVAL)
    assert instance.hosts.acquire(third).permit is not None


def test_work_that_follows_is_released_too_if_the_block_raises() -> None:
    instance, sent = Instance(), list[DeliveryTask]()
    permit, other = instance.begin(), instance.begin("https://other.example.com")

    def find_the_host_busy_and_die() -> None:
        with instance.hosts.permit(Work(permit=permit), lambda *tasks: sent.extend(tasks)) as held:
            instance.hosts.release(permit)
            held.permit, held.then = None, Work(permit=other)
            raise SystemExit

    with pytest.raises(SystemExit):
        find_the_host_busy_and_die()

    assert sent == [other.task]
    assert all(instance.hosts.acquire(each.task).permit is not None for each in (permit, other))


def test_a_task_without_a_thread_begins_with_its_next_message() -> None:
    instance = Instance()
    permit, stranded = instance.begin(), task_for()
    instance.hosts.acquire(stranded)
    other = task_for()
    instance.hosts.acquire(other)
    instance.hosts.release(permit, take=False)

    works = [instance.hosts.acquire(each) for each in (stranded, other)]

    assert sum(work.permit is not None for work in works) == 1


def test_new_hosts_that_wait_too_long_are_deferred() -> None:
    instance = Instance()
    instance.fill(f"https://{number}.example.net" for number in range(UNPROVEN_AT_ONCE))
    for number in range(40):
        instance.hosts.acquire(task_for(f"https://late-{number}.example.net"))
    instance.clock.advance(MAX_WAIT + timedelta(seconds=1))

    work = instance.hosts.resume()

    assert work.deferred
    assert all(until.until >= instance.clock() + SHORTEST_DEFERRAL for _, until in work.deferred)


def test_the_number_of_waiting_tasks_is_bounded() -> None:
    instance = Instance()
    instance.begin()

    many = [instance.hosts.acquire(task_for()) for _ in range(2 * WAITING_PER_HOST)]
    others = [instance.hosts.acquire(task_for(f"https://{number}.example.net")) for number in range(2_000)]

    assert sum(is_waiting(work) for work in many) == WAITING_PER_HOST
    assert (
        sum(not work.deferred for work in [*many, *others])
        <= WAITING_BEFORE_UNPROVEN + CLASS_PLACES[HostClass.UNPROVEN]
    )


@pytest.mark.parametrize("outcome", [TAKEN, SILENCE])
def test_the_memory_of_hosts_is_bounded_and_drops_the_least_recently_used_host(outcome: Outcome) -> None:
    instance = Instance()
    instance.prove("https://old.example.com")
    instance.prove("https://kept.example.com")
    for number in range(REMEMBERED_HOSTS + 10):
        instance.clock.advance(UNPROVEN_INTERVAL)
        instance.end(instance.begin(f"https://{number}.example.net"), outcome)
        if number % 1000 == 0:
            instance.end(instance.begin("https://kept.example.com"))

    assert len(instance.hosts._hosts) == REMEMBERED_HOSTS
    instance.clock.now = NOON
    assert instance.begin("https://kept.example.com").host_class is HostClass.QUICK
    assert instance.begin("https://old.example.com").host_class is HostClass.UNPROVEN


def test_a_host_with_an_attempt_in_flight_is_not_forgotten() -> None:
    instance = Instance()
    instance.prove()
    permits = [instance.begin() for _ in range(MAX_IN_FLIGHT)]
    for number in range(REMEMBERED_HOSTS + 10):
        instance.clock.advance(UNPROVEN_INTERVAL)
        instance.end(instance.begin(f"https://{number}.example.net"))
    instance.clock.now = NOON

    assert is_waiting(instance.hosts.acquire(task_for()))
    assert permits
