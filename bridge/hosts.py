"""The receivers as this instance knows them; lost with it, and learnt again."""

import threading
from types import TracebackType
from typing import Self

from bridge.core.pacing import HeldBack, Host, admit, leave
from bridge.core.times import Clock

#: So many hosts are remembered; past that, those of which nothing is to be remembered are forgotten.
_REMEMBERED = 4096


class Hosts:
    """Counts attempts by host and port."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[str, Host] = {}
        self._changed = threading.Condition()

    def enter(self, name: str, *, chance: float) -> HeldBack | None:
        """Begin an attempt at a host, waiting a moment for a place; or hear until when it is held back."""
        with self._changed:
            admitted = self._admit(name, chance)
            if isinstance(admitted, HeldBack):
                patience = self._host(name).patience.total_seconds()
                self._changed.wait_for(lambda: isinstance(self._admit(name, chance), Host), patience)
                admitted = self._admit(name, chance)
            if isinstance(admitted, HeldBack):
                return admitted
            self._known[name] = admitted
            return None

    def leave(self, name: str, *, answered: bool | None) -> None:
        """End an attempt: whether it got an answer, or None if it was not made."""
        with self._changed:
            self._known[name] = leave(self._host(name), self._clock(), answered=answered)
            if len(self._known) > _REMEMBERED:
                self._known = {each: host for each, host in self._known.items() if not host.is_idle}
            self._changed.notify_all()

    def _admit(self, name: str, chance: float) -> Host | HeldBack:
        return admit(self._host(name), self._clock(), chance=chance)

    def _host(self, name: str) -> Host:
        return self._known.get(name, Host())


class Visit:
    """At most one attempt at one host; a context manager that leaves it, whatever happens."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._name: str | None = None
        #: Whether the attempt got an answer; None as long as it was not made.
        self.answered: bool | None = None

    def enter(self, name: str, *, chance: float) -> HeldBack | None:
        """Begin the attempt, once; or hear until when it is held back."""
        if self._name is not None:
            return None
        held = self._hosts.enter(name, chance=chance)
        self._name = name if held is None else None
        return held

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._name is not None:
            self._hosts.leave(self._name, answered=self.answered)
