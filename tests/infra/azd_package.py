"""The set of files that azd deploys, by azd's reading of `.funcignore`.

azd (`createDeployableZip`, from 1.23.13 on) walks the folders and matches each name with the library
denormal/go-gitignore. The last matching line decides, and an unmatched file is deployed. There are two differences from
git. A line without an inner slash matches the whole path, across slashes, if the path begins with the line. And an
excluded folder excludes its files only because azd skips the folder.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

#: azd always excludes these.
_NEVER = {".funcignore", "local.settings.json"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the file."""

    text: str

    @property
    def allows(self) -> bool:
        """Return whether the line includes files rather than excluding them."""
        return self.text.startswith("!")

    def matches(self, path: str, *, is_folder: bool) -> bool:
        """Return whether the line matches this path, relative to the file."""
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
    """Return whether azd deploys a file or enters a folder. Call this for the parent folders first."""
    decisive = next((line for line in reversed(lines) if line.matches(path, is_folder=is_folder)), None)
    return decisive is None or decisive.allows


def package_of(root: Path) -> Iterator[Path]:
    """Yield the files of the package, relative to the deployed folder."""
    lines = lines_of(root)
    for folder, folders, files in os.walk(root):
        here = Path(folder).relative_to(root)
        folders[:] = [
            name for name in folders if name != ".azure" and deploys(lines, (here / name).as_posix(), is_folder=True)
        ]
        yield from (here / name for name in files if name not in _NEVER and deploys(lines, (here / name).as_posix()))
