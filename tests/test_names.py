"""No name from before the change to standard terms remains: readers search for the field's terms."""

import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

#: Replaced names in Python.
OLD_NAMES = frozenset((ROOT / "tests" / "facts" / "old-names.txt").read_text().split())

#: Replaced words of states, fields, events, settings and documents.
OLD_WORDS = re.compile(
    r"\bunwanted\b|\bheldBack\b|\bSTANDIN_|\bstand-in\b|\bdelivery\.buried\b|\bsource\.asked\b|\brow\.set-aside\b"
    r"|\bcancelledAt\b|\bBRIDGE_\w*LAW\w*\b|`law:|`job:",
)

PYTHON = sorted(path for folder in ("bridge", "tests", "local", "bench") for path in (ROOT / folder).rglob("*.py"))
TEXTS = sorted(
    path
    for pattern in ("*.md", "bridge/**/*", "docs/**/*", "examples/*", "examples/*/*", "infra/**/*", "local/*.md")
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"  # it says what replaced them
    and path.suffix in {".md", ".py", ".js", ".html", ".css", ".json", ".kql", ".bicep", ".bicepparam"}
)


def test_there_are_files_to_search() -> None:
    assert len(PYTHON) > 300
    assert len(TEXTS) > 100


@pytest.mark.parametrize("folder", ["bridge", "tests", "local", "bench"])
def test_python_has_no_old_name(folder: str) -> None:
    found = {
        f"{path.relative_to(ROOT)}:{token.start[0]} {token.string}"
        for path in PYTHON
        if path.is_relative_to(ROOT / folder) and "node_modules" not in path.parts
        for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
        if token.type == tokenize.NAME and token.string in OLD_NAMES
    }

    assert found == set()


def test_texts_have_no_old_word() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {word}"
        for path in TEXTS
        if "node_modules" not in path.parts
        for word in OLD_WORDS.findall(path.read_text())
    }

    assert found == set()
