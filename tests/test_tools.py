"""Tests that need Microsoft's tools: where the tools come from, and what happens without them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from local.settings import REPOSITORY
from tests.support.tools import tool
from tests.support.wheel import build


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Copy what puts the tools on PATH into a project whose neighbour has one tool."""
    project, tools = tmp_path / "project", tmp_path / "shared" / "bin"
    (project / ".ci").mkdir(parents=True)
    shutil.copy(REPOSITORY / "Makefile", project)
    shutil.copy(REPOSITORY / ".ci" / "run", project / ".ci")
    tools.mkdir(parents=True)
    _script(tools / "bicep", "exit 0")
    return project


def test_a_tool_on_the_path_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The executable that PATH names first."""
    _script(tmp_path / "bicep", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    assert tool("bicep") == str(tmp_path / "bicep")


def test_a_test_is_skipped_without_its_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason says how to get it."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("TOOLS_REQUIRED", raising=False)

    with pytest.raises(pytest.skip.Exception, match=r"bicep is not on PATH \(`az bicep install`"):
        tool("bicep")


def test_a_test_fails_without_its_tool_if_the_tools_are_required(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in `.ci/run`, if the folder of tools is there and lacks one."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("TOOLS_REQUIRED", "1")

    with pytest.raises(pytest.fail.Exception, match="bicep is not on PATH"):
        tool("bicep")


def test_make_puts_the_folder_of_tools_on_the_path(project: Path) -> None:
    """If it stands beside the repository."""
    found = _make(project)

    assert found.stdout.strip() == str(project.parent / "shared" / "bin" / "bicep")


def test_make_does_without_the_folder(project: Path) -> None:
    """PATH stays as it is."""
    shutil.rmtree(project.parent / "shared")

    assert _make(project, PATH="/usr/bin:/bin").stdout.strip() == ""


def test_ci_requires_the_tools_if_their_folder_is_there(project: Path) -> None:
    """Both for the checks on the oldest Python and for the tests on the deployed one."""
    said = _ci(project)

    assert said
    assert set(said) == {f"required:1 {project.parent / 'shared' / 'bin' / 'bicep'}"}


def test_ci_requires_no_tool_without_the_folder(project: Path) -> None:
    """Their tests skip."""
    shutil.rmtree(project.parent / "shared")

    assert set(_ci(project)) == {"required: "}


def test_ci_requires_the_package_index(project: Path) -> None:
    """The checks may not skip a test that installs the command line."""
    assert _ci(project, "index:")[0].startswith("index:1 check")


@pytest.mark.parametrize(("required", "outcome"), [("", pytest.skip.Exception), ("1", pytest.fail.Exception)])
def test_the_command_line_is_not_built_without_a_package_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, required: str, outcome: type[BaseException]
) -> None:
    """The test that asks is skipped, or fails if the index is required."""
    monkeypatch.setenv("INDEX_REQUIRED", required)
    monkeypatch.setenv("PIP_NO_INDEX", "1")

    with pytest.raises(outcome, match=r"pip wheel --no-deps failed, is a package index in reach\?"):
        build(tmp_path)


def _script(path: Path, *lines: str) -> None:
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)


def _make(project: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", "--eval=which: ; @command -v bicep || true", "which"]
    outer = ("MAKE", "TOOLS_REQUIRED")  # of a make or of .ci/run around
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(outer)}
    return subprocess.run(
        command, cwd=project, env={**inherited, **environ}, text=True, capture_output=True, check=True
    )


def _ci(project: Path, begin: str = "required:") -> list[str]:
    """Run `.ci/run` with a `make` that only says what it was given."""
    stub = project / "stub"
    stub.mkdir()
    _script(stub / "make", 'echo "required:$TOOLS_REQUIRED $(command -v bicep)"', 'echo "index:$INDEX_REQUIRED $1"')
    (stub / "python3").symlink_to(sys.executable)
    environ = {"PATH": f"{stub}:/usr/bin:/bin"}
    done = subprocess.run(
        [project / ".ci" / "run"], cwd=project, env=environ, text=True, capture_output=True, check=True
    )
    return [line for line in done.stdout.splitlines() if line.startswith(begin)]
