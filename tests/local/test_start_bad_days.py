"""`python -m local start` during failures around the start."""

import os
import queue
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from azure.storage.queue import QueueClient

from local.azurite import Azurite
from local.errors import LocalError
from local.watch import ROOM, Room, watch
from tests.local.conftest import has_ended
from tests.local.started import Started

READY = "Ctrl-C stops everything."


@contextmanager
def kept_queue(start: Started) -> Iterator[QueueClient]:
    """Open a queue in the storage of a start."""
    with QueueClient.from_connection_string(start.settings.azurite_ports.connection_string, "kept") as queue:
        yield queue


@pytest.fixture
def kept(begin: Callable[..., Started]) -> Started:
    """Return a start that finds earlier state."""
    earlier = begin()
    earlier.until(READY)
    with kept_queue(earlier) as queue:
        queue.create_queue()
        queue.send_message("kept")
    earlier.signal(signal.SIGINT)
    assert earlier.ended_with() == 0
    later = begin()
    later.until(READY)
    return later


def test_killed_storage_comes_back_with_its_state(kept: Started) -> None:
    """The restart is reported, and the app continues."""
    storage, app = kept.children()

    os.kill(storage, signal.SIGKILL)

    kept.until("Azurite is back.")
    assert any(line.startswith("Azurite has ended unexpectedly: restarting") for line in kept.lines.entries)
    with kept_queue(kept) as queue:
        assert [message.content for message in queue.peek_messages()] == ["kept"]
    assert kept.get("settings/PORT") == str(kept.settings.port)
    assert app in kept.children()


def test_port_occupied_while_storage_is_down_is_reported(begin: Callable[..., Started]) -> None:
    """One line, and no process remains."""
    start = begin()
    start.until(READY)
    storage, app = start.children()
    port = start.settings.azurite_ports.blob
    start.signal(signal.SIGSTOP)
    os.kill(storage, signal.SIGKILL)
    assert has_ended(storage)

    with socket.create_server(("127.0.0.1", port)):
        start.signal(signal.SIGCONT)
        assert start.ended_with() == 1

    assert start.lines.entries[-1].startswith("Azurite does not start: ")
    assert f"127.0.0.1:{port}" in start.lines.entries[-1]
    assert has_ended(app)


def test_ctrl_c_twice_in_a_row_ends_quietly(begin: Callable[..., Started]) -> None:
    """No traceback appears, and no process remains."""
    start = begin()
    start.until(READY)
    children = start.children()

    start.signal(signal.SIGINT)
    start.signal(signal.SIGINT)

    assert start.ended_with() in {0, 130}
    assert not any("Traceback" in line for line in start.lines.entries)
    assert all(has_ended(child) for child in children)


def test_full_disk_is_one_line_when_nothing_is_there_yet(begin: Callable[..., Started], tmp_path: Path) -> None:
    """The line has the folder and the remedy."""
    folder = tmp_path / "full"
    folder.mkdir()
    (folder / "signing-key.new").symlink_to("/dev/full")

    start = begin(LOCAL_DIR=str(folder))

    assert start.ended_with() == 1
    (line,) = start.lines.entries
    assert line == f"state cannot be kept in {folder}: No space left on device. Choose another LOCAL_DIR."


def test_folder_that_cannot_be_made_is_one_line(begin: Callable[..., Started], tmp_path: Path) -> None:
    """An example is a file in place of the folder."""
    (tmp_path / "file").touch()

    start = begin(LOCAL_DIR=str(tmp_path / "file" / "folder"))

    assert start.ended_with() == 1
    (line,) = start.lines.entries
    assert line.startswith("state cannot be kept in ")


class Disk(NamedTuple):
    """The free space that the system reports."""

    free: int


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return a function that sets the free space of every disk."""
    return lambda free: monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(free))


def test_nearly_full_disk_is_rejected_at_the_start(tmp_path: Path, disk: Callable[[int], None]) -> None:
    """Otherwise, Azurite would start and lose data."""
    room = Room(tmp_path, pytest.fail)

    disk(ROOM)
    room.demand()

    disk(ROOM - 1)
    with pytest.raises(LocalError, match=r"only 31 MB are left for .* and 32 are needed: make room there"):
        room.demand()


def test_disk_that_fills_up_is_reported_once(tmp_path: Path, disk: Callable[[int], None]) -> None:
    """The recovery is reported too, and Azurite then writes all data."""
    output: list[str] = []
    room = Room(tmp_path, output.append)

    for free in (ROOM, 0, 1, ROOM, ROOM + 1, 0):
        disk(free)
        room.look()

    assert [each.partition(" for ")[0] for each in output] == [
        "only 0 MB are left",
        "there is room again",
        "only 0 MB are left",
    ]


class Storage(Azurite):
    """A storage that counts restarts."""

    def __init__(self) -> None:
        self.restarts = 0

    def restart(self) -> None:
        """Count a restart."""
        self.restarts += 1


def test_storage_that_ends_again_and_again_ends_the_start(tmp_path: Path) -> None:
    """Five ends are tolerated, the sixth is an error."""
    ended: queue.SimpleQueue[str] = queue.SimpleQueue()
    for _ in range(6):
        ended.put(Azurite.name)
    storage = Storage()

    with pytest.raises(LocalError, match="Azurite has ended unexpectedly, and everything else is stopped"):
        watch(storage, ended, Room(tmp_path, print), print)

    assert storage.restarts == 5
