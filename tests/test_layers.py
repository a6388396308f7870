"""Arrows point one way: function_app → app → api → services → storage → domain. Adapters implement ports."""

import ast
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.support.modules import imports, name_of

ROOT = Path(__file__).parent.parent

#: Which layers a layer may import beside itself. `bridge` is the version.
ALLOWED = {
    "bridge": set(),
    "bridge.domain": set(),
    "bridge.log": {"bridge.domain"},
    "bridge.pool": {"bridge.log"},
    "bridge.telemetry": set(),
    "bridge.diagnostics": {"bridge.domain"},
    "bridge.settings": {"bridge.domain"},
    "bridge.ports": {"bridge.domain", "bridge.storage"},
    "bridge.learnt": {"bridge.domain", "bridge.storage", "bridge.log"},
    "bridge.storage": {"bridge.domain", "bridge.log"},
    "bridge.testing": {"bridge.domain", "bridge.storage"},
    "bridge.services": {
        "bridge.domain",
        "bridge.storage",
        "bridge.diagnostics",
        "bridge.log",
        "bridge.pool",
        "bridge.ports",
        "bridge.telemetry",
    },
    "bridge.adapters": {
        "bridge",
        "bridge.domain",
        "bridge.storage",
        "bridge.log",
        "bridge.ports",
        "bridge.settings",
        "bridge.telemetry",
    },
    "bridge.dashboard": {"bridge.diagnostics"},
    "bridge.api": {
        "bridge",
        "bridge.domain",
        "bridge.storage",
        "bridge.services",
        "bridge.dashboard",
        "bridge.diagnostics",
        "bridge.log",
        "bridge.ports",
    },
    "bridge.dependencies": {
        "bridge.adapters",
        "bridge.domain",
        "bridge.storage",
        "bridge.ports",
        "bridge.settings",
        "bridge.telemetry",
    },
    "bridge.cli": {
        "bridge",
        "bridge.domain",
        "bridge.storage",
        "bridge.adapters",
        "bridge.dependencies",
        "bridge.diagnostics",
        "bridge.settings",
    },
    "bridge.__main__": {"bridge.cli"},
}

#: What is installed beside the app, never with it.
NOT_DEPLOYED = {"bridge.cli"}

MODULES = sorted((ROOT / "bridge").rglob("*.py"))


def layer(name: str) -> str:
    """Say which layer a module belongs to."""
    return ".".join(name.split(".")[:2])


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_imports_only_what_its_layer_may(path: Path) -> None:
    """The composition root alone may import all of them."""
    own = layer(name_of(path))
    if own == "bridge.app":
        return

    project = {
        layer(name) for name in imports(path) if name.split(".")[0] in ("bridge", "function_app", "local", "tests")
    }

    assert project <= ALLOWED[own] | {own}


def test_no_modules_import_each_other_in_a_circle() -> None:
    names = {name_of(path) for path in MODULES}
    graph = {name_of(path): names & modules_imported(path) for path in MODULES}

    TopologicalSorter(graph).prepare()


def modules_imported(path: Path) -> set[str]:
    """Return what a module imports, with `from package import module` as the module."""
    found = set(imports(path))
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_class_name_exists_once() -> None:
    trees = [ast.parse(path.read_text()) for path in MODULES]
    names = Counter(node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef))

    assert [name for name, times in names.items() if times > 1] == []


@pytest.mark.parametrize("path", [*MODULES, ROOT / "function_app.py"], ids=name_of)
def test_nothing_that_is_deployed_knows_the_local_start(path: Path) -> None:
    """Nor the tests."""
    assert not {name.split(".")[0] for name in imports(path)} & {"local", "tests", "bench", "infra"}


@pytest.mark.parametrize(
    "path",
    [*(path for path in MODULES if layer(name_of(path)) not in NOT_DEPLOYED), ROOT / "function_app.py"],
    ids=name_of,
)
def test_nothing_that_is_deployed_knows_the_command_line(path: Path) -> None:
    """Nor what only it needs."""
    named = set(imports(path))

    assert not {layer(name) for name in named} & NOT_DEPLOYED
    assert not {name.split(".")[0] for name in named} & {"typer", "rich"}


#: What decides, and does not act.
PURE = [path for path in MODULES if {"domain", "learnt"} & set(path.parts) and path.name != "duration_store.py"]


@pytest.mark.parametrize("path", PURE, ids=name_of)
def test_what_decides_has_no_clock_no_randomness_and_no_io(path: Path) -> None:
    """What it decides depends on its arguments alone."""
    forbidden = {"time", "random", "secrets", "os", "socket", "requests", "urllib3", "azure", "logging", "threading"}

    assert not {name.split(".")[0] for name in imports(path)} & forbidden


def test_composition_root_alone_knows_the_learnt_schedule() -> None:
    """So a maintainer can delete the folder. ARCHITECTURE.md names the edits that go with that."""
    knowing = {name_of(path) for path in MODULES if any(name.startswith("bridge.learnt") for name in imports(path))}

    assert {name for name in knowing if layer(name) != "bridge.learnt"} == {"bridge.app"}


#: What gives work to another thread.
THREAD_CALLS = {"submit", "map", "Thread", "Timer", "ThreadPoolExecutor", "to_thread", "run_in_executor"}

#: Who may do so.
THREADS = {"bridge.pool", "bridge.dependencies", "bridge.adapters.net.deadline", "bridge.adapters.net.resolver"}


@pytest.mark.parametrize("path", [*MODULES, ROOT / "function_app.py"], ids=name_of)
def test_work_reaches_the_threads_of_a_pool_by_one_module_alone(path: Path) -> None:
    """The thread of the invocation writes the lines of such work: the Functions host drops those of other threads."""
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    methods = {each.attr for each in calls if isinstance(each, ast.Attribute)}
    classes = {each.id for each in calls if isinstance(each, ast.Name)} - {"map"}

    assert name_of(path) in THREADS or not (methods | classes) & THREAD_CALLS


@pytest.mark.parametrize("name", ["bridge.adapters.net.deadline", "bridge.adapters.net.resolver"])
def test_module_with_a_thread_of_its_own_writes_no_line(name: str) -> None:
    """No invocation owns such a thread."""
    path = ROOT / f"{name.replace('.', '/')}.py"

    assert not set(imports(path)) & {"logging", "bridge.log"}
