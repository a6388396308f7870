"""The Makefile's own messages and checks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from local.settings import REPOSITORY


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make like a person."""
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=REPOSITORY,
        env={
            name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "VENV"))
        },  # variables of an outer make
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_an_environment_that_is_a_link_is_not_emptied(tmp_path: Path) -> None:
    """Another user may depend on the target."""
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    (theirs / "kept").touch()
    ours.symlink_to(theirs)

    done = subprocess.run(
        [sys.executable, "-m", "local.environment", str(ours)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, "is a link" in done.stderr) == (1, True)
    assert (theirs / "kept").exists()


def test_make_without_a_target_lists_the_targets() -> None:
    """Newcomers type `make`."""
    output = make().stdout

    assert [line.split()[1] for line in output.splitlines()] == [
        "help",
        "start",
        "host",
        "demo",
        "test",
        "unit",
        "prove",
        "cover",
        "mutate",
        "bench",
        "bench-isolation",
        "check",
        "lock",
        "docs",
        "snapshots",
        "clean",
    ]


@pytest.mark.parametrize(
    "target", ["start", "host", "demo", "test", "prove", "cover", "mutate", "bench", "bench-isolation", "check"]
)
def test_python_that_is_too_old_or_missing_is_reported(tmp_path: Path, target: str) -> None:
    """The message is one line with the remedy, and nothing is created."""
    old = tmp_path / "python3.10"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)

    for python in (old, tmp_path / "missing"):
        done = make(target, f"PYTHON={python}", f"VENV={tmp_path / 'venv'}")

        assert done.returncode != 0
        first, *others = done.stderr.splitlines()
        assert first == f"{python} is not Python 3.11 or newer: say make PYTHON=/path/to/python3.11"
        assert all(line.startswith("make: ***") for line in others)
        assert not (tmp_path / "venv").exists()
