"""The templates compile without a warning, and evaluate to the committed snapshots."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.infra.bicep import CONTEXT, DEPLOYMENTS, INFRA, SNAPSHOTS, bicep, sources


def test_there_is_a_snapshot_of_each_deployment() -> None:
    """The deployments are the default, and one per choice that changes resources."""
    written = {path.name.removesuffix(".snapshot.json") for path in SNAPSHOTS.glob("*.json")}

    assert written == set(DEPLOYMENTS)
    assert written == {"always-ready", "default", "endpoint-with-key", "entra", "named-speech", "private-network"}


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_a_deployment_evaluates_to_its_snapshot(deployment: str) -> None:
    """After an intended change, run `make snapshots` and review the difference."""
    done = bicep("snapshot", SNAPSHOTS / f"{deployment}.bicepparam", "--mode", "validate", *CONTEXT)

    assert (done.returncode, done.stderr) == (0, ""), f"{done.stdout}\nafter a change on purpose: make snapshots"


def test_the_template_compiles_without_a_warning() -> None:
    done = bicep("build", INFRA / "main.bicep", "--stdout")

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["resources"]


@pytest.mark.parametrize("path", list(sources()), ids=lambda path: path.relative_to(INFRA).as_posix())
def test_a_file_is_formatted_and_passes_the_linter(path: Path) -> None:
    """The project uses the compiler's format."""
    linted = bicep("lint", path)
    formatted = bicep("format", path, "--stdout")

    assert (linted.returncode, linted.stdout, linted.stderr) == (0, "", "")
    assert formatted.stdout == path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "path", [INFRA / "main.bicepparam", *sorted(SNAPSHOTS.glob("*.bicepparam"))], ids=lambda path: path.stem
)
def test_a_parameter_file_compiles_without_a_warning(path: Path) -> None:
    """This holds without any variable as well."""
    done = bicep("build-params", path, "--stdout")

    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Copy the templates for a modification."""
    return Path(shutil.copytree(INFRA, tmp_path / "infra", ignore=shutil.ignore_patterns("__pycache__")))


def test_a_linter_warning_is_an_error(copy: Path) -> None:
    """An unused parameter is one example. The levels are in infra/bicepconfig.json."""
    with (copy / "main.bicep").open("a") as file:
        file.write("param unused string = ''\n")

    done = bicep("lint", copy / "main.bicep")

    assert done.returncode == 1
    assert "Error no-unused-params" in done.stderr


@pytest.fixture(scope="module")
def built() -> dict[str, dict[str, Any]]:
    """Compile the template. Returns the modules by name."""
    done = bicep("build", INFRA / "main.bicep", "--stdout")
    resources = json.loads(done.stdout)["resources"]
    templates = {name: each.get("properties", {}).get("template") for name, each in resources.items()}
    return {name: template for name, template in templates.items() if template is not None}


def of_type(template: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """Return the resources of a type from a compiled template. The compiler writes them by name or as a list."""
    resources = template["resources"]
    found: list[dict[str, Any]] = list(resources.values()) if isinstance(resources, dict) else resources
    return [each for each in found if each["type"] == kind]


@pytest.mark.parametrize(
    ("module", "kind"),
    [("vault", "Microsoft.KeyVault/vaults/secrets"), ("network", "Microsoft.Network/virtualNetworks/subnets")],
)
def test_two_parts_of_one_resource_are_deployed_one_after_the_other(
    built: dict[str, dict[str, Any]], module: str, kind: str
) -> None:
    """Azure rejects simultaneous changes of two secrets of a vault, or of two subnets of a network."""
    parts = of_type(built[module], kind)

    waiting = [each for each in parts if any(f"'{kind}'" in other for other in each["dependsOn"])]

    assert (len(parts), len(waiting)) == (2, 1)


def test_private_endpoints_of_one_storage_account_are_made_in_turn(built: dict[str, dict[str, Any]]) -> None:
    [endpoints] = of_type(built["endpoints"], "Microsoft.Network/privateEndpoints")

    assert (endpoints["copy"]["mode"], endpoints["copy"]["batchSize"]) == ("serial", 1)


def test_no_output_shows_a_secret(built: dict[str, dict[str, Any]]) -> None:
    """Azure keeps outputs with the deployment, readable for everyone with read access."""
    text = json.dumps([each.get("outputs", {}) for each in built.values()])

    assert "listKeys" not in text
    assert "newSigningKey" not in text
    assert "newSpeechKey" not in text
