"""The last attempt in the index row, which lists show without reading attempts."""

from datetime import timedelta

from bridge.domain.ids import RegistrationRef
from bridge.domain.outcome import Failure, LastAttempt, Unreachable
from bridge.domain.registration import State
from bridge.domain.retry import ATTEMPTS_PER_RUN, SCHEDULE
from bridge.storage.index import IndexEntry
from tests.support.harness import NOON, Harness

HOOK = "https://receiver.example.com/hook"


def pending(bridge: Harness) -> RegistrationRef:
    """Bring a registration to the point where the first task is in the queue."""
    ref = bridge.register()[0]
    bridge.upstream.script("operation-1", "Succeeded")
    bridge.sweep()
    return ref


def listed(bridge: Harness) -> IndexEntry:
    """Return the only entry of the list, which equals the registration's own row."""
    [entry] = bridge.queries.page(tuple(State), limit=2, cursor=None).entries
    assert entry == IndexEntry.of(bridge.registration(entry.ref))
    return entry


def fail_to_the_end(bridge: Harness) -> None:
    """Run all attempts of a run."""
    for wait in (*SCHEDULE, timedelta(0)):
        bridge.deliver_all()
        bridge.clock.advance(wait * 1.5 + timedelta(seconds=1))
        bridge.sweep()


def test_an_entry_without_a_recorded_attempt_has_none(bridge: Harness) -> None:
    pending(bridge)

    assert (listed(bridge).state, listed(bridge).last_recorded) == (State.PENDING, None)


def test_a_failed_attempt_is_shown_while_the_next_one_is_awaited(bridge: Harness) -> None:
    pending(bridge)
    bridge.sender.script(HOOK, 401)

    bridge.deliver_all()

    entry = listed(bridge)
    assert (entry.state, entry.last_recorded) == (State.PENDING, LastAttempt(number=1, at=NOON, status=401))


def test_a_failure_without_an_answer_is_shown_with_its_kind(bridge: Harness) -> None:
    """The next attempt replaces it, with its number."""
    pending(bridge)
    bridge.sender.script(HOOK, Unreachable(error=Failure.TLS), 503)

    bridge.deliver_all()
    first = listed(bridge).last_recorded
    bridge.clock.advance(10)
    bridge.sweep()
    bridge.deliver_all()

    assert first == LastAttempt(number=1, at=NOON, error=Failure.TLS)
    assert listed(bridge).last_recorded == LastAttempt(number=2, at=NOON + timedelta(seconds=10), status=503)


def test_a_delivered_registration_shows_the_attempt_that_arrived(bridge: Harness) -> None:
    pending(bridge)
    bridge.sender.script(HOOK, 204)

    bridge.deliver_all()

    entry = listed(bridge)
    assert (entry.state, entry.last_recorded) == (State.DELIVERED, LastAttempt(number=1, at=NOON, status=204))


def test_a_dead_registration_shows_the_last_attempt_of_its_run(bridge: Harness) -> None:
    pending(bridge)
    bridge.sender.script(HOOK, 500)

    fail_to_the_end(bridge)

    entry = listed(bridge)
    assert entry.state is State.DEAD
    assert entry.last_recorded is not None
    assert (entry.last_recorded.number, entry.last_recorded.status) == (ATTEMPTS_PER_RUN, 500)


def test_another_run_begins_without_an_attempt_and_counts_from_one(bridge: Harness) -> None:
    ref = pending(bridge)
    bridge.sender.script(HOOK, 410, 500)
    bridge.deliver_all()

    bridge.registrations.redeliver(ref)
    begun = listed(bridge).last_recorded
    bridge.deliver_all()

    assert begun is None
    assert listed(bridge).last_recorded == LastAttempt(number=1, at=NOON, status=500)


def test_a_canceled_delivery_keeps_its_last_attempt(bridge: Harness) -> None:
    ref = pending(bridge)
    bridge.sender.script(HOOK, 500)
    bridge.deliver_all()

    bridge.registrations.cancel(ref)

    entry = listed(bridge)
    assert (entry.state, entry.last_recorded) == (State.CANCELED, LastAttempt(number=1, at=NOON, status=500))


def test_a_run_whose_last_attempt_was_lost_shows_that(bridge: Harness) -> None:
    """The process ended before the record of the last attempt, and the end of its lease ends the run."""
    ref = pending(bridge)
    bridge.sender.script(HOOK, 500)
    for wait in SCHEDULE:
        bridge.deliver_all()
        bridge.clock.advance(wait * 1.5 + timedelta(seconds=1))
        bridge.sweep()
    [task] = bridge.queue.take()
    claimed_at = bridge.clock()
    assert bridge.deliverer.claims.claim(task) is not None

    bridge.clock.advance(61)
    bridge.sweep()
    bridge.deliver_all()

    entry = listed(bridge)
    assert (entry.ref, entry.state) == (ref, State.DEAD)
    assert entry.last_recorded == LastAttempt(number=ATTEMPTS_PER_RUN, at=claimed_at, error=Failure.LOST)
