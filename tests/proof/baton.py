"""Several invocations at once, one call at a time: whoever holds the baton goes on to its next call to the outside.

Each runs in a thread of its own, and only one of them ever runs, so that a schedule decides everything.
"""

import threading
from collections.abc import Callable, Sequence

from tests.proof.calls import Calls

#: Whose turn it is, step by step; who has ended is passed over, and after the last one they end in their order.
Schedule = Sequence[int]


class _Actor(threading.Thread):
    """One invocation, which stops before each of its calls."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._act = act
        self._go = threading.Semaphore(0)
        self._stopped = threading.Semaphore(0)
        self.error: BaseException | None = None
        self.ended = False
        self.steps = 0

    def run(self) -> None:
        """Act, once it is its turn."""
        self._go.acquire()
        try:
            self._act()
        except BaseException as error:  # noqa: BLE001 - `together` raises it
            self.error = error
        self.ended = True
        self._stopped.release()

    def stop(self) -> None:
        """Give the baton back, and wait for the next turn."""
        self._stopped.release()
        self._go.acquire()

    def step(self) -> None:
        """Let it go on to its next call, or to its end."""
        self.steps += 1
        self._go.release()
        self._stopped.acquire()


def together(
    calls: Calls, acts: Sequence[Callable[[], object]], schedule: Schedule, between: Callable[[], None]
) -> Sequence[int]:
    """Let all act as the schedule says, and look at the world between any two steps; returns who took how many.

    Raises what an actor raised, or the look; the others come to their end first.
    """
    actors = [_Actor(act) for act in acts]
    holder: list[_Actor] = []

    def stop_holder() -> None:
        holder[0].stop()

    calls.turn = stop_holder
    turns = iter(schedule)
    for actor in actors:
        actor.start()
    failure: BaseException | None = None
    while running := [actor for actor in actors if not actor.ended]:
        holder[:] = [next((actors[turn] for turn in turns if not actors[turn].ended), running[0])]
        holder[0].step()
        failure = failure or holder[0].error or _raised(between)
    calls.turn = lambda: None
    if failure is not None:
        raise failure
    return [actor.steps for actor in actors]


def _raised(look: Callable[[], None]) -> BaseException | None:
    try:
        look()
    except AssertionError as error:
        return error
    return None
