"""What the local start does while it runs: it brings storage back, and says when the disk fills up."""

import queue
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from local.azurite import Azurite
from local.errors import LocalError

#: Below this many bytes Azurite may not be able to write down what it holds.
ROOM = 32 * 1024 * 1024

_MEGABYTE = 1024 * 1024

#: How often the disk is looked at, in seconds; Azurite writes every five.
_LOOK = 5.0

#: After so many, something is wrong that another one does not mend.
_MOST_RESTARTS = 5


class Room:
    """The room that is left for state; says so once when it becomes little, and once when there is more again."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._say = say
        self._is_full = False

    def demand(self) -> None:
        """Raise LocalError where there is too little to start with."""
        if (free := self._free()) < ROOM:
            raise LocalError(
                f"only {free // _MEGABYTE} MB are left for {self._folder}, and {ROOM // _MEGABYTE} are needed: "
                "make room there, or choose another LOCAL_DIR."
            )

    def look(self) -> None:
        """Say what has changed. Azurite itself says nothing: it goes on in memory, and loses that when it ends."""
        free = self._free()
        if (free < ROOM) == self._is_full:
            return
        self._is_full = free < ROOM
        if self._is_full:
            self._say(
                f"only {free // _MEGABYTE} MB are left for {self._folder}: make room there, "
                "or what happens from now on is lost when this stops."
            )
        else:
            self._say(f"there is room again for {self._folder}.")

    def _free(self) -> int:
        return shutil.disk_usage(self._folder).free


def watch(
    azurite: Azurite | None,
    ended: "queue.SimpleQueue[str]",
    room: Room,
    say: Callable[[str], None],
) -> NoReturn:
    """Bring Azurite back whenever it ends by itself; raise LocalError when another part does.

    Whoever ends is told to `ended`. What Azurite was told in the last five seconds before a crash is lost: it had
    not written it yet.
    """
    restarts = 0
    while True:
        try:
            name = ended.get(timeout=_LOOK)
        except queue.Empty:
            if azurite:
                room.look()
            continue
        if azurite is None or name != Azurite.name or restarts == _MOST_RESTARTS:
            raise LocalError(f"{name} has ended by itself, and everything else is stopped.")
        restarts += 1
        say(f"{name} has ended by itself: starting it again, with all but the last 5 s of what it was told …")
        azurite.restart()
        say(f"{name} is back.")
