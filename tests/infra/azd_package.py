"""Which files azd deploys: `.funcignore`, as azd reads it.

azd (`createDeployableZip`, from 1.23.13 on) goes down the folders and asks the library denormal/go-gitignore about each
name that it finds. The last line that matches decides, and without one the file is deployed. Two things differ from
git: a line without a slash inside matches the whole path, across slashes, if it begins with one, and a folder that is
left out keeps its files out only because azd never looks into it.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

#: Left out by azd itself.
_NEVER = {".funcignore", "local.settings.json"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the file."""

    text: str

    @property
    def allows(self) -> bool:
        """Whether it takes files in, and not out."""
        return self.text.startswith("!")

    def matches(self, path: str, *, is_folder: bool) -> bool:
        """Whether it is about this path, relative to the file."""
        line = self.text.removeprefix("!")
        anchored, only_folders = line.startswith("/"), line.endswith("/")
        pattern = line.strip("/")
        if only_folders and not is_folder:
            return False
        if "**" in pattern or "/" in pattern:
            return _parts_match(path.split("/"), pattern.split("/"))
        return fnmatchcase(path if anchored else PurePosixPath(path).name, pattern)


def _parts_match(path: list[str], pattern: list[str]) -> bool:
    if not pattern:
        return not path
    first, *rest = pattern
    if first == "**":
        return _parts_match(path, rest) or (bool(path) and _parts_match(path[1:], pattern))
    return bool(path) and fnmatchcase(path[0], first) and _parts_match(path[1:], rest)


def lines_of(root: Path) -> list[Line]:
    """Read `.funcignore`."""
    text = (root / ".funcignore").read_text(encoding="utf-8")
    return [Line(each) for each in text.splitlines() if each and not each.startswith("#")]


def deploys(lines: list[Line], path: str, *, is_folder: bool = False) -> bool:
    """Whether azd takes a file, or goes into a folder; of its folders it has to be asked first."""
    decisive = next((line for line in reversed(lines) if line.matches(path, is_folder=is_folder)), None)
    return decisive is None or decisive.allows


def package_of(root: Path) -> Iterator[Path]:
    """Name the files of the package, relative to the folder that is deployed."""
    lines = lines_of(root)
    for folder, folders, files in os.walk(root):
        here = Path(folder).relative_to(root)
        folders[:] = [
            name for name in folders if name != ".azure" and deploys(lines, (here / name).as_posix(), is_folder=True)
        ]
        yield from (here / name for name in files if name not in _NEVER and deploys(lines, (here / name).as_posix()))
