"""Read possible log lines from the code, and written lines from the log."""

import ast
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from bridge.log import Event
from local.settings import REPOSITORY


def lines_of(caplog: pytest.LogCaptureFixture, *events: Event) -> list[dict[str, Any]]:
    """Return the complete written lines, oldest first: all, or those of some events."""
    read = [json.loads(record.message) for record in caplog.records if record.name == "bridge"]
    return [line for line in read if not events or line["event"] in events]


def written() -> Mapping[str, set[str]]:
    """Return the fields of each event at every place in the code that writes the event."""
    fields: dict[str, set[str]] = defaultdict(set)
    for path in sorted((REPOSITORY / "bridge").rglob("*.py")):
        for call in _calls(ast.parse(path.read_text())):
            for event in _events(call.args[0]):
                fields[event.value] |= {str(keyword.arg) for keyword in call.keywords}
    return fields


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "log":
            yield node


def _events(node: ast.AST) -> Iterator[Event]:
    for each in ast.walk(node):
        if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name) and each.value.id == "Event":
            yield Event[each.attr]
