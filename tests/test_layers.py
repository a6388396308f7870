"""Arrows point one way: function_app → app → api → use cases → core, and adapters stand beside the use cases."""

import ast
from pathlib import Path

import pytest

from tests.support.modules import imports, name_of

ROOT = Path(__file__).parent.parent

#: A layer may import itself and what stands after it.
ALLOWED = {
    "bridge.core": {"bridge.core"},
    "bridge.adapters": {
        "bridge.adapters",
        "bridge.core",
        "bridge.ports",
        "bridge.telemetry",
        "bridge.log",
        "bridge.settings",
        "bridge",
    },
    "bridge.settings": {"bridge.core", "bridge.settings", "bridge.settings"},
    "bridge.settings": {"bridge.core", "bridge.settings"},
    "bridge.settings": {"bridge.core"},
    "bridge.log": {"bridge.core"},
    "bridge.pool": {"bridge.log"},
    "bridge.ports": {"bridge.core"},
    "bridge.telemetry": set(),
    "bridge.storage.repository": {"bridge.core", "bridge.ports", "bridge.log"},
    "bridge.services.dispatch": {"bridge.core", "bridge.ports", "bridge.log", "bridge.storage.repository"},
    "bridge.services.repair": {"bridge.core", "bridge.ports", "bridge.log", "bridge.storage.repository"},
    "bridge.services.owner_quota": {"bridge.core", "bridge.ports", "bridge.log", "bridge.pool"},
    "bridge.services.queries": {"bridge.core", "bridge.ports", "bridge.pool"},
    "bridge.sweeping": {
        "bridge.services.dispatch",
        "bridge.sweeping",
        "bridge.core",
        "bridge.ports",
        "bridge.telemetry",
        "bridge.log",
        "bridge.pool",
        "bridge.storage.repository",
    },
    "bridge.services.registrations": {
        "bridge.services.dispatch",
        "bridge.core",
        "bridge.ports",
        "bridge.telemetry",
        "bridge.log",
        "bridge.storage.repository",
        "bridge.services.repair",
        "bridge.services.owner_quota",
    },
    "bridge.services.ping": {"bridge.core", "bridge.ports", "bridge.log", "bridge.storage.repository"},
    "bridge.services.bulk_redelivery": {
        "bridge.core",
        "bridge.ports",
        "bridge.log",
        "bridge.pool",
        "bridge.storage.repository",
        "bridge.services.queries",
    },
    "bridge.services.host_limiter": {"bridge.core"},
    "bridge.services.host_limiter": {"bridge.core"},
    "bridge.services.host_limiter": {"bridge.core", "bridge.services.host_limiter", "bridge.services.host_limiter"},
    "bridge.services.attempts": {
        "bridge.core",
        "bridge.ports",
        "bridge.log",
        "bridge.storage.repository",
        "bridge.services.repair",
    },
    "bridge.services.attempts": {
        "bridge.core",
        "bridge.ports",
        "bridge.log",
        "bridge.storage.repository",
        "bridge.services.attempts",
        "bridge.services.repair",
    },
    "bridge.services.delivery": {
        "bridge.core",
        "bridge.ports",
        "bridge.telemetry",
        "bridge.log",
        "bridge.services.attempts",
        "bridge.services.dispatch",
        "bridge.services.host_limiter",
        "bridge.services.attempts",
    },
    "bridge.services.sweep.sweep": {
        "bridge.services.dispatch",
        "bridge.services.repair",
        "bridge.core",
        "bridge.ports",
        "bridge.telemetry",
        "bridge.log",
        "bridge.pool",
        "bridge.storage.repository",
        "bridge.sweeping",
        "bridge.services.owner_quota",
    },
    "bridge.services.queries": {
        "bridge.core",
        "bridge.services.queries",
        "bridge.ports",
        "bridge.log",
        "bridge.pool",
        "bridge.services.repair",
        "bridge.services.dispatch",
        "bridge.sweeping",
    },
    "bridge.services.reports": {
        "bridge.core",
        "bridge.ports",
        "bridge.pool",
        "bridge.services.queries",
        "bridge.sweeping",
    },
    "bridge.dashboard": {"bridge.core"},
    "bridge.api": {
        "bridge",
        "bridge.services.queries",
        "bridge.services.dispatch",
        "bridge.api",
        "bridge.ports",
        "bridge.core",
        "bridge.dashboard",
        "bridge.log",
        "bridge.services.reports",
        "bridge.services.ping",
        "bridge.services.bulk_redelivery",
        "bridge.services.registrations",
        "bridge.services.queries",
    },
    "bridge.cli": {"bridge.cli", "bridge", "bridge.core", "bridge.adapters", "bridge.settings"},
}

#: What is installed beside the app, never with it.
NOT_DEPLOYED = {"bridge.cli"}

MODULES = sorted((ROOT / "bridge").rglob("*.py"))


def layer(name: str) -> str:
    """Say which layer a module belongs to."""
    return ".".join(name.split(".")[:2])


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_what_its_layer_may(path: Path) -> None:
    """The composition root alone knows everybody."""
    own = layer(name_of(path))
    if own in ("bridge", "bridge.app", "bridge.dependencies"):
        return

    project = {
        layer(name) for name in imports(path) if name.split(".")[0] in ("bridge", "function_app", "local", "tests")
    }

    assert project <= ALLOWED[own]


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


@pytest.mark.parametrize("path", [path for path in MODULES if "core" in path.parts], ids=name_of)
def test_the_core_has_no_clock_no_randomness_and_no_io(path: Path) -> None:
    """What it decides depends on its arguments alone."""
    forbidden = {"time", "random", "secrets", "os", "socket", "requests", "urllib3", "azure", "logging", "threading"}

    assert not {name.split(".")[0] for name in imports(path)} & forbidden


@pytest.mark.parametrize("path", [*MODULES, ROOT / "function_app.py"], ids=name_of)
def test_modules_are_short(path: Path) -> None:
    """A module is as long as its subject; past 400 lines it has more than one."""
    assert len(path.read_text().splitlines()) <= 400


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
