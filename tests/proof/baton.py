"""Run several invocations, one call at a time: only the holder of the baton runs, up to the next call to the outside.

Each invocation has a thread. Only one thread runs at any moment, so a schedule decides the order of all calls.
"""

import threading
from collections.abc import Callable, Sequence

from tests.proof.calls import Calls

#: The actor to run at each step. Ended actors are skipped. After the last entry, the rest run in order of their index.
Schedule = Sequence[int]


class _Actor(threading.Thread):
    """One invocation that stops before each call."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._act = act
        self._go = threading.Semaphore(0)
        self._stopped = threading.Semaphore(0)
        self.error: BaseException | None = None
        self.ended = False
        self.steps = 0

    def run(self) -> None:
        """Wait for the first turn, then act."""
        self._go.acquire()
        try:
            self._act()
        except BaseException as error:  # noqa: BLE001 - `together` raises it
            self.error = error
        self.ended = True
        self._stopped.release()

    def stop(self) -> None:
        """Give the baton back and wait for the next turn."""
        self._stopped.release()
        self._go.acquire()

    def step(self) -> None:
        """Let the actor run to the next call, or to the end."""
        self.steps += 1
        self._go.release()
        self._stopped.acquire()


def together(
    calls: Calls, acts: Sequence[Callable[[], object]], schedule: Schedule, between: Callable[[], None]
) -> Sequence[int]:
    """Run all actors in the order of the schedule, with a check between any two steps. Returns the steps of each actor.

    Raises the first error of an actor or of the check, after the other actors have ended.
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
