"""A list of events in order, for tests that wait for events without sleeping."""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Entry = TypeVar("Entry")

#: Seconds. Long enough for a slow machine: a test that waits this long has failed.
MAX_WAIT = 120.0


class Record(Generic[Entry]):
    """A list to which threads add and on which tests wait."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._changed = threading.Condition()

    def add(self, entry: Entry) -> None:
        """Add an entry and wake all waiting threads."""
        with self._changed:
            self._entries.append(entry)
            self._changed.notify_all()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All entries so far, oldest first."""
        with self._changed:
            return tuple(self._entries)

    def wait_for(
        self, condition: int | Callable[[Sequence[Entry]], bool], timeout: float = MAX_WAIT
    ) -> tuple[Entry, ...]:
        """Return the entries as soon as there are that many, or as the condition holds for them.

        Raises TimeoutError with the current entries after `timeout` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._holds(condition), timeout):
                raise TimeoutError(f"after {timeout} s there is only: {self._entries}")
            return tuple(self._entries)

    def _holds(self, condition: int | Callable[[Sequence[Entry]], bool]) -> bool:
        if isinstance(condition, int):
            return len(self._entries) >= condition
        return condition(self._entries)
