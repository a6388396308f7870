"""One thread that watches over all deadlines: a timer thread for each attempt would cost as much as the attempt.

Nearly every alarm is called off long before its time, so setting one and calling it off touch a dictionary and no
other thread. The thread sleeps until the earliest time that it knew of when it fell asleep, and is woken only for an
earlier one; then it looks at all that are set, of which there are as many as attempts under way.
"""

import itertools
import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress


class Alarms:
    """Calls what is set, each at its time on the monotonic clock `now` (in seconds), from a thread of its own.

    The thread starts with the first alarm.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._changed = threading.Condition()
        self._set: dict[int, tuple[float, Callable[[], None]]] = {}
        self._numbers = itertools.count()
        self._wakes_at = math.inf
        self._runs = False

    def set(self, at: float, ring: Callable[[], None]) -> int:
        """Let `ring` be called at `at`; returns the number to call it off by. It must not block: others wait."""
        with self._changed:
            number = next(self._numbers)
            self._set[number] = at, ring
            if not self._runs:
                threading.Thread(target=self._run, name="alarms", daemon=True).start()
                self._runs = True
            if at < self._wakes_at:
                self._changed.notify()
            return number

    def call_off(self, number: int) -> None:
        """Forget an alarm; one that is ringing at this moment still rings."""
        with self._changed:
            self._set.pop(number, None)

    def _run(self) -> None:
        while True:
            for ring in self._wait():
                with suppress(Exception):  # the next one's deadline holds all the same
                    ring()

    def _wait(self) -> list[Callable[[], None]]:
        """Sleep until something may be due; take what is."""
        with self._changed:
            self._wakes_at = min((at for at, _ in self._set.values()), default=math.inf)
            left = self._wakes_at - self._now()
            if left > 0:
                self._changed.wait(min(left, threading.TIMEOUT_MAX))
            now = self._now()
            due = [number for number, (at, _) in self._set.items() if at <= now]
            return [self._set.pop(number)[1] for number in due]


#: All deadlines of this process.
ALARMS = Alarms()
