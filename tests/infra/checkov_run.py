"""Runs checkov over templates, and reads what it says: in an environment of its own, and without any network.

Its parser does not know all of Bicep. So it is given a copy, in which the few expressions that it cannot read are
replaced, and the conditions of resources removed: it passes over the properties of a resource that has one.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from local.settings import REPOSITORY

_HOME = REPOSITORY / ".local" / "checkov"
_REQUIREMENTS = "infra/checkov/requirements.txt"
_CONDITION = re.compile(r"^(resource .*) = if \(.*\) \{$", re.MULTILINE)
_SKIP = re.compile(r"^ *// checkov:skip=.*\n", re.MULTILINE)
_BROKEN = re.compile(r"Failed to run check (\w+) on (?:.*/)?(\w[\w-]*\.bicep):(\S+)")

#: Ends it as soon as it would look up a name or connect, whatever it does with errors.
_OFFLINE = """
import os, runpy, sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        os.write(2, f"checkov asked for the network: {event} {arguments[1:]}".encode())
        os._exit(70)

sys.addaudithook(refuse)
runpy.run_module("checkov.main", run_name="__main__")
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """An expression that checkov cannot read."""

    #: The file that it is in, below infra/.
    file: str
    #: How it begins; it goes on to the bracket that closes it.
    begins: str
    #: What stands there in the copy: of the same type, so that every property keeps its place.
    instead: str
    #: Why the template keeps it.
    why: str


UNREAD = (
    Unread(
        file="main.bicep",
        begins="fail(",
        instead="''",
        why="nothing else refuses a deployment before anything is created",
    ),
    Unread(
        file="modules/app.bicep",
        begins="toObject(",
        instead="{}",
        why="nothing else makes an object of names that are known at deployment only",
    ),
    Unread(
        file="modules/network.bicep",
        begins="cidrSubnet(",
        instead="range",
        why="otherwise whoever provisions would divide the range by hand",
    ),
)


@dataclass(frozen=True, slots=True)
class Objection:
    """What is objected to: the file's name, the resource as checkov calls it, the check."""

    file: str
    resource: str
    check: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What checkov says of a folder."""

    #: Files that it cannot parse, relative to the folder.
    unparsed: set[str]
    #: What fails, by the file's path in the folder.
    failed: dict[str, set[Objection]]
    #: What it was told to pass over, with the reason.
    skipped: dict[Objection, str]
    #: Checks that ended with an exception of their own, and so found nothing.
    broken: set[Objection]

    def objections(self) -> set[Objection]:
        """Join what fails in all files."""
        return set[Objection]().union(*self.failed.values())


class Unavailable(Exception):
    """Checkov could not be installed, or ended without a report."""


def install(home: Path = _HOME) -> None:
    """Make its environment, once: half a minute, and a network; raises Unavailable where there is none."""
    done = subprocess.run(
        [sys.executable, "local/environment.py", str(home), _REQUIREMENTS],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Unavailable(f"checkov is needed to check the templates: {done.stderr.strip()}")


def copy_for_checkov(source: Path, target: Path, *, unread: Iterable[Unread] = UNREAD) -> Path:
    """Copy a folder of Bicep, with what it cannot read replaced; an expression that is not there is an error."""
    for path in sorted(source.rglob("*.bicep")):
        copied = target / path.relative_to(source)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copied)
        copied.write_text(_CONDITION.sub(r"\1 = {", copied.read_text(encoding="utf-8")), encoding="utf-8")
    for each in unread:
        _replace(target / each.file, each)
    return target


def without_skips(source: str) -> str:
    """Remove the comments that tell checkov what to pass over."""
    return _SKIP.sub("", source)


def check(folder: Path, *options: str) -> Report:
    """Run it; raises Unavailable with its own last words where it gives no report."""
    done = subprocess.run(
        [_HOME / "bin" / "python", "-c", _OFFLINE, "-d", folder, "--framework", "bicep", "-o", "json", *options],
        env={"PATH": os.defpath, "HOME": str(_HOME), "CKV_SKIP_PACKAGE_UPDATE_CHECK": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise Unavailable(done.stderr[-2000:])
    results = json.loads(done.stdout)["results"]
    failed: dict[str, set[Objection]] = {}
    for each in results["failed_checks"]:
        failed.setdefault(each["file_path"].lstrip("/"), set()).add(_objection(each))
    return Report(
        unparsed={str(Path(path).relative_to(folder)) for path in results["parsing_errors"]},
        failed=failed,
        skipped={_objection(each): each["check_result"]["suppress_comment"] for each in results["skipped_checks"]},
        broken={Objection(file, resource, name) for name, file, resource in _BROKEN.findall(done.stderr)},
    )


def _replace(path: Path, unread: Unread) -> None:
    source = path.read_text(encoding="utf-8")
    if unread.begins not in source:
        raise ValueError(f"{unread.file} has no {unread.begins} any more: take it off the list")
    while (start := source.find(unread.begins)) >= 0:
        end = _closing(source, start + len(unread.begins))
        source = source[:start] + unread.instead + source[end:]
    path.write_text(source, encoding="utf-8")


def _closing(source: str, start: int) -> int:
    """Find the end of a call whose bracket opened just before `start`; no text in these calls has a bracket alone."""
    depth = 1
    for index, character in enumerate(source[start:], start):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return index + 1
    raise ValueError("a bracket is not closed")


def _objection(found: dict[str, str]) -> Objection:
    return Objection(Path(found["file_path"]).name, found["resource"], found["check_id"])
