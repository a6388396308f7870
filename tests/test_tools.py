"""Tests with Microsoft's tools: the source of the tools, and the behavior without them."""

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
    """Copy the Makefile and the scripts into a project next to a folder with one tool."""
    project, tools = tmp_path / "project", tmp_path / "shared" / "bin"
    (project / ".ci").mkdir(parents=True)
    shutil.copy(REPOSITORY / "Makefile", project)
    shutil.copy(REPOSITORY / ".ci" / "run", project / ".ci")
    tools.mkdir(parents=True)
    _script(tools / "bicep", "exit 0")
    return project


def test_a_tool_on_the_path_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first executable on PATH is used."""
    _script(tmp_path / "bicep", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    assert tool("bicep") == str(tmp_path / "bicep")


def test_a_test_is_skipped_without_its_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason explains how to get the tool."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("TOOLS_REQUIRED", raising=False)

    with pytest.raises(pytest.skip.Exception, match=r"bicep is not on PATH \(`az bicep install`"):
        tool("bicep")


def test_a_test_fails_without_its_tool_if_the_tools_are_required(monkeypatch: pytest.MonkeyPatch) -> None:
    """This happens in `.ci/run` if the folder of tools exists but lacks a tool."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("TOOLS_REQUIRED", "1")

    with pytest.raises(pytest.fail.Exception, match="bicep is not on PATH"):
        tool("bicep")


def test_make_puts_the_folder_of_tools_on_the_path(project: Path) -> None:
    """The folder is next to the repository."""
    found = _make(project)

    assert found.stdout.strip() == str(project.parent / "shared" / "bin" / "bicep")


def test_make_works_without_the_folder_of_tools(project: Path) -> None:
    """PATH is unchanged."""
    shutil.rmtree(project.parent / "shared")

    assert _make(project, PATH="/usr/bin:/bin").stdout.strip() == ""


def test_ci_requires_the_tools_if_their_folder_is_there(project: Path) -> None:
    """Covers the checks on the oldest Python and the tests on the deployed one."""
    output = _ci(project)

    assert output
    assert set(output) == {f"required:1 {project.parent / 'shared' / 'bin' / 'bicep'}"}


def test_ci_requires_no_tool_without_the_folder(project: Path) -> None:
    """The tests of the tools skip."""
    shutil.rmtree(project.parent / "shared")

    assert set(_ci(project)) == {"required: "}


def test_ci_requires_the_package_index(project: Path) -> None:
    """The checks may not skip a test that installs the command line."""
    assert _ci(project, "index:")[0].startswith("index:1 check")


@pytest.mark.parametrize(("required", "outcome"), [("", pytest.skip.Exception), ("1", pytest.fail.Exception)])
def test_the_command_line_is_not_built_without_a_package_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, required: str, outcome: type[BaseException]
) -> None:
    """The test is skipped, or fails if the index is required."""
    monkeypatch.setenv("INDEX_REQUIRED", required)
    monkeypatch.setenv("PIP_NO_INDEX", "1")

    with pytest.raises(outcome, match=r"pip wheel --no-deps failed, is a package index in reach\?"):
        build(tmp_path)


def _script(path: Path, *lines: str) -> None:
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)


def _make(project: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", "--eval=which: ; @command -v bicep || true", "which"]
    outer = ("MAKE", "TOOLS_REQUIRED")  # variables of an outer make or .ci/run
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(outer)}
    return subprocess.run(
        command, cwd=project, env={**inherited, **environ}, text=True, capture_output=True, check=True
    )


def _ci(project: Path, begin: str = "required:") -> list[str]:
    """Run `.ci/run` with a `make` that prints its arguments."""
    stub = project / "stub"
    stub.mkdir()
    _script(stub / "make", 'echo "required:$TOOLS_REQUIRED $(command -v bicep)"', 'echo "index:$INDEX_REQUIRED $1"')
    (stub / "python3").symlink_to(sys.executable)
    environ = {"PATH": f"{stub}:/usr/bin:/bin"}
    done = subprocess.run(
        [project / ".ci" / "run"], cwd=project, env=environ, text=True, capture_output=True, check=True
    )
    return [line for line in done.stdout.splitlines() if line.startswith(begin)]
