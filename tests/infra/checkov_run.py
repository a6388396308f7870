"""Run checkov over evaluated deployments, in a separate environment and without a network.

The input is the snapshots in the form of Resource Manager templates. So checkov sees the deployed resources, with all
conditions and parameters resolved.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.settings import REPOSITORY

_HOME = REPOSITORY / ".local" / "checkov"
_REQUIREMENTS = "infra/checkov/requirements.txt"

#: Ends checkov on any name lookup or connection, even if checkov catches errors.
_OFFLINE = """
import os, runpy, sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        os.write(2, f"checkov requested the network: {event} {arguments[1:]}".encode())
        os._exit(70)

sys.addaudithook(refuse)
runpy.run_module("checkov.main", run_name="__main__")
"""


@dataclass(frozen=True, slots=True, order=True)
class Objection:
    """A failed check of one resource."""

    #: The type of the resource.
    kind: str
    check: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of a run."""

    #: The names of the templates that checkov cannot parse.
    unparsed: set[str]
    #: The objections, by template name.
    failed: Mapping[str, set[Objection]]
    #: The number of checked resources.
    resources: int


class Unavailable(Exception):
    """Checkov cannot be installed, or ended without a report."""


def install(home: Path = _HOME) -> None:
    """Create the environment once, which takes half a minute and a network. Raises Unavailable without a network."""
    done = subprocess.run(
        [sys.executable, "-m", "local.environment", str(home), _REQUIREMENTS],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Unavailable(f"checkov is needed to check the templates: {done.stderr.strip()}")


def write_template(folder: Path, name: str, resources: Iterable[Mapping[str, Any]]) -> None:
    """Write resources as a template for checkov."""
    schema = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
    template = {"$schema": schema, "contentVersion": "1.0.0.0", "resources": list(resources)}
    (folder / f"{name}.json").write_text(json.dumps(template, indent=2), encoding="utf-8")


def check(folder: Path, *options: str) -> Report:
    """Check each template of a folder. Raises Unavailable with checkov's last output if there is no report."""
    done = subprocess.run(
        [_HOME / "bin" / "python", "-c", _OFFLINE, "-d", folder, "--framework", "arm", "-o", "json", *options],
        env={"PATH": os.defpath, "HOME": str(_HOME), "CKV_SKIP_PACKAGE_UPDATE_CHECK": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise Unavailable(done.stderr[-2000:])
    if "Failed to run check" in done.stderr:
        raise Unavailable(f"a check broke: {done.stderr[-2000:]}")
    report = json.loads(done.stdout)
    failed: dict[str, set[Objection]] = {}
    for each in report["results"]["failed_checks"]:
        failed.setdefault(Path(each["file_path"]).stem, set()).add(_objection(each))
    return Report(
        unparsed={Path(path).stem for path in report["results"]["parsing_errors"]},
        failed=failed,
        resources=report["summary"]["resource_count"],
    )


def _objection(found: Mapping[str, str]) -> Objection:
    """Parse an objection. Checkov names a resource `type.name`, and both parts can contain dots."""
    provider, _, rest = found["resource"].partition("/")
    return Objection(f"{provider}/{rest.partition('.')[0]}", found["check_id"])
