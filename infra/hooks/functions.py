"""Names the functions of the app without importing it: what it imports need not be installed where azd runs."""

import ast
from pathlib import Path


def names_in(path: Path) -> list[str]:
    """Read off function_app.py what the host has to list, in the order of the file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [function.name for function in functions if _is_triggered(function)]


def _is_triggered(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    owners = (
        each.func.value
        for each in node.decorator_list
        if isinstance(each, ast.Call)
        if isinstance(each.func, ast.Attribute)
    )
    return any(isinstance(owner, ast.Name) and owner.id == "app" for owner in owners)
