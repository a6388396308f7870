"""The version is defined in `bridge/__init__.py`, which is deployed. All other places read the version there."""

import tomllib
from pathlib import Path

import pytest

from bridge import __version__
from bridge.adapters.net import transport
from bridge.api.handlers import Handlers
from bridge.api.openapi import document
from bridge.dashboard import page
from local.settings import REPOSITORY
from tests.support.harness import Harness
from tests.support.http import Client
from tests.support.modules import name_of

MODULES = sorted((REPOSITORY / "bridge").rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_version_is_written_in_one_module(path: Path) -> None:
    assert (f'"{__version__}"' in path.read_text()) is (path == REPOSITORY / "bridge" / "__init__.py")


def test_wheel_reads_the_version_of_the_package() -> None:
    read = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())

    assert "version" in read["project"]["dynamic"]
    assert "version" not in read["project"]
    assert read["tool"]["hatch"]["version"] == {"path": "bridge/__init__.py"}


def test_description_and_callbacks_name_the_version() -> None:
    assert document()["info"]["version"] == __version__
    assert transport.STANDING["User-Agent"].endswith(f"/{__version__}")


def test_status_and_health_return_the_version(bridge: Harness) -> None:
    client = Client.of(bridge)

    status, health = client.call(Handlers.status, "/status"), client.health()

    assert (status.body["version"], health.body["version"]) == (__version__, __version__)


@pytest.mark.parametrize("by_token", [True, False])
def test_page_shows_the_version_at_its_foot(by_token: bool) -> None:
    assert f'<footer class="quiet">Speech webhooks {__version__} ' in page(by_token=by_token).html


def test_template_of_azd_names_the_version() -> None:
    """The tool reads text, so the version there is a copy."""
    [line] = [each for each in (REPOSITORY / "azure.yaml").read_text().splitlines() if "template:" in each]

    assert line.endswith(f"@{__version__}")
