"""`python -m local.environment`: what is installed, what is shown of it, and Ctrl-C in the middle."""

import base64
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from local.child import Child
from local.progress import Progress, pinned
from local.record import MAX_WAIT, Record
from local.settings import REPOSITORY
from tests.local.conftest import has_ended
from tests.local.silent import Silent

CLEAR = "\r\x1b[2K"

FILES = ("__init__.py", "environment.py", "progress.py")


#: The module `venv` of a clone: environments have the pip of this one, since installing pip takes seconds.
QUICK_VENV = """
import importlib.util, os, sys, sysconfig
from pathlib import Path

real = Path(os.__file__).parent / "venv"
spec = importlib.util.spec_from_file_location("venv", real / "__init__.py", submodule_search_locations=[str(real)])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)

def create(folder, *, clear, with_pip):
    assert with_pip
    module.create(folder, clear=clear, symlinks=True)
    [packages] = Path(folder).glob("lib/*/site-packages")
    (packages / "pip.pth").write_text(sysconfig.get_paths()["purelib"])
"""


def wheel(folder: Path, name: str, version: str = "1.0") -> str:
    """Write an empty package, and return its line of a lock."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    content = {
        f"{name}.py": f"VERSION = '{version}'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digests = {each: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()) for each, text in content.items()}
    record = "".join(f"{each},sha256={digests[each].decode().rstrip('=')},\n" for each in content)
    with zipfile.ZipFile(path, "w") as archive:
        for each, text in {**content, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(each, text)
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Make a repository with a package for the start and one for the tests."""
    (tmp_path / "local").mkdir()
    (tmp_path / "index").mkdir()
    for name in FILES:
        shutil.copy(REPOSITORY / "local" / name, tmp_path / "local")
    (tmp_path / "venv.py").write_text(QUICK_VENV)
    (tmp_path / "requirements-local.txt").write_text(wheel(tmp_path / "index", "ofstart"))
    (tmp_path / "requirements-dev.txt").write_text(wheel(tmp_path / "index", "oftests"))
    return tmp_path


