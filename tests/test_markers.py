"""Markers: each test has one kind, and a unit test stays inside of its process."""

import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from local.settings import REPOSITORY
from tests.support.markers import KINDS, UNIT_FOLDERS, kind_of


@pytest.mark.parametrize(
    ("path", "markers", "fixtures", "expected"),
    [
        ("domain/test_retry.py", (), (), "unit"),
        ("services/sweep/test_sweep.py", ("parametrize",), ("bridge",), "unit"),
        ("services/test_costs.py", (), ("bridge", "azurite"), "azurite"),
        ("services/test_ping.py", ("sockets",), ("bridge",), "sockets"),
        ("local/test_host_queue.py", (), ("azurite",), "processes"),
        ("test_pool.py", (), (), "unit"),
    ],
)
def test_kind_of_a_test_comes_from_its_markers_fixtures_or_folder(
    path: str, markers: tuple[str, ...], fixtures: tuple[str, ...], expected: str
) -> None:
    assert kind_of(path, markers, fixtures) == expected


def test_each_folder_and_file_of_tests_has_a_kind() -> None:
    """A new folder without a kind stops the collection."""
    tests = REPOSITORY / "tests"
    missing = []
    for path in tests.rglob("test_*.py"):
        try:
            kind_of(path.relative_to(tests).as_posix(), (), ())
        except ValueError:
            missing.append(path)

    assert missing == []


def test_kinds_are_the_markers_of_the_project() -> None:
    options = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]

    assert {line.partition(":")[0] for line in options["markers"]} == KINDS


def test_folders_of_unit_tests_are_those_of_make_unit() -> None:
    """Other folders are not collected, since collecting takes longer than the unit tests of a folder."""
    makefile = (REPOSITORY / "Makefile").read_text()

    assert f"-m unit {' '.join(f'tests/{each}' for each in UNIT_FOLDERS)} tests/test_*.py" in makefile


def test_unit_test_opens_no_socket_and_starts_no_process() -> None:
    with socket.socket() as ours, pytest.raises(pytest.fail.Exception, match="reached for a socket"):
        ours.connect(("127.0.0.1", 9))
    with pytest.raises(pytest.fail.Exception, match="or a process"):
        subprocess.run([sys.executable, "--version"], check=True)


@pytest.mark.parametrize("path", sorted(Path(__file__).parent.glob("domain/test_*.py")), ids=lambda path: path.stem)
def test_a_test_of_a_pure_function_builds_no_app(path: Path) -> None:
    """It uses the records of `tests/support/factories.py`."""
    assert "tests.support.harness" not in path.read_text(encoding="utf-8")
