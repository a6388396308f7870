"""`make start` in a clone, as somebody has it: in an odd place, and without a network after the first time."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from local.child import Child
from local.record import MAX_WAIT, Record
from local.settings import REPOSITORY
from tests.local.started import free_ports

#: What `make start` needs of a clone.
LOCKS = ("requirements-local.txt", "requirements-dev.txt")
FILES = ("Makefile", *LOCKS, "function_app.py", "host.json")
FOLDERS = ("bridge", "local")

#: Registries that nobody reaches: whoever asks them fails.
OFFLINE = {
    "PIP_INDEX_URL": "http://127.0.0.1:1/",
    "PIP_RETRIES": "0",
    "npm_config_registry": "http://127.0.0.1:1/",
    "npm_config_fetch_retries": "0",
}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Clone the repository into a path with spaces and umlauts, with everything installed."""
    folder = tmp_path / "ein Ordner für Käfer & Co"
    folder.mkdir()
    for name in FILES:
        shutil.copy(REPOSITORY / name, folder / name)
    for name in FOLDERS:
        left_out = shutil.ignore_patterns("node_modules", "__pycache__")
        shutil.copytree(REPOSITORY / name, folder / name, ignore=left_out)
    installed = REPOSITORY / "local" / "azurite" / "node_modules"
    (folder / "local" / "azurite" / "node_modules").symlink_to(installed)
    environment = folder / ".venv"
    venv.create(environment, symlinks=True)
    paths = sysconfig.get_paths(vars={"base": str(environment), "platbase": str(environment)})
    Path(paths["purelib"], "installed.pth").write_text(sysconfig.get_paths()["purelib"])
    stamp(folder)
    return folder


def stamp(folder: Path) -> None:
    """Say that what the locks name is installed, at some time before they were checked out anew."""
    wanted = "".join((folder / name).read_text() for name in LOCKS)
    (folder / ".venv" / ".installed").write_text(wanted)
    os.utime(folder / ".venv" / ".installed", (0, 0))


@pytest.fixture
def lines() -> Record[str]:
    """Keep what `make start` says."""
    return Record()


@pytest.fixture
def port() -> int:
    """Choose where it listens."""
    return free_ports(6)


@pytest.fixture
def started(clone: Path, lines: Record[str], port: int) -> Iterator[Child]:
    """Say `make start` in the clone, with no network."""
    of_a_make_around = ("MAKE", "VENV", "PYTHON")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(of_a_make_around)}
    environ = {**inherited, **OFFLINE, "PORT": str(port)}
    child = Child(["make", "start"], cwd=clone, env=environ, on_line=lines.add)
    yield child
    child.stop(MAX_WAIT)


def test_clone_in_an_odd_path_starts_offline(started: Child, clone: Path, lines: Record[str], port: int) -> None:
    """The app answers, its state is in the clone, nothing was installed, and Ctrl-C ends make too."""
    lines.wait_for(lambda lines: any("Ctrl-C stops everything." in line for line in lines))
    health = requests.get(f"http://127.0.0.1:{port}/api/health", timeout=10)

    os.killpg(started.pid, signal.SIGINT)  # a terminal sends it to all at once

    assert started.wait(MAX_WAIT)
    assert (health.status_code, health.json()) == (200, {"status": "ok"})
    assert (clone / ".local" / "signing-key").read_text()
    ours = [line for line in lines.entries if not line.startswith("make: ")]  # which may have a last word of its own
    assert ours[-1] == "the function host finishes what is in flight, and stops"
    assert not any("installing" in line or "Traceback" in line for line in lines.entries)


def test_clean_leaves_what_a_start_is_using(clone: Path) -> None:
    """It would end the start in the middle, and take its state along."""
    kept = clone / ".local" / "lock"
    kept.parent.mkdir()
    with kept.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = clean(clone)
        still_there = kept.exists()

    done = clean(clone)

    assert (refused.returncode, still_there) == (2, True)
    assert "`make start` is running here: stop it first" in refused.stderr
    assert (done.returncode, kept.exists()) == (0, False)


def clean(folder: Path) -> subprocess.CompletedProcess[str]:
    """Say `make clean`."""
    make = shutil.which("make") or "make"
    return subprocess.run([make, "clean"], cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def install(folder: Path) -> subprocess.CompletedProcess[str]:
    """Make the environment of a clone, with no network."""
    return subprocess.run(
        [sys.executable, "local/environment.py", ".venv"],
        cwd=folder,
        env={**os.environ, **OFFLINE},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_what_cannot_be_installed_is_said_and_begun_again(clone: Path) -> None:
    """Requirements have changed, and there is no network: no stamp is left that would say otherwise."""
    with (clone / "requirements-dev.txt").open("a") as file:
        file.write("no-such-package-as-this-one\n")

    done = install(clone)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("installing into .venv failed: check the package index")
    assert not (clone / ".venv" / ".installed").exists()