def make(clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Install from the folder of packages alone."""
    return subprocess.run(
        [sys.executable, "-m", "local.environment", ".venv", *arguments],
        cwd=clone,
        env={**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(clone / "index")},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def installed(clone: Path) -> set[str]:
    return {each.stem for each in (clone / ".venv" / "lib").glob("*/site-packages/of*.py")}


def test_start_installs_its_own_packages_and_tests_add_theirs(clone: Path) -> None:
    """In both orders; the packages of the start are not installed twice."""
    for_start = make(clone, "--for-start")
    after_start = installed(clone)
    (clone / ".venv" / "kept").touch()
    for_tests = make(clone)
    again = make(clone, "--for-start")

    assert [each.returncode for each in (for_start, for_tests, again)] == [0, 0, 0], for_start.stderr + for_tests.stderr
    assert (after_start, installed(clone)) == ({"ofstart"}, {"ofstart", "oftests"})
    assert for_start.stdout.splitlines() == [
        "making the virtual environment .venv …",
        "installing packages into .venv, once:",
        "    1 of 1 packages fetched",
        "    installing them …",
    ]
    assert for_tests.stdout.splitlines()[0] == "installing packages into .venv, once:"
    assert (clone / ".venv" / "kept").exists()
    assert again.stdout == ""


def test_start_takes_an_environment_of_the_tests(clone: Path) -> None:
    make(clone)

    done = make(clone, "--for-start")

    assert (done.returncode, done.stdout) == (0, "")
    assert installed(clone) == {"ofstart", "oftests"}


@pytest.mark.parametrize(
    ("lock", "for_start_is_there"), [("requirements-dev.txt", True), ("requirements-local.txt", False)]
)
def test_changed_lock_begins_with_an_empty_environment(clone: Path, lock: str, for_start_is_there: bool) -> None:
    """A package that no lock names any more does not stay. The start minds its own lock alone."""
    make(clone)
    (clone / lock).write_text(wheel(clone / "index", "ofnext"))

    for_start = make(clone, "--for-start")
    make(clone)

    assert (for_start.stdout == "") is for_start_is_there
    assert "ofnext" in installed(clone)
    assert len(installed(clone)) == 2


def test_installation_that_fails_leaves_no_stamp_and_quotes_pip(clone: Path) -> None:
    (clone / "requirements-local.txt").write_text("missing==1.0 --hash=sha256:" + "0" * 64 + "\n")

    done = make(clone, "--for-start")

    assert done.returncode == 1
    assert "missing" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("installing into .venv failed: check the package index")
    assert not list((clone / ".venv").glob(".installed*"))


@pytest.fixture
def lines() -> Record[str]:
    return Record()


@pytest.fixture
def silent() -> Iterator[Silent]:
    with Silent() as silent:
        yield silent


@pytest.fixture
def installing_for_real(clone: Path, installing_from: Callable[[], Child]) -> Child:
    """Install in an environment that Python itself makes."""
    (clone / "venv.py").unlink()
    return installing_from()


@pytest.fixture
def installing(installing_from: Callable[[], Child]) -> Child:
    return installing_from()


@pytest.fixture
def installing_from(clone: Path, lines: Record[str], silent: Silent) -> Iterator[Callable[[], Child]]:
    """Return a function that installs from an index that takes connections and never answers."""
    environ = {**os.environ, "PIP_INDEX_URL": silent.url, "PIP_RETRIES": "0"}
    command = [sys.executable, "-m", "local.environment", ".venv", "--for-start"]
    begun: list[Child] = []

    def begin() -> Child:
        begun.append(Child(command, cwd=clone, env=environ, on_line=lines.add))
        return begun[-1]

    yield begin
    for each in begun:
        each.kill()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_while_packages_are_fetched_ends_pip_without_a_traceback(
    installing: Child, lines: Record[str], silent: Silent, clone: Path, how: signal.Signals
) -> None:
    silent.wait_for_a_client()
    [pip] = [each.pid for each in psutil.Process(installing.pid).children()]

    os.kill(installing.pid, how)

    assert installing.wait(MAX_WAIT)
    assert installing.exit_code == 130
    assert has_ended(pip)
    assert not any("Traceback" in line for line in lines.entries)
    assert lines.entries[-1] == "stopped. The next make installs what is missing."
    assert not list((clone / ".venv").glob(".installed*"))


def test_ctrl_c_while_the_environment_is_made_ends_it_without_a_traceback(
    installing_for_real: Child, lines: Record[str], silent: Silent
) -> None:
    installing = installing_for_real
    lines.wait_for(lambda lines: any("making the virtual environment" in line for line in lines))

    os.killpg(installing.pid, signal.SIGINT)  # a terminal sends it to all at once

    assert installing.wait(MAX_WAIT)
    assert installing.exit_code == 130
    assert not any("Traceback" in line for line in lines.entries)
    assert not silent.has_clients


class Screen:
    """A terminal, or a pipe, that keeps what is written."""

    def __init__(self, *, is_terminal: bool) -> None:
        self.isatty = lambda: is_terminal
        self.written = ""

    def write(self, text: str) -> int:
        self.written += text
        return len(text)

    def flush(self) -> None:
        """Nothing is buffered."""


def shown(total: int, *, is_terminal: bool, skipped: int = 0) -> Sequence[str]:
    screen = Screen(is_terminal=is_terminal)
    progress = Progress("packages fetched", total, screen)  # type: ignore[arg-type] # a part of a text file
    for _ in range(skipped):
        progress.skip()
    for _ in range(total - skipped):
        progress.advance()
    progress.close()
    return screen.written.split("\n")[:-1]


def test_pipe_shows_every_quarter() -> None:
    assert shown(40, is_terminal=False) == [f"    {count} of 40 packages fetched" for count in (10, 20, 30, 40)]


def test_terminal_shows_every_package_in_one_line() -> None:
    [*cleared, last] = shown(3, is_terminal=True)[0].split(CLEAR)

    assert cleared == ["", "    1 of 3 packages fetched", "    2 of 3 packages fetched"]
    assert last == "    3 of 3 packages fetched"


def test_package_of_another_python_does_not_count() -> None:
    assert shown(3, is_terminal=False, skipped=1)[-1] == "    2 of 2 packages fetched"


def test_packages_of_a_lock_are_counted() -> None:
    assert (
        pinned("a==1 \\\n    --hash=sha256:00\n# c==1\nb-c[x,y]==2 ; python_version < '3.12' \\\n    # via a==1\n") == 2
    )
