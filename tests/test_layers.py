"""Imports go one way: function_app → app → api → services → storage → domain. Adapters implement ports."""

import ast
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.support.modules import imports, name_of

ROOT = Path(__file__).parent.parent

#: The layers that a layer may import in addition to itself. `bridge` is the version.
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
    "bridge.dashboard": {"bridge", "bridge.diagnostics"},
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

#: Libraries that are never installed with the app.
NOT_DEPLOYED = {"bridge.cli"}

MODULES = sorted((ROOT / "bridge").rglob("*.py"))


def layer(name: str) -> str:
    """Return the layer of a module."""
    return ".".join(name.split(".")[:2])


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_imports_only_the_layers_below(path: Path) -> None:
    """Only the composition root may import all layers."""
    own = layer(name_of(path))
    if own == "bridge.app":
        return

    project = {
        layer(name) for name in imports(path) if name.split(".")[0] in ("bridge", "function_app", "local", "tests")
    }

    assert project <= ALLOWED[own] | {own}


def test_imports_have_no_cycle() -> None:
    names = {name_of(path) for path in MODULES}
    graph = {name_of(path): names & modules_imported(path) for path in MODULES}

    TopologicalSorter(graph).prepare()


def modules_imported(path: Path) -> set[str]:
    """Return the imports of a module, with `from package import module` as the module."""
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
def test_deployed_code_does_not_import_the_local_start(path: Path) -> None:
    """The same holds for the tests."""
    assert not {name.split(".")[0] for name in imports(path)} & {"local", "tests", "bench", "infra"}


@pytest.mark.parametrize(
    "path",
    [*(path for path in MODULES if layer(name_of(path)) not in NOT_DEPLOYED), ROOT / "function_app.py"],
    ids=name_of,
)
def test_deployed_code_does_not_import_the_command_line(path: Path) -> None:
    """The same holds for libraries that only the command line needs."""
    named = set(imports(path))

    assert not {layer(name) for name in named} & NOT_DEPLOYED
    assert not {name.split(".")[0] for name in named} & {"typer", "rich"}


#: Modules that decide without acting.
PURE = [path for path in MODULES if {"domain", "learnt"} & set(path.parts) and path.name != "duration_store.py"]


@pytest.mark.parametrize("path", PURE, ids=name_of)
def test_deciding_modules_have_no_clock_no_randomness_and_no_io(path: Path) -> None:
    """The decision depends on the arguments alone."""
    forbidden = {"time", "random", "secrets", "os", "socket", "requests", "urllib3", "azure", "logging", "threading"}

    assert not {name.split(".")[0] for name in imports(path)} & forbidden


def test_only_the_composition_root_imports_the_learnt_schedule() -> None:
    """A maintainer can therefore delete the folder. ARCHITECTURE.md lists the required edits."""
    knowing = {name_of(path) for path in MODULES if any(name.startswith("bridge.learnt") for name in imports(path))}

    assert {name for name in knowing if layer(name) != "bridge.learnt"} == {"bridge.app"}


#: Calls that pass work to another thread.
THREAD_CALLS = {"submit", "map", "Thread", "Timer", "ThreadPoolExecutor", "to_thread", "run_in_executor"}

#: Modules that may make such calls.
THREADS = {"bridge.pool", "bridge.dependencies", "bridge.adapters.net.deadline", "bridge.adapters.net.resolver"}


@pytest.mark.parametrize("path", [*MODULES, ROOT / "function_app.py"], ids=name_of)
def test_only_one_module_passes_work_to_pool_threads(path: Path) -> None:
    """The invocation's thread writes the lines of such work, since the Functions host drops lines of other threads."""
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    methods = {each.attr for each in calls if isinstance(each, ast.Attribute)}
    classes = {each.id for each in calls if isinstance(each, ast.Name)} - {"map"}

    assert name_of(path) in THREADS or not (methods | classes) & THREAD_CALLS


@pytest.mark.parametrize("name", ["bridge.adapters.net.deadline", "bridge.adapters.net.resolver"])
def test_module_with_a_thread_of_its_own_writes_no_line(name: str) -> None:
    """Such a thread has no invocation."""
    path = ROOT / f"{name.replace('.', '/')}.py"

    assert not set(imports(path)) & {"logging", "bridge.log"}
