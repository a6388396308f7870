"""Supervision of the running local start: restarts storage, and warns of a full disk."""

import queue
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from local.azurite import Azurite
from local.errors import LocalError

#: The fewest free bytes with which Azurite can reliably write state.
ROOM = 32 * 1024 * 1024

_MEGABYTE = 1024 * 1024

#: How often the disk is checked, in seconds. Azurite writes every five seconds.
_LOOK = 5.0

#: The most restarts. After more crashes, another restart does not help.
_MOST_RESTARTS = 5


class Room:
    """The free disk space for state. Reports once when the space gets low, and once when there is enough again."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._say = say
        self._is_full = False

    def demand(self) -> None:
        """Raise LocalError if there is too little space for a start."""
        if (free := self._free()) < ROOM:
            raise LocalError(
                f"only {free // _MEGABYTE} MB are left for {self._folder}, and {ROOM // _MEGABYTE} are needed: "
                "make room there, or choose another LOCAL_DIR."
            )

    def look(self) -> None:
        """Report a change. Azurite itself is silent: it continues in memory, which is lost in the end."""
        free = self._free()
        if (free < ROOM) == self._is_full:
            return
        self._is_full = free < ROOM
        if self._is_full:
            self._say(
                f"only {free // _MEGABYTE} MB are left for {self._folder}: make room there, "
                "or all further data are lost when this stops."
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
    """Restart Azurite after each unexpected end. Raises LocalError if another part ends.

    The name of a part that ends arrives in `ended`. Writes of the last five seconds before a crash of Azurite are lost,
    since it had not saved them yet.
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
            raise LocalError(f"{name} has ended unexpectedly, and everything else is stopped.")
        restarts += 1
        say(f"{name} has ended unexpectedly: restarting, without the writes of the last 5 s …")
        azurite.restart()
        say(f"{name} is back.")
