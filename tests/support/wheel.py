"""The wheel of the command line, built once, and installed alone for each Python of the machine."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from bridge.cli.context import PROGRAM
from local.settings import REPOSITORY

#: Set if a package index must be available: a test that needs an index may not skip then.
REQUIRED = "INDEX_REQUIRED"

#: The supported Python versions of the command line.
PYTHONS = ("3.11", "3.12", "3.13", "3.14")

_PIP = ("--quiet", "--disable-pip-version-check", "--no-input", "--retries=1")

#: Runs commands in one process, one per argument. The first failure ends the process.
ONE_AFTER_THE_OTHER = """
import sys
from bridge.cli.__main__ import main
for line in sys.argv[1:]:
    sys.argv[1:] = line.split()
    try:
        code = main()
    except SystemExit as end:
        code = end.code
    if code:
        sys.exit(code)
"""


@dataclass(frozen=True, slots=True)
class Installed:
    """An environment with the wheel and the declared libraries, without pip."""

    folder: Path
    #: The Python of the environment. The base installation's pip installs packages.
    base: Path

    def type_in(self, *arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command with a pipe as output, outside of the repository."""
        return self._run([self.folder / "bin" / PROGRAM, *arguments], cwd, environment)

    def type_lines(self, *lines: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run several commands in one process, which saves many starts."""
        return self._run([self._python, "-I", "-c", ONE_AFTER_THE_OTHER, *lines], cwd, {})

    def install(self, what: str) -> None:
        """Install another package. Skips or fails like `build`."""
        # Compiling all of Azure's libraries takes longer than the test.
        _pip(self.base, f"--python={self._python}", "install", "--no-compile", what)

    def distributions(self) -> set[str]:
        """Return the names of the installed distributions."""
        code = "from importlib.metadata import distributions as d; print(*(each.name.lower() for each in d()))"
        return set(self._run([self._python, "-I", "-c", code], self.folder, {}).stdout.split())

    @property
    def _python(self) -> Path:
        return self.folder / "bin" / "python"

    def _run(
        self, command: Sequence[str | Path], cwd: Path, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=cwd,
            env={"PATH": os.environ["PATH"], "HOME": str(cwd), **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


def build(folder: Path) -> Path:
    """Build the wheel, or return the one that WHEEL names, so that the tested wheel is the published one.

    Skips the test if no package index is in reach, or fails if one must be.
    """
    if built := os.environ.get("WHEEL"):
        return Path(built)
    _pip(Path(sys.executable), "wheel", "--no-deps", f"--wheel-dir={folder}", str(REPOSITORY))
    [wheel] = folder.glob("*.whl")
    return wheel


def install(version: str, wheel: Path, folder: Path) -> Installed:
    """Create an environment with a Python version, and install the wheel. Skips the test without that Python."""
    python = _find(version)
    if python is None:
        pytest.skip(f"Python {version} is not on this machine")
    subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True)
    made = Installed(folder, python)
    made.install(str(wheel))
    return made


def _pip(python: Path, *arguments: str) -> None:
    done = subprocess.run([python, "-m", "pip", *_PIP, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = f"pip {' '.join(arguments[:2])} failed, is a package index in reach? {done.stderr.strip()[-500:]}"
        pytest.fail(reason) if os.environ.get(REQUIRED) else pytest.skip(reason)


@cache
def _find(version: str) -> Path | None:
    """Find a Python version: this one, one on PATH, or one of pyenv."""
    for candidate in _candidates(version):
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        done = subprocess.run([candidate, "-I", "-c", code], capture_output=True, text=True, check=False)
        if (done.returncode, done.stdout.strip()) == (0, version):
            return candidate
    return None


def _candidates(version: str) -> Iterator[Path]:
    yield Path(sys.executable).resolve()
    for name in (f"python{version}", "python3"):
        found = shutil.which(name)
        if found is not None:
            yield Path(found)
    pyenv = shutil.which("pyenv")
    if pyenv is not None:
        done = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=False)
        yield from sorted(Path(done.stdout.strip()).glob(f"versions/{version}.*/bin/python"))
