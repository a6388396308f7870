"""`make start` in a clone with an odd path, and offline after the first start."""

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

from bridge import __version__
from local.child import Child
from local.record import MAX_WAIT, Record
from local.settings import REPOSITORY
from tests.local.started import free_ports

#: The files of a clone that `make start` needs.
LOCKS = ("requirements-local.txt", "requirements-dev.txt")
FILES = ("Makefile", *LOCKS, "function_app.py", "host.json")
FOLDERS = ("bridge", "local")

#: Closed registries: any request to them fails.
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
    """Mark the locked packages as installed, at a time before the checkout."""
    wanted = "".join((folder / name).read_text() for name in LOCKS)
    (folder / ".venv" / ".installed").write_text(wanted)
    os.utime(folder / ".venv" / ".installed", (0, 0))


@pytest.fixture
def lines() -> Record[str]:
    """Record the output of `make start`."""
    return Record()


@pytest.fixture
def port() -> int:
    """Choose a port."""
    return free_ports(6)


@pytest.fixture
def started(clone: Path, lines: Record[str], port: int) -> Iterator[Child]:
    """Run `make start` in the clone, offline."""
    of_a_make_around = ("MAKE", "VENV", "PYTHON")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(of_a_make_around)}
    environ = {**inherited, **OFFLINE, "PORT": str(port)}
    child = Child(["make", "start"], cwd=clone, env=environ, on_line=lines.add)
    yield child
    child.stop(MAX_WAIT)


def test_clone_in_an_odd_path_starts_offline(started: Child, clone: Path, lines: Record[str], port: int) -> None:
    """The app answers, the state is in the clone, nothing was installed, and Ctrl-C ends make too."""
    lines.wait_for(lambda lines: any("Ctrl-C stops everything." in line for line in lines))
    health = requests.get(f"http://127.0.0.1:{port}/api/health", timeout=10)

    os.killpg(started.pid, signal.SIGINT)  # a terminal signals the whole group at once

    assert started.wait(MAX_WAIT)
    assert (health.status_code, health.json()) == (200, {"status": "ok", "version": __version__})
    assert (clone / ".local" / "signing-key").read_text()
    ours = [line for line in lines.entries if not line.startswith("make: ")]  # make may print a last line
    assert ours[-1] == "the function host finishes what is in flight, and stops"
    assert not any("installing" in line or "Traceback" in line for line in lines.entries)


def test_clean_keeps_the_files_of_a_running_start(clone: Path) -> None:
    """Otherwise, the start would lose its files and state."""
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
    """Run `make clean`."""
    make = shutil.which("make") or "make"
    return subprocess.run([make, "clean"], cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def install(folder: Path) -> subprocess.CompletedProcess[str]:
    """Install the environment of a clone, offline."""
    return subprocess.run(
        [sys.executable, "-m", "local.environment", ".venv"],
        cwd=folder,
        env={**os.environ, **OFFLINE},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_failed_installation_is_reported_and_repeated(clone: Path) -> None:
    """The requirements changed, and the network is down. No stamp claims a finished installation."""
    with (clone / "requirements-dev.txt").open("a") as file:
        file.write("no-such-package-as-this-one\n")

    done = install(clone)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("installing into .venv failed: check the package index")
    assert not (clone / ".venv" / ".installed").exists()
