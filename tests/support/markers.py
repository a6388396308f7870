"""The kind of each test, as a marker: by the test's markers, by fixtures, or by folder."""

import socket
import subprocess
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import pytest

#: The kinds, as pyproject.toml describes them. Each test has one.
KINDS = frozenset({"unit", "sockets", "azurite", "processes", "hosts", "browser", "proof"})

#: Fixtures that start a real part.
_BY_FIXTURE = MappingProxyType(
    {"azurite": "azurite", "upstream": "sockets", "tenant": "sockets", "receiver": "sockets", "fake": "sockets"}
)

#: Folders and files below `tests`. The longest matching path decides. Other files directly below run programs.
_BY_PATH: Mapping[str, str] = MappingProxyType(
    {
        "adapters": "sockets",
        "api": "unit",
        "bench": "processes",
        "cli": "processes",
        "dashboard": "browser",
        "description": "processes",
        "domain": "unit",
        "examples": "azurite",
        "hostile_receivers": "sockets",
        "hosts": "hosts",
        "infra": "processes",
        "learnt": "unit",
        "local": "processes",
        "packages": "processes",
        "proof": "proof",
        "services": "unit",
        "storage": "unit",
        "test_blackbox.py": "azurite",
        "test_dependencies.py": "sockets",
        "test_diagnostics.py": "unit",
        "test_log_length.py": "unit",
        "test_log_table.py": "unit",
        "test_markers.py": "unit",
        "test_names.py": "unit",
        "test_pool.py": "unit",
        "test_settings.py": "unit",
        "test_suppressions.py": "unit",
        "worker": "hosts",
    }
)

#: The folders of unit tests. A unit test outside of them is in a file directly below `tests`.
UNIT_FOLDERS = tuple(sorted(path for path, kind in _BY_PATH.items() if kind == "unit" and not path.endswith(".py")))


def kind_of(path: str, markers: Iterable[str], fixtures: Iterable[str]) -> str:
    """Find the kind of a test. `path` is relative to `tests`. Raises ValueError if no rule fits."""
    own = next((each for each in markers if each in KINDS), None)
    if own is not None:
        return own
    for fixture in fixtures:
        if fixture in _BY_FIXTURE:
            folder = _by_path(path)
            return _BY_FIXTURE[fixture] if folder == "unit" else folder
    return _by_path(path)


def _by_path(path: str) -> str:
    fitting = [each for each in _BY_PATH if path == each or path.startswith(f"{each}/")]
    return _BY_PATH[max(fitting, key=len)] if fitting or "/" in path else "processes"


def isolate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each connection, each listening socket, each lookup and each process of a unit test fail."""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("a unit test reached for a socket or a process: mark it, or give it a double")

    for name in ("bind", "connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
