"""The locks of Python packages: exact versions and hashes. The lock for deployment covers the deployed Python only."""

import re
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from local.locks import DEPLOYED_PYTHON
from local.settings import REPOSITORY

LOCKS = (
    "requirements.txt",
    "requirements-local.txt",
    "requirements-dev.txt",
    "requirements-tools.txt",
    "infra/checkov/requirements.txt",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A package of a lock."""

    requirement: Requirement
    hashes: frozenset[str]

    @property
    def name(self) -> str:
        """Return the canonical name."""
        return canonicalize_name(self.requirement.name)

    def holds(self, python: str | None = None) -> bool:
        """Return whether the package is installed here, or on another Python version on Linux."""
        return holds(self.requirement, python)


def holds(requirement: Requirement, python: str | None = None) -> bool:
    """Return whether a requirement applies here, or on another Python version on Linux."""
    linux = {
        "implementation_name": "cpython",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python}.0",
        "python_version": str(python),
        "sys_platform": "linux",
    }
    return requirement.marker is None or requirement.marker.evaluate(linux if python else None)


def pins(lock: str) -> list[Pin]:
    """Read a lock."""
    text = re.sub(r"\s*#.*", "", (REPOSITORY / lock).read_text()).replace("\\\n", " ")
    found = []
    for line in filter(None, map(str.strip, text.splitlines())):
        requirement, *hashes = re.split(r"\s+--hash=", line)
        found.append(Pin(requirement=Requirement(requirement), hashes=frozenset(hashes)))
    return found


def wanted(*files: str) -> list[Requirement]:
    """Read the inputs of a lock."""
    lines = [line for file in files for line in (REPOSITORY / file).read_text().splitlines()]
    return [Requirement(line) for line in lines if line[:1].isalpha()]


def versions(of: list[Pin]) -> dict[str, str]:
    """Map names to pinned versions."""
    return {pin.name: str(pin.requirement.specifier) for pin in of}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_exact_versions_and_hashes_and_no_address(lock: str) -> None:
    """Every registry then provides the same files."""
    found = pins(lock)

    assert found
    assert all(re.fullmatch(r"==[^*,]+", str(pin.requirement.specifier)) for pin in found)
    assert all(re.fullmatch("sha256:[0-9a-f]{64}", each) for pin in found for each in pin.hashes)
    assert all(pin.hashes for pin in found)
    assert re.search(r"://|--(?:extra-)?index-url|--find-links|--trusted-host", (REPOSITORY / lock).read_text()) is None


def test_every_lock_is_tested() -> None:
    """The locks are the requirements files that were generated from an `.in` file."""
    sources = [path.relative_to(REPOSITORY) for path in [*REPOSITORY.glob("*.in"), *REPOSITORY.glob("infra/*/*.in")]]
    made_from = {Path(lock).with_suffix(".in") for lock in LOCKS}

    assert set(sources) == made_from


def test_the_deployment_lock_is_for_one_python() -> None:
    """The lock has no conditions and only files for this Python, so a build with another Python fails."""
    deployed, local = pins("requirements.txt"), {pin.name: pin for pin in pins("requirements-local.txt")}
    compiled = [pin for pin in deployed if pin.name in {"cffi", "cryptography", "markupsafe", "pydantic-core", "yarl"}]

    assert [pin for pin in deployed if pin.requirement.marker is not None] == []
    assert all(pin.hashes < local[pin.name].hashes for pin in compiled)
    assert len(compiled) == 5
    # The wheel for musl and several glibc tags may fit, but not one per Python version.
    assert max(len(pin.hashes) for pin in deployed) <= 4
    [functions] = [pin for pin in deployed if pin.name == "azure-functions"]
    assert str(functions.requirement.specifier).startswith("==2.")  # which fails on every Python before 3.13


def test_the_local_start_has_the_versions_that_are_deployed() -> None:
    """Each deployed file could be installed for the local start, on the deployed Python."""
    deployed = pins("requirements.txt")
    local = {pin.name: pin for pin in pins("requirements-local.txt") if pin.holds(DEPLOYED_PYTHON)}

    assert versions(deployed).items() <= versions(list(local.values())).items()
    assert all(mine.hashes <= local[mine.name].hashes for mine in deployed)


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
def test_the_universal_lock_has_every_package_for_every_python(python: str) -> None:
    """Each package has one version per Python: the deployed one where available."""
    found = [pin for pin in pins("requirements-local.txt") if pin.holds(python)]
    here, deployed = versions(found), versions(pins("requirements.txt"))

    assert len(found) == len(here)
    assert set(here) >= set(deployed)
    assert {name for name in deployed if here[name] != deployed[name]} <= {"azure-functions"}
    assert (here["azure-functions"] == deployed["azure-functions"]) is (python not in {"3.11", "3.12"})


def test_the_locks_satisfy_their_input_files() -> None:
    """The versions are within the ranges of the input files."""
    locked = [
        (wanted("requirements.in"), pins("requirements.txt"), DEPLOYED_PYTHON),
        (wanted("requirements.in", "requirements-local.in"), pins("requirements-local.txt"), None),
        (wanted("requirements-dev.in"), pins("requirements-dev.txt") + pins("requirements-local.txt"), None),
        (wanted("requirements-tools.in"), pins("requirements-tools.txt"), None),
        (wanted("infra/checkov/requirements.in"), pins("infra/checkov/requirements.txt"), None),
    ]

    for asked_for, found, python in locked:
        of_name = {pin.name: pin for pin in found if pin.holds(python)}
        for each in asked_for:
            if holds(each, python):
                [clause] = of_name[canonicalize_name(each.name)].requirement.specifier
                assert each.specifier.contains(clause.version, prereleases=True), each


def test_the_tests_run_with_locked_versions() -> None:
    """Each installed package matches a lock. A newer linter would report new findings at a random time."""
    locks = [pin for name in LOCKS[1:4] for pin in pins(name) if pin.holds()]
    locked = versions(locks)
    installed = {canonicalize_name(each.name): each.version for each in distributions()}
    ours = {name: version for name, version in installed.items() if name in versions(pins("requirements-dev.txt"))}

    assert {name: f"=={version}" for name, version in ours.items()}.items() <= locked.items()
    assert {"ruff", "mypy", "pytest", "hypothesis"} <= set(ours)


def test_the_tests_add_to_the_local_start_and_change_nothing_of_it() -> None:
    """Each package is in only one of the two locks."""
    local, development = pins("requirements-local.txt"), pins("requirements-dev.txt")

    assert {pin.name for pin in local} & {pin.name for pin in development} == set()


def test_the_locked_python_is_the_deployed_one() -> None:
    """The template and the deployment test in the workflow use the same version."""
    template = (REPOSITORY / "infra" / "modules" / "app.bicep").read_text()

    assert f"version: '{DEPLOYED_PYTHON}'" in template
    assert f'python: "{DEPLOYED_PYTHON}"' in (REPOSITORY / ".github" / "workflows" / "check.yml").read_text()
