"""The workflows of a fork, and a codespace for `make start`."""

import json
import re
import tomllib

import pytest

from local.settings import REPOSITORY, Settings
from tests.infra.bicep import snapshot
from tests.support.wheel import PYTHONS

WORKFLOWS = {path.stem: path.read_text() for path in (REPOSITORY / ".github" / "workflows").iterdir()}
TARGETS = set(re.findall(r"^([a-z]+):.*?## ", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("text", WORKFLOWS.values(), ids=WORKFLOWS)
def test_actions_are_pinned_and_have_few_permissions(text: str) -> None:
    """A tag can be moved, a commit cannot."""
    uses = re.findall(r"uses: (.+)", text)

    assert uses
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", each) for each in uses)
    assert re.search(r"^permissions:\n  contents: read\n(?! )", text, re.MULTILINE)
    assert "secrets." not in text


def test_the_checks_are_those_of_the_makefile() -> None:
    """All of them on the oldest Python, the tests on each newer one, among which is the deployed one."""
    text = WORKFLOWS["check"]
    legs = dict(re.findall(r'python: "([\d.]+)", target: (\w+)', text))
    deployed = snapshot("default").app["functionAppConfig"]["runtime"]["version"]

    assert "make ${{ matrix.target }}" in text
    assert set(legs.values()) <= TARGETS
    assert tuple(legs) == PYTHONS
    assert legs[PYTHONS[0]] == "check"
    assert deployed in legs


def test_too_little_coverage_fails_a_workflow() -> None:
    """The share is in pyproject.toml, where `make cover` reads it."""
    report = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["coverage"]["report"]

    assert "- run: make cover " in WORKFLOWS["check"]
    assert report["fail_under"] >= 95


def test_the_command_line_is_tested_on_each_supported_python() -> None:
    """One job runs all versions. The tests run on the oldest."""
    job = WORKFLOWS["check"].partition("\n  wheel:\n")[2]

    assert set(re.findall(r"^            ([\d.]+)$", job, re.MULTILINE)) == set(PYTHONS)
    assert "pip wheel --no-deps --wheel-dir dist ." in job
    assert f'make test PYTHON=python{PYTHONS[0]} TESTS=tests/cli/test_wheel.py WHEEL="$PWD"/dist/*.whl\n' in job
    assert 'INDEX_REQUIRED: "1"' in job


def test_newer_versions_of_every_pinned_kind_are_proposed() -> None:
    """Covered: actions by SHA, npm locks, and advisories about Python locks."""
    text = (REPOSITORY / ".github" / "dependabot.yml").read_text()
    below = ("examples/*", "local/*", "tests/*", "tests/*/*")
    locks = {path.parent for folder in below for path in REPOSITORY.glob(f"{folder}/package-lock.json")}

    assert re.findall(r"package-ecosystem: ([a-z-]+)", text) == ["github-actions", "pip", "npm"]
    assert [each for each in locks if f"/{each.relative_to(REPOSITORY)}" not in text] == []


def test_deploying_is_by_hand_and_by_oidc() -> None:
    """No other workflow may request an identity token."""
    triggers = re.search(r"^on:\n((?:  .*\n)+)", WORKFLOWS["deploy"], re.MULTILINE)

    assert triggers is not None
    assert re.findall(r"^  (\w+):", triggers[1], re.MULTILINE) == ["workflow_dispatch"]
    assert [name for name, text in WORKFLOWS.items() if "id-token: write" in text] == ["deploy"]


def test_a_codespace_can_run_make_start() -> None:
    """Python is new enough, the installed packages are those of make, and the ports are those of the local start."""
    container = json.loads((REPOSITORY / ".devcontainer" / "devcontainer.json").read_text())
    settings = Settings.read({})

    assert container["postCreateCommand"] == "python3 -m local.environment .venv"
    assert (REPOSITORY / "local" / "environment.py").is_file()
    assert container["forwardPorts"] == [settings.port, settings.receiver_port, settings.upstream_port]


def test_the_deployment_lock_is_audited_each_week() -> None:
    """The audit covers exact versions. An advisory can appear without a change of the code."""
    text = WORKFLOWS["audit"]

    assert re.search(r"^  schedule:\n    - cron: ", text, re.MULTILINE)
    assert re.search(r"pip_audit --strict .*-r requirements\.txt$", text, re.MULTILINE)
