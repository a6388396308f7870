"""The deployed package: the exact files, the locked libraries, and a running app."""

import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
from azure.data.tables import TableClient
from packaging.version import Version

from bridge.adapters.azure.clients import TABLE
from infra.hooks.functions import function_names
from local.azurite import Azurite
from local.settings import REPOSITORY
from tests.infra.azd_package import deploys, lines_of, package_of
from tests.infra.test_locks import pins
from tests.support.harness import ENVIRONMENT

#: Loads the app, sweeps once and prints the result.
SCRIPT = """
import asyncio, json, sys
sys.path[:0] = sys.argv[1:]
import function_app
assert not {"typer", "rich", "bridge.cli"} & set(sys.modules)
names = [each.get_function_name() for each in function_app.app.get_functions()]
function_app.sweep(None)
request = function_app.func.HttpRequest("GET", "https://bridge.example.com/api/health", body=b"")
health = asyncio.run(function_app.health(request))
print(json.dumps({"functions": names, "health": health.status_code}))
"""


def test_the_package_is_the_app_and_nothing_else() -> None:
    """Excluded: tests, templates, tools, secrets, the in-memory table and the command line."""
    modules = {path.relative_to(REPOSITORY) for path in (REPOSITORY / "bridge").rglob("*.py")}
    modules -= {Path("bridge/testing.py")}
    modules -= {path for path in modules if path.is_relative_to("bridge/cli")}

    page = {path.relative_to(REPOSITORY) for path in (REPOSITORY / "bridge" / "dashboard").glob("*.*[!y]")}

    assert {path.name for path in page} >= {"page.html", "style.css", "main.js"}
    assert set(package_of(REPOSITORY)) == {
        *modules,
        *page,
        Path("bridge/api/examples.json"),
        Path("function_app.py"),
        Path("host.json"),
        Path("requirements.txt"),
    }


#: Names that `.funcignore` does not list: secrets, settings, and leftovers of people and tools.
UNKNOWN = (
    "key.pem",
    "secrets.txt",
    "signing-key",
    "roles.json",
    "callback.json",
    "setup.py",
    "app.py",
    "conftest.py",
    ".env",
    ".env.production",
    "local.settings.json",
    "local.settings.dev.json",
    "local.settings.json.bak",
    "requirements-new.txt",
    "function_app.py.orig",
    "host.json~",
    "Bridge.py",
    ".azure/prod/.env",
    ".git/config",
    "venv/lib/python3.13/site-packages/x.py",
    "new-folder/module.py",
    "new-folder/bridge/module.py",
    "new-folder/function_app.py",
    "new-folder/.python_packages/x.py",
    "bridge.bak/app.py",
    "bridge/key.pem",
    "bridge/.env",
    "bridge/api/secrets.json",
    "bridge/app.py.orig",
    "bridge/dashboard/signing-key",
    "bridge/dashboard/old/page.html",
    "bridge/api/__pycache__/routes.cpython-313.pyc",
    "bridge/cli/app.py",
    "bridge/cli/__main__.py",
    "bridge/testing.py",
)

#: Names that are always deployed: the app's files, and packages installed beside them.
KNOWN = (
    "function_app.py",
    "host.json",
    "requirements.txt",
    "bridge/new_module.py",
    "bridge/new_package/module.py",
    "bridge/dashboard/new.js",
    ".python_packages/lib/site-packages/idna/core.py",
    ".python_packages/lib/site-packages/cryptography/_rust.abi3.so",
    ".python_packages/lib/site-packages/cryptography.dist-info/METADATA",
)


def test_a_file_without_a_line_is_not_deployed(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / ".funcignore", tmp_path)
    for name in (*UNKNOWN, *KNOWN):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    assert {path.as_posix() for path in package_of(tmp_path)} == set(KNOWN)


def test_nothing_that_git_ignores_is_deployed() -> None:
    lines = lines_of(REPOSITORY)
    ignored = [line.replace("*", "x") for line in (REPOSITORY / ".gitignore").read_text().splitlines()]

    assert [each for each in ignored if deploys(lines, each.rstrip("/"), is_folder=each.endswith("/"))] == []


def test_azd_is_new_enough_for_lines_with_an_exclamation_mark() -> None:
    """Before 1.23.13, lines with an exclamation mark excluded files, so the package was empty."""
    wanted = re.search(r'azd: ">= ([\d.]+)"', (REPOSITORY / "azure.yaml").read_text())

    assert wanted is not None
    assert Version(wanted[1]) >= Version("1.23.13")


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """Copy the files of the package."""
    for path in package_of(REPOSITORY):
        (tmp_path / "app" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / path, tmp_path / "app" / path)
    return tmp_path / "app"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Create an environment with the locked packages only."""
    for name in {pin.name for pin in pins("requirements-local.txt") if pin.holds()}:
        for file in distribution(name).files or ():
            if ".." not in file.parts:
                place = tmp_path / "site" / file
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(file.locate())
    return tmp_path / "site"


def test_the_app_runs_from_the_package_with_the_locked_libraries(app: Path, site: Path, azurite: Azurite) -> None:
    """The app has every function, and a sweep reaches storage."""
    settings = {**ENVIRONMENT, "AzureWebJobsStorage": azurite.connection_string}

    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", SCRIPT, str(app), str(site)],
        cwd=app,
        env={"PATH": "/usr/bin:/bin", **settings},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    output = json.loads(done.stdout.splitlines()[-1])
    assert output == {"functions": function_names(REPOSITORY), "health": 200}
    with TableClient.from_connection_string(azurite.connection_string, TABLE) as table:
        assert table.get_entity("sources", "heartbeat")["at"]
