"""Each import of the command line is part of the wheel, or of a library that the wheel declares."""

import subprocess
import sys
import tomllib
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

from packaging.requirements import Requirement

from bridge.cli.context import EXAMPLES, PROGRAM
from local.settings import REPOSITORY
from tests.support.fake_bridge import FakeBridge
from tests.support.modules import imports, reached
from tests.support.wheel import ONE_AFTER_THE_OTHER

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
NEEDED = PROJECT["project"]["dependencies"]
SERVER = PROJECT["project"]["optional-dependencies"]["server"]

#: The half of `doctor` that reads the settings and the storage of the app.
SERVER_HALF = "bridge.cli.probing"

#: Modules of distributions with several modules, or with a module of another name.
NAMES = {
    "azure-data-tables": {"azure"},
    "azure-identity": {"azure"},
    "azure-storage-queue": {"azure"},
    "pydantic": {"pydantic", "pydantic_core"},
    "typing-extensions": {"typing_extensions"},
}

#: Removes the app's libraries from an interpreter, except pydantic, a dependency of recent typer versions.
ALONE = """
import sys
from importlib.abc import MetaPathFinder

class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"azure", "jwt", "opentelemetry"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
"""


def libraries(requirements: Iterable[str]) -> set[str]:
    """Return the modules of the distributions."""
    distributions = {Requirement(each).name for each in requirements}
    return {module for each in distributions for module in NAMES.get(each, {each})}


def foreign(paths: Iterable[Path]) -> set[str]:
    """Return the libraries that the modules import."""
    found = {name.partition(".")[0] for path in paths for name in imports(path)}
    return found - sys.stdlib_module_names - {"bridge"}


def wheel() -> set[Path]:
    """Return the modules of the wheel."""
    build = PROJECT["tool"]["hatch"]["build"]
    chosen = [REPOSITORY / each for each in build["only-include"]]
    modules = {path for each in chosen for path in ([each] if each.is_file() else each.rglob("*.py"))}
    left_out = [f"{REPOSITORY / each}*" for each in build["exclude"]]
    return {path for path in modules if not any(fnmatch(str(path), each) for each in left_out)}


def alone(*lines: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run commands, one per line, without the app's libraries."""
    return subprocess.run(
        [sys.executable, "-c", ALONE + ONE_AFTER_THE_OTHER, *lines],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_commands_import_only_the_libraries_that_the_wheel_declares() -> None:
    """Each declared library is imported, and imports inside functions count."""
    modules = reached("bridge.cli.__main__", without=SERVER_HALF)

    assert foreign(modules.values()) == libraries(NEEDED)


def test_server_half_of_doctor_imports_only_the_libraries_of_its_extra() -> None:
    """These come in addition to the libraries of all commands."""
    assert foreign(reached(SERVER_HALF).values()) - libraries(NEEDED) == libraries(SERVER)


def test_wheel_has_each_module_that_the_command_line_imports() -> None:
    """Including the server half of `doctor` and the package of each module."""
    assert set(reached("bridge.cli.__main__").values()) - wheel() == set()


def test_each_module_of_the_wheel_can_be_imported() -> None:
    packed = wheel()
    names = {".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__") for path in packed}
    ours = {name for path in packed for name in imports(path) if name.partition(".")[0] == "bridge"}

    assert ours - names == set()
    assert foreign(packed) <= libraries([*NEEDED, *SERVER])


def test_wheel_has_no_part_that_the_command_line_does_not_use() -> None:
    """Each folder and each settings module in the wheel is imported. So sweep, API and page stay out."""
    used = reached("bridge.cli.__main__").values()
    folders, alone = {path.parent for path in used}, {path for path in used if path.parent.name == "bridge"}

    assert {path.parent for path in wheel()} == folders
    assert {path for path in wheel() if path.parent.name == "bridge"} == alone | {REPOSITORY / "bridge" / "py.typed"}


def test_bounds_of_the_wheel_are_those_of_the_locks() -> None:
    """A library has the same bounds in each file."""
    listed = [
        line
        for name in ("requirements.in", "requirements-local.in")
        for line in (REPOSITORY / name).read_text().split("\n")
    ]

    assert [each for each in [*NEEDED, *SERVER] if each not in listed] == []


def test_each_command_has_its_help_where_the_app_is_not_installed() -> None:
    """The help has examples and needs no Azure library."""
    done = alone(*(f"{command} --help" for command in EXAMPLES))

    assert (done.returncode, done.stderr) == (0, "")
    assert [each for lines in EXAMPLES.values() for each in lines if f"  {PROGRAM} {each}\n" not in done.stdout] == []


def test_doctor_without_its_extra_names_the_extra_and_examines_the_bridge(fake: FakeBridge) -> None:
    """The half over HTTP runs. One line names the extra that the other half needs."""
    fake.script("GET health", (200, {"status": "ok"}))
    fake.script("GET status", (401, ""))

    done = alone("doctor", BRIDGE_URL=fake.url, AzureWebJobsStorage="UseDevelopmentStorage=true")

    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (1, "")
    assert f"ok bridge alive at {fake.url}" in lines
    assert [line.split()[:2] for line in lines if line.startswith("BAD")] == [["BAD", "access"]]
    assert lines[-2:] == [
        "skipped own settings the app's settings and storage are read with the extra `server`, which is not installed",
        f"Install it: pip install '{PROGRAM}[server]'",
    ]


def test_doctor_without_its_extra_and_without_a_bridge_is_a_usage_error() -> None:
    done = alone("doctor", SPEECH_ENDPOINT="https://speech.example.com")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "nothing to examine: the app's settings and storage are read with the extra `server`, which is not installed. "
        f"Install it: pip install '{PROGRAM}[server]', or set BRIDGE_URL\n"
    )
