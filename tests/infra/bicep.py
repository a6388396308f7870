"""Run the Bicep compiler, and read the evaluated deployments.

`python -m tests.infra.bicep` rewrites the snapshots of `infra/snapshots` (`make snapshots`).
"""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from local.settings import REPOSITORY
from tests.support.tools import tool

INFRA = REPOSITORY / "infra"
SNAPSHOTS = INFRA / "snapshots"

#: The names of the deployments to evaluate.
DEPLOYMENTS = sorted(path.stem for path in SNAPSHOTS.glob("*.bicepparam"))

#: The subscription and tenant of every snapshot.
SUBSCRIPTION, TENANT = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
CONTEXT = ("--subscription-id", SUBSCRIPTION, "--tenant-id", TENANT, "--location", "westeurope")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A deployment as evaluated by the compiler. Values that only Azure knows remain expressions in brackets."""

    #: The resources in the form for Resource Manager: id, type, name, properties.
    resources: tuple[dict[str, Any], ...]
    outputs: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file written by `bicep snapshot`."""
        content = json.loads(path.read_text(encoding="utf-8"))
        return cls(tuple(content["predictedResources"]), content["outputs"])

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the resources of a type, by name."""
        return {each["name"]: each for each in self.resources if each["type"] == kind}

    def one(self, kind: str, name: str = "") -> dict[str, Any]:
        """Return the only resource of a type with this end of the name."""
        [found] = [each for full, each in self.of_type(kind).items() if full.endswith(name)]
        return found

    @property
    def app(self) -> dict[str, Any]:
        """Return the properties of the function app."""
        return dict(self.one("Microsoft.Web/sites")["properties"])

    @property
    def app_settings(self) -> dict[str, str]:
        """Return the app settings."""
        return dict(self.one("Microsoft.Web/sites/config", "/appsettings")["properties"])


def snapshot(deployment: str) -> Snapshot:
    """Read a committed snapshot."""
    return Snapshot.read(SNAPSHOTS / f"{deployment}.snapshot.json")


def bicep(*arguments: str | Path, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the compiler with only the given variables, since parameter files read variables."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return subprocess.run(
        [tool("bicep"), *arguments], env={**kept, **(environ or {})}, capture_output=True, text=True, check=False
    )


def evaluate(environ: Mapping[str, str], folder: Path) -> Snapshot | str:
    """Evaluate main.bicepparam with azd's variables. Returns the reason if the deployment is rejected."""
    parameters = folder / "evaluated.bicepparam"
    main = os.path.relpath(INFRA / "main.bicep", folder)
    parameters.write_text(f"using '{main}'\nextends '{main}param'\n")
    done = bicep("snapshot", parameters, "--mode", "overwrite", *CONTEXT, environ=environ)
    if done.returncode != 0:
        return done.stderr
    return Snapshot.read(folder / "evaluated.snapshot.json")


def sources() -> Iterator[Path]:
    """Yield every input file of the compiler."""
    return (path for path in sorted(INFRA.rglob("*.bicep*")) if path.suffix in (".bicep", ".bicepparam"))


def write_snapshots() -> None:
    """Evaluate every deployment again. Exits with the compiler's message on an error.

    The compiler writes outputs in random order. They are sorted, so that a difference means a change.
    """
    for deployment in DEPLOYMENTS:
        done = bicep("snapshot", SNAPSHOTS / f"{deployment}.bicepparam", "--mode", "overwrite", *CONTEXT)
        if done.returncode != 0:
            raise SystemExit(done.stderr)
        path = SNAPSHOTS / f"{deployment}.snapshot.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        content["outputs"] = dict(sorted(content["outputs"].items()))
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_snapshots()
