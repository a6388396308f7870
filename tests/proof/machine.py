"""Draw events: requests of clients, upstream histories, moods of receivers, time, queue faults and storage faults."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from bridge.domain.ids import Kind, OperationRef
from bridge.domain.outcome import Failure, Unreachable
from bridge.domain.upstream import NoReply, Reply
from tests.proof import invariants
from tests.proof.calls import Mode
from tests.proof.model import Model, Step
from tests.proof.queue import Message
from tests.proof.simulation import Simulation
from tests.support.poll_errors import TIMED_OUT

#: Two operations, and a job with the id of one of them.
OPERATIONS = (
    OperationRef("default", "one"),
    OperationRef("default", "one", Kind.JOB),
    OperationRef("default", "two"),
)
URLS = {
    "https://a.example.com/": None,
    "https://b.example.com/": None,
    "https://c.example.com/": ["Failed", "Expired"],
}
REPLIES = st.one_of(
    st.sampled_from(["Running", "NotStarted", "Succeeded", "Failed", "Strange", TIMED_OUT]),
    st.sampled_from([400, 401, 404, 429, 500]).map(lambda status: Reply(status=status)),
    st.just(Reply(status=429, retry_after="45")),
)
MOODS = st.sampled_from([200, 204, 302, 410, 500, Unreachable(error=Failure.TIMEOUT), Unreachable(error=Failure.DNS)])
#: Fewer places than URLs, so that registrations are often replaced.
PLACES = 2
INSTANCES = st.sampled_from([0, 1])
SECONDS = st.one_of(st.integers(0, 90), st.integers(0, 40 * 24 * 3600))


class BridgeMachine(RuleBasedStateMachine):
    """Two instances with clocks 20 s apart, and every possible event."""

    registrations: Bundle[str] = Bundle("registrations")

    def __init__(self) -> None:
        super().__init__()
        self.simulation = Simulation(offsets=(timedelta(0), timedelta(seconds=20)), places=PLACES)
        self.model = Model()
        self.plan: dict[int, Mode] = {}
        self.simulation.calls.plan = self.plan

    @rule(target=registrations, operation=st.sampled_from(OPERATIONS), url=st.sampled_from(list(URLS)), on=INSTANCES)
    def register(self, operation: OperationRef, url: str, on: int) -> str:
        """Register, possibly once more."""
        with self._step() as step:
            step.requested = operation
            step.registered = self.simulation.try_to_register(
                operation.id, url, kind=operation.kind, events=URLS[url], on=on
            )
        return str(step.registered)

    @rule(name=registrations, on=INSTANCES)
    def cancel(self, name: str, on: int) -> None:
        """Cancel a known registration."""
        if name in self.simulation.expectations:
            with self._step() as step:
                step.canceled = name
                self.simulation.cancel(name, on=on)

    @rule(name=registrations, on=INSTANCES)
    def redeliver(self, name: str, on: int) -> None:
        """Redeliver a known registration."""
        if name in self.simulation.expectations:
            with self._step() as step:
                step.redelivered = name
                self.simulation.redeliver(name, on=on)

    @rule(name=registrations, on=INSTANCES)
    def purge(self, name: str, on: int) -> None:
        """Purge a known registration."""
        if name in self.simulation.expectations:
            with self._step() as step:
                step.purged = name
                self.simulation.purge(name, on=on)

    @rule(operation=st.sampled_from(OPERATIONS), replies=st.lists(REPLIES, min_size=1, max_size=4))
    def script_upstream(self, operation: OperationRef, replies: list[str | Reply | NoReply]) -> None:
        """Change the answers of the upstream. Ended operations stay ended."""
        self.simulation.upstream.script(operation.id, *replies, kind=operation.kind)

    @rule(url=st.sampled_from(list(URLS)), moods=st.lists(MOODS, min_size=1, max_size=3))
    def script_receiver(self, url: str, moods: list[int | Unreachable]) -> None:
        """Change the mood of a receiver."""
        self.simulation.receivers.script(url, *moods)

    @rule(seconds=SECONDS)
    def wait(self, seconds: int) -> None:
        """Let time pass without any event."""
        self.simulation.clock.advance(seconds)

    @rule(on=INSTANCES)
    def tick(self, on: int) -> None:
        with self._step():
            self.simulation.tick(on)

    @rule(on=INSTANCES, place=st.integers(0, 5))
    def deliver(self, on: int, place: int) -> None:
        visible = self.simulation.queue.visible()
        if visible:
            with self._step():
                self.simulation.follow(visible[place % len(visible)], on)

    @rule(seconds=st.integers(1, 600))
    def live(self, seconds: int) -> None:
        """Run timer and queue for a while."""
        before = dict(self.model.known)
        with self._step() as step:
            step.troubled = bool(before)  # many steps at once: the model accepts any legal path
            self.simulation.live(seconds)

    @rule(place=st.integers(0, 5), what=st.sampled_from(["lost", "repeated", "late"]), seconds=st.integers(1, 7200))
    def disturb_queue(self, place: int, what: str, seconds: int) -> None:
        """Lose a message, duplicate a message, or delay one."""
        messages = self.simulation.queue.messages
        if not messages:
            return
        message = messages[place % len(messages)]
        later = timedelta(seconds=seconds)
        match what:
            case "lost":
                messages.remove(message)
            case "repeated":
                messages.append(Message(message.body, message.expires_at, message.visible_at))
            case _:
                message.visible_at += later
                message.expires_at += later

    @rule(ahead=st.integers(1, 15), modes=st.lists(st.sampled_from(list(Mode)), min_size=1, max_size=4))
    def trouble(self, ahead: int, modes: list[Mode]) -> None:
        """Let some of the next calls fail: storage throttles, replies get lost, processes die."""
        begin = len(self.simulation.calls.trace) + ahead
        self.plan |= {begin + place: mode for place, mode in enumerate(modes)}

    @invariant()
    def rows_are_as_they_must_be(self) -> None:
        """Check every row after every step."""
        self.simulation.check_rows()

    def teardown(self) -> None:
        """Run everything to the end, then check the whole scenario."""
        self.plan.clear()
        for operation in OPERATIONS:
            self.simulation.upstream.script(operation.id, "Succeeded", kind=operation.kind)
        for url in URLS:
            self.simulation.receivers.script(url, 200)
        with self._step() as step:
            step.troubled = True
            self.simulation.settle()
        invariants.check(self.simulation)
        self.simulation.forget()
        assert self.simulation.left() == []

    @contextmanager
    def _step(self) -> Iterator[Step]:
        """Record the visible events of a step and let the model follow."""
        simulation = self.simulation
        began, polled, posted = len(simulation.calls.trace), len(simulation.polls), len(simulation.posts)
        step = Step([], [], troubled=False)
        yield step
        ended = len(simulation.calls.trace)
        step.polls, step.posts = simulation.polls[polled:], simulation.posts[posted:]
        step.troubled |= any(began - 3 <= number <= ended for number in self.plan)
        self.model.follow(simulation, step)


def draw(seed_of_it: int, *, scenarios: int, steps: int) -> str | None:
    """Draw scenarios of at most `steps` steps. Returns the loss with the steps before the loss, or None."""
    try:
        run_state_machine_as_test(
            seed(seed_of_it)(BridgeMachine),
            settings=settings(
                max_examples=scenarios,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    except AssertionError as error:
        return "\n".join([str(error), *getattr(error, "__notes__", [])])
    return None
