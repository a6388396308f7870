"""Ctrl-C at any moment of `python -m local`: no traceback, and nothing is left running."""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from local.child import Child
from local.record import MAX_WAIT, Record
from local.settings import REPOSITORY
from tests.local.conftest import has_ended
from tests.local.silent import Silent
from tests.local.started import free_ports

#: Imported by the local tools in the place of a library: it shows where it is, and waits for ever.
BLOCKED = "import threading\nprint('importing', flush=True)\nthreading.Event().wait()\n"


@pytest.fixture
def lines() -> Record[str]:
    return Record()


@pytest.fixture
def run(tmp_path: Path, lines: Record[str]) -> Iterator[Callable[..., Child]]:
    """Return a function that runs `python -m local`, with variables beside the usual ones."""
    begun: list[Child] = []
    usual = {"LOCAL_DIR": str(tmp_path / "state"), "PORT": str(free_ports(6)), "TMPDIR": str(tmp_path)}

    def run(what: str, cwd: Path = REPOSITORY, **own: str) -> Child:
        command = [sys.executable, "-m", "local", what]
        begun.append(Child(command, cwd=cwd, env={**os.environ, **usual, **own}, on_line=lines.add))
        return begun[-1]

    yield run
    for each in begun:
        each.kill()


def interrupt(child: Child, lines: Record[str]) -> None:
    """Press Ctrl-C: a terminal sends it to the whole group. Nothing may be left, and no traceback be shown."""
    descendants = [each.pid for each in psutil.Process(child.pid).children(recursive=True)]

    os.killpg(child.pid, signal.SIGINT)

    assert child.wait(MAX_WAIT)
    assert child.exit_code in {0, 130, -signal.SIGINT}
    assert all(has_ended(each) for each in descendants)
    assert not [line for line in lines.entries if "Traceback" in line or "KeyboardInterrupt" in line]


@pytest.mark.parametrize("what", ["start", "demo", "host", "settings"])
def test_ctrl_c_while_libraries_are_imported(
    run: Callable[..., Child], lines: Record[str], tmp_path: Path, what: str
) -> None:
    """They take a second."""
    (tmp_path / "werkzeug.py").write_text(BLOCKED)
    child = run(what, PYTHONPATH=str(tmp_path))
    lines.wait_for(1)

    interrupt(child, lines)

    assert lines.entries == ("importing",)


@pytest.mark.parametrize("what", ["start", "demo"])
def test_ctrl_c_while_npm_fetches(run: Callable[..., Child], lines: Record[str], tmp_path: Path, what: str) -> None:
    """In a clone without Azurite, from a registry that never answers."""
    for name in ("local", "bridge"):
        left_out = shutil.ignore_patterns("node_modules", "__pycache__")
        shutil.copytree(REPOSITORY / name, tmp_path / "clone" / name, ignore=left_out)
    (tmp_path / "clone" / "host.json").write_text("{}")
    with Silent() as registry:
        cache = str(tmp_path / "npm")
        child = run(what, cwd=tmp_path / "clone", npm_config_registry=registry.url, npm_config_cache=cache)
        registry.wait_for_a_client()

        interrupt(child, lines)

    assert any("installing Azurite" in line for line in lines.entries)


@pytest.mark.parametrize("text", ["Starting storage", "intro    registered", "Speech returned"])
def test_ctrl_c_in_the_demo(run: Callable[..., Child], lines: Record[str], tmp_path: Path, text: str) -> None:
    """While it starts, registers and watches. It leaves no folder behind."""
    child = run("demo")
    lines.wait_for(lambda lines: any(text in line for line in lines))

    interrupt(child, lines)

    assert [each.name for each in tmp_path.iterdir() if each.name.startswith("demo-")] == []


#: A Node whose storage emulator never says that it is ready. It connects to the test when it has started.
NODE = """#!{python}
import os, socket, sys
if "--version" in sys.argv:
    sys.exit(print("v24.0.0"))
socket.create_connection(("127.0.0.1", int(os.environ["TEST_PORT"]))).send(b"x")
sys.stdin.read()
"""


@pytest.mark.parametrize("what", ["start", "demo"])
def test_ctrl_c_while_storage_starts(run: Callable[..., Child], lines: Record[str], tmp_path: Path, what: str) -> None:
    node = tmp_path / "bin" / "node"
    node.parent.mkdir()
    node.write_text(NODE.format(python=sys.executable))
    node.chmod(0o755)
    with Silent() as silent:
        child = run(what, PATH=f"{node.parent}:{os.environ['PATH']}", TEST_PORT=str(silent.port))
        silent.wait_for_a_client()

        interrupt(child, lines)
