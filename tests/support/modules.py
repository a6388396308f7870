"""The imports of the project's modules, parsed from text without running any module."""

import ast
from collections.abc import Iterator
from pathlib import Path

from local.settings import REPOSITORY


def name_of(path: Path) -> str:
    """Return the module name of a file."""
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    """Yield the imported names, including imports inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module or ""


def reached(*roots: str, without: str = "") -> dict[str, Path]:
    """Return all modules of the package that the roots import, directly or indirectly, with their packages, by name."""
    files = {name_of(path): path for path in (REPOSITORY / "bridge").rglob("*.py")}
    found: dict[str, Path] = {}
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in found or name == without or name not in files:
            continue
        found[name] = files[name]
        waiting += [name.rpartition(".")[0], *_named(files[name])]
    return found


def _named(path: Path) -> Iterator[str]:
    """Yield the imported modules, including the form `from package import module`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
    yield from imports(path)
