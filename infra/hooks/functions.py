"""Names the functions of the app without importing it: what it imports need not be installed where azd runs."""

import ast
from pathlib import Path


def function_names(root: Path) -> list[str]:
    """Return the names that the host lists for the app in `root`: the routes of its table, then the other triggers."""
    return [*routes_in(root / "bridge" / "api" / "routes.py"), *triggers_in(root / "function_app.py")]


def routes_in(path: Path) -> list[str]:
    """Read the names of the handlers from the table of routes, which are the names of the HTTP functions."""
    calls = [node for node in ast.walk(_parsed(path)) if isinstance(node, ast.Call) and _names(node.func, "Route")]
    handlers = [call.args[2] for call in sorted(calls, key=lambda call: (call.lineno, call.col_offset))]
    return [each.attr if isinstance(each, ast.Attribute) else ast.unparse(each) for each in handlers]


def triggers_in(path: Path) -> list[str]:
    """Read the names of the functions with a decorator of the app, in the order of the file."""
    functions = [node for node in _parsed(path).body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [function.name for function in functions if _is_triggered(function)]


def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _is_triggered(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    owners = (
        each.func.value
        for each in node.decorator_list
        if isinstance(each, ast.Call)
        if isinstance(each.func, ast.Attribute)
    )
    return any(_names(owner, "app") for owner in owners)


def _names(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
